"""What changed of a channel's availability since a cursor: each SKU once, with its last value.

Owns reading it out of the journal, so that it is the same in every process and after a restart:
the movements since the cursor's pass, as one change of the index, on the terms of now. Products
switched, and kits of which a component moved, are told as well; what other terms moved, `feeds.py`
knows. While neither terms change nor caps are there, exactly those are told whose value differs;
otherwise some may be told that have the same value as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.atp import VirtualCatalogue
from penstock.availability.cursor import Cursor, Point
from penstock.availability.feeds import Feed
from penstock.availability.index import Change
from penstock.availability.product_map import Ints
from penstock.availability.states import AT_RISK, IN_STOCK, OUT_OF_STOCK
from penstock.availability.thresholds import Levels
from penstock.availability.views import AvailabilityRequest, Sight, Status, items_of
from penstock.db import Queries, Tx
from penstock.errors import Refusal

MAX_PASSES = 50_000
MAX_MOVEMENTS = 5_000_000
MAX_PRODUCTS = 100_000  # changed in the product catalogue
MAX_ITEMS = 10_000
_ROWS_PER_PAGE = 64  # as in the query
_LAST_ROW = 2**63 - 1
_NONE: NDArray[np.intp] = np.empty(0, dtype=np.intp)

SQL = Queries("penstock.availability", "changes.sql")
CrossingName = Literal["at_risk", "out_of_stock", "back_in_stock"]
_NAMES: dict[int, CrossingName] = {
    AT_RISK: "at_risk",
    OUT_OF_STOCK: "out_of_stock",
    IN_STOCK: "back_in_stock",
}


class Changed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A SKU whose availability changed; `crossing` where it crossed a level on the way."""

    sku: str
    available: int
    status: Status | None = None
    crossing: CrossingName | None = None


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes, and the cursor to go on from; `more` are waiting already.

    `resync`: what changed cannot be told; read everything anew, then go on from the cursor.
    """

    cursor: str
    items: Sequence[Changed]
    more: bool = False
    resync: bool = False


class Asked(msgspec.Struct, frozen=True):
    """What is asked: which virtual catalogue, since when, how many at most, and its levels."""

    channel: str
    service: Literal["deliver", "collect"]
    after: Cursor
    limit: int
    levels: Levels | None = None


class Moved(NamedTuple):
    """Products that may have changed, ascending, and by how much their total did, if known."""

    products: Ints
    by: NDArray[np.int64] | None


def refuse_old(sentence: str) -> Refusal:
    """Return the refusal `cursor_too_old`, which says what to do."""
    way_out = "take a full export (`penstock export availability`) and go on from its cursor."
    return Refusal("cursor_too_old", f"{sentence} {way_out.capitalize()}")


async def changes_since(tx: Tx, sight: Sight, feed: Feed, asked: Asked, now: Point) -> Page:
    """Return a page of what changed from a cursor to `now`; refuses with `cursor_too_old`."""
    after = asked.after
    found = await changed_products(tx, sight, feed, (asked.channel, after.point), now)
    if found is None:
        return Page(str(Cursor(now)), [], resync=True)
    products, moved = found
    waiting = products[products > after.product]
    items = await _items(tx, sight, asked, waiting[: asked.limit])
    if asked.levels is not None:
        items = _with_crossings(items, moved, feed.catalogue, asked.levels)
    until = after.until or now
    if len(waiting) > asked.limit:
        last = int(waiting[asked.limit - 1])
        return Page(str(Cursor(after.point, until, last)), [one for _, one in items], more=True)
    return Page(str(Cursor(until)), [one for _, one in items])


async def changed_products(
    tx: Tx, sight: Sight, feed: Feed, since: tuple[str, Point], now: Point
) -> tuple[Ints, Moved] | None:
    """Return the products of a channel that changed since a point, ascending, and what moved.

    None: this process cannot tell. Refuses with `cursor_too_old`.
    """
    channel, point = since
    if point.number > now.number:
        raise refuse_old("The cursor is ahead of everything here.")
    first, others = point.number, _NONE
    is_exact = point.epoch == now.epoch and not feed.catalogue.terms.moment.has_counted
    if point.epoch != now.epoch:
        told = feed.since(point)
        if told is None:
            return None
        first, others = told
    moved = _moved(feed.catalogue, await read_movements(tx, first, now.number), is_exact=is_exact)
    switched = await _switched(tx, sight, channel, (point.catalogue, now.catalogue))
    products = np.union1d(np.union1d(moved.products, others), switched)
    kits = sight.products.kits_with(products.tolist())
    return np.union1d(products, kits).astype(np.intp), moved


async def read_movements(tx: Tx, first: int, last: int) -> list[Sequence[Ints]]:
    """Read the journal of the passes after `first` up to `last`; refuses with `cursor_too_old`."""
    if last <= first:
        return []
    oldest = await tx.fetch_one(SQL.oldest_pass)
    if oldest is not None and oldest[0] > first + 1:
        raise refuse_old("The journal does not go back that far any more.")
    if last - first > MAX_PASSES:
        raise refuse_old(f"More than {MAX_PASSES:,} passes have been since.")
    rows: list[Sequence[Ints]] = []
    at, movements = (first, _LAST_ROW), 0
    while True:
        page = await tx.fetch(SQL.changes_page, (first, last, *at))
        rows += [row[2:] for row in page]
        movements += sum(len(row[2]) for row in page)
        if len(page) < _ROWS_PER_PAGE:
            return rows
        if movements > MAX_MOVEMENTS:
            raise refuse_old(f"More than {MAX_MOVEMENTS:,} movements have been since.")
        at = (page[-1][0], page[-1][1])


def _moved(catalogue: VirtualCatalogue, rows: Sequence[Sequence[Ints]], *, is_exact: bool) -> Moved:
    """Return the products of journal rows; exact: those whose total differs from what it was."""
    if not rows:
        return Moved(_NONE, np.empty(0, dtype=np.int64) if is_exact else None)
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    ids, products, locations, pools, on_hand_by, reserved_by, on_hand, reserved, versions = columns
    if not is_exact:
        return Moved(np.unique(products), None)
    order = np.lexsort((versions, ids))
    first = order[np.unique(ids[order], return_index=True)[1]]
    before = on_hand[first] - on_hand_by[first]
    index = catalogue.index
    change = Change(
        ids[first],
        products[first],
        locations[first],
        pools[first],
        before - (reserved[first] - reserved_by[first]),
        index.net(ids[first]),
        before,
        index.on_hand[ids[first]].astype(np.int64),
    )
    unique, places = np.unique(change.product_ids, return_inverse=True)
    by = np.zeros(len(unique), dtype=np.int64)
    np.add.at(by, places, catalogue.terms.moved(change))
    return Moved(unique[by != 0], by[by != 0])


async def _switched(tx: Tx, sight: Sight, channel: str, revisions: tuple[int, int]) -> Ints:
    """Return the products that changed in the channel's catalogue between two revisions."""
    since, now = revisions
    if since == now:
        return _NONE
    catalogue_id = sight.channels.catalogue_id(sight.channels.by_ref[channel])
    row = await tx.fetch_one(SQL.products_changed, (since, catalogue_id, MAX_PRODUCTS + 1))
    if row is None or row[0] is None:
        return _NONE
    if len(row[0]) > MAX_PRODUCTS:
        raise refuse_old(f"More than {MAX_PRODUCTS:,} products have changed since.")
    return row[0]


