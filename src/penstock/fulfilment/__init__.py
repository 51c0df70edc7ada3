"""Fulfilment: the work of one location, from an origin to a destination, for a demand."""
