"""Stock as entries: one per line and location, whatever order and number of pools it came in.

Owns the CSR arrays behind `coverage`. In the ordinary case (one pool, rows in order) the arrays
that came in are used as they are; otherwise they are sorted and positions of one location summed.
Positions within an entry are in id order; what is below zero counts as nothing.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.model import Stock


class Entries(msgspec.Struct):
    """`start[i]:start[i + 1]` are an item's entries, `first[e]:first[e + 1]` an entry's positions.

    `first` is None where each entry is one position: entry e is then position e.
    """

    start: NDArray[np.int64]
    item: NDArray[np.int64]
    rows: NDArray[np.int32]
    have: NDArray[np.int64] | NDArray[np.int32]
    first: NDArray[np.int64] | None
    position_ids: NDArray[np.int32]
    available: NDArray[np.int32]

    def positions(self, entry: int) -> list[tuple[int, int]]:
        """Return an entry's positions that have something, in id order, and how much."""
        start, stop = (entry, entry + 1) if self.first is None else self.first[entry : entry + 2]
        ids, there = self.position_ids[start:stop].tolist(), self.available[start:stop].tolist()
        return [(one, qty) for one, qty in zip(ids, there, strict=True) if qty > 0]


def entries_of(stock: Stock) -> Entries:
    """Make entries of a batch's stock; an item per line."""
    start = stock.line_start.astype(np.int64)
    item = np.repeat(np.arange(len(start) - 1), start[1:] - start[:-1])
    rows = stock.location_rows
    ascends = rows[1:] > rows[:-1]
    if not ascends.all() and not (ascends | (item[1:] > item[:-1])).all():
        return _sorted_entries(stock, start, item)
    return Entries(start, item, rows, stock.available, None, stock.position_ids, stock.available)


def _sorted_entries(stock: Stock, start: NDArray[np.int64], item: NDArray[np.int64]) -> Entries:
    order = np.lexsort((stock.position_ids, stock.location_rows, item))
    item, rows = item[order], stock.location_rows[order]
    available = stock.available[order]
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = (rows[1:] != rows[:-1]) | (item[1:] != item[:-1])
    first = np.flatnonzero(begins)
    return Entries(
        start=np.searchsorted(first, start),
        item=item[first],
        rows=rows[first],
        have=np.add.reduceat(available.clip(min=0).astype(np.int64), first),
        first=np.append(first, len(rows)),
        position_ids=stock.position_ids[order],
        available=available,
    )


def without_items(entries: Entries, kept: NDArray[np.bool_]) -> Entries:
    """Leave out the items that are not kept; the others are numbered anew."""
    if entries.first is None:
        entries.first = np.arange(len(entries.rows) + 1)
    chosen = kept[entries.item]
    numbers = np.cumsum(kept) - 1
    counts = np.diff(entries.start)[kept]
    begin, end = entries.first[:-1][chosen], entries.first[1:][chosen]
    lengths = end - begin
    first = np.append(0, np.cumsum(lengths))
    places = np.arange(first[-1]) + np.repeat(begin - first[:-1], lengths)
    return Entries(
        start=np.append(0, np.cumsum(counts)),
        item=numbers[entries.item[chosen]],
        rows=entries.rows[chosen],
        have=entries.have[chosen],
        first=first,
        position_ids=entries.position_ids[places],
        available=entries.available[places],
    )