async def _items(tx: Tx, sight: Sight, asked: Asked, products: Ints) -> list[tuple[int, Changed]]:
    """Return what may be promised now of those products that the channel sells, with their ids."""
    if not len(products):
        return []
    catalogue_id = sight.channels.catalogue_id(sight.channels.by_ref[asked.channel])
    columns = (products.astype(np.int32), catalogue_id)
    rows = await tx.fetch(SQL.skus_in_catalogue, columns)
    ids, skus = [row[0] for row in rows], [row[1] for row in rows]
    await sight.products.resolve(tx, catalogue_id, skus)
    request = AvailabilityRequest(asked.channel, skus, asked.service)
    items = items_of(sight, request, ids)
    return [
        (number, Changed(item.sku, item.available, item.status))
        for number, item in zip(ids, items, strict=True)
    ]


def _with_crossings(
    items: Sequence[tuple[int, Changed]],
    moved: Moved,
    catalogue: VirtualCatalogue,
    levels: Levels,
) -> list[tuple[int, Changed]]:
    """Return the items with the level that each has crossed, of what moved in stock."""
    if moved.by is None or not len(moved.products):
        return list(items)
    there = catalogue.totals_of(moved.products)
    rows = np.zeros(len(there), dtype=np.int64)
    was = levels.states(moved.products, rows, there - moved.by)
    states = levels.states(moved.products, rows, there)
    crossed = (was != states).nonzero()[0]
    names = {int(moved.products[n]): _NAMES[int(states[n])] for n in crossed.tolist()}
    return [
        (number, msgspec.structs.replace(one, crossing=names.get(number))) for number, one in items
    ]
