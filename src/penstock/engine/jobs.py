"""Jobs: outside effects, written with the decision and done after its commit.

Owns table `job`'s write side and what a job is. Doing them is the runner's (`rules/outside.py`):
at least once, with the job's id as idempotency key; the answer comes back as an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.db import Tx, copy_text
from penstock.engine.durations import Duration
from penstock.ids import new_id

_COLUMNS = (
    "id, kind, root_kind, root_id, entity, entity_id, request, answer_event, failed_event, retry, "
    "due_at, created_at"
)
_NULL = "\\N"
_encode = msgspec.json.Encoder().encode


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often, and how soon again: waits grow by `factor` from `first` to `longest`, with jitter."""

    first: Duration = "5s"
    factor: float = 2.0
    longest: Duration = "1h"
    attempts: int = 10


class Job(msgspec.Struct):
    """An outside effect for an entity; `request` is what its kind's runner understands."""

    kind: str
    root_kind: str
    root_id: str
    entity: str
    entity_id: str
    request: dict[str, Any]
    answer_event: str | None = None
    failed_event: str | None = None
    retry: Retry = Retry()
    id: str = msgspec.field(default_factory=new_id)


async def write_jobs(tx: Tx, jobs: Sequence[Job], now: datetime) -> None:
    """Write jobs, due at once, with the pass that wants them."""
    instant = now.isoformat()
    lines = [
        f"{j.id}\t{j.kind}\t{j.root_kind}\t{j.root_id}\t{j.entity}\t{j.entity_id}\t"
        f"{copy_text(_encode(j.request).decode())}\t{j.answer_event or _NULL}\t"
        f"{j.failed_event or _NULL}\t{copy_text(_encode(j.retry).decode())}\t{instant}\t{instant}"
        for j in jobs
    ]
    tx.copy_in("job", _COLUMNS, lines)
