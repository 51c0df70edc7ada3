"""The exact optimum: which locations send which subsets of a demand's elements, at least cost.

Dynamic programming over subsets. For each distance band the cheapest location per coverage mask is
scattered, a superset minimum gives the cheapest location that covers *at least* a subset, and the
carriage of the subset's weight is added; then total[S] is the minimum over T in S, T with S's
lowest element, of best[T] + total[S - T]. One integer carries cost, parcels and rank, so that a sum
compares as the order of plans says: cost, then fewer parcels, then earlier. "Earlier" is the
sum of ranks, a location's rank being its place in the order of ready time and then of id.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.errors import invariant
from penstock.sourcing.model import Locations, RateCard

NONE = np.int64(1) << 61
MAX_ELEMENTS = 12
_COUNT_BITS = 4  # sums of up to MAX_ELEMENTS parcels and ranks fit
_COST_BITS = 36


class Keys(msgspec.Struct, frozen=True):
    """Each location's handling, one parcel and rank in one integer; `order[rank]` is its row."""

    key: NDArray[np.int64]
    order: NDArray[np.int64]
    rank_mask: int
    parcel_shift: int
    cost_shift: int

    def row(self, key: int) -> int:
        """Return the location row of a single parcel's key."""
        return int(self.order[key & self.rank_mask])


class Problem(msgspec.Struct):
    """Demands with the same number of elements: masks, bands and keys by row, weights in g."""

    masks: NDArray[np.int64]  # (demands, rows)
    band: NDArray[np.uint8]  # (demands, rows)
    key: NDArray[np.int64]  # (rows,)
    weights_g: NDArray[np.int64]  # (demands, elements)


class Solution(msgspec.Struct):
    """By subset and demand: the cheapest location that covers it, and the least partition."""

    best: NDArray[np.int64]
    total: NDArray[np.int64]
    weights_g: NDArray[np.int64]  # (demands, subsets)


def location_keys(locations: Locations) -> Keys:
    """Return each location's part of the order of plans."""
    count = len(locations.ids)
    order = np.argsort(locations.ready_min, kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    rank_bits = count.bit_length()
    parcel_shift = rank_bits + _COUNT_BITS
    shift = parcel_shift + _COUNT_BITS
    handling = locations.handling_cost_minor
    fits = count == 0 or int(handling.max()) >> (_COST_BITS - _COUNT_BITS) == 0
    invariant(fits and shift + _COST_BITS < NONE.item().bit_length(), "handling costs too high")
    key = (handling.astype(np.int64) << shift) + (1 << parcel_shift) + rank
    return Keys(key, order, (1 << rank_bits) - 1, parcel_shift, shift)


def solve(problem: Problem, rate_card: RateCard, cost_shift: int) -> Solution:
    """Solve a batch; costs are exact, whatever the number of locations."""
    count = problem.weights_g.shape[1]
    cheapest = _scatter(problem, count, len(rate_card.distance_km_upto))
    _superset_minimum(cheapest, count)
    weights = problem.weights_g @ _bits(count)
    cheapest += (rate_card.carriage(weights) << cost_shift).transpose(1, 0, 2)
    best = np.minimum(cheapest.min(axis=1), NONE).T.copy()
    return Solution(best, _totals(best, count), weights)


def _scatter(problem: Problem, count: int, bands: int) -> NDArray[np.int64]:
    """Return (demands, bands, subsets): the least key among locations with just that mask."""
    demands, size = len(problem.masks), 1 << count
    cheapest = np.full(demands * bands * size, NONE, dtype=np.int64)
    cell = np.flatnonzero(problem.masks)
    demand, row = np.divmod(cell, problem.masks.shape[1])
    place = demand * bands + problem.band.reshape(-1)[cell]
    place *= size
    place += problem.masks.reshape(-1)[cell]
    np.minimum.at(cheapest, place, problem.key[row])
    return cheapest.reshape(demands, bands, size)


def _superset_minimum(cheapest: NDArray[np.int64], count: int) -> None:
    """Let each subset have the least over its supersets, in place."""
    shape = cheapest.shape[:2]
    for element in range(count):
        halves = cheapest.reshape(*shape, -1, 2, 1 << element)
        np.minimum(halves[..., 0, :], halves[..., 1, :], out=halves[..., 0, :])


def _totals(best: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    total = best.copy()
    total[0] = 0
    for wholes, subsets, rests in _layers(count):
        total[wholes] = np.minimum((best[subsets] + total[rests]).min(axis=1), NONE)
    return total


@lru_cache(maxsize=MAX_ELEMENTS + 1)
def _layers(count: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """Return, by size from two up, sets with their subsets that have the lowest element."""
    result: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]] = []
    for size in range(2, count + 1):
        wholes = [whole for whole in range(1 << count) if whole.bit_count() == size]
        subsets = np.array([subsets_with_lowest(whole) for whole in wholes])
        lasting = np.array(wholes)
        result.append((lasting, subsets, lasting[:, None] - subsets))
    return result


@lru_cache(maxsize=1 << 14)
def subsets_with_lowest(whole: int) -> list[int]:
    """Return a set's subsets that have its lowest element, largest first."""
    low = whole & -whole
    others = whole ^ low
    subsets: list[int] = []
    some = others
    while True:
        subsets.append(some | low)
        if some == 0:
            return subsets
        some = (some - 1) & others


@lru_cache(maxsize=MAX_ELEMENTS + 1)
def _bits(count: int) -> NDArray[np.int64]:
    """Return (elements, subsets): 1 where the element is in the subset."""
    return (np.arange(1 << count) >> np.arange(count)[:, None]) & 1


def partition_of(best: list[int], total: list[int]) -> list[int]:
    """Return the subsets that the least partition of everything sends; all have to be covered."""
    sent: list[int] = []
    rest = len(best) - 1
    while rest:
        goal = total[rest]
        subset = rest
        if best[rest] != goal:
            subset = next(s for s in subsets_with_lowest(rest) if best[s] + total[rest ^ s] == goal)
        sent.append(subset)
        rest ^= subset
    return sent
