"""The timeline of a root: what ran, what failed, what people did, and what is still to come.

A view: eight statements for one root, whatever it has been through. The CLI and the API show it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from penstock.db import Queries, Tx
from penstock.engine.document import WorkflowDocument
from penstock.engine.traces import expand

SQL = Queries("penstock.engine", "desk.sql")


class Entry(msgspec.Struct):
    """One thing in time. `what` says which kind; `detail` is as that kind has it."""

    at: datetime
    what: str  # ran | dead_letter | unhandled | intervention | note | job | waiting
    detail: dict[str, Any]


async def timeline(tx: Tx, root_id: str) -> list[Entry]:
    """Return everything that is kept about a root, oldest first; what is to come stands last."""
    entries = await _what_ran(tx, root_id)
    kinds = (
        (SQL.dead_letters_of_root, "dead_letter",
         ("id", "entity", "entity_id", "event", "error", "resolved_at", "resolution")),
        (SQL.unhandled_of_root, "unhandled",
         ("id", "entity", "entity_id", "event", "status", "resolved_at", "resolution")),
        (SQL.interventions_of_root, "intervention", ("action", "by", "reason", "subject")),
        (SQL.notes_of_root, "note", ("entity", "entity_id", "by", "text")),
        (SQL.jobs_of_root, "job", ("id", "kind", "status", "attempts", "last_error", "due_at")),
        (SQL.waiting_of_root, "waiting", ("id", "entity", "entity_id", "event", "timer")),
    )  # fmt: skip
    for query, what, names in kinds:
        for at, *values in await tx.fetch(query, (root_id,)):
            entries.append(Entry(at, what, dict(zip(names, values, strict=True))))
    return sorted(entries, key=lambda one: (one.what == "waiting", one.at))


async def _what_ran(tx: Tx, root_id: str) -> list[Entry]:
    rows = await tx.fetch(SQL.traces_of_root, (root_id,))
    ids = sorted({event["workflow"] for _, _, events in rows for event in events})
    found = await tx.fetch(SQL.documents_of_workflows, (ids,))
    if any("run" in event for _, _, events in rows for event in events):
        found += await tx.fetch(SQL.documents_of_runs, (root_id,))
    documents = {key: msgspec.convert(stored, WorkflowDocument) for key, stored in found}
    return [
        Entry(at, "ran", {"pass_id": pass_id, "events": [expand(one, documents) for one in events]})
        for at, pass_id, events in rows
    ]
