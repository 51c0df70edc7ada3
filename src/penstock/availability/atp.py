"""Available to promise: what a virtual catalogue (a channel and a service) may promise.

Owns the one rule, `max(0, on hand - reserved - floor)` where the location serves and the pool is
sold, and a total per product and virtual catalogue, of which caps and ring-fences may leave less.
Totals are built in slices and then moved on by every change of the index; while one is being built,
its catalogue answers from the positions, so that a network switched off is out of availability at
once and nobody waits.

Invariant: a built total equals the sum over the product's positions.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.confidence import Confidence, age_bucket
from penstock.availability.controls import Controls, Moment
from penstock.availability.floors import Floors
from penstock.availability.index import Change, Index
from penstock.availability.limited import limits_for
from penstock.availability.limits import Limit, Places, Uses, alone, limits_of, trimmed
from penstock.availability.neighbours import Bools, Locations, rows_of
from penstock.availability.product_map import Ints
from penstock.clock import Clock

POSITIONS_PER_SLICE = 100_000  # some 5 ms
RECHECK_S = 1.0  # how often switches that have an hour are looked at
_ALL = 2**31


class Guest(msgspec.Struct, frozen=True):
    """Who asks what may be promised: what ring-fences look at."""

    channel_id: int
    tier: str = "standard"
    basket_minor: int = 0
    currency: str = ""


class Held(NamedTuple):
    """Positions as columns: where, and how much (`net` is on hand less reserved)."""

    product_ids: Ints
    location_ids: Ints
    pool_ids: Ints
    net: Ints
    on_hand: Ints


class Terms(msgspec.Struct, frozen=True):
    """What may be promised where: the rules of one virtual catalogue at one time."""

    channel_id: int
    serves: Bools  # by location row, with a closing False for row -1
    row_of: Ints
    floors: Floors
    controls: Controls
    moment: Moment

    def available(self, held: Held) -> NDArray[np.int64]:
        """Return what may be promised of each position."""
        rows = rows_of(self.row_of, held.location_ids)
        left = held.net.astype(np.int64)
        if not self.floors.is_zero:
            left -= self.floors.at(held.product_ids, rows, held.on_hand)
        left *= self.serves[rows] & self.controls.sells(held.pool_ids)
        return np.maximum(left, 0, out=left)

    def moved(self, change: Change) -> NDArray[np.int64]:
        """Return by how much what may be promised of each position changed."""
        places = (change.product_ids, change.location_ids, change.pool_ids)
        if self.floors.needs_on_hand:
            after = self.available(Held(*places, change.net_after, change.on_hand_after))
            return after - self.available(Held(*places, change.net_before, change.on_hand_before))
        rows = rows_of(self.row_of, change.location_ids)
        after, before = change.net_after.astype(np.int64), change.net_before.astype(np.int64)
        if not self.floors.is_zero:  # the same before and after
            floors = self.floors.at(change.product_ids, rows)
            after -= floors
            before -= floors
        moved = np.maximum(after, 0, out=after) - np.maximum(before, 0, out=before)
        moved *= self.serves[rows] & self.controls.sells(change.pool_ids)
        return moved

    def free(self, held: Held) -> NDArray[np.int64]:
        """Return what is free of each position, its floor left, whether it serves or not."""
        left = held.net.astype(np.int64)
        if not self.floors.is_zero:
            rows = rows_of(self.row_of, held.location_ids)
            left -= self.floors.at(held.product_ids, rows, held.on_hand)
        left *= self.controls.sells(held.pool_ids)
        return np.maximum(left, 0, out=left)


def terms_of(
    locations: Locations, controls: Controls, catalogue: tuple[int, str], at: datetime
) -> Terms:
    """Put together the terms of a virtual catalogue (channel id, service) at an instant."""
    channel_id, service = catalogue
    serves = np.append(locations.serving(channel_id, service, at), False)
    moment = controls.at(at)
    floors = moment.floors(channel_id)
    return Terms(channel_id, serves, locations.row_of, floors, controls, moment)


class VirtualCatalogue:
    """A channel's view of availability for one service: its terms, and a total per product.

    Totals know floors; what caps and ring-fences leave of them is said when they are asked for.
    """

    def __init__(self, index: Index, terms: Terms, uses: Uses) -> None:
        self.index = index
        self.terms = terms
        self.totals: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._built_to = 0  # totals hold the positions below this one
        self._uses = uses
        self._limits = limits_for(terms.controls, terms.moment, terms.channel_id)

    def take_over(self, other: VirtualCatalogue) -> None:
        """Go on with the totals of a catalogue of the same index, places and floors."""
        self.totals, self._built_to = other.totals, other._built_to

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
            self._add(change.product_ids, self.terms.moved(change))

    def _add(self, product_ids: Ints, quantities: NDArray[np.int64]) -> None:
        highest = int(product_ids.max())
        if highest >= len(self.totals) - 1:
            totals = np.zeros(highest + highest // 8 + 1024, dtype=np.int64)
            totals[: len(self.totals)] = self.totals
            self.totals = totals
        np.add.at(self.totals, product_ids, quantities)

    def available_at(self, position_ids: Ints) -> NDArray[np.int64]:
        """Return what may be promised at each position."""
        return self.terms.available(self.held(position_ids))

    def held(self, position_ids: Ints, *, with_on_hand: bool = False) -> Held:
        """Return positions as columns; on hand where floors look at it, or it is asked for."""
        index = self.index
        places = (index.product[position_ids], index.location[position_ids])
        net = index.net(position_ids)
        needs = with_on_hand or self.terms.floors.needs_on_hand
        on_hand = index.on_hand[position_ids] if needs else net
        return Held(*places, index.pool[position_ids], net, on_hand)

    def totals_of(self, product_ids: Ints, guest: Guest | None = None) -> NDArray[np.int64]:
        """Return what may be promised of each product over all locations; unknown ids have 0."""
        totals = self._totals(product_ids)
        if self._limits is None:
            return totals
        ceiling = self._limits.ceiling(product_ids, self._uses)
        if ceiling is not None:
            totals = np.minimum(totals, ceiling)
        for place in self._limits.special(product_ids):
            product_id = int(product_ids[place])
            places, limits = self.limited(product_id, guest)[1:]
            totals[place] = trimmed(places, limits).sum()
        return totals

    def limited(
        self, product_id: int, guest: Guest | None = None
    ) -> tuple[Ints, Places, list[Limit]]:
        """Return a product's position ids, what is free there, and the limits on them together."""
        ids = self.index.positions_of(np.array([product_id], dtype=np.int64))[1]
        held, terms = self.held(ids), self.terms
        may_serve = terms.serves[rows_of(terms.row_of, held.location_ids)]
        free = terms.free(held)
        places = Places(held.location_ids, free, may_serve, -free.astype(np.float64))
        guest = guest or Guest(terms.channel_id)
        counted = terms.moment.counting(guest, product_id)
        return ids, places, limits_of(counted, product_id, places, self._uses.get)

    def available_of(
        self, product_ids: Ints, guest: Guest | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.int64]]:
        """Return the positions of products in CSR form, with what each alone may promise."""
        line_start, ids = self.index.positions_of(product_ids)
        available = self.available_at(ids)
        if self._limits is None:
            return line_start, ids, available
        ceiling = self._limits.ceiling(product_ids, self._uses)
        if ceiling is not None:
            available = np.minimum(available, ceiling.repeat(np.diff(line_start)))
        for place in self._limits.special(product_ids):
            places, limits = self.limited(int(product_ids[place]), guest)[1:]
            available[line_start[place] : line_start[place + 1]] = alone(places, limits)
        return line_start, ids, available

    def _totals(self, product_ids: Ints) -> NDArray[np.int64]:
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
        self,
        clock: Clock,
        index: Index,
        locations: Locations,
        controls: Controls,
        uses: Uses | None = None,
    ) -> None:
        self._clock = clock
        self._uses = uses or Uses()
        self._catalogues: dict[tuple[int, str], VirtualCatalogue] = {}
        self._is_wanted = asyncio.Event()
        self._index = index
        self.locations = locations
        self.controls = controls
        self.confidence = Confidence()  # nothing is known; who learns it sets it
        index.watchers.append(self._watch)

    @property
    def index(self) -> Index:
        """The index that answers are given from."""
        return self._index

    def confidence_at(self, position_ids: Ints) -> list[float | None]:
        """Return how likely the last unit of each position is there, by the age of its count."""
        now_h = self._clock.now().timestamp() / 3600
        counted: list[int] = self._index.counted_at[position_ids].tolist()
        ages = [age_bucket(now_h - us / 3.6e9 if us else None) for us in counted]
        at: list[int] = self._index.location[position_ids].tolist()
        return [self.confidence.there(one, age) for one, age in zip(at, ages, strict=True)]

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
            self._catalogues[key] = VirtualCatalogue(index, self._terms(key), self._uses)
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
            terms = self._terms(key)
            catalogue = VirtualCatalogue(self._index, terms, self._uses)
            self._catalogues[key] = catalogue
            self._is_wanted.set()
        return catalogue

    async def settle(self) -> None:
        """Build what is not built yet, slice by slice, other tasks running in between."""
        while unbuilt := [c for c in self._catalogues.values() if not c.is_built]:
            unbuilt[0].build_slice()
            await asyncio.sleep(0)

    def heed_switches(self) -> None:
        """Renew the catalogues where, by now, other locations serve or other controls hold."""
        for key, catalogue in self._catalogues.items():
            terms, old = self._terms(key), catalogue.terms
            is_same = np.array_equal(terms.serves, old.serves) and terms.floors is old.floors
            if is_same and terms.moment is old.moment:
                continue
            renewed = self._catalogues[key] = VirtualCatalogue(self._index, terms, self._uses)
            if is_same:
                renewed.take_over(catalogue)
            else:
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
