"""How the terms of virtual catalogues changed, as far as this process has seen it happen.

A switch or a control moves what a channel may promise without moving stock, so that no journal
tells it. When a catalogue is renewed, its totals on the old terms are held against those on the new
ones, and the products that differ are remembered by the epoch that ended. What this process has not
seen it does not claim to know: then everything has to be read again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.atp import Availability, VirtualCatalogue
from penstock.availability.cursor import AsOf, Point, epoch_of
from penstock.availability.neighbours import ChannelTree, Locations
from penstock.availability.thresholds import Levels, load_thresholds
from penstock.db import Tx

MAX_TURNS = 100
Totals = NDArray[np.int64]


class Turn(msgspec.Struct, frozen=True):
    """The end of an epoch: last looked at as of pass `seen`, over by `number`, and what it moved.

    `products` is None where that cannot be told.
    """

    epoch: str
    seen: int
    number: int
    products: NDArray[np.intp] | None


class Feed:
    """What one process has seen of the terms of one virtual catalogue."""

    def __init__(self, catalogue: VirtualCatalogue, epoch: str, number: int) -> None:
        self.catalogue = catalogue
        self.epoch = epoch
        self._seen = number
        self._turns: list[Turn] = []

    def heed(self, catalogue: VirtualCatalogue, epoch: str, number: int) -> None:
        """Take in what the catalogue is now, as of a pass; it has to be built."""
        old = self.catalogue
        if old.index is not catalogue.index:  # perhaps another history
            self._turns.clear()
        elif epoch != self.epoch:
            self._turns.append(Turn(self.epoch, self._seen, number, _moved(old, catalogue)))
            del self._turns[:-MAX_TURNS]
        self.catalogue, self.epoch, self._seen = catalogue, epoch, number

    def since(self, point: Point) -> tuple[int, NDArray[np.intp]] | None:
        """Return what other terms have moved since a point, and from which pass to read stock.

        None: this process cannot tell. Whatever moved in stock from that pass on may have changed.
        """
        for place in range(len(self._turns) - 1, -1, -1):
            turn = self._turns[place]
            if turn.epoch == point.epoch and point.number <= turn.number:
                found: list[NDArray[np.intp]] = []
                for one in self._turns[place:]:
                    if one.products is None:
                        return None
                    found.append(one.products)
                return min(point.number, turn.seen), np.unique(np.concatenate(found))
        return None


def _moved(old: VirtualCatalogue, new: VirtualCatalogue) -> NDArray[np.intp] | None:
    """Return the products whose totals differ; None where totals are not all there is to know."""
    has_counted = old.terms.moment.has_counted or new.terms.moment.has_counted
    if has_counted or not old.is_built or not new.is_built:
        return None
    size = max(len(old.totals), len(new.totals))
    return (_padded(old.totals, size) != _padded(new.totals, size)).nonzero()[0]


def _padded(totals: Totals, size: int) -> Totals:
    return np.pad(totals, (0, size - len(totals)))


class Feeds:
    """The feeds of one account in this process, by channel and service."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[int, str], Feed] = {}
        self._levels: dict[int, tuple[tuple[int, ...], Levels]] = {}

    def feed(
        self,
        service: str,
        catalogue: VirtualCatalogue,
        channels: ChannelTree,
        as_of: AsOf,
    ) -> Feed:
        """Return the feed of a catalogue that is built."""
        epoch = epoch_of(catalogue, channels, as_of)
        key = (catalogue.terms.channel_id, service)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(catalogue, epoch, as_of.number)
        feed.heed(catalogue, epoch, as_of.number)
        return feed

    async def levels(
        self, tx: Tx, channel_id: int, locations: Locations, revisions: Mapping[str, int]
    ) -> Levels:
        """Return the levels of a channel's totals, read anew when they may have changed."""
        state = tuple(revisions.get(name, 0) for name in ("threshold", "network"))
        held = self._levels.get(channel_id)
        if held is None or held[0] != state:
            thresholds = await load_thresholds(tx, locations)
            held = self._levels[channel_id] = state, thresholds.levels("aggregate", channel_id)
        return held[1]

    def keep_up(self, availability: Availability, channels: ChannelTree, as_of: AsOf) -> None:
        """Look at every feed that somebody has asked for, so that switches are seen soon."""
        for channel_id, service in list(self._feeds):
            catalogue = availability.catalogue(channel_id, service)
            if catalogue.is_built:
                self.feed(service, catalogue, channels, as_of)
