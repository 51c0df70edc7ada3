"""Inventory: positions, pools, the stock journal, reservations and counts."""
