"""Splitting: an item that no location holds whole is cut into pieces, in several ways.

A cut empties some locations (its *prefix*); the rest of the quantity is one last piece that goes
wherever it fits. The first cut empties the fullest locations, so that pieces are as few as can be;
others empty other locations, also one more of them. Where one location is emptied, every location
is tried up to the limit; where more are, sets of the `MAX_POOL` cheapest. Each cut is then solved
like whole lines. What is bounded: quantities between two locations' extremes are not tried, nor
more cuts than the limit. Where all locations together have too little, all are emptied.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_POOL = 8


class Piece(msgspec.Struct, gc=False):
    """A quantity of an item, and the rows that can send it."""

    item: int
    qty: int
    rows: NDArray[np.int64]


class Element(msgspec.Struct, gc=False):
    """Pieces that go together, since no other location can send them; or a single piece."""

    parts: list[tuple[int, int]]
    rows: NDArray[np.int64]

    def units(self) -> int:
        """Return how many units its pieces have together."""
        return sum(qty for _, qty in self.parts)


class Short(msgspec.Struct, gc=False):
    """An item to cut: what rows have of it, and an estimate of what each row's parcel costs."""

    item: int
    qty: int
    rows: NDArray[np.int64]
    have: NDArray[np.int64]
    cost: NDArray[np.int64]


def cuts_of(short: Short, limit: int) -> list[list[Piece]]:
    """Return up to `limit` ways to cut an item, the one with the fullest locations first."""
    order = np.lexsort((short.rows, short.cost, -short.have))
    have = short.have[order].tolist()
    if sum(have) <= short.qty:
        return [
            [Piece(short.item, qty, short.rows[[at]]) for qty, at in zip(have, order, strict=True)]
        ]
    fewest = 0
    held = 0
    while held + have[fewest] < short.qty:
        held += have[fewest]
        fewest += 1
    prefixes = [tuple(order[:fewest].tolist())]
    prefixes += _other_prefixes(short, fewest, limit)
    cuts = [_cut(short, prefix) for prefix in dict.fromkeys(prefixes)]
    return [cut for cut in cuts if cut][:limit]


def _other_prefixes(short: Short, fewest: int, limit: int) -> list[tuple[int, ...]]:
    """Return sets of locations to empty, by estimated cost; those with one more come after."""
    cheapest = np.lexsort((short.rows, short.cost)).tolist()
    cost = short.cost.tolist()
    result: list[tuple[int, ...]] = []
    for size in (fewest, fewest + 1):
        pool = cheapest[: limit if size == 1 else MAX_POOL]
        if size > MAX_POOL // 2:
            break
        sets = itertools.combinations(sorted(pool), size)
        result += sorted(sets, key=lambda some: (sum(cost[at] for at in some), some))
    return result


def _cut(short: Short, prefix: Sequence[int]) -> list[Piece]:
    """Empty the prefix; returns no pieces where the rest is nothing or fits nowhere."""
    emptied = list(prefix)
    rest = short.qty - int(short.have[emptied].sum())
    if rest <= 0:
        return []
    fits = short.have >= rest
    fits[emptied] = False
    if not fits.any():
        return []
    pieces = [Piece(short.item, int(short.have[at]), short.rows[[at]]) for at in emptied]
    return [*pieces, Piece(short.item, rest, short.rows[fits])]


def elements_of(pieces: Sequence[Piece]) -> list[Element]:
    """Put pieces together that only one and the same location can send."""
    elements: list[Element] = []
    at_row: dict[int, Element] = {}
    for piece in pieces:
        row = int(piece.rows[0]) if len(piece.rows) == 1 else -1
        if row in at_row:
            at_row[row].parts.append((piece.item, piece.qty))
            continue
        element = Element([(piece.item, piece.qty)], piece.rows)
        elements.append(element)
        if row >= 0:
            at_row[row] = element
    return elements
