"""The worker's share: due events of any root, in batches, a pass each.

A batch is noted before it runs, in a transaction of its own. Events noted by a worker that is dead
run one by one, and after `MAX_NOTES` notes they are dead letters: a rule that kills the process
must not kill every worker. Any other failure halves the batch until the poisonous event stands
alone; it becomes a dead letter with its traceback. Refused events are dead letters too, for a
person to retry or skip.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import msgspec
import structlog

from penstock.db import Tx, uuid_array
from penstock.engine import inbox
from penstock.engine.context import RefusedAt
from penstock.engine.inbox import SQL, Event
from penstock.errors import Refusal, Transient
from penstock.passes import Pass
from penstock.rules.dead_letters import bury, bury_refused
from penstock.rules.execute import RefusedInPassError, run_and_write
from penstock.rules.knowledge import Knowledge
from penstock.rules.roots import context_of, load_roots

MAX_NOTES = 3
MAX_BATCH = 500
_log = structlog.get_logger(__name__)


class Batch(msgspec.Struct):
    """Roots to run together (kind by id), and the ids of their due events as they were noted.

    With `first_only` each root's oldest due event is run, and those behind it are left. `known` are
    refusals that workflows handle by themselves.
    """

    roots: dict[str, str]
    event_ids: list[str]
    first_only: bool = False
    known: dict[RefusedAt, Refusal] = {}

    def ids_by_kind(self) -> dict[str, list[str]]:
        """Return the ids of the roots by kind."""
        found: dict[str, list[str]] = {}
        for root_id, kind in self.roots.items():
            found.setdefault(kind, []).append(root_id)
        return found


async def run_due(knowledge: Knowledge, backend_pid: int, limit: int = MAX_BATCH) -> int:
    """Run up to `limit` due events; returns how many had an end (0: pause before the next look).

    Events that another living worker has noted, and roots that it holds, are passed over.

    `backend_pid` is of a connection that lives as long as the worker: notes go by it.
    """

    async def due(tx: Tx) -> list[Event]:
        return await _due(tx, knowledge, backend_pid, limit)

    events = await knowledge.database.run(knowledge.schema, due)
    if not events:
        return 0
    ended = await _bury_killers(knowledge, events)
    for batch in await _batches(knowledge, events):
        await _note(knowledge, batch, backend_pid)
        ended += await _run(knowledge, batch)
    return ended


async def _due(tx: Tx, knowledge: Knowledge, backend_pid: int, limit: int) -> list[Event]:
    now = knowledge.clock.now()
    roots = await tx.fetch(SQL.due_roots, (now, backend_pid, limit))
    if not roots:
        return []
    return await inbox.due_events_of_roots(tx, [row[1] for row in roots], now)


async def _bury_killers(knowledge: Knowledge, events: list[Event]) -> int:
    """Bury events whose workers died `MAX_NOTES` times; takes them out of the list, counts them."""

    async def work(tx: Tx) -> set[str]:
        ids = uuid_array(event.id for event in events)
        rows = await tx.fetch(SQL.notes_of_events, (ids,))
        killers = {row[0] for row in rows if row[1] >= MAX_NOTES and not row[2]}
        text = f"{MAX_NOTES} workers died while they ran this event"
        for event_id in sorted(killers):
            await bury(tx, knowledge, event_id, text, "")
        return killers

    killers = await knowledge.database.run(knowledge.schema, work)
    events[:] = [event for event in events if event.id not in killers]
    return len(killers)


async def _batches(knowledge: Knowledge, events: Sequence[Event]) -> list[Batch]:
    """Put events together, but for those that a worker noted which is dead: these run alone."""

    async def work(tx: Tx) -> set[str]:
        ids = uuid_array(sorted(event.id for event in events))
        rows = await tx.fetch(SQL.notes_of_events, (ids,))
        return {row[0] for row in rows if not row[2]}

    suspects = await knowledge.database.run(knowledge.schema, work)
    by_root: dict[str, list[Event]] = {}
    for event in events:
        by_root.setdefault(event.root_id, []).append(event)
    together = Batch({}, [])
    alone: list[Batch] = []
    for root_id, of_root in by_root.items():
        ids = [event.id for event in of_root]
        kind = of_root[0].root_kind
        if suspects.intersection(ids):
            alone.append(Batch({root_id: kind}, ids))
        else:
            together.roots[root_id] = kind
            together.event_ids += ids
    return ([together] if together.roots else []) + alone


async def _note(knowledge: Knowledge, batch: Batch, backend_pid: int) -> None:
    ids = uuid_array(sorted(batch.event_ids))

    async def work(tx: Tx) -> None:
        await tx.execute(SQL.note_events, (ids, backend_pid))

    await knowledge.database.run(knowledge.schema, work)


async def _run(knowledge: Knowledge, batch: Batch) -> int:
    """Run a batch; on failure its halves, then one root's first event, which is buried if it fails.

    Transient errors leave the batch for later; refused events are buried, the others run again.
    Returns how many events were decided or buried.
    """

    async def work(tx: Pass) -> int:
        return await _decide(tx, batch)

    try:
        return await knowledge.run_pass("worker", work)
    except RefusedInPassError as refused:
        batch.known |= refused.known
        await bury_refused(knowledge, refused.refusals)
        return len(refused.refusals) + await _run(knowledge, batch)
    except Transient:
        _log.warning("batch left for later", roots=len(batch.roots))
        return 0
    except Exception as error:  # noqa: BLE001 (the worker edge: isolates whatever a rule raises)
        if len(batch.roots) > 1:
            first, second = _halves(batch)
            return await _run(knowledge, first) + await _run(knowledge, second)
        if not batch.first_only:
            alone = Batch(batch.roots, [], first_only=True, known=batch.known)
            return await _run(knowledge, alone)
        await _bury_root(knowledge, next(iter(batch.roots)), error)
        return 1


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    roots = list(batch.roots.items())
    half = len(roots) // 2
    first, second = dict(roots[:half]), dict(roots[half:])
    return Batch(first, [], known=batch.known), Batch(second, [], known=batch.known)


async def _decide(tx: Pass, batch: Batch) -> int:
    roots = await load_roots(tx, tx.knowledge, batch.ids_by_kind(), "skipping")
    if not roots:
        return 0
    due = await inbox.due_events_of_roots(tx, list(roots), tx.now)
    events: dict[str, list[Event]] = {}
    for event in due:
        events.setdefault(event.root_id, []).append(event)
    most = 1 if batch.first_only else None
    contexts = [
        context_of(tx, root, events[root.id][:most], batch.known)
        for root in roots.values()
        if root.id in events
    ]
    if not contexts:
        return 0
    await run_and_write(tx, contexts)
    decided = [
        event.id
        for context in contexts
        for event in context.decided_events
        if event.id in context.accepted_ids
    ]
    await inbox.remove(tx, decided)
    return len(decided)


async def _bury_root(knowledge: Knowledge, root_id: str, error: Exception) -> None:
    """Bury the oldest due event of a root: the one that was run first."""
    lines = "".join(traceback.format_exception(error))

    async def work(tx: Tx) -> None:
        due = await inbox.due_events_of_roots(tx, [root_id], knowledge.clock.now())
        if due:
            text = f"{error.code}: {error}" if isinstance(error, Refusal) else repr(error)
            await bury(tx, knowledge, due[0].id, text, lines)

    await knowledge.database.run(knowledge.schema, work)
