"""The exact optimum: which locations send which subsets of a demand's items, at least cost.

Dynamic programming over subsets. For each distance band the cheapest location per coverage mask is
scattered, a superset minimum gives the cheapest location that covers *at least* a subset, and the
carriage of the subset's weight is added; then f[S] is the minimum over T in S, T with S's lowest
item, of best[T] + f[S - T]. Ties: fewer parcels, then earlier, then lower location row.
Two integers carry the order: (cost, parcels), and (ready, row), compared one after the other.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.model import Locations, RateCard

NONE = np.int64(1) << 61
_PARCEL_BITS = 10
_READY_SHIFT = 24
_HANDLING_SHIFT = 41
_TIE_MASK = (np.int64(1) << _HANDLING_SHIFT) - 1
_ROW_MASK = (np.int64(1) << _READY_SHIFT) - 1


class Problem(msgspec.Struct):
    """Demands with the same number of items: coverage masks and bands by row, item weights."""

    masks: NDArray[np.int64]  # (demands, rows)
    band: NDArray[np.int8]  # (demands, rows)
    weights_g: NDArray[np.int64]  # (demands, items)


class Best(msgspec.Struct):
    """Per demand and subset: the cheapest location that covers it, and the least partition."""

    cost: NDArray[np.int64]  # (demands, subsets): cost << bits | parcels, NONE: nobody covers it
    tie: NDArray[np.int64]
    total: NDArray[np.int64]
    first: NDArray[np.int64]  # the subset to send first, 0 where there is no partition

    def rows(self) -> NDArray[np.int64]:
        """Return the location row of the cheapest location by demand and subset."""
        return self.tie & _ROW_MASK


def location_keys(locations: Locations) -> NDArray[np.int64]:
    """Return each location's order apart from carriage: handling, then ready, then row."""
    rows = np.arange(len(locations.ids), dtype=np.int64)
    ready = locations.ready_min.astype(np.int64).clip(0, (1 << 16) - 1)
    return (locations.handling_cost_minor << _HANDLING_SHIFT) | (ready << _READY_SHIFT) | rows


def solve(problem: Problem, keys: NDArray[np.int64], rate_card: RateCard) -> Best:
    """Solve a batch; costs are exact, whatever the number of locations."""
    count = problem.weights_g.shape[1]
    cheapest = _scatter(problem, keys, count, len(rate_card.distance_km_upto))
    _superset_minimum(cheapest, count)
    weights = problem.weights_g @ _bits(count)
    carriage = rate_card.carriage(weights).transpose(1, 0, 2)
    known = cheapest < NONE
    cost = np.where(
        known,
        (((cheapest >> _HANDLING_SHIFT) + carriage) << _PARCEL_BITS) + 1,
        NONE,
    )
    least = cost.min(axis=1)
    tie = np.where(cost == least[:, None, :], cheapest & _TIE_MASK, NONE).min(axis=1)
    return _partition(least, tie, count)


def _scatter(
    problem: Problem, keys: NDArray[np.int64], count: int, bands: int
) -> NDArray[np.int64]:
    """Return (demands, bands, subsets): the least key among locations with just that mask."""
    cheapest = np.full((len(problem.masks), bands, 1 << count), NONE, dtype=np.int64)
    demand, row = np.nonzero(problem.masks)
    mask = problem.masks[demand, row]
    place = (demand * bands + problem.band[demand, row]) * (1 << count) + mask
    np.minimum.at(cheapest.reshape(-1), place, keys[row])
    return cheapest


def _superset_minimum(cheapest: NDArray[np.int64], count: int) -> None:
    """Let each subset have the least over its supersets, in place."""
    shape = cheapest.shape[:2]
    for item in range(count):
        halves = cheapest.reshape(*shape, -1, 2, 1 << item)
        np.minimum(halves[..., 0, :], halves[..., 1, :], out=halves[..., 0, :])


def _partition(least: NDArray[np.int64], tie: NDArray[np.int64], count: int) -> Best:
    size = 1 << count
    demands = len(least)
    total = np.full((demands, size), NONE, dtype=np.int64)
    total_tie = np.zeros((demands, size), dtype=np.int64)
    first = np.zeros((demands, size), dtype=np.int64)
    total[:, 0] = 0
    for wholes, subsets, rests in layers(count):
        cost = least[:, subsets] + total[:, rests]
        minimum = cost.min(axis=2)
        ties = np.where(cost == minimum[:, :, None], tie[:, subsets] + total_tie[:, rests], NONE)
        chosen = ties.argmin(axis=2)
        total[:, wholes] = np.minimum(minimum, NONE)
        total_tie[:, wholes] = np.take_along_axis(ties, chosen[:, :, None], axis=2)[:, :, 0]
        picked = subsets[np.arange(len(wholes))[None, :], chosen]
        first[:, wholes] = np.where(minimum < NONE, picked, 0)
    return Best(least, tie, total, first)


Layer = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@lru_cache(maxsize=16)
def layers(count: int) -> list[Layer]:
    """Return the subsets of `count` items by size, with their subsets and what these leave.

    Only subsets that hold the whole's lowest item, largest first.
    """
    every = np.arange(1 << count, dtype=np.int64)
    result: list[Layer] = []
    for size in range(1, count + 1):
        wholes = [whole for whole in range(1, 1 << count) if whole.bit_count() == size]
        subsets = np.array(
            [
                every[(every & ~whole == 0) & (every & (whole & -whole) != 0)][::-1]
                for whole in wholes
            ]
        )
        column = np.array(wholes, dtype=np.int64)
        result.append((column, subsets, column[:, None] ^ subsets))
    return result


def _bits(count: int) -> NDArray[np.int64]:
    """Return (items, subsets): 1 where the item is in the subset."""
    return (np.arange(1 << count) >> np.arange(count)[:, None]) & 1


def cheapest_partition(best: Best, place: int, count: int) -> list[int]:
    """Return the subsets that carry all items of one demand of a batch at least cost."""
    partition: list[int] = []
    rest = (1 << count) - 1
    while rest:
        subset = int(best.first[place, rest])
        partition.append(subset)
        rest ^= subset
    return partition


def bounded_partition(best: Best, place: int, count: int, parcels: int) -> list[int]:
    """Return the subsets that carry most items in so few parcels, of these at least cost.

    For one demand of a batch: layer n of the programme is what n parcels can carry.
    """
    least = best.cost[place]
    totals = [np.full(1 << count, NONE, dtype=np.int64)]
    totals[0][0] = 0
    firsts: list[NDArray[np.int64]] = []
    for _ in range(min(parcels, count)):
        before = totals[-1]
        total, first = before.copy(), np.zeros(1 << count, dtype=np.int64)
        for wholes, subsets, rests in layers(count):
            cost = least[subsets] + before[rests]
            chosen = cost.argmin(axis=1)
            lowest = np.take_along_axis(cost, chosen[:, None], axis=1)[:, 0]
            is_less = lowest < total[wholes]
            total[wholes[is_less]] = lowest[is_less]
            first[wholes[is_less]] = subsets[np.flatnonzero(is_less), chosen[is_less]]
        totals.append(total)
        firsts.append(first)
    reachable = np.flatnonzero(totals[-1] < NONE).tolist()
    rest = min(reachable, key=lambda s: (-s.bit_count(), totals[-1][s], s))
    partition: list[int] = []
    for number in range(len(firsts), 0, -1):
        if rest and totals[number][rest] < totals[number - 1][rest]:
            partition.append(int(firsts[number - 1][rest]))
            rest ^= partition[-1]
    return partition
