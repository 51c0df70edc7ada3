"""Penstock: distributed order and inventory management.

The package has no code at this level; `docs/ARCHITECTURE.md` is the way in.
"""
