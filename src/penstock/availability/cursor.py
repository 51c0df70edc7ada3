"""Cursors of availability: as of which pass, product catalogue and terms somebody has been told.

Pure. A cursor is a plain text that any process reads, before and after a restart. `number` is a
pass, `catalogue` the revision of products, `epoch` says on what terms stock became availability
(who serves, which controls hold) and in which history of the server: equal terms have equal epochs,
in every process. While a long
list is told page by page the cursor has `until`, where the list ends, and `product`, the last told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from penstock.availability.atp import VirtualCatalogue
from penstock.availability.neighbours import ChannelTree
from penstock.errors import Refusal

_POINT = re.compile(r"(\d{1,18})\.(\d{1,18})\.([0-9a-f]{12})")
_CURSOR = re.compile(rf"{_POINT.pattern}(?:~{_POINT.pattern}\.(\d{{1,9}}))?")
_encode = msgspec.json.Encoder().encode


class Point(msgspec.Struct, frozen=True):
    """A state of a virtual catalogue that somebody has been told."""

    number: int
    catalogue: int
    epoch: str

    def __str__(self) -> str:
        return f"{self.number}.{self.catalogue}.{self.epoch}"


class Cursor(msgspec.Struct, frozen=True):
    """From where somebody wants to know; within a list that is told page by page, where it ends."""

    point: Point
    until: Point | None = None
    product: int = 0

    def __str__(self) -> str:
        return str(self.point) + (f"~{self.until}.{self.product}" if self.until else "")


def read_cursor(text: str) -> Cursor:
    """Read a cursor; refuses with `invalid_cursor` what none is."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        sentence = f"{text[:60]!r} is no cursor: use one from an answer or an export, as it is."
        raise Refusal("invalid_cursor", sentence, field="after")
    number, catalogue, epoch, *more = match.groups()
    point = Point(int(number), int(catalogue), epoch)
    if more[0] is None:
        return Cursor(point)
    return Cursor(point, Point(int(more[0]), int(more[1]), more[2]), int(more[3]))


class AsOf(NamedTuple):
    """What a process knows, as of which pass and revisions; in which history passes count."""

    number: int
    revisions: Mapping[str, int]
    history: str


def stock_point(as_of: AsOf) -> Point:
    """Return the point that stock is at: it has no terms, but a history."""
    epoch = blake2b(f"stock {as_of.history}".encode(), digest_size=6).hexdigest()
    return Point(as_of.number, as_of.revisions.get("catalogue", 0), epoch)


def epoch_of(catalogue: VirtualCatalogue, channels: ChannelTree, as_of: AsOf) -> str:
    """Return the epoch of a virtual catalogue: twelve digits made of all that its terms hang on."""
    revisions = as_of.revisions
    controls, channel_id = catalogue.terms.controls, catalogue.terms.channel_id
    parts = (
        as_of.history,
        channels.path(channel_id),
        channels.catalogue_id(channel_id),
        revisions.get("control", 0),
        revisions.get("network", 0) if controls.rules else 0,
        controls.state(catalogue.terms.moment.at),
    )
    digest = blake2b(catalogue.terms.serves.tobytes(), digest_size=6)
    digest.update(_encode(parts))
    return digest.hexdigest()
