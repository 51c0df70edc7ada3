"""The exact optimum under a bound: so many parcels at most, and one shipment per location.

`at_most` adds a count of parcels to the subsets of `exact`. `one_each` is for the rare case that
a rate card makes two parcels of one location cheaper than one: it goes through locations one by
one, each sending one subset or nothing. It needs only the n cheapest locations of each subset: in
a plan of n shipments at least one of those n is free, and no dearer. Both are for one demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.exact import MAX_ELEMENTS, NONE, Problem, subsets_with_lowest
from penstock.sourcing.model import RateCard


class Found(msgspec.Struct):
    """What is sent: units, the least total, and subsets with the key of who sends them."""

    units: int
    total: int
    sent: list[tuple[int, int]]


def at_most(best: NDArray[np.int64], quantities: Sequence[int], parcels: int) -> Found:
    """Return the most units that so many parcels carry, at least cost; a location may repeat."""
    count = len(quantities)
    subsets, rests, starts = _pairs_with_lowest(count)
    layers = [np.full(1 << count, NONE, dtype=np.int64)]
    layers[0][0] = 0
    for _ in range(min(parcels, count)):
        before = layers[-1]
        after = before.copy()
        after[1:] = np.minimum(
            after[1:], np.minimum.reduceat(best[subsets] + before[rests], starts)
        )
        layers.append(after)
    whole, units = _most(layers[-1], quantities)
    sent: list[tuple[int, int]] = []
    rest = whole
    for level in range(len(layers) - 1, 0, -1):
        goal, before = layers[level][rest], layers[level - 1]
        if rest == 0 or goal == before[rest]:
            continue
        subset = next(s for s in subsets_with_lowest(rest) if best[s] + before[rest ^ s] == goal)
        sent.append((subset, int(best[subset])))
        rest ^= subset
    return Found(units, int(layers[-1][whole]), sent)


def _most(totals: NDArray[np.int64], quantities: Sequence[int]) -> tuple[int, int]:
    """Return the reachable set with most units, then least total; and its units."""
    numbers = np.arange(len(totals))
    bits = (numbers[:, None] >> np.arange(len(quantities))) & 1
    units = np.where(totals < NONE, bits @ np.array(quantities, dtype=np.int64), -1)
    whole = int(np.lexsort((numbers, totals, -units))[0])
    return whole, int(units[whole])


@lru_cache(maxsize=MAX_ELEMENTS + 1)
def _pairs_with_lowest(
    count: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return all sets' subsets with the lowest element, what they leave, and where sets begin."""
    lists = [subsets_with_lowest(whole) for whole in range(1, 1 << count)]
    lengths = np.array([len(subsets) for subsets in lists])
    subsets = np.concatenate([np.array(one, dtype=np.intp) for one in lists])
    wholes = np.repeat(np.arange(1, 1 << count), lengths)
    return subsets, wholes - subsets, np.cumsum(lengths) - lengths


@lru_cache(maxsize=MAX_ELEMENTS + 1)
def _all_pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return all sets' subsets, the empty one last, what they leave, and where sets begin."""
    numbers = np.arange(1 << count)
    lists = [numbers[(numbers & ~whole) == 0][::-1] for whole in range(1 << count)]
    lengths = np.array([len(subsets) for subsets in lists])
    subsets = np.concatenate(lists)
    wholes = np.repeat(numbers, lengths)
    return subsets, wholes - subsets, np.cumsum(lengths) - lengths


def one_each(
    problem: Problem,
    rate_card: RateCard,
    cost_shift: int,
    quantities: Sequence[int],
    parcels: int | None,
) -> Found:
    """Return the optimum of the problem's one demand where a location sends at most one parcel."""
    count = len(quantities)
    masks, band = problem.masks[0], problem.band[0]
    bits = (np.arange(1 << count) >> np.arange(count)[:, None]) & 1
    carriage = rate_card.carriage(problem.weights_g[0] @ bits) << cost_shift
    rows = _candidate_rows(masks, band, problem.key, carriage, count)
    levels = 2 if parcels is None else min(parcels, count) + 1
    subsets, rests, starts = _all_pairs(count)
    totals = np.full((levels, 1 << count), NONE, dtype=np.int64)
    totals[:, 0] = 0
    history = [totals]
    costs: list[NDArray[np.int64]] = []
    for row in rows:
        cost = carriage[band[row]] + problem.key[row]
        cost[(np.arange(1 << count) & ~masks[row]) != 0] = NONE
        cost[0] = NONE
        costs.append(cost)
        before = history[-1] if parcels is None else history[-1][:-1]
        offered = np.minimum.reduceat(cost[subsets] + before[:, rests], starts, axis=1)
        after = history[-1].copy()
        after[-len(offered) :] = np.minimum(after[-len(offered) :], offered)
        history.append(after)
    whole, units = _most(history[-1][-1], quantities)
    sent = _walk_back(history, costs, whole, unbounded=parcels is None)
    return Found(units, int(history[-1][-1][whole]), sent)


def _candidate_rows(
    masks: NDArray[np.int64],
    band: NDArray[np.uint8],
    key: NDArray[np.int64],
    carriage: NDArray[np.int64],
    count: int,
) -> list[int]:
    useful = np.flatnonzero(masks)
    chosen: set[int] = set()
    for subset in range(1, 1 << count):
        rows = useful[(masks[useful] & subset) == subset]
        if len(rows) > count:
            cost = carriage[band[rows], subset] + key[rows]
            rows = rows[np.argpartition(cost, count - 1)[:count]]
        chosen.update(rows.tolist())
    return sorted(chosen)


def _walk_back(
    history: list[NDArray[np.int64]], costs: list[NDArray[np.int64]], whole: int, *, unbounded: bool
) -> list[tuple[int, int]]:
    """Find who sent what, from the last location back to the first."""
    sent: list[tuple[int, int]] = []
    level, rest = len(history[0]) - 1, whole
    for place in range(len(costs) - 1, -1, -1):
        goal, before = history[place + 1][level][rest], history[place]
        if rest == 0 or before[level][rest] == goal:
            continue
        source = before[level if unbounded else level - 1]
        subset = next(
            s
            for s in range(1, rest + 1)
            if s & ~rest == 0 and costs[place][s] + source[rest ^ s] == goal
        )
        sent.append((subset, int(costs[place][subset])))
        rest ^= subset
        level -= 0 if unbounded else 1
    return sent
