"""Available to promise: what a virtual catalogue (a channel and a service) may promise.

Owns the one rule, `max(0, on hand - reserved - floor)` where the location serves and the pool is
sold, and a total per product and virtual catalogue. Totals are built in slices and then moved on by
every change of the index; while one is being built, its catalogue answers from the positions, so
that a network switched off is out of availability at once and nobody waits.

Invariant: a built total equals the sum over the product's positions.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.controls import Controls, Floors
from penstock.availability.index import Change, Index
from penstock.availability.neighbours import Bools, Locations, rows_of
from penstock.availability.product_map import Ints
from penstock.clock import Clock

POSITIONS_PER_SLICE = 100_000  # some 5 ms
RECHECK_S = 1.0  # how often switches that have an hour are looked at
_ALL = 2**31


class Terms(msgspec.Struct, frozen=True):
    """What may be promised where: the rules of one virtual catalogue at one time."""

    serves: Bools  # by location row, with a closing False for row -1
    row_of: Ints
    floors: Floors
    controls: Controls

    def available(
        self, product_ids: Ints, location_ids: Ints, pool_ids: Ints, net: Ints
    ) -> NDArray[np.int64]:
        """Return what may be promised of each position, given on hand less reserved."""
        rows = rows_of(self.row_of, location_ids)
        left = net.astype(np.int64)
        if not self.floors.is_zero:
            left -= self.floors.at(product_ids, rows)
        left *= self.serves[rows] & self.controls.sells(pool_ids)
        return np.maximum(left, 0, out=left)


def terms_of(
    locations: Locations, controls: Controls, catalogue: tuple[int, str], at: datetime
) -> Terms:
    """Put together the terms of a virtual catalogue (channel id, service) at an instant."""
    channel_id, service = catalogue
    serves = np.append(locations.serving(channel_id, service, at), False)
    return Terms(serves, locations.row_of, controls.floors(channel_id), controls)


class VirtualCatalogue:
    """A channel's view of availability for one service: its terms, and a total per product."""

    def __init__(self, index: Index, terms: Terms) -> None:
        self.index = index
        self.terms = terms
        self.totals: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._built_to = 0  # totals hold the positions below this one

    @property
    def is_built(self) -> bool:
        """Tell whether the totals hold every position."""
        return self._built_to == _ALL

    def build_slice(self) -> None:
        """Add the next slice of positions to the totals."""
        first = max(self._built_to, 1)
        last = min(first + POSITIONS_PER_SLICE, self.index.size)
        ids = np.arange(first, last, dtype=np.int32)
        products = self.index.product[first:last]
        if len(ids):
            self._add(products, self.available_at(ids))
        self._built_to = _ALL if last >= self.index.size else last

    def watch(self, change: Change) -> None:
        """Move the totals on by what changed in the index."""
        if self._built_to < _ALL:
            change = _below(change, self._built_to)
        if len(change.position_ids):
            places = (change.product_ids, change.location_ids, change.pool_ids)
            before = self.terms.available(*places, change.net_before)
            self._add(change.product_ids, self.terms.available(*places, change.net_after) - before)

    def _add(self, product_ids: Ints, quantities: NDArray[np.int64]) -> None:
        highest = int(product_ids.max())
        if highest >= len(self.totals) - 1:
            totals = np.zeros(highest + highest // 8 + 1024, dtype=np.int64)
            totals[: len(self.totals)] = self.totals
            self.totals = totals
        np.add.at(self.totals, product_ids, quantities)

    def available_at(self, position_ids: Ints) -> NDArray[np.int64]:
        """Return what may be promised at each position."""
        index = self.index
        places = (index.product[position_ids], index.location[position_ids])
        return self.terms.available(*places, index.pool[position_ids], index.net(position_ids))

    def totals_of(self, product_ids: Ints) -> NDArray[np.int64]:
        """Return what may be promised of each product over all locations; unknown ids have 0."""
        if self.is_built and len(self.totals):
            return self.totals.take(product_ids, mode="clip")  # the first and last are always 0
        line_start, ids = self.index.positions_of(product_ids)
        running = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum(self.available_at(ids), out=running[1:])
        return running[line_start[1:]] - running[line_start[:-1]]


def _below(change: Change, position_id: int) -> Change:
    inside = change.position_ids < position_id
    return Change(*(getattr(change, name)[inside] for name in Change.__struct_fields__))


class Availability:
    """Every virtual catalogue of an account in this process, over the index of the moment."""

    def __init__(
        self, clock: Clock, index: Index, locations: Locations, controls: Controls
    ) -> None:
        self._clock = clock
        self._catalogues: dict[tuple[int, str], VirtualCatalogue] = {}
        self._is_wanted = asyncio.Event()
        self._index = index
        self.locations = locations
        self.controls = controls
        index.watchers.append(self._watch)

    @property
    def index(self) -> Index:
        """The index that answers are given from."""
        return self._index

    def configure(self, locations: Locations, controls: Controls) -> None:
        """Take a directory and controls loaded anew; answers heed them from now on."""
        if locations is self.locations and controls is self.controls:
            return
        self.locations, self.controls = locations, controls
        self._renew(self._index)

    def use_index(self, index: Index) -> None:
        """Answer from another index from now on (a snapshot after a failover)."""
        self._index.watchers.remove(self._watch)
        index.watchers.append(self._watch)
        self._index = index
        self._renew(index)

    def _renew(self, index: Index) -> None:
        for key in self._catalogues:
            self._catalogues[key] = VirtualCatalogue(index, self._terms(key))
        self._is_wanted.set()

    def _terms(self, key: tuple[int, str]) -> Terms:
        return terms_of(self.locations, self.controls, key, self._clock.now())

    def _watch(self, change: Change) -> None:
        for catalogue in self._catalogues.values():
            catalogue.watch(change)

    def catalogue(self, channel_id: int, service: str) -> VirtualCatalogue:
        """Return a channel's virtual catalogue for a service; its totals may still be built."""
        key = (channel_id, service)
        catalogue = self._catalogues.get(key)
        if catalogue is None:
            catalogue = self._catalogues[key] = VirtualCatalogue(self._index, self._terms(key))
            self._is_wanted.set()
        return catalogue

    async def settle(self) -> None:
        """Build what is not built yet, slice by slice, other tasks running in between."""
        while unbuilt := [c for c in self._catalogues.values() if not c.is_built]:
            unbuilt[0].build_slice()
            await asyncio.sleep(0)

    def heed_switches(self) -> None:
        """Renew the catalogues of which, by now, other locations serve than when they were made."""
        for key, catalogue in self._catalogues.items():
            terms = self._terms(key)
            if not np.array_equal(terms.serves, catalogue.terms.serves):
                self._catalogues[key] = VirtualCatalogue(self._index, terms)
                self._is_wanted.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep totals built, and switches that have an hour heeded, until `stop` is set."""
        while not stop.is_set():
            self.heed_switches()
            self._is_wanted.clear()
            await self.settle()
            await self._pause(stop)

    async def _pause(self, stop: asyncio.Event) -> None:
        """Wait for a catalogue to build, for `stop`, or for the next look at the switches."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._is_wanted, stop)]
        _, pending = await asyncio.wait(
            waits, timeout=RECHECK_S, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in pending:
            wait.cancel()
