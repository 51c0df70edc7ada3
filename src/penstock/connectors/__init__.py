"""Connectors: how each kind of job is done, one contract for all."""
