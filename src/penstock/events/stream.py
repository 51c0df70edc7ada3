"""The change stream's write side: every committed state change leaves exactly one event.

Owns appending to table `event` (the outbox). Events carry their pass and an ordinal in it, and
per root a `seq` given under the root's lock. Reading follows pass numbers (`sequencer.py`).
For stock positions the journal row is the event; only shortages and crossings are written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.db import copy_text
from penstock.passes import Pass

_COLUMNS = (
    "pass_id, ordinal, occurred_at, root_kind, root_id, seq, entity, entity_id, name, payload"
)
_encode = msgspec.json.Encoder().encode


class Change(msgspec.Struct, gc=False):
    """One state change of an entity inside a root."""

    root_kind: str
    root_id: str
    seq: int
    entity: str
    entity_id: str
    name: str
    payload: dict[str, Any]


async def append_changes(tx: Pass, changes: Sequence[Change]) -> None:
    """Append changes to the stream, in this order, as part of the pass."""
    start = f"{tx.id}\t"
    now = tx.now.isoformat()
    lines = [
        f"{start}{tx.next_event_ordinal()}\t{now}\t{c.root_kind}\t{c.root_id}\t{c.seq}\t"
        f"{c.entity}\t{c.entity_id}\t{c.name}\t{copy_text(_encode(c.payload).decode())}"
        for c in changes
    ]
    tx.copy_in("event", _COLUMNS, lines)
