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
    for whole, subsets in submasks(count):
        rest = whole ^ subsets
        cost = least[:, subsets] + total[:, rest]
        minimum = cost.min(axis=1)
        ties = np.where(cost == minimum[:, None], tie[:, subsets] + total_tie[:, rest], NONE)
        chosen = ties.argmin(axis=1)
        total[:, whole] = np.minimum(minimum, NONE)
        total_tie[:, whole] = np.take_along_axis(ties, chosen[:, None], axis=1)[:, 0]
        first[:, whole] = np.where(minimum < NONE, subsets[chosen], 0)
    return Best(least, tie, total, first)


@lru_cache(maxsize=16)
def submasks(count: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Return for each subset of `count` items its subsets with its lowest item, largest first."""
    result: list[tuple[int, NDArray[np.int64]]] = []
    every = np.arange(1 << count, dtype=np.int64)
    for whole in range(1, 1 << count):
        low = whole & -whole
        inside = every[(every & ~whole == 0) & (every & low != 0)]
        result.append((whole, inside[::-1].copy()))
    return result


def _bits(count: int) -> NDArray[np.int64]:
    """Return (items, subsets): 1 where the item is in the subset."""
    return (np.arange(1 << count) >> np.arange(count)[:, None]) & 1


def cost_of(total: int) -> int:
    """Return the cost in minor units that a total carries."""
    return int(total) >> _PARCEL_BITS


def with_at_most(best: Best, place: int, count: int, parcels: int) -> tuple[int, list[int]]:
    """Return the largest subset that so few parcels can carry, least cost, and its partition.

    Largest by number of items. For one demand of a batch; a parcel more is a dimension more.
    """
    size = 1 << count
    layers = [[NONE] * size]
    layers[0][0] = np.int64(0)
    chosen: list[list[int]] = [[0] * size]
    least = best.cost[place]
    for _ in range(min(parcels, count)):
        before = np.array(layers[-1], dtype=np.int64)
        layer, picks = list(layers[-1]), [0] * size
        for whole, subsets in submasks(count):
            costs = least[subsets] + before[whole ^ subsets]
            pick = int(costs.argmin())
            if costs[pick] < layer[whole]:
                layer[whole], picks[whole] = costs[pick], int(subsets[pick])
        layers.append(layer)
        chosen.append(picks)
    reachable = [s for s in range(size) if layers[-1][s] < NONE]
    target = min(reachable, key=lambda s: (-s.bit_count(), layers[-1][s], s))
    partition: list[int] = []
    rest = target
    for layer in range(len(layers) - 1, 0, -1):
        if rest and layers[layer][rest] < layers[layer - 1][rest]:
            partition.append(chosen[layer][rest])
            rest ^= chosen[layer][rest]
    return target, partition
