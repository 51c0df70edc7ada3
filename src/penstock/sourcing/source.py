"""Sourcing: choose locations for a batch of demands, with reasons. Pure and deterministic.

Demands whose every item some location holds whole, or nobody holds at all, are solved together,
exactly, grouped by their number of items; the others one by one (`alone`). What can be sourced is
sourced; then cost decides, then fewer parcels, then the sum of the locations' ranks (earlier, then
lower id). A location sends at most one shipment for a demand. A demand's plan is the same alone
or in any batch; demands of a batch do not see one another. Large batches are gone through in
chunks that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.alone import Alone, choose
from penstock.sourcing.coverage import Coverage, cover
from penstock.sourcing.exact import (
    MAX_ELEMENTS,
    Problem,
    location_keys,
    partition_of,
    solve,
)
from penstock.sourcing.figures import Choice, Choosing, Sent
from penstock.sourcing.model import Candidates, Demand, Plan, Profile, Stock
from penstock.sourcing.plan import make_plans

_CELLS_AT_ONCE = 1 << 16  # pairs of demand and location in a chunk
_MANY_ITEMS = 7
_MOST_OF_MANY = 16  # demands of so many items solved together


class _Lines(msgspec.Struct):
    """The stock of a chunk's lines: views into the batch's."""

    line_start: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


def source(
    demands: Sequence[Demand], candidates: Candidates, profile: Profile, now: datetime
) -> list[Plan]:
    """Return a plan per demand, in order. `now` is the instant of the decision."""
    del now  # costs do not depend on the time of day yet
    if not demands:
        return []
    keys = location_keys(candidates.locations)
    plans: list[Plan] = []
    for chunk, stock in _chunks(demands, candidates):
        coverage = cover(chunk, candidates, stock, profile)
        choosing = Choosing(coverage, candidates, profile, keys)
        plans += make_plans(chunk, choosing, _choices(chunk, choosing))
    return plans


def _chunks(
    demands: Sequence[Demand], candidates: Candidates
) -> Iterator[tuple[Sequence[Demand], Stock]]:
    stock = candidates.stock
    size = max(_CELLS_AT_ONCE // max(len(candidates.locations.ids), 1), 1)
    if len(demands) <= size:
        yield demands, stock
        return
    line_at = [0, *accumulate(len(demand.lines) for demand in demands)]
    for begin in range(0, len(demands), size):
        chunk = demands[begin : begin + size]
        start = stock.line_start[line_at[begin] : line_at[begin + len(chunk)] + 1]
        places = slice(int(start[0]), int(start[-1]))
        yield (
            chunk,
            _Lines(
                start - start[0],
                stock.position_ids[places],
                stock.location_rows[places],
                stock.available[places],
            ),
        )


def _choices(demands: Sequence[Demand], choosing: Choosing) -> list[Choice]:
    coverage = choosing.coverage
    choices: list[Choice | None] = [None] * len(demands)
    groups = _groups(demands, coverage, choosing.profile)
    if groups:
        masks = _masks(coverage)
        for places in groups:
            for place, sent in _solve_together(places, choosing, masks):
                choices[place] = Choice(sent, "exact")
    return [
        _alone(place, demands[place], choosing) if choice is None else choice
        for place, choice in enumerate(choices)
    ]


def _groups(demands: Sequence[Demand], coverage: Coverage, profile: Profile) -> list[list[int]]:
    """Group by number of whole items the demands that need neither a split nor a bound."""
    bound = min(profile.search_lines_exact, MAX_ELEMENTS)
    by_count: dict[int, list[int]] = {}
    is_whole = coverage.is_whole.tolist()
    for place, demand in enumerate(demands):
        first, last = coverage.first_item[place : place + 2]
        count = sum(is_whole[first:last])
        if demand.max_parcels is not None or not 0 < count <= bound:
            continue
        if count < last - first and (demand.ship_complete or _has_short(coverage, first, last)):
            continue
        by_count.setdefault(count, []).append(place)
    groups: list[list[int]] = []
    for count, places in sorted(by_count.items()):
        step = _MOST_OF_MANY if count >= _MANY_ITEMS else len(places)
        groups += [places[at : at + step] for at in range(0, len(places), step)]
    return groups


def _has_short(coverage: Coverage, first: int, last: int) -> bool:
    """Return whether an item that nobody holds whole is there in part."""
    return any(not coverage.is_whole[i] and len(coverage.seen(i)[0]) for i in range(first, last))


def _masks(coverage: Coverage) -> NDArray[np.int64]:
    """Return (demands, rows): a bit per whole item of the demand that the row covers.

    Demands with too many items get no sense from it, and are not asked for.
    """
    before = np.cumsum(coverage.is_whole) - coverage.is_whole
    slots = before - before[np.array(coverage.first_item)[coverage.demand_of]]
    demands, rows = coverage.allowed.shape
    entries = coverage.entries
    covering = np.flatnonzero(coverage.covers)
    item = entries.item[covering]
    cell = (coverage.demand_of * rows)[item] + entries.rows[covering]
    bits = np.where(slots < MAX_ELEMENTS, np.exp2(slots), 0.0)[item]
    masks = np.bincount(cell, bits, demands * rows).astype(np.int64)
    return masks.reshape(demands, rows)


def _solve_together(
    places: list[int],
    choosing: Choosing,
    masks: NDArray[np.int64],
) -> Iterator[tuple[int, list[Sent]]]:
    """Yield what demands are sent; nothing for one that would take two parcels from a location."""
    coverage, keys = choosing.coverage, choosing.keys
    whole = [
        [i for i in range(*coverage.first_item[place : place + 2]) if coverage.is_whole[i]]
        for place in places
    ]
    items = coverage.items
    weights = [[items[i].qty * items[i].unit_weight_g for i in some] for some in whole]
    mine = slice(None) if len(places) == len(masks) else places
    problem = Problem(masks[mine], coverage.band[mine], keys.key, np.array(weights, dtype=np.int64))
    solution = solve(problem, choosing.profile.rate_card, keys.cost_shift)
    every_best, every_total = solution.best.T.tolist(), solution.total.T.tolist()
    for local, place in enumerate(places):
        best, total = every_best[local], every_total[local]
        sent: list[Sent] = []
        for subset in partition_of(best, total):
            row = keys.row(best[subset])
            parts = [
                (item, items[item].qty) for n, item in enumerate(whole[local]) if subset >> n & 1
            ]
            could = (problem.masks[local] & subset) == subset
            sent.append(Sent(row, parts, could))
        if len({one.row for one in sent}) == len(sent):
            yield place, sorted(sent, key=lambda one: one.row)


def _alone(place: int, demand: Demand, choosing: Choosing) -> Choice:
    chosen = choose(Alone(place, demand, choosing.coverage, choosing.keys, choosing.profile))
    return Choice([Sent(*one) for one in chosen.sent], chosen.method)
