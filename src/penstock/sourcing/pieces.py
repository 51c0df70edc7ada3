"""Pieces: what is to be sent whole. An item that some location holds whole is one piece.

Where no single location has enough, the item is split: the fullest locations are emptied first
(of equals the one that comes first by handling, ready time and row), so that there are as few
pieces as can be; the last piece goes wherever it fits. The split itself is this bounded choice;
how pieces are then put together into shipments is exact up to the profile's bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.coverage import Coverage, Item
from penstock.sourcing.model import Demand


class Piece(msgspec.Struct, gc=False):
    """A quantity of an item, and the rows that can send it."""

    item: Item
    qty: int
    rows: NDArray[np.int32]


def cut(
    demand: Demand, items: Sequence[Item], coverage: Coverage, keys: NDArray[np.int64]
) -> tuple[list[Piece], list[tuple[Item, int]]]:
    """Cut a demand's items into pieces; returns them and what is lacking of which item."""
    pieces: list[Piece] = []
    lacking: list[tuple[Item, int]] = []
    for item in items:
        found, short = _cut_item(item, coverage, keys)
        pieces += found
        if short:
            lacking.append((item, short))
    if lacking and demand.ship_complete:
        return [], [(item, item.qty) for item in items]
    return pieces, lacking


def _cut_item(item: Item, coverage: Coverage, keys: NDArray[np.int64]) -> tuple[list[Piece], int]:
    rows = coverage.rows[item.start : item.stop]
    have = coverage.have[item.start : item.stop]
    whole = rows[have >= item.qty]
    if len(whole):
        return [Piece(item, item.qty, whole)], 0
    order = np.lexsort((keys[rows], -have))
    rows, have = rows[order], have[order]
    rows, have = rows[have > 0], have[have > 0]
    pieces: list[Piece] = []
    rest = item.qty
    for place in range(len(rows)):
        fits = rows[place:][have[place:] >= rest]
        if len(fits):
            pieces.append(Piece(item, rest, fits))
            return pieces, 0
        pieces.append(Piece(item, int(have[place]), rows[place : place + 1]))
        rest -= int(have[place])
    return pieces, rest
