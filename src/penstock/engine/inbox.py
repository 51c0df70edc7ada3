"""The inbox: events that are not decided at once, and nothing else.

Owns table `inbox`: posting, cancelling timers, and removing what was decided. Due events of a root
are read under the root's lock (`rules/work.py`). A timer is an event that is due later, known by
its name in the workflow, and gone when its entity leaves the timer's statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.db import Queries, Tx, copy_text, uuid_array
from penstock.ids import new_id

SQL = Queries("penstock.engine", "engine.sql")
_COLUMNS = "id, root_kind, root_id, entity, entity_id, name, payload, due_at, is_timer, timer"
_encode = msgspec.json.Encoder().encode


class Event(msgspec.Struct, gc=False):
    """Something that happened to an entity, to be decided by its workflow.

    `depth` counts the inline events that led to this one within its pass.
    """

    root_kind: str
    root_id: str
    entity: str
    entity_id: str
    name: str
    payload: dict[str, Any] = {}
    due_at: datetime | None = None
    is_timer: bool = False
    timer: str | None = None
    depth: int = 0
    id: str = msgspec.field(default_factory=new_id)


async def post(tx: Tx, events: Sequence[Event], now: datetime) -> None:
    """Put events into the inbox; without a due time they are due now."""
    lines = [
        f"{e.id}\t{e.root_kind}\t{e.root_id}\t{e.entity}\t{e.entity_id}\t{e.name}\t"
        f"{copy_text(_encode(e.payload).decode())}\t{(e.due_at or now).isoformat()}\t"
        f"{e.is_timer:d}\t{e.timer or _NULL}"
        for e in events
    ]
    tx.copy_in("inbox", _COLUMNS, lines)


async def cancel_timers(tx: Tx, timers: Sequence[tuple[str, str, str]]) -> None:
    """Take timers out of the inbox, by (root id, entity id, timer's name)."""
    if timers:
        roots, entities, names = zip(*timers, strict=True)
        await tx.execute(SQL.cancel_timers, (uuid_array(roots), uuid_array(entities), list(names)))


async def remove(tx: Tx, event_ids: Sequence[str]) -> None:
    """Take decided events out of the inbox, with what a worker noted about them."""
    if event_ids:
        ids = uuid_array(event_ids)
        await tx.execute(SQL.remove_events, (ids,))
        await tx.execute(SQL.remove_notes, (ids,))


async def due_events_of_roots(tx: Tx, root_ids: Sequence[str], now: datetime) -> list[Event]:
    """Read the due events of locked roots, in the order they were accepted."""
    rows = await tx.fetch(SQL.due_events_of_roots, (uuid_array(root_ids), now))
    return [_event(row) for row in rows]


_NULL = "\\N"


def _event(row: tuple[Any, ...]) -> Event:
    return Event(
        id=row[0],
        root_kind=row[1],
        root_id=row[2],
        entity=row[3],
        entity_id=row[4],
        name=row[5],
        payload=row[6],
        due_at=row[7],
        is_timer=row[8],
        timer=row[9],
    )
