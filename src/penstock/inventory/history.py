"""What stock was, and why it is what it is: the journal read backwards, position by position.

Reads only. What stock was at an instant is what Penstock knew then: the last entry recorded by then
(a pass is recorded when it begins, so that of two passes within the same second the later of them
decides). Availability at an instant is on hand less reserved; controls are not kept by instant, and
none is applied. One statement answers for any number of positions, and one for a page of entries;
both walk back from a known journal row, at most `MAX_STEPS` and a page's length of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from penstock.db import Row, Tx
from penstock.errors import Refusal
from penstock.inventory.causes import SQL
from penstock.inventory.model import Cause

MAX_SKUS = 500
MAX_POSITIONS = 5_000
MAX_PAGE = 500
MAX_STEPS = 50_000
_NEWEST = np.iinfo(np.int32).max


class StockQuery(msgspec.Struct, frozen=True):
    """Which positions: of SKUs (of a catalogue, where there are several), at locations or all."""

    skus: Sequence[str]
    locations: Sequence[str] | None = None
    pool: str | None = None
    catalogue: str | None = None


class Stock(msgspec.Struct, frozen=True):
    """What a position is, or was; `since` is when it became so. Available is not floored at 0."""

    sku: str
    location: str
    pool: str
    on_hand: int
    reserved: int
    available: int
    version: int
    since: datetime | None = None


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """What caused an entry: `kind`, a sentence, and the order, feed or reason it refers to."""

    kind: str
    says: str
    id: str
    order: str | None = None
    channel: str | None = None
    source: str | None = None
    reference: str | None = None
    reason: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """A movement of a position: by how much, what resulted, and why."""

    version: int
    recorded_at: datetime
    occurred_at: datetime
    counted_at: datetime | None
    on_hand_delta: int
    reserved_delta: int
    on_hand: int
    reserved: int
    why: Why
    pass_id: str
    journal_id: int


class History(msgspec.Struct, frozen=True):
    """A page of entries, newest first; `next` is the `before` of the page after it.

    `is_cut` says that what was before the last entry has been pruned.
    """

    sku: str
    location: str
    pool: str
    on_hand: int
    reserved: int
    entries: Sequence[Entry]
    next: str | None
    is_cut: bool


async def stock_now(tx: Tx, query: StockQuery) -> list[Stock]:
    """Return positions as they are, by SKU, location and pool.

    Refusals: `unknown_sku`, `unknown_location`, `too_many_positions`.
    """
    return [_stock(row, row[4:7]) for row in await _positions(tx, query)]


async def stock_as_of(tx: Tx, query: StockQuery, at: datetime) -> list[Stock]:
    """Return positions as they were at an instant; those that were not there yet are left out.

    Refusals: those of `stock_now`, and `history_pruned` before what is kept.
    """
    rows = await _positions(tx, query)
    was = await values_as_of(tx, [row[0] for row in rows], at)
    return [_stock(row, was[row[0]][:3], was[row[0]][3]) for row in rows if row[0] in was]


def _stock(row: Row, values: Sequence[Any], since: datetime | None = None) -> Stock:
    on_hand, reserved, version = values
    return Stock(row[1], row[2], row[3], on_hand, reserved, on_hand - reserved, version, since)


Values = tuple[int, int, int, datetime | None]  # on hand, reserved, version, since


async def values_as_of(tx: Tx, position_ids: Sequence[int], at: datetime) -> dict[int, Values]:
    """Return on hand, reserved, version and since when, by position id, at an instant.

    Positions without an entry by then are left out. Refuses with `history_pruned`, and with
    `history_too_long` where no mark is near and the walk would not end.
    """
    row = await tx.fetch_one(SQL.journal_from)
    journal_from: datetime | None = row[0] if row else None
    if journal_from is not None and at < journal_from:
        raise _pruned(journal_from)
    ids = np.array(position_ids, dtype=np.int32)
    found: dict[int, Values] = {}
    for row in await _fetch(tx, SQL.stock_as_of, {"ids": ids, "at": at, "most": MAX_STEPS}):
        values = _values(row, journal_from)
        if values is not None:
            found[row[0]] = values
    return found


def _values(row: Row, journal_from: datetime | None) -> Values | None:
    """Return what a walk has come to; None where the position had no entry yet."""
    position_id, is_found, next_id, step, on_hand, reserved, version, recorded_at = row[:8]
    if is_found:
        return on_hand, reserved, version, recorded_at
    floor_id, *floor = row[8:]
    if floor_id is not None and (version is None or version > floor[2] or next_id == floor_id):
        return floor[0], floor[1], floor[2], None
    if next_id == 0:
        return None
    if step >= MAX_STEPS:
        sentence = "This position has moved too often since: let the audit run, then ask again."
        raise Refusal("history_too_long", sentence, position_id=position_id)
    raise _pruned(journal_from)


def _pruned(journal_from: datetime | None) -> Refusal:
    since = f" It is kept since {journal_from:%Y-%m-%d %H:%M} UTC." if journal_from else ""
    return Refusal(
        "history_pruned",
        f"The journal of that time is no longer kept.{since}",
        journal_from=journal_from,
    )


async def history(tx: Tx, query: StockQuery, before: str | None = None, limit: int = 50) -> History:
    """Return a page of a position's entries with causes, newest first.

    `query` has to name one position; `before` is the `next` of the page before. Refusals:
    `unknown_sku`, `unknown_location`, `no_such_position`, `pool_needed`, `invalid_query`.
    """
    position = await _one_position(tx, query)
    last = await tx.fetch_one(SQL.last_row_of_position, (position[0],))
    journal_id, floor_version = last or (0, None)
    below = _NEWEST
    if before is not None:
        journal_id, below = _cursor(before)
    params = {
        "position_id": position[0],
        "journal_id": journal_id,
        "below": below,
        "most": limit + 1,
    }
    rows = await _fetch(tx, SQL.history_page, params)
    entries = [_entry(row) for row in rows[:limit]]
    more = len(rows) > limit
    oldest = entries[-1].version if entries else below
    return History(
        sku=position[1],
        location=position[2],
        pool=position[3],
        on_hand=position[4],
        reserved=position[5],
        entries=entries,
        next=f"{entries[-1].journal_id}-{entries[-1].version}" if more else None,
        is_cut=not more and oldest > 1 and floor_version is not None,
    )


def _cursor(text: str) -> tuple[int, int]:
    parts = text.split("-")
    fits = len(parts) == 2 and all(part.isdecimal() and len(part) < 19 for part in parts)  # noqa: PLR2004 (row and version; 64 bits)
    if not fits or int(parts[1]) > _NEWEST:
        sentence = "before is what `next` of the page before says."
        raise Refusal("invalid_query", sentence, field="before")
    return int(parts[0]), int(parts[1])


async def _one_position(tx: Tx, query: StockQuery) -> Row:
    rows = await _positions(tx, query)
    if not rows:
        sentence = "This SKU has never had stock at this location."
        raise Refusal("no_such_position", sentence, sku=query.skus[0])
    if len(rows) > 1:
        pools = ", ".join(sorted({row[3] for row in rows}))
        sentence = f"It has stock in several pools or catalogues: name one ({pools})."
        raise Refusal("pool_needed", sentence, field="pool")
    return rows[0]


async def _positions(tx: Tx, query: StockQuery) -> list[Row]:
    names = {"skus": list(query.skus), "catalogue": query.catalogue}
    locations = None if query.locations is None else list(query.locations)
    asked = {**names, "locations": locations, "pool": query.pool, "most": MAX_POSITIONS + 1}
    rows = await _fetch(tx, SQL.positions_of_skus, asked)
    if len(rows) > MAX_POSITIONS:
        sentence = f"These are more than {MAX_POSITIONS:,} positions: ask for fewer at once."
        raise Refusal("too_many_positions", sentence, most=MAX_POSITIONS)
    for kind, ref in await _fetch(tx, SQL.refs_not_there, {**names, "locations": locations or []}):
        code = "unknown_sku" if kind == "sku" else "unknown_location"
        noun = "SKU" if kind == "sku" else kind
        raise Refusal(code, f"There is no {noun} {ref!r}.", field=kind)
    return rows


async def _fetch(tx: Tx, query: bytes, params: Mapping[str, object]) -> list[Row]:
    return await tx.fetch(query, params)  # pyright: ignore[reportArgumentType] (a mapping is as good)


def _entry(row: Row) -> Entry:
    return Entry(
        version=row[0],
        journal_id=row[1],
        pass_id=row[2],
        recorded_at=row[3],
        occurred_at=row[4],
        on_hand_delta=row[7],
        reserved_delta=row[8],
        on_hand=row[9],
        reserved=row[10],
        counted_at=row[11],
        why=_why(row[5], row[6], row[12:]),
    )


def _why(kind: int, cause_id: str, named: Sequence[Any]) -> Why:
    order, channel, _, source, reference, reason = named
    return Why(
        kind=_NAMES.get(kind, f"cause_{kind}"),
        says=_sentence(kind, cause_id, named),
        id=cause_id,
        order=order,
        channel=channel,
        source=source,
        reference=reference,
        reason=reason,
    )


_NAMES = {int(cause): cause.name.lower() for cause in Cause}
_OF_DEMAND = {
    Cause.ALLOCATION: "reserved for {}",
    Cause.CART_HOLD: "held for {}",
    Cause.UNRESERVE: "given back by {}",
    Cause.SHIPMENT: "shipped for {}",
    Cause.REASSIGN: "moved for {}",
    Cause.EXPIRY: "the hold of {} ended",
    Cause.SHED: "taken from {}, as stock was short",
    Cause.PICK: "picked for {}",
    Cause.PUT_BACK: "put back: picked for {}, and not shipped",
}


def _sentence(kind: int, cause_id: str, named: Sequence[Any]) -> str:
    order, channel, noted, source, reference, reason = named
    if kind in _OF_DEMAND:
        who = f"order {order} of {channel}" if order else f"cart {cause_id}"
        return _OF_DEMAND[Cause(kind)].format(who)
    if kind == Cause.COUNT:
        what = f" ({reference})" if reference else ""
        return f"counted by {source}, by {noted}{what}" if source else "counted"
    if kind == Cause.ADJUSTMENT:
        return f"adjusted: {reason}" if reason else "adjusted"
    if kind == Cause.BLOCK:
        return "kept back: lots that have expired, or lie where nothing is promised from"
    if kind == Cause.REPAIR:
        return f"repaired by the audit ({reference})" if reference else "repaired by the audit"
    return "set as it was" if kind == Cause.BASELINE else f"cause {kind}"
