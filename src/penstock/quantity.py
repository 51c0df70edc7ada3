"""Quantities: integers in a product's smallest unit, within what an index column can hold.

Owns the bounds. A position's quantities are 32-bit, because ten million of them are held in
memory by every process.
"""

from __future__ import annotations

from penstock.errors import Refusal

MAX_QTY = 2_000_000_000


def check_qty(qty: int, *, least: int, field: str) -> int:
    """Return the quantity, or refuse with `quantity_out_of_range` naming the field."""
    if least <= qty <= MAX_QTY:
        return qty
    raise Refusal(
        "quantity_out_of_range",
        f"{field} is {qty}; it must be from {least} to {MAX_QTY}.",
        field=field,
        value=qty,
    )
