"""Customers' statements, and the look-up that orders are taken in with."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.db import Queries, Tx

SQL = Queries("penstock.customers", "customers.sql")


async def find_customers(tx: Tx, refs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (id, tier) of customers by ref; unknown refs are left out."""
    storable = [ref for ref in refs if "\0" not in ref]
    if not storable:
        return {}
    rows = await tx.fetch(SQL.find_customers, (storable,))
    return {row[0]: (row[1], row[2]) for row in rows}
