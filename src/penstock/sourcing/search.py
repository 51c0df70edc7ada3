"""Demands with more pieces than the exact method takes: a bounded search over open locations.

Given a set of open locations, each piece goes to the first one that covers it, in the order of how
many pieces they cover; the cost of that is exact. Starts from a greedy cover, then takes the best
of all drops, swaps and additions, for at most `MAX_ROUNDS`; at last single pieces move between
the open locations as long as that saves carriage. Deterministic.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.model import RateCard

MAX_ROUNDS = 12
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


class _Ranked(msgspec.Struct):
    """The problem with its useful rows in order of preference; the last row covers nothing."""

    rows: NDArray[np.int64]
    covers: NDArray[np.bool_]
    band: NDArray[np.int64]
    handling: NDArray[np.int64]
    nothing: int


def search(problem: Searched) -> list[int]:
    """Return the row of each piece, `NOBODY` for those that do not fit into `max_parcels`."""
    ranked = _rank(problem)
    opened = _greedy(problem, ranked)
    order, chosen = _best(problem, ranked, np.array([opened], dtype=np.int64))[1:]
    for _ in range(MAX_ROUNDS):
        trials = _neighbours(problem, ranked, opened)
        if len(trials) == 0:
            break
        place, found, their = _best(problem, ranked, trials)
        if found >= order:
            break
        opened = sorted({int(row) for row in trials[place] if row != ranked.nothing})
        order, chosen = found, their
    return _polish(problem, chosen).tolist()


def _rank(problem: Searched) -> _Ranked:
    """Order rows by how many pieces they cover, then by cost: pieces go to the first that can."""
    counts = problem.covers.sum(axis=0)
    base = problem.rate_card.amount_minor[problem.band, 0]
    cost = (problem.keys >> _HANDLING_SHIFT) + base
    useful = np.flatnonzero(counts > 0)
    rows = useful[np.lexsort((problem.keys[useful], cost[useful], -counts[useful]))]
    nobody = np.zeros((len(problem.covers), 1), dtype=np.bool_)
    return _Ranked(
        rows=np.append(rows, NOBODY),
        covers=np.hstack([problem.covers[:, rows], nobody]),
        band=np.append(problem.band[rows].astype(np.int64), 0),
        handling=np.append(problem.keys[rows] >> _HANDLING_SHIFT, 0),
        nothing=len(rows),
    )


def _greedy(problem: Searched, ranked: _Ranked) -> list[int]:
    """Open the location that covers most of what is left, the preferred one among equals."""
    most = problem.max_parcels if problem.max_parcels is not None else len(problem.weights_g)
    left = np.ones(len(problem.weights_g), dtype=np.bool_)
    opened: list[int] = []
    while left.any() and len(opened) < most:
        gains = ranked.covers[left].sum(axis=0)
        row = int(gains.argmax())
        if gains[row] == 0:
            break
        opened.append(row)
        left &= ~ranked.covers[:, row]
    return sorted(opened)


Order = tuple[int, int, int]


def _best(
    problem: Searched, ranked: _Ranked, trials: NDArray[np.int64]
) -> tuple[int, Order, NDArray[np.int64]]:
    """Evaluate sets of rows (trials, rows): the best one's place, order to beat, piece rows.

    The order is pieces left out, cost, parcels. Each piece goes to the first row that covers it.
    """
    count, size = trials.shape
    trials = np.sort(trials, axis=1)
    covers = ranked.covers[:, trials]
    place = covers.argmax(axis=2)
    covered = np.logical_or.reduce(covers, axis=2)
    cell = (np.arange(count)[None, :] * size + place)[covered]
    pieces = np.broadcast_to(problem.weights_g[:, None], place.shape)[covered]
    weights = np.bincount(cell, pieces, count * size).astype(np.int64).reshape(count, size)
    used = np.bincount(cell, minlength=count * size).reshape(count, size) > 0
    by_band = problem.rate_card.carriage(weights)
    band = ranked.band[trials]
    carriage = np.take_along_axis(by_band, band[None, :, :], axis=0)[0]
    cost = ((carriage + ranked.handling[trials]) * used).sum(axis=1)
    out, parcels = (~covered).sum(axis=0), used.sum(axis=1)
    best = int(np.lexsort((parcels, cost, out))[0])
    rows = ranked.rows[trials[best]]
    chosen = np.where(covered[:, best], rows[place[:, best]], NOBODY)
    return best, (int(out[best]), int(cost[best]), int(parcels[best])), chosen


def _neighbours(problem: Searched, ranked: _Ranked, opened: list[int]) -> NDArray[np.int64]:
    """Return the sets with one row dropped, swapped, or added, as rows of equal length."""
    fresh = [row for row in range(ranked.nothing) if row not in opened][:MAX_NEIGHBOURS]
    trials: list[list[int]] = []
    for row in opened:
        kept = [other for other in opened if other != row]
        trials.append([*kept, ranked.nothing, ranked.nothing])
        trials += [[*kept, other, ranked.nothing] for other in fresh]
    if problem.max_parcels is None or len(opened) < problem.max_parcels:
        trials += [[*opened, other] for other in fresh]
    return np.array(trials, dtype=np.int64)


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
