"""Demands solved one by one: with an item to split, a bound on parcels, or many lines.

An item that some location holds whole is one element; others are cut in several ways (`split`).
Every combination of cuts, up to `MAX_TRIALS`, is solved exactly if it has few enough elements, all
trials at once; otherwise the first `MAX_SEARCHED` are searched. The best by units sourced, cost,
parcels and ranks wins, the earlier trial where all is equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.bounded import Found, at_most, one_each
from penstock.sourcing.coverage import Coverage
from penstock.sourcing.exact import (
    MAX_ELEMENTS,
    Keys,
    Problem,
    Solution,
    partition_of,
    solve,
)
from penstock.sourcing.model import Demand, Profile
from penstock.sourcing.search import members, search, searched_for
from penstock.sourcing.split import Element, Piece, Short, cuts_of, elements_of

MAX_TRIALS = 24
MAX_SEARCHED = 2

Score = tuple[int, int, int, int]  # units (negative), cost, parcels, sum of ranks
Sent = tuple[int, list[tuple[int, int]], NDArray[np.bool_]]  # row, (item, qty), who else could


class Alone(msgspec.Struct):
    """One demand of a batch, and what it is chosen from."""

    place: int
    demand: Demand
    coverage: Coverage
    keys: Keys
    profile: Profile

    def most(self) -> int | None:
        """Return the bound on parcels."""
        return self.demand.max_parcels


class Chosen(msgspec.Struct):
    """What is sent, and how it was found."""

    sent: list[Sent]
    method: str


def choose(alone: Alone) -> Chosen:
    """Choose locations for one demand; sends nothing where it is to be complete and cannot be."""
    fixed, short = _pieces(alone)
    coverage = alone.coverage
    first, last = coverage.first_item[alone.place : alone.place + 2]
    wanted = sum(coverage.items[item].qty for item in range(first, last))
    there = sum(piece.qty for piece in fixed)
    there += sum(min(one.qty, int(one.have.sum())) for one in short)
    is_bounded = alone.demand.max_parcels is not None
    if there == 0 or (is_bounded and alone.demand.max_parcels == 0):
        return Chosen([], "exact")
    if alone.demand.ship_complete and there < wanted:
        return Chosen([], "exact")
    chosen, units = _best_trial(alone, _trials(fixed, short))
    if alone.demand.ship_complete and units < wanted:
        return Chosen([], chosen.method)
    return chosen


def _pieces(alone: Alone) -> tuple[list[Piece], list[Short]]:
    """Return the items that are pieces as they are, and those that have to be cut."""
    coverage, profile = alone.coverage, alone.profile
    band = coverage.band[alone.place]
    fixed: list[Piece] = []
    short: list[Short] = []
    helps = np.zeros(len(band), dtype=bool)
    for item in range(*coverage.first_item[alone.place : alone.place + 2]):
        qty, weight_g = coverage.items[item].qty, coverage.items[item].unit_weight_g
        rows, have = coverage.seen(item)
        if coverage.is_whole[item]:
            fixed.append(Piece(item, qty, rows[have >= qty].astype(np.int64)))
            helps[fixed[-1].rows] = True
        elif len(rows):
            handling = alone.keys.key[rows] >> alone.keys.cost_shift
            by_band = profile.rate_card.carriage(np.minimum(have, qty) * weight_g)
            cost = handling + by_band[band[rows], np.arange(len(rows))]
            short.append(Short(item, qty, rows.astype(np.int64), have, cost))
    for one in short:
        one.cost[helps[one.rows]] //= 2  # it is likely to send something anyway
    return fixed, short


def _trials(fixed: list[Piece], short: list[Short]) -> list[list[Element]]:
    if not short:
        return [elements_of(fixed)]
    limit = max(int(MAX_TRIALS ** (1 / len(short)) + 1e-9), 1)
    cuts = [cuts_of(one, limit) for one in short]
    return [
        elements_of([*fixed, *itertools.chain.from_iterable(combined)])
        for combined in itertools.product(*cuts)
    ]


def _best_trial(alone: Alone, trials: list[list[Element]]) -> tuple[Chosen, int]:
    bound = min(alone.profile.search_lines_exact, MAX_ELEMENTS)
    few = [trial for trial in trials if len(trial) <= bound]
    outcomes: list[tuple[Score, list[Element], list[tuple[int, int]]]] = []
    for count in sorted({len(trial) for trial in few}):
        outcomes += _solved(alone, [trial for trial in few if len(trial) == count])
    if not few:
        outcomes += [_searched(alone, trial) for trial in trials[:MAX_SEARCHED]]
    score, elements, sent = min(outcomes, key=lambda outcome: outcome[0])
    method = "search" if not few else "exact" if len(trials) == 1 else "split"
    return Chosen([_sent(alone, elements, *one) for one in sent], method), -score[0]


def _sent(alone: Alone, elements: Sequence[Element], row: int, subset: int) -> Sent:
    could = alone.coverage.allowed[alone.place].copy()
    parts: list[tuple[int, int]] = []
    for number in members(subset):
        covering = np.zeros(len(could), dtype=bool)
        covering[elements[number].rows] = True
        could &= covering
        parts += elements[number].parts
    return row, parts, could


# ── exactly ──────────────────────────────────────────────────────────────────────────────────────


def _solved(
    alone: Alone, trials: list[list[Element]]
) -> list[tuple[Score, list[Element], list[tuple[int, int]]]]:
    """Solve trials with the same number of elements together; return the best of them."""
    problem = _problem(alone, trials)
    solution = solve(problem, alone.profile.rate_card, alone.keys.cost_shift)
    most = alone.most()
    if most is None:
        number = int(solution.total[-1].argmin())
        found = _unbounded(solution, number, trials[number])
    else:
        every = [
            at_most(solution.best[:, number], [one.units() for one in trial], most)
            for number, trial in enumerate(trials)
        ]
        number = min(range(len(every)), key=lambda n: (-every[n].units, every[n].total, n))
        found = every[number]
    trial = trials[number]
    if _repeats(alone, found):
        problem.masks, problem.band = problem.masks[[number]], problem.band[[number]]
        problem.weights_g = problem.weights_g[[number]]
        units = [one.units() for one in trial]
        found = one_each(problem, alone.profile.rate_card, alone.keys.cost_shift, units, most)
    return [(_score(alone, found), trial, _rows(alone, found))]


def _problem(alone: Alone, trials: list[list[Element]]) -> Problem:
    """Build masks over the rows that any trial needs."""
    coverage = alone.coverage
    place = np.full(coverage.allowed.shape[1], -1)
    place[np.concatenate([one.rows for trial in trials for one in trial])] = 0
    useful = np.flatnonzero(place == 0)
    place[useful] = np.arange(len(useful))
    masks = np.zeros((len(trials), len(useful)), dtype=np.int64)
    for mask, trial in zip(masks, trials, strict=True):
        for number, element in enumerate(trial):
            mask[place[element.rows]] |= 1 << number
    weights = [[_weight(coverage, one) for one in trial] for trial in trials]
    band = coverage.band[alone.place, useful]
    return Problem(
        masks=masks,
        band=np.broadcast_to(band, masks.shape).copy(),
        key=alone.keys.key[useful],
        weights_g=np.array(weights, dtype=np.int64),
    )


def _weight(coverage: Coverage, element: Element) -> int:
    return sum(coverage.items[item].unit_weight_g * qty for item, qty in element.parts)


def _unbounded(solution: Solution, number: int, trial: Sequence[Element]) -> Found:
    best, total = solution.best[:, number].tolist(), solution.total[:, number].tolist()
    sent = [(subset, best[subset]) for subset in partition_of(best, total)]
    return Found(sum(one.units() for one in trial), total[-1], sent)


def _rows(alone: Alone, found: Found) -> list[tuple[int, int]]:
    return sorted((alone.keys.row(key), subset) for subset, key in found.sent)


def _repeats(alone: Alone, found: Found) -> bool:
    rows = [row for row, _ in _rows(alone, found)]
    return len(set(rows)) < len(rows)


def _score(alone: Alone, found: Found) -> Score:
    keys = alone.keys
    parcels = found.total >> keys.parcel_shift & (1 << keys.cost_shift - keys.parcel_shift) - 1
    ranks = found.total & (1 << keys.parcel_shift) - 1
    return -found.units, found.total >> keys.cost_shift, parcels, ranks


# ── by search ────────────────────────────────────────────────────────────────────────────────────


def _searched(
    alone: Alone, trial: list[Element]
) -> tuple[Score, list[Element], list[tuple[int, int]]]:
    weights = [_weight(alone.coverage, one) for one in trial]
    band = alone.coverage.band[alone.place]
    problem = searched_for(trial, weights, band, alone.keys, alone.profile.rate_card)
    most = alone.most()
    if most is not None:
        problem.most = most
    (left_out, cost, parcels, ranks), assignment = search(problem)
    units = sum(one.units() for one in trial) - left_out
    return (-units, cost, parcels, ranks), trial, sorted(assignment.items())
