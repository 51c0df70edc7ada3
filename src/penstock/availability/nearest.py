"""Where stock is: the locations that may promise a product, nearest first, for many at once.

One gather over all positions of all products asked for, one sort; no loop over products or places.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock import geo
from penstock.availability.atp import Guest, VirtualCatalogue
from penstock.availability.neighbours import Locations, rows_of
from penstock.availability.product_map import Ints


class Places(msgspec.Struct, frozen=True):
    """Who has what: line i (of the products asked for) has places line_start[i] up to the next."""

    line_start: NDArray[np.intp]
    rows: NDArray[np.int64]
    available: NDArray[np.int64]


def distances_km(locations: Locations, latitude: float, longitude: float) -> NDArray[np.float64]:
    """Return the great-circle distance of every location row from a coordinate in degrees."""
    return geo.distances_km(locations.unit_xyz @ geo.unit_vectors(latitude, longitude))


def places_with_stock(
    catalogue: VirtualCatalogue,
    product_ids: Ints,
    distances: NDArray[np.float64] | None = None,
    limit: int | None = None,
    guest: Guest | None = None,
) -> Places:
    """Return, per product, the locations that may promise it: nearest first, or in row order.

    With `limit`, at most so many each. Pools of one location are taken together.
    """
    index, row_of = catalogue.index, catalogue.terms.row_of
    line_start, ids, available = catalogue.available_of(product_ids, guest)
    kept = available.nonzero()[0]
    # One number to sort by: the line, then the rank of the location by distance.
    width = len(catalogue.terms.serves) - 1
    by_rank = np.arange(width) if distances is None else distances.argsort(kind="stable")
    rank_of = np.empty(width, dtype=np.int64)
    rank_of[by_rank] = np.arange(width)
    counts = line_start[1:] - line_start[:-1]
    keys = np.arange(len(counts)).repeat(counts)[kept] * width
    keys += rank_of[rows_of(row_of, index.location[ids[kept]])]
    order = keys.argsort()
    keys, available = _joined(keys[order], available[kept[order]])
    starts = keys.searchsorted(np.arange(len(counts) + 1) * width)
    if limit is not None:
        near = (np.arange(len(keys)) - starts[keys // width] < limit).nonzero()[0]
        keys, available = keys[near], available[near]
        starts = np.append(0, np.minimum(starts[1:] - starts[:-1], limit).cumsum())
    return Places(starts, by_rank[keys % width], available)


def _joined(
    keys: NDArray[np.int64], available: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take pools of one location together: sorted keys that repeat become one."""
    repeats = keys[1:] == keys[:-1]
    if not repeats.any():
        return keys, available
    firsts = np.append(True, ~repeats).nonzero()[0]
    return keys[firsts], np.add.reduceat(available, firsts)
