"""The product→positions map: CSR arrays, and a small dict for positions that came later.

Owns the order of positions by product, location and pool, and the two vectorised lookups on it. It
reads the index's columns and owns none of them. Late positions wait in a dict and are merged once
they are many; lookups see both.

Invariant: within a product, positions come sorted by location and pool.
"""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]

SLICE = 1_000_000  # positions sorted at a time: bounds the memory a build takes beside its result
PACKED_BYTES = 4  # location and pool in the lower half of a 64-bit sort key
MIN_LATE = 20_000
MAX_LATE = 100_000  # a dict entry costs far more memory than an array element


class Places(Protocol):
    """The columns by position id that say what and where a position is; product 0: no position."""

    product: NDArray[np.int32]
    location: Ints
    pool: Ints


class ProductMap:
    """Which positions a product has; `starts` by product id into `order`, and `late` ones."""

    def __init__(self, places: Places) -> None:
        self._places = places
        # starts[p] to starts[p + 1]; two closing bounds, so that an unknown product has none.
        self.starts = np.zeros(2, dtype=np.int32)
        self.order = np.empty(0, dtype=np.int32)
        self.late: dict[int, dict[int, int]] = {}  # product → location and pool → position
        self.late_count = 0

    def build(self, size: int) -> None:
        """Build the map anew from the columns of positions below `size`."""
        product = self._places.product
        highest = max((int(product[i : i + SLICE].max()) for i in range(0, size, SLICE)), default=0)
        counts = np.zeros(highest + 1, dtype=np.int64)
        for i in range(0, size, SLICE):
            counts += np.bincount(product[i : min(i + SLICE, size)], minlength=highest + 1)
        counts[0] = 0
        starts = np.zeros(highest + 3, dtype=np.int32)
        np.cumsum(counts, out=starts[1:-1])
        starts[-1] = starts[-2]
        order = np.empty(int(starts[-1]), dtype=np.int32)
        for first, last in _product_ranges(starts, highest):
            ids = _ids_of_products(product[:size], first, last)
            order[starts[first] : starts[last]] = ids[self._sorting(ids)]
        self.starts, self.order = starts, order
        self.late, self.late_count = {}, 0

    def _sorting(self, ids: Ints) -> NDArray[np.intp]:
        product, location, pool = (
            self._places.product[ids],
            self._places.location[ids],
            self._places.pool[ids],
        )
        if location.itemsize + pool.itemsize > PACKED_BYTES:
            return np.lexsort((pool, location, product))
        key = product.astype(np.int64) << 32
        key |= location.astype(np.int64) << 16
        key |= pool
        return key.argsort()

    def add(self, ids: Ints, products: Ints, locations: Ints, pools: Ints) -> None:
        """Take in new positions; merges the late ones when they have become many."""
        keys = _place_key(locations, pools).tolist()
        for position, product, key in zip(ids.tolist(), products.tolist(), keys, strict=True):
            self.late.setdefault(product, {})[key] = position
        self.late_count += len(ids)
        if self.late_count > min(max(MIN_LATE, len(self.order) // 20), MAX_LATE):
            self.merge()

    def merge(self) -> None:
        """Merge the late positions into the CSR arrays."""
        ids = np.array(
            [position for places in self.late.values() for position in places.values()],
            dtype=np.int32,
        )
        ids = ids[self._sorting(ids)]
        products = self._places.product[ids]
        wanted = _place_key(self._places.location[ids], self._places.pool[ids])
        self.order = np.insert(self.order, self._lower_bound(products, wanted), ids)
        highest = max(len(self.starts) - 3, int(products.max(initial=0)))
        starts = np.full(highest + 3, self.starts[-1], dtype=np.int32)
        starts[: len(self.starts)] = self.starts
        starts[1:-1] += np.cumsum(np.bincount(products, minlength=highest + 1), dtype=np.int32)
        starts[-1] = starts[-2]
        self.starts = starts
        self.late, self.late_count = {}, 0

    def positions_of(self, product_ids: Ints) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return (line_start, position_ids): line i has ids[line_start[i]:line_start[i + 1]].

        An unknown product (any id outside the map, also below 0) has an empty line.
        """
        rows = self._rows(product_ids)
        first = self.starts[rows]
        line_start = np.zeros(len(rows) + 1, dtype=np.intp)
        np.cumsum(self.starts[rows + 1] - first, out=line_start[1:])
        places = np.arange(line_start[-1])
        places += np.repeat(first - line_start[:-1], np.diff(line_start))
        ids = self.order[places]
        if self.late:
            return self._with_late(product_ids, line_start, ids)
        return line_start, ids

    def _with_late(
        self, product_ids: Ints, line_start: NDArray[np.intp], ids: NDArray[np.int32]
    ) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        late = self.late
        added = [list(late[p].values()) if p in late else [] for p in product_ids.tolist()]
        counts = np.array([len(more) for more in added], dtype=np.intp)
        if not counts.any():
            return line_start, ids
        more = np.array([position for line in added for position in line], dtype=np.int32)
        ids = np.concatenate((ids, more))
        old_counts = line_start[1:] - line_start[:-1]
        lines = np.arange(len(counts))
        lines = np.concatenate((lines.repeat(old_counts), lines.repeat(counts)))
        line_start[1:] += np.cumsum(counts)
        return line_start, ids[
            np.lexsort((self._places.pool[ids], self._places.location[ids], lines))
        ]

    def find(self, product_ids: Ints, location_ids: Ints, pool_ids: Ints) -> NDArray[np.int32]:
        """Return the position of each (product, location, pool), -1 where there is none."""
        wanted = _place_key(location_ids, pool_ids)
        found = np.full(len(wanted), -1, dtype=np.int32)
        if len(self.order):
            place = self._lower_bound(product_ids, wanted)
            inside = np.flatnonzero(place < self.starts[self._rows(product_ids) + 1])
            ids = self.order[place[inside]]
            same = _place_key(self._places.location[ids], self._places.pool[ids]) == wanted[inside]
            found[inside[same]] = ids[same]
        if self.late:
            missing = np.flatnonzero(found < 0)
            keys = zip(product_ids[missing].tolist(), wanted[missing].tolist(), strict=True)
            found[missing] = [self.late.get(product, {}).get(key, -1) for product, key in keys]
        return found

    def _rows(self, product_ids: Ints) -> NDArray[np.int64]:
        """Give each product its place in `starts`; unknown ones the empty last place."""
        last = len(self.starts) - 2
        rows = np.asarray(product_ids, dtype=np.int64)
        return np.where((rows < 0) | (rows > last), last, rows)

    def _lower_bound(self, product_ids: Ints, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """Binary search of each place within its product's slice of `order`, all at once."""
        rows = self._rows(product_ids)
        low = self.starts[rows].astype(np.int64)
        high = self.starts[rows + 1].astype(np.int64)
        location, pool, order = self._places.location, self._places.pool, self.order
        rounds = int((high - low).max(initial=0)).bit_length()
        for _ in range(rounds):
            middle = (low + high) >> 1
            ids = order[np.minimum(middle, len(order) - 1)]
            is_open = low < high
            below = is_open & (_place_key(location[ids], pool[ids]) < wanted)
            low = np.where(below, middle + 1, low)
            high = np.where(is_open & ~below, middle, high)
        return low


def _place_key(location_ids: Ints, pool_ids: Ints) -> NDArray[np.int64]:
    return (location_ids.astype(np.int64) << 16) | pool_ids


def _product_ranges(starts: NDArray[np.int32], highest: int) -> list[tuple[int, int]]:
    """Cut the products into ranges [first, last) of about `SLICE` positions each."""
    bounds = np.searchsorted(starts[:-2], np.arange(0, int(starts[-1]), SLICE), side="right") - 1
    cuts = np.unique(np.concatenate(([0], bounds, [highest + 1]))).tolist()
    return list(itertools.pairwise(cuts))


def _ids_of_products(product: NDArray[np.int32], first: int, last: int) -> NDArray[np.int32]:
    parts = [
        np.flatnonzero((part >= max(first, 1)) & (part < last)).astype(np.int32) + np.int32(i)
        for i in range(0, len(product), SLICE)
        for part in (product[i : i + SLICE],)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
