"""What may cross a threshold: stock positions, and what channels promise; and what became of them.

Owns looking at the index for one watch: which of its ids are in another state than was last told.
Everything is array work by what changed; nothing here writes. `position`: on hand less reserved, in
pools for sale; `base`: what a channel may promise at each position; `aggregate`: its total of a
product. An id seen for the first time is taken as it came: it has crossed nothing yet, unless a
declared level says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.atp import Availability, VirtualCatalogue
from penstock.availability.index import Change, Index
from penstock.availability.neighbours import rows_of
from penstock.availability.product_map import Ints
from penstock.availability.states import States, grown
from penstock.availability.thresholds import Levels, entered
from penstock.rules.knowledge import Knowledge

IDS_PER_SLICE = 100_000  # some 5 ms
MAX_GATHERED = 2_000_000
CAPS_EVERY_S = 1.0
SERVICE = "deliver"


class Gathered:
    """Which positions and products have changed in an index since they were last taken."""

    def __init__(self) -> None:
        self._index: Index | None = None
        self._positions: list[Ints] = []
        self._products: list[Ints] = []
        self._count = 0
        self._is_whole = True

    def hook(self, index: Index) -> None:
        """Gather from this index from now on; another one than before: everything has changed."""
        if self._index is not index:
            self.unhook()
            index.watchers.append(self._gather)
            self._index = index

    def unhook(self) -> None:
        """Gather no more."""
        if self._index is not None:
            self._index.watchers.remove(self._gather)
            self._index = None
        self.forget()

    def forget(self) -> None:
        """Take everything as changed."""
        self._positions, self._products, self._count = [], [], 0
        self._is_whole = True

    def _gather(self, change: Change) -> None:
        if self._is_whole:
            return
        self._positions.append(change.position_ids)
        self._products.append(change.product_ids)
        self._count += len(change.position_ids)
        if self._count > MAX_GATHERED:
            self.forget()

    def take(self) -> tuple[Ints, Ints] | None:
        """Return the ids of changed positions and products, and begin anew; None: all of them."""
        positions, products, is_whole = self._positions, self._products, self._is_whole
        self.forget()
        self._is_whole = False
        if is_whole:
            return None
        if not positions:
            return _NONE, _NONE
        return np.unique(np.concatenate(positions)), np.unique(np.concatenate(products))


_NONE: NDArray[np.int32] = np.empty(0, dtype=np.int32)


class Moved(msgspec.Struct, frozen=True):
    """Ids in another state than was told: what they were, are, and have."""

    ids: Ints
    was: States
    states: States
    available: NDArray[np.int64]

    def take(self, which: NDArray[np.bool_] | slice) -> Moved:
        """Return some of them."""
        return Moved(self.ids[which], self.was[which], self.states[which], self.available[which])


class Watch:
    """One watch of an account in this process: its levels, and what was last told."""

    def __init__(self, kind: str, channel_id: int, levels: Levels, service: str = SERVICE) -> None:
        self.kind = kind
        self.channel_id = channel_id
        self.levels = levels
        self.turn = 0
        self.states: States = np.zeros(0, dtype=np.uint8)
        self.is_whole = True  # everything has to be looked at
        self._service = service
        self._catalogue: VirtualCatalogue | None = None
        self._looked_at = 0.0

    def heed(self, availability: Availability) -> VirtualCatalogue | None:
        """Return the virtual catalogue as it is now; another one than before: look at everything.

        A product whose cap is used up elsewhere does not move in the index, so that channels with
        caps are looked at as a whole every second.
        """
        if self.kind == "position":
            return None
        catalogue = availability.catalogue(self.channel_id, self._service)
        is_due = time.monotonic() - self._looked_at > CAPS_EVERY_S
        if catalogue is not self._catalogue or (catalogue.terms.moment.has_counted and is_due):
            self._catalogue, self.is_whole = catalogue, True
            self._looked_at = time.monotonic()
        return catalogue

    def changed(self, index: Index, gathered: tuple[Ints, Ints] | None) -> Iterator[Ints]:
        """Return the ids to look at, slice by slice."""
        is_aggregate = self.kind == "aggregate"
        if gathered is not None and not self.is_whole:
            ids = gathered[1 if is_aggregate else 0]
        elif is_aggregate:
            ids = _products_with_positions(index)
        else:
            ids = np.arange(1, index.size, dtype=np.int32)
        return (ids[n : n + IDS_PER_SLICE] for n in range(0, len(ids), IDS_PER_SLICE))

    def look(self, knowledge: Knowledge, catalogue: VirtualCatalogue | None, ids: Ints) -> Moved:
        """Return which of the ids are in another state than was told."""
        if self.kind == "aggregate" and catalogue is not None:
            products, rows = ids, np.zeros(len(ids), dtype=np.int64)
            available = catalogue.totals_of(ids)
        else:
            ids, rows, available = _at_positions(knowledge, catalogue, ids)
            products = knowledge.index.product[ids]
        if not len(ids):
            return Moved(ids, self.states[:0], self.states[:0], available)
        self.states = grown(self.states, int(ids[-1]))
        told, states = self.states[ids], self.levels.states(products, rows, available)
        differs = (told != states).nonzero()[0]
        available = available[differs]
        was = entered(told[differs], available)
        return Moved(ids[differs], was, states[differs], available)


def _at_positions(
    knowledge: Knowledge, catalogue: VirtualCatalogue | None, ids: Ints
) -> tuple[Ints, Ints, NDArray[np.int64]]:
    """Return those of the positions that are for sale at known places, and what they have."""
    index, row_of = knowledge.index, knowledge.directory.row_of
    rows = rows_of(row_of, index.location[ids])
    is_kept = (index.product[ids] > 0) & (rows >= 0) & knowledge.controls.sells(index.pool[ids])
    ids, rows = ids[is_kept], rows[is_kept]
    if catalogue is None:
        return ids, rows, np.maximum(index.net(ids), 0).astype(np.int64)
    return ids, rows, catalogue.available_at(ids)


def _products_with_positions(index: Index) -> Ints:
    starts = index.map.starts
    ids = (starts[1:] > starts[:-1]).nonzero()[0]
    if index.map.late:
        ids = np.union1d(ids, np.fromiter(index.map.late, dtype=np.int64))
    return ids
