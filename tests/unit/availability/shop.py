"""A small shop to test availability on: plain columns where the other rooms have their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np

from penstock.availability.index import Index, Rows


class Locations(msgspec.Struct):
    """Locations 10, 20, 30 …: two stores of three are stores, every third a warehouse."""

    location_ids: np.ndarray
    row_of: np.ndarray
    kinds: list[str]
    refs: list[str]
    unit_xyz: np.ndarray
    time_zones: list[str] = []
    networks: dict[int, set[int]] = {}
    off: dict[tuple[int, str], set[int]] = {}

    def serving(self, channel_id: int, service: str, at: datetime) -> np.ndarray:
        """Tell which rows serve; `off` lists the location ids that do not."""
        assert at.tzinfo is not None
        off = self.off.get((channel_id, service), set())
        return ~np.isin(self.location_ids, list(off))

    def in_network(self, network_id: int) -> np.ndarray:
        """Tell which rows are in a network; `networks` lists the location ids."""
        return np.isin(self.location_ids, list(self.networks.get(network_id, ())))


def locations(count: int) -> Locations:
    """Make so many locations along the equator, one degree apart."""
    ids = np.arange(1, count + 1, dtype=np.int32) * 10
    row_of = np.full(ids[-1] + 1, -1, dtype=np.int32)
    row_of[ids] = np.arange(count)
    angles = np.radians(np.arange(count))
    xyz = np.stack([np.cos(angles), np.sin(angles), np.zeros(count)], axis=1)
    kinds = ["warehouse" if row % 3 == 2 else "store" for row in range(count)]
    refs = [f"L{n}" for n in ids.tolist()]
    return Locations(ids, row_of, kinds, refs, xyz, ["Europe/London"] * count)


class Channels(msgspec.Struct):
    """Channel 1 is the parent of 2 and 3; all sell catalogue 1."""

    by_ref: Mapping[str, int] = msgspec.field(
        default_factory=lambda: {"all": 1, "site": 2, "market": 3}
    )

    def path(self, channel_id: int) -> Sequence[int]:
        """Return the channel and its parent."""
        return [1] if channel_id == 1 else [channel_id, 1]

    def catalogue_id(self, channel_id: int) -> int:
        """Return the one catalogue."""
        assert channel_id in {1, 2, 3}
        return 1

    def currency(self, channel_id: int) -> str | None:
        """Return the one currency."""
        assert channel_id in {1, 2, 3}
        return "GBP"


class Kit(msgspec.Struct):
    """A kit of (product id, quantity) parts."""

    parts: list[tuple[int, int]]
    may_ship_apart: bool = False


class Products(msgspec.Struct):
    """Products by SKU, with their flags, and kits by product id."""

    skus: dict[str, int]
    is_on: np.ndarray
    is_stocked: np.ndarray
    kits: dict[int, Kit] = {}

    @property
    def is_plain(self) -> np.ndarray:
        """Tell which are on, stocked and no kits."""
        plain = self.is_on & self.is_stocked
        plain[list(self.kits)] = False
        return plain

    def kit(self, product_id: int) -> Kit | None:
        """Return what a kit is made of."""
        return self.kits.get(product_id)

    def parts(self, kit: Kit) -> list[tuple[int, int]]:
        """Return its parts."""
        return kit.parts

    def kits_with(self, product_ids: Iterable[int]) -> list[int]:
        """Return the kits that have one of the products in them."""
        wanted = set(product_ids)
        return [n for n, kit in self.kits.items() if wanted & {part for part, _ in kit.parts}]

    def by_sku(self, catalogue_id: int) -> Mapping[str, int]:
        """Return the SKUs of the one catalogue."""
        assert catalogue_id == 1
        return self.skus

    async def resolve(self, tx: object, catalogue_id: int, skus: Sequence[str]) -> list[int]:
        """Return the ids of SKUs."""
        return [self.by_sku(catalogue_id).get(sku, -1) for sku in skus]


def products(count: int) -> Products:
    """Make so many products with SKUs P1, P2, …."""
    skus = {f"P{n}": n for n in range(1, count + 1)}
    flags = np.ones(count + 1, dtype=np.bool_)
    return Products(skus, flags.copy(), flags.copy())


def rows(*entries: Sequence[int]) -> Rows:
    """Make entries from (position, product, location, pool, on hand, reserved, version)."""
    columns = np.array(entries, dtype=np.int32).reshape(len(entries), 7).T
    ids, product, location, pool, hand, reserved, version = np.ascontiguousarray(columns)
    counted = np.zeros(len(entries), dtype=np.int64)
    return Rows(ids, product, location, pool.astype(np.int16), hand, reserved, version, counted)


def index_of(*entries: Sequence[int]) -> Index:
    """Make an index by applying entries, as `rows`."""
    index = Index()
    index.apply(rows(*entries))
    return index
