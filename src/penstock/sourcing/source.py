"""Sourcing: choose locations for a batch of demands, with reasons. Pure and deterministic.

Demands whose every item some location holds whole are solved together, exactly, grouped by their
number of items. The others (an item to be split, a bound on parcels, many items) are solved one
by one: exactly up to `profile.search_lines_exact` pieces, by bounded search above. What can be
sourced is sourced; then cost decides, then fewer parcels, then earlier, then the location's place.
A demand's plan is the same alone or in any batch; demands of a batch do not see one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.coverage import Coverage, cover
from penstock.sourcing.exact import (
    Problem,
    bounded_partition,
    cheapest_partition,
    location_keys,
    solve,
)
from penstock.sourcing.model import Candidates, Demand, Plan, Profile
from penstock.sourcing.pieces import Piece, cut
from penstock.sourcing.plan import Choice, Choosing, Sent, make_plans
from penstock.sourcing.search import NOBODY, Searched, search

_MOST_AT_ONCE = 64  # demands of ten items solved together: bounds the arrays' size
_MANY_ITEMS = 7


class _Totals(msgspec.Struct):
    """Per item of the whole batch: its demand, quantity, whether anyone has it whole, how much."""

    demand: NDArray[np.int64]
    entry_item: NDArray[np.int64]
    entries: NDArray[np.int64]
    qty: NDArray[np.int64]
    is_whole: NDArray[np.bool_]
    have: NDArray[np.int64]


def source(
    demands: Sequence[Demand], candidates: Candidates, profile: Profile, now: datetime
) -> list[Plan]:
    """Return a plan per demand, in order. `now` is the instant of the decision."""
    del now  # costs do not depend on the time of day yet
    if not demands:
        return []
    coverage = cover(demands, candidates, profile)
    keys = location_keys(candidates.locations)
    choosing = Choosing(coverage, candidates, profile, keys)
    totals = _totals(coverage)
    choices: dict[int, Choice] = {}
    for places, count in _simple_groups(demands, coverage, totals, profile):
        _solve_together(places, count, demands, totals, choosing, choices)
    for place, demand in enumerate(demands):
        if place not in choices:
            choices[place] = _solve_alone(place, demand, choosing)
    return make_plans(choosing, [choices[place] for place in range(len(demands))])


def _totals(coverage: Coverage) -> _Totals:
    flat = [item for items in coverage.items for item in items]
    starts = np.array([item.start for item in flat], dtype=np.int64)
    lengths = np.array([item.stop for item in flat], dtype=np.int64) - starts
    qty = np.array([item.qty for item in flat], dtype=np.int64)
    entry_item = np.repeat(np.arange(len(flat)), lengths)
    before = np.cumsum(lengths) - lengths
    entries = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    have = coverage.have[entries]
    whole = have >= qty[entry_item]
    counts = [len(items) for items in coverage.items]
    return _Totals(
        demand=np.repeat(np.arange(len(counts)), counts),
        entry_item=entry_item[whole],
        entries=entries[whole],
        qty=qty,
        is_whole=np.bincount(entry_item, whole, len(flat)) > 0,
        have=np.bincount(entry_item, have, len(flat)).astype(np.int64),
    )


def _simple_groups(
    demands: Sequence[Demand], coverage: Coverage, totals: _Totals, profile: Profile
) -> list[tuple[NDArray[np.int64], int]]:
    """Group by number of whole items the demands that need neither a split nor a bound."""
    size = len(demands)
    to_split = np.bincount(totals.demand, ~totals.is_whole & (totals.have > 0), size) > 0
    whole = np.bincount(totals.demand, totals.is_whole, size).astype(np.int64)
    is_short = whole < np.array([len(items) for items in coverage.items])
    plain = np.array([d.max_parcels is None for d in demands])
    complete = np.array([d.ship_complete for d in demands])
    simple = plain & ~to_split & (whole <= profile.search_lines_exact) & ~(complete & is_short)
    groups: list[tuple[NDArray[np.int64], int]] = []
    for count in np.unique(whole[simple]).tolist():
        places = np.flatnonzero(simple & (whole == count))
        step = _MOST_AT_ONCE if count >= _MANY_ITEMS else len(places)
        groups += [(places[at : at + step], count) for at in range(0, len(places), step)]
    return groups


def _solve_together(
    places: NDArray[np.int64],
    count: int,
    demands: Sequence[Demand],
    totals: _Totals,
    choosing: Choosing,
    choices: dict[int, Choice],
) -> None:
    coverage = choosing.coverage
    if count == 0:
        for place in places.tolist():
            lacking = [(item, item.qty) for item in coverage.items[place]]
            choices[place] = Choice(place, demands[place], [], lacking)
        return
    problem = _problem(places, count, totals, coverage)
    best = solve(problem, choosing.keys, choosing.profile.rate_card)
    rows = best.rows()
    is_whole = totals.is_whole.tolist()
    first_item = np.searchsorted(totals.demand, places).tolist()
    for local, place in enumerate(places.tolist()):
        items = coverage.items[place]
        at = first_item[local]
        whole = [item for n, item in enumerate(items) if is_whole[at + n]]
        lacking = [(item, item.qty) for n, item in enumerate(items) if not is_whole[at + n]]
        sent: list[Sent] = []
        for subset in cheapest_partition(best, local, count):
            parts = [(whole[n], whole[n].qty) for n in range(count) if subset >> n & 1]
            could = (problem.masks[local] & subset) == subset
            sent.append(Sent(int(rows[local, subset]), parts, could))
        choices[place] = Choice(place, demands[place], sent, lacking)


def _problem(places: NDArray[np.int64], count: int, totals: _Totals, coverage: Coverage) -> Problem:
    """Build the masks: a bit per whole item of each demand, set at rows that hold it whole."""
    demands, locations = coverage.allowed.shape
    local = np.full(demands, -1, dtype=np.int64)
    local[places] = np.arange(len(places))
    before = np.cumsum(totals.is_whole) - totals.is_whole
    starts = before[np.searchsorted(totals.demand, np.arange(demands))]
    bit = before - starts[totals.demand]
    mine = local[totals.demand[totals.entry_item]] >= 0
    item, entry = totals.entry_item[mine], totals.entries[mine]
    cell = local[totals.demand[item]] * locations + coverage.rows[entry]
    masks = np.bincount(cell, np.exp2(bit[item]), len(places) * locations).astype(np.int64)
    weights = [
        [item.qty * item.unit_weight_g for item in coverage.items[place]]
        for place in places.tolist()
    ]
    flat = np.array([w for of_demand in weights for w in of_demand], dtype=np.int64)
    of_group = totals.is_whole[np.isin(totals.demand, places)]
    return Problem(
        masks=masks.reshape(len(places), locations),
        band=coverage.band[places],
        weights_g=flat[of_group].reshape(len(places), count),
    )


def _solve_alone(place: int, demand: Demand, choosing: Choosing) -> Choice:
    coverage = choosing.coverage
    pieces, lacking = cut(demand, coverage.items[place], coverage, choosing.keys)
    if not pieces or demand.max_parcels == 0:
        lacking = [(item, item.qty) for item in coverage.items[place]]
        return Choice(place, demand, [], lacking)
    covers = np.zeros((len(pieces), coverage.allowed.shape[1]), dtype=bool)
    for number, piece in enumerate(pieces):
        covers[number, piece.rows] = True
    weights = np.array([p.qty * p.item.unit_weight_g for p in pieces], dtype=np.int64)
    is_exact = len(pieces) <= choosing.profile.search_lines_exact
    chosen = (_exactly if is_exact else _searching)(place, demand, choosing, covers, weights)
    left_out = [piece for piece, row in zip(pieces, chosen, strict=True) if row == NOBODY]
    if left_out and demand.ship_complete:
        lacking = [(item, item.qty) for item in coverage.items[place]]
        return Choice(place, demand, [], lacking)
    lacking += [(piece.item, piece.qty) for piece in left_out]
    sent = _sent(pieces, chosen, covers)
    return Choice(place, demand, sent, lacking, "exact" if is_exact else "search")


def _exactly(
    place: int,
    demand: Demand,
    choosing: Choosing,
    covers: NDArray[np.bool_],
    weights: NDArray[np.int64],
) -> list[int]:
    count = len(weights)
    masks = (covers * (1 << np.arange(count))[:, None]).sum(axis=0)
    problem = Problem(masks[None, :], choosing.coverage.band[place][None, :], weights[None, :])
    best = solve(problem, choosing.keys, choosing.profile.rate_card)
    if demand.max_parcels is None:
        partition = cheapest_partition(best, 0, count)
    else:
        partition = bounded_partition(best, 0, count, demand.max_parcels)
    rows = best.rows()[0]
    chosen = [NOBODY] * count
    for subset in partition:
        for number in range(count):
            if subset >> number & 1:
                chosen[number] = int(rows[subset])
    return chosen


def _searching(
    place: int,
    demand: Demand,
    choosing: Choosing,
    covers: NDArray[np.bool_],
    weights: NDArray[np.int64],
) -> list[int]:
    return search(
        Searched(
            covers=covers,
            weights_g=weights,
            band=choosing.coverage.band[place],
            keys=choosing.keys,
            rate_card=choosing.profile.rate_card,
            max_parcels=demand.max_parcels,
        )
    )


def _sent(pieces: Sequence[Piece], chosen: Sequence[int], covers: NDArray[np.bool_]) -> list[Sent]:
    by_row: dict[int, list[int]] = {}
    for number, row in enumerate(chosen):
        if row != NOBODY:
            by_row.setdefault(row, []).append(number)
    return [
        Sent(
            row,
            [(pieces[n].item, pieces[n].qty) for n in numbers],
            np.logical_and.reduce(covers[numbers], axis=0),
        )
        for row, numbers in sorted(by_row.items())
    ]
