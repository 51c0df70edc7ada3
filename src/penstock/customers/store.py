"""Customers' statements, and the look-up that orders are taken in with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from penstock.db import Queries, Tx, uuid_array

SQL = Queries("penstock.customers", "customers.sql")


class Customer(NamedTuple):
    """A customer's id, and what expressions may read."""

    id: str
    view: dict[str, Any]


NOBODY: dict[str, Any] = {
    "ref": "",
    "tier": "standard",
    "name": "",
    "email": "",
    "attributes": {},
}


async def find_customers(tx: Tx, refs: Iterable[str]) -> dict[str, Customer]:
    """Return customers by ref; unknown refs are left out."""
    storable = [ref for ref in refs if "\0" not in ref]
    if not storable:
        return {}
    rows = await tx.fetch(SQL.find_customers, (storable,))
    return {ref: Customer(key, _view(ref, *rest)) for ref, key, *rest in rows}


async def views_of_customers(tx: Tx, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what expressions may read of customers, by id."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = await tx.fetch(SQL.customers_of_ids, (uuid_array(wanted),))
    return {key: _view(ref, *rest) for key, ref, *rest in rows}


def _view(
    ref: str, tier: str, name: str | None, email: str | None, attributes: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ref": ref,
        "tier": tier,
        "name": name or "",
        "email": email or "",
        "attributes": attributes,
    }
