"""The products a process holds: ids by SKU, and columns by product id.

Owns the cache and how it grows: a SKU made since is found by asking the database once, when it is
first missed. Changes of known products come with revision `catalogue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock.db import Queries, Row, Tx

_Kind = TypeVar("_Kind", bound=np.generic)
SQL = Queries("penstock.catalogue", "catalogue.sql")


class Products:
    """SKUs by catalogue, and weight, stocked and on by product id (arrays as long as they go)."""

    def __init__(self) -> None:
        self._by_sku: dict[int, dict[str, int]] = {}
        self.skus: list[str | None] = []
        self.weight_g: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.is_stocked: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.is_on: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def by_sku(self, catalogue_id: int) -> dict[str, int]:
        """Return the ids by SKU of a catalogue."""
        return self._by_sku.setdefault(catalogue_id, {})

    async def resolve(self, tx: Tx, catalogue_id: int, skus: Sequence[str]) -> list[int]:
        """Return the ids of SKUs, -1 for those that are not there; asks once for unknown ones."""
        known = self.by_sku(catalogue_id)
        lacking = sorted({sku for sku in skus if sku not in known})
        if lacking:
            self.add(await tx.fetch(SQL.products_by_sku, (catalogue_id, lacking)))
        return [known.get(sku, -1) for sku in skus]

    def add(self, rows: Sequence[Row]) -> None:
        """Take in rows (id, catalogue id, SKU, weight, stocked, on)."""
        if not rows:
            return
        size = max(len(self.skus), max(row[0] for row in rows) + 1)
        self.skus += [None] * (size - len(self.skus))
        self.weight_g = _grown(self.weight_g, size)
        self.is_stocked = _grown(self.is_stocked, size)
        self.is_on = _grown(self.is_on, size)
        for product_id, catalogue_id, sku, *_ in rows:
            self.skus[product_id] = sku
            self.by_sku(catalogue_id)[sku] = product_id
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        self.weight_g[ids] = [row[3] for row in rows]
        self.is_stocked[ids] = [row[4] for row in rows]
        self.is_on[ids] = [row[5] for row in rows]


def _grown(column: NDArray[_Kind], size: int) -> NDArray[_Kind]:
    grown = np.zeros(size, dtype=column.dtype)
    grown[: len(column)] = column
    return grown


async def load_products(tx: Tx) -> Products:
    """Load every product of the account."""
    products = Products()
    products.add(await tx.fetch(SQL.products))
    return products
