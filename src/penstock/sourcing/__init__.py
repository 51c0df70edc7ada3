"""Sourcing: demand and candidates in, explained plan out. Pure: no I/O, no clock."""
