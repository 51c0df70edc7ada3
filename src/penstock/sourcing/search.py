"""Demands with more elements than the exact method takes: a bounded search over open locations.

Given open locations in an order, each element goes to the first that covers it; the cost of that
is exact. Starts are the best single location and two greedy covers; from each, locations are
dropped, added and swapped, taking each improvement, for at most `MAX_EVALUATIONS` in all. From the
best of these it goes on with single elements moved between open locations, for up to
`MAX_POLISHED`, fewer the more elements there are. At last each shipment comes from the best
location still free. Sets of elements are bits of an integer. Deterministic, and never worse than
the best single location.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from penstock.sourcing.exact import Keys
from penstock.sourcing.model import RateCard
from penstock.sourcing.split import Element

MAX_EVALUATIONS = 90
MAX_POLISHED = 20
POLISH_WORK = 2_400  # evaluations times elements squared: a move looks at pairs
MAX_NEIGHBOURS = 10
MAX_MOVES = 30

Order = tuple[int, int, int, int]  # units left out, cost, parcels, sum of ranks
Assignment = dict[int, int]  # row to the set of elements it sends


class Searched(msgspec.Struct):
    """A demand to search for, as plain numbers: sets by row, weights, units, tariff by row."""

    covers: dict[int, int]
    weights_g: list[int]
    units: list[int]
    handling: dict[int, int]
    rank: dict[int, int]
    band: dict[int, int]
    amounts: list[list[int]]
    per_extra_kg: list[int]
    weight_upto: list[int]
    most: int
    ranked: list[int] = []
    by_promise: dict[int, int] = {}
    by_fullness: dict[int, int] = {}
    heaviest: list[int] = []
    weight_of: dict[int, int] = {}
    cost_of: dict[tuple[int, int], int] = {}

    def weight(self, elements: int) -> int:
        """Return the weight of a set of elements, worked out once."""
        found = self.weight_of.get(elements)
        if found is None:
            found = sum(self.weights_g[one] for one in members(elements))
            self.weight_of[elements] = found
        return found

    def cost(self, row: int, elements: int) -> int:
        """Return what a row's shipment of a set of elements costs; nothing costs nothing."""
        if not elements:
            return 0
        found = self.cost_of.get((row, elements))
        if found is None:
            weight_g, band = self.weight(elements), self.band[row]
            last = len(self.weight_upto) - 1
            amount = self.amounts[band][min(bisect_left(self.weight_upto, weight_g), last)]
            extra_g = max(weight_g - self.weight_upto[last], 0)
            found = self.handling[row] + amount + -(-extra_g // 1000) * self.per_extra_kg[band]
            self.cost_of[(row, elements)] = found
        return found


Evaluate = Callable[[Searched, tuple[int, ...]], tuple[Order, Assignment]]


def members(elements: int) -> Iterator[int]:
    """Yield the numbers in a set of elements."""
    while elements:
        low = elements & -elements
        yield low.bit_length() - 1
        elements ^= low


def searched_for(
    elements: list[Element],
    weights_g: list[int],
    band: np.ndarray[tuple[int], np.dtype[np.uint8]],
    keys: Keys,
    rate_card: RateCard,
) -> Searched:
    """Put a demand's elements into the search's numbers."""
    covers: dict[int, int] = {}
    for number, element in enumerate(elements):
        for row in element.rows.tolist():
            covers[row] = covers.get(row, 0) | 1 << number
    problem = Searched(
        covers=covers,
        weights_g=weights_g,
        units=[element.units() for element in elements],
        handling={row: int(keys.key[row]) >> keys.cost_shift for row in covers},
        rank={row: int(keys.key[row]) & keys.rank_mask for row in covers},
        band={row: int(band[row]) for row in covers},
        amounts=rate_card.amount_minor.tolist(),
        per_extra_kg=rate_card.per_extra_kg_minor.tolist(),
        weight_upto=rate_card.weight_g_upto.tolist(),
        most=len(elements),
    )
    problem.ranked = sorted(covers, key=lambda row: _promise(problem, row))
    problem.by_promise = {row: place for place, row in enumerate(problem.ranked)}
    fullest = sorted(problem.ranked, key=lambda row: -covers[row].bit_count())
    problem.by_fullness = {row: place for place, row in enumerate(fullest)}
    problem.heaviest = sorted(range(len(elements)), key=lambda one: -weights_g[one])
    return problem


def _promise(problem: Searched, row: int) -> tuple[float, int]:
    """Order rows by what they would cost for each element they cover."""
    covers = problem.covers[row]
    return problem.cost(row, covers) / covers.bit_count(), row


def search(problem: Searched) -> tuple[Order, Assignment]:
    """Return the best assignment found, of at most `problem.most` parcels, and its order."""
    starts = _starts(problem)
    rough = [
        _climb(problem, (_evaluate, MAX_EVALUATIONS // len(starts)), start) for start in starts
    ]
    best = min(rough, key=lambda one: _order(problem, one))
    polished = min(max(POLISH_WORK // len(problem.weights_g) ** 2, 1), MAX_POLISHED)
    return _reseated(problem, _climb(problem, (_evaluate_moved, polished), tuple(best)))


def _reseated(problem: Searched, assignment: Assignment) -> tuple[Order, Assignment]:
    """Let each shipment come from the best location that is not open already."""
    for row, elements in sorted(assignment.items()):
        able = [
            other
            for other, covers in problem.covers.items()
            if elements & ~covers == 0 and (other == row or other not in assignment)
        ]
        best = min(able, key=lambda one: (problem.cost(one, elements), problem.rank[one]))
        del assignment[row]
        assignment[best] = elements
    return _order(problem, assignment), assignment


def _starts(problem: Searched) -> list[tuple[int, ...]]:
    single = min(problem.covers, key=lambda row: _order(problem, {row: problem.covers[row]}))
    starts = [(single,), _greedy(problem, by_units=True), _greedy(problem, by_units=False)]
    return list(dict.fromkeys(tuple(sorted(start)) for start in starts))


def _greedy(problem: Searched, *, by_units: bool) -> list[int]:
    """Open what covers most of what is left, or what costs least for each element it adds."""
    left = (1 << len(problem.weights_g)) - 1
    opened: list[int] = []

    def order(row: int) -> tuple[float, float, int]:
        gain = problem.covers[row] & left
        number, cost = gain.bit_count(), problem.cost(row, gain)
        return (-number, cost, row) if by_units else (cost / number, -number, row)

    while left and len(opened) < problem.most:
        useful = [row for row in problem.covers if problem.covers[row] & left]
        if not useful:
            break
        row = min(useful, key=order)
        opened.append(row)
        left &= ~problem.covers[row]
    return opened


def _climb(problem: Searched, how: tuple[Evaluate, int], opened: tuple[int, ...]) -> Assignment:
    """Take each improvement that a neighbour is, until none is or the bound is reached."""
    evaluate, most = how
    best = evaluate(problem, opened)
    evaluations, improved = 1, True
    while improved and evaluations < most:
        improved = False
        for trial in itertools.islice(_neighbours(problem, best[1]), most - evaluations):
            evaluations += 1
            found = evaluate(problem, trial)
            if found[0] < best[0]:
                best, improved = found, True
                break
    return best[1]


def _neighbours(problem: Searched, assignment: Assignment) -> Iterator[tuple[int, ...]]:
    """Yield the open locations with one dropped, swapped for a fresh one, or added."""
    opened = tuple(sorted(assignment))
    fresh = [row for row in problem.ranked if row not in assignment][:MAX_NEIGHBOURS]
    for row in opened:
        yield tuple(other for other in opened if other != row)
    if len(opened) < problem.most:
        for row in fresh:
            yield (*opened, row)
    for row in opened:
        kept = tuple(other for other in opened if other != row)
        for other in fresh:
            yield (*kept, other)


def _evaluate(problem: Searched, opened: tuple[int, ...]) -> tuple[Order, Assignment]:
    """Assign elements to open locations, in two orders of these; return the better."""
    fullest = sorted(opened, key=problem.by_fullness.__getitem__)
    cheapest = sorted(opened, key=problem.by_promise.__getitem__)
    found = _first_fit(problem, fullest)
    if fullest == cheapest:
        return found
    other = _first_fit(problem, cheapest)
    return other if other[0] < found[0] else found


def _evaluate_moved(problem: Searched, opened: tuple[int, ...]) -> tuple[Order, Assignment]:
    """Evaluate, also spread by least added cost, and let elements move to where they cost less."""
    found = [_evaluate(problem, opened)[1], _spread(problem, opened)]
    moved = [_moved(problem, one) for one in found]
    return min(((_order(problem, one), one) for one in moved), key=lambda pair: pair[0])


def _spread(problem: Searched, opened: tuple[int, ...]) -> Assignment:
    """Send each element, heaviest first, from where it adds least to the cost."""
    assignment: Assignment = {}
    for number in problem.heaviest:
        bit = 1 << number
        able = [row for row in opened if problem.covers[row] & bit]
        if able:
            added = [
                problem.cost(row, assignment.get(row, 0) | bit)
                - problem.cost(row, assignment.get(row, 0))
                for row in able
            ]
            row = able[added.index(min(added))]
            assignment[row] = assignment.get(row, 0) | bit
    return assignment


def _first_fit(problem: Searched, rows: list[int]) -> tuple[Order, Assignment]:
    left = (1 << len(problem.weights_g)) - 1
    cost = ranks = 0
    assignment: Assignment = {}
    for row in rows:
        taken = problem.covers[row] & left
        if taken:
            assignment[row] = taken
            left ^= taken
            cost += problem.cost(row, taken)
            ranks += problem.rank[row]
    left_out = sum(problem.units[number] for number in members(left)) if left else 0
    return (left_out, cost, len(assignment), ranks), assignment


def _moved(problem: Searched, assignment: Assignment) -> Assignment:
    """Move single elements to another open location as long as that saves something."""
    for _ in range(MAX_MOVES):
        move = _best_move(problem, assignment)
        if move is None:
            return assignment
        bit, source, target = move
        assignment[source] ^= bit
        assignment[target] |= bit
        if not assignment[source]:
            del assignment[source]
    return assignment


def _best_move(problem: Searched, assignment: Assignment) -> tuple[int, int, int] | None:
    best, least = None, 0
    costs = {row: problem.cost(row, elements) for row, elements in assignment.items()}
    for source, elements in assignment.items():
        for target, there in assignment.items():
            if target == source:
                continue
            for number in members(elements & problem.covers[target]):
                bit = 1 << number
                saved = costs[source] - problem.cost(source, elements ^ bit)
                added = problem.cost(target, there | bit) - costs[target]
                if added - saved < least:
                    best, least = (bit, source, target), added - saved
    return best


def _order(problem: Searched, assignment: Assignment) -> Order:
    """Return what compares assignments: units left out, cost, parcels, ranks."""
    left = (1 << len(problem.weights_g)) - 1
    for elements in assignment.values():
        left &= ~elements
    return (
        sum(problem.units[number] for number in members(left)),
        sum(problem.cost(row, elements) for row, elements in assignment.items()),
        len(assignment),
        sum(problem.rank[row] for row in assignment),
    )
