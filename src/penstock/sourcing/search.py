"""Demands with more pieces than the exact method takes: a bounded search over open locations.

Given a set of open locations, each piece goes to the first one that covers it, in the order of how
many pieces they cover; the cost of that is exact. Starts from a greedy cover, then tries to drop,
swap and add locations, taking each improvement, for at most `MAX_EVALUATIONS`; at last single
pieces move between the open locations as long as that saves carriage. Deterministic.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.model import RateCard

MAX_EVALUATIONS = 400
MAX_NEIGHBOURS = 12
_HANDLING_SHIFT = 41
NOBODY = -1


class Searched(msgspec.Struct):
    """A demand to search for: who covers which piece, weights, bands, keys, the rate card."""

    covers: NDArray[np.bool_]  # (pieces, rows)
    weights_g: NDArray[np.int64]
    band: NDArray[np.int8]
    keys: NDArray[np.int64]
    rate_card: RateCard
    max_parcels: int | None = None


def search(problem: Searched) -> list[int]:
    """Return the row of each piece, `NOBODY` for those that do not fit into `max_parcels`."""
    counts = problem.covers.sum(axis=0)
    opened = _greedy(problem, counts)
    best = _evaluate(problem, opened, counts)
    evaluations = 1
    improved = True
    while improved and evaluations < MAX_EVALUATIONS:
        improved = False
        for trial in _neighbours(problem, opened, counts):
            evaluations += 1
            outcome = _evaluate(problem, trial, counts)
            if outcome[0] < best[0]:
                opened, best, improved = trial, outcome, True
                break
            if evaluations >= MAX_EVALUATIONS:
                break
    return _polish(problem, best[1]).tolist()


def _greedy(problem: Searched, counts: NDArray[np.int64]) -> list[int]:
    """Open the location that covers most of what is left, cheapest first among equals."""
    most = problem.max_parcels if problem.max_parcels is not None else len(problem.weights_g)
    left = np.ones(len(problem.weights_g), dtype=bool)
    opened: list[int] = []
    while left.any() and len(opened) < most:
        gains = problem.covers[left].sum(axis=0)
        gain = gains.max()
        if gain == 0:
            break
        rows = np.flatnonzero(gains == gain)
        base = problem.rate_card.amount_minor[problem.band[rows], 0]
        cost = (problem.keys[rows] >> _HANDLING_SHIFT) + base
        row = int(rows[np.lexsort((rows, -counts[rows], cost))[0]])
        opened.append(row)
        left &= ~problem.covers[:, row]
    return sorted(opened)


def _evaluate(
    problem: Searched, opened: list[int], counts: NDArray[np.int64]
) -> tuple[tuple[int, int, int, tuple[int, ...]], NDArray[np.int64]]:
    """Return (pieces left out, cost, parcels, rows) as the order to beat, and each piece's row."""
    if not opened:
        return (len(problem.weights_g), 0, 0, ()), np.full(len(problem.weights_g), NOBODY)
    rows = np.array(opened, dtype=np.int64)
    rows = rows[np.lexsort((rows, problem.keys[rows], -counts[rows]))]
    covers = problem.covers[:, rows]
    place = covers.argmax(axis=1)
    covered = covers[np.arange(len(place)), place]
    weights = np.bincount(place[covered], problem.weights_g[covered], len(rows)).astype(np.int64)
    used = np.bincount(place[covered], minlength=len(rows)) > 0
    carriage = problem.rate_card.carriage(weights)[problem.band[rows], np.arange(len(rows))]
    cost = int(((problem.keys[rows] >> _HANDLING_SHIFT) + carriage)[used].sum())
    chosen = np.where(covered, rows[place], NOBODY)
    order = (int((~covered).sum()), cost, int(used.sum()), tuple(sorted(rows[used].tolist())))
    return order, chosen


def _neighbours(
    problem: Searched, opened: list[int], counts: NDArray[np.int64]
) -> Iterator[list[int]]:
    """Yield sets with one location dropped, swapped, or added."""
    base = problem.rate_card.amount_minor[problem.band, 0]
    cost = (problem.keys >> _HANDLING_SHIFT) + base
    useful = np.flatnonzero(counts > 0)
    ranked = useful[np.lexsort((useful, cost[useful], -counts[useful]))]
    fresh = [int(row) for row in ranked if row not in opened][:MAX_NEIGHBOURS]
    for row in opened:
        yield [other for other in opened if other != row]
    for row in opened:
        for other in fresh:
            yield sorted([*(kept for kept in opened if kept != row), other])
    if problem.max_parcels is None or len(opened) < problem.max_parcels:
        for other in fresh:
            yield sorted([*opened, other])


def _polish(problem: Searched, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move single pieces between the rows that send something, best saving first."""
    chosen = chosen.copy()
    pieces = np.flatnonzero(chosen != NOBODY)
    rows = np.unique(chosen[pieces])
    if len(rows) < 2:  # noqa: PLR2004 (a move needs two)
        return chosen
    covers = problem.covers[pieces][:, rows]
    for _ in range(len(pieces)):
        at = np.searchsorted(rows, chosen[pieces])
        saving = _savings(problem, pieces, rows, at)
        saving[~covers] = 0
        piece, to = np.unravel_index(int(saving.argmax()), saving.shape)
        if saving[piece, to] <= 0:
            break
        chosen[pieces[piece]] = rows[to]
    return chosen


def _savings(
    problem: Searched, pieces: NDArray[np.intp], rows: NDArray[np.int64], at: NDArray[np.intp]
) -> NDArray[np.int64]:
    """Return what moving each piece to each row would save, minor units."""
    every = np.arange(len(rows))
    weights = np.bincount(at, problem.weights_g[pieces], len(rows)).astype(np.int64)
    counts = np.bincount(at, minlength=len(rows))
    band, handling = problem.band[rows], problem.keys[rows] >> _HANDLING_SHIFT
    of_piece = problem.weights_g[pieces]
    now = problem.rate_card.carriage(weights)[band, every]
    without = problem.rate_card.carriage(weights[at] - of_piece)[band[at], np.arange(len(at))]
    empties = counts[at] == 1
    saved = now[at] - np.where(empties, 0, without) + np.where(empties, handling[at], 0)
    fuller = problem.rate_card.carriage(weights[None, :] + of_piece[:, None])
    added = fuller[band[None, :], np.arange(len(at))[:, None], every[None, :]] - now[None, :]
    opened = np.where(counts == 0, now + handling, 0)
    saving = saved[:, None] - added - opened[None, :]
    saving[np.arange(len(at)), at] = 0
    return saving
