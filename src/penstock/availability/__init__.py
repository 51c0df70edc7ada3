"""Availability: the index in memory, controls, virtual catalogues, candidates for sourcing."""
