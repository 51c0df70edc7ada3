"""Customers' statements."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.db import Queries, Tx

SQL = Queries("penstock.customers", "customers.sql")


async def find_customers(tx: Tx, refs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return (id, tier) of customers by ref; unknown refs are left out."""
    if not refs:
        return {}
    rows = await tx.fetch(SQL.find_customers, (list(refs),))
    return {row[0]: (row[1], row[2]) for row in rows}
