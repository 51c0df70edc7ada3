"""Lots as people look at them: what lies where, and what became of a lot (a recall's question)."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from penstock.db import Queries, Tx
from penstock.inventory.model import Cause

SQL = Queries("penstock.inventory", "lots.sql")
MAX_LISTED = 1_000


class LotSearch(msgspec.Struct, frozen=True):
    """Which lots; what is None does not matter."""

    sku: str | None = None
    location: str | None = None
    lot: str | None = None
    expires_before: date | None = None
    limit: int = MAX_LISTED


class LotView(msgspec.Struct, frozen=True):
    """A quantity of a lot at a place; blocked: expired, or in a blocked area.

    `pegged` are units of the lot in its position, over all its areas.
    """

    sku: str
    location: str
    pool: str
    lot: str
    expires_on: date | None
    supplier: str
    area: str
    qty: int
    is_blocked: bool
    pegged: int


class LotEvent(msgspec.Struct, frozen=True):
    """A change of a lot; `order` is the one that it left for, and `is_assumed`: nobody said so."""

    sku: str
    location: str
    occurred_at: datetime
    qty: int
    area: str
    cause: str
    cause_id: str
    order: str | None
    is_assumed: bool


async def list_lots(tx: Tx, search: LotSearch) -> list[LotView]:
    """List quantities of lots, first expired first, up to the limit."""
    twice = [
        n for n in (search.sku, search.location, search.lot, search.expires_before) for _ in "ab"
    ]
    rows = await tx.fetch(SQL.list_lots, (*twice, min(search.limit, MAX_LISTED)))
    return [LotView(*row) for row in rows]


async def lot_history(tx: Tx, sku: str, lot: str, limit: int = MAX_LISTED) -> list[LotEvent]:
    """Return what became of a lot everywhere, newest first."""
    rows = await tx.fetch(SQL.lot_history, (sku, lot, min(limit, MAX_LISTED)))
    return [
        LotEvent(
            sku=row[0],
            location=row[1],
            occurred_at=row[2],
            qty=row[3],
            area=row[4],
            cause=Cause(row[5]).name.lower(),
            cause_id=row[6],
            order=row[7],
            is_assumed=row[8],
        )
        for row in rows
    ]
