"""The products a process holds: ids by SKU, columns by product id, and what kits are made of.

Owns the cache and how it grows: what changed since a revision of `catalogue` is read when the
revision is seen, and a SKU not known yet by asking the database once, when it is first missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock.db import Queries, Row, Tx

_Kind = TypeVar("_Kind", bound=np.generic)
SQL = Queries("penstock.catalogue", "catalogue.sql")
PAGE = 100_000


class Kit(NamedTuple):
    """What a kit is made of: (SKU, quantity in each kit); whether its parts may ship apart."""

    catalogue_id: int
    components: tuple[tuple[str, int], ...]
    may_ship_apart: bool


class Products:
    """SKUs by catalogue, and columns by product id (arrays as long as they go).

    `is_plain`: on, stocked and no kit, so that its own positions are all there is to know.
    """

    def __init__(self) -> None:
        self._by_sku: dict[int, dict[str, int]] = {}
        self._kits: dict[int, Kit] = {}
        self.skus: list[str | None] = []
        self.weight_g: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.is_stocked: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.is_on: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.is_plain: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def by_sku(self, catalogue_id: int) -> dict[str, int]:
        """Return the ids by SKU of a catalogue."""
        return self._by_sku.setdefault(catalogue_id, {})

    def kit(self, product_id: int) -> Kit | None:
        """Return what a kit is made of; None for a product that is no kit."""
        return self._kits.get(product_id)

    def parts(self, kit: Kit) -> list[tuple[int, int]]:
        """Return the parts of a kit as (product id, quantity in each kit)."""
        known = self.by_sku(kit.catalogue_id)
        return [(known[sku], qty) for sku, qty in kit.components]

    def kits_with(self, product_ids: Iterable[int]) -> list[int]:
        """Return the kits that have one of the products among their components."""
        wanted = {self.skus[one] for one in product_ids if one < len(self.skus)}
        return [
            kit_id
            for kit_id, kit in self._kits.items()
            if not wanted.isdisjoint(sku for sku, _ in kit.components)
        ]

    async def resolve(self, tx: Tx, catalogue_id: int, skus: Sequence[str]) -> list[int]:
        """Return the ids of SKUs, -1 for those that are not there; asks once for unknown ones."""
        known = self.by_sku(catalogue_id)
        lacking = sorted({sku for sku in skus if sku not in known and "\0" not in sku})
        if lacking:
            await self._learn(tx, catalogue_id, lacking)
            await self.learn_parts(tx, [known[sku] for sku in lacking if sku in known])
        return [known.get(sku, -1) for sku in skus]

    async def learn_parts(self, tx: Tx, product_ids: Iterable[int]) -> None:
        """Ask once for the components, not known yet, of those products that are kits."""
        lacking: dict[int, set[str]] = {}
        for product_id in product_ids:
            kit = self._kits.get(product_id)
            if kit is not None:
                known = self.by_sku(kit.catalogue_id)
                parts = {sku for sku, _ in kit.components if sku not in known}
                lacking.setdefault(kit.catalogue_id, set()).update(parts)
        for catalogue_id, skus in lacking.items():
            if skus:
                await self._learn(tx, catalogue_id, sorted(skus))

    async def _learn(self, tx: Tx, catalogue_id: int, skus: Sequence[str]) -> None:
        self.add(await tx.fetch(SQL.products_by_sku, (skus, catalogue_id), prepare=False))

    def add(self, rows: Sequence[Row]) -> int:
        """Take in columns by catalogue (as query `products` has them); returns the highest id."""
        highest = max((int(row[1].max()) for row in rows), default=0)
        size = max(len(self.skus), highest + 1)
        self.skus += [None] * (size - len(self.skus))
        for name in ("weight_g", "is_stocked", "is_on", "is_plain"):
            setattr(self, name, _grown(getattr(self, name), size))
        for catalogue_id, ids, skus, weights, stocked, on, kit, kits in rows:
            self.weight_g[ids] = weights
            self.is_stocked[ids] = stocked
            self.is_on[ids] = on
            is_kit = np.asarray(kit, dtype=np.bool_)
            self.is_plain[ids] = self.is_on[ids] & self.is_stocked[ids] & ~is_kit
            numbers = ids.tolist()
            self.by_sku(catalogue_id).update(zip(skus, numbers, strict=True))
            for product_id, sku in zip(numbers, skus, strict=True):
                self.skus[product_id] = sku
            self._set_kits(catalogue_id, numbers, kits or ())
        return highest

    def _set_kits(self, catalogue_id: int, ids: Sequence[int], kits: Sequence[Row]) -> None:
        if self._kits:
            for product_id in ids:
                self._kits.pop(product_id, None)
        for product_id, may_ship_apart, components in kits:
            parts = tuple((one["sku"], one["qty"]) for one in components)
            self._kits[product_id] = Kit(catalogue_id, parts, may_ship_apart)


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


async def refresh_products(tx: Tx, products: Products, held: int) -> None:
    """Take in what changed after the revision `held` of `catalogue`, page by page."""
    revision, last = held, 2**31
    while rows := await tx.fetch(SQL.products_since, (revision, last, PAGE)):
        revision = max(int(row[8].max()) for row in rows)
        last = max(
            int(row[1][row[8] == revision].max()) for row in rows if (row[8] == revision).any()
        )
        products.add([row[:8] for row in rows])
        await products.learn_parts(tx, (kit[0] for row in rows for kit in row[7] or ()))
