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
PAGE = 100_000


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
        lacking = sorted({sku for sku in skus if sku not in known and "\0" not in sku})
        if lacking:
            self.add(await tx.fetch(SQL.products_by_sku, (lacking, catalogue_id), prepare=False))
        return [known.get(sku, -1) for sku in skus]

    def add(self, rows: Sequence[Row]) -> int:
        """Take in columns by catalogue (id, SKUs, weights, stocked, on); returns the highest id."""
        highest = max((int(row[1].max()) for row in rows), default=0)
        size = max(len(self.skus), highest + 1)
        self.skus += [None] * (size - len(self.skus))
        self.weight_g = _grown(self.weight_g, size)
        self.is_stocked = _grown(self.is_stocked, size)
        self.is_on = _grown(self.is_on, size)
        for catalogue_id, ids, skus, weights, stocked, on in rows:
            self.weight_g[ids] = weights
            self.is_stocked[ids] = stocked
            self.is_on[ids] = on
            numbers = ids.tolist()
            self.by_sku(catalogue_id).update(zip(skus, numbers, strict=True))
            for product_id, sku in zip(numbers, skus, strict=True):
                self.skus[product_id] = sku
        return highest


def _grown(column: NDArray[_Kind], size: int) -> NDArray[_Kind]:
    if len(column) == size:
        return column
    grown = np.zeros(size, dtype=column.dtype)
    grown[: len(column)] = column
    return grown


async def load_products(tx: Tx) -> Products:
    """Load every product of the account, page by page."""
    products = Products()
    last = 0
    while rows := await tx.fetch(SQL.products, (last, PAGE)):
        last = products.add(rows)
    return products
