"""Moving entities in flight to another version of their workflow.

Entities stay with the version they began with, unless a person moves them: a dry run says first
how many there are, by status, and which statuses have no place in the new version. Moving goes in
chunks, each a pass under the roots' locks; what is moved already is not met again, so that a move
that was broken off goes on where it was. Ended entities stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.db import Queries, Tx, uuid_array
from penstock.engine.compiled import Workflow
from penstock.engine.context import Context
from penstock.engine.inbox import Event
from penstock.engine.jobs import Decision
from penstock.engine.timers import due_of, timer_event
from penstock.engine.workflows import Workflows, load_workflows
from penstock.errors import Refusal
from penstock.ids import NIL, new_id
from penstock.passes import Pass
from penstock.rules.execute import write_contexts
from penstock.rules.knowledge import Knowledge
from penstock.rules.roots import Root, context_of, load_roots
from penstock.rules.timeline import SQL as DESK

SQL = Queries("penstock.engine", "migrate.sql")
CHUNK = 500
INSIDE = {
    "order": SQL.orders_to_migrate,
    "fulfilment": SQL.orders_of_fulfilments_to_migrate,
    "choice": SQL.orders_of_choices_to_migrate,
}
_encode = msgspec.json.Encoder().encode


class Usage(msgspec.Struct, frozen=True):
    """How many entities of a version are in a status."""

    name: str
    version: int
    entity: str
    status: str
    count: int


class Migration(msgspec.Struct, frozen=True):
    """From which version to which, and where statuses go that are called otherwise there."""

    name: str
    from_version: int
    to_version: int
    statuses: Mapping[str, str] = {}


class Plan(msgspec.Struct):
    """What a migration would do: per status where it goes, and how many are there."""

    moves: list[tuple[str, str, int]]
    staying: int
    workflow: Workflow
    target: Workflow


async def usage(tx: Tx, name: str | None = None) -> list[Usage]:
    """Return how many entities are pinned to which version, by status."""
    return [Usage(*row) for row in await tx.fetch(SQL.usage, (name, name))]


async def plan(tx: Tx, knowledge: Knowledge, migration: Migration) -> Plan:
    """Say what a migration would do; refuses `unknown_workflow`, `status_without_place`."""
    stored = await load_workflows(tx, knowledge.vocabulary)  # a version may be a moment old
    workflow = _version(stored, migration.name, migration.from_version)
    target = _version(stored, migration.name, migration.to_version)
    if (workflow.entity, workflow.type) != (target.entity, target.type):
        raise Refusal("wrong_entity", "The two versions are of different entities or types.")
    unknown = sorted(set(migration.statuses.values()) - target.categories.keys())
    if unknown:
        raise Refusal("undeclared_status", f"Version {target.version} has no status {unknown[0]}.")
    moves: list[tuple[str, str, int]] = []
    staying = 0
    for one in await usage(tx, migration.name):
        if one.version != migration.from_version:
            continue
        if workflow.categories.get(one.status) in {"done", "failed"}:
            staying += one.count
        else:
            moves.append((one.status, migration.statuses.get(one.status, one.status), one.count))
    lacking = sorted(old for old, new, _ in moves if new not in target.categories)
    if lacking:
        raise Refusal(
            "status_without_place",
            f"Version {target.version} has no status {', '.join(lacking)}: say where those go with "
            f"--map {lacking[0]}=….",
            statuses=lacking,
        )
    return Plan(moves, staying, workflow, target)


def _version(stored: Workflows, name: str, version: int) -> Workflow:
    for workflow in stored.by_id.values():
        if (workflow.name, workflow.version) == (name, version):
            return workflow
    raise Refusal("unknown_workflow", f"There is no version {version} of a workflow {name!r}.")


async def migrate(knowledge: Knowledge, migration: Migration, decision: Decision) -> int:
    """Move every entity that is not ended; returns how many entities were moved.

    Refuses as `plan`. Roots that somebody holds are waited for.
    """

    async def planned(tx: Tx) -> Plan:
        return await plan(tx, knowledge, migration)

    found = await knowledge.database.run(knowledge.schema, planned)
    places = {old: new for old, new, _ in found.moves}
    query = INSIDE.get(found.workflow.entity, SQL.entities_to_migrate)
    after, total = NIL, 0
    while True:

        async def work(tx: Pass, after: str = after) -> tuple[str | None, int]:
            values = (after, found.workflow.id, list(places), CHUNK)
            ids = [row[0] for row in await tx.fetch(query, values)]
            return (ids[-1] if ids else None), await _move(tx, ids, found, places)

        last, moved = await knowledge.run_pass("migrate", work)
        total += moved
        if last is None:
            break
        after = last
    await knowledge.database.run(knowledge.schema, lambda tx: _keep(tx, migration, decision, total))
    return total


async def _move(tx: Pass, ids: Sequence[str], found: Plan, places: Mapping[str, str]) -> int:
    kind = "order" if found.workflow.entity in INSIDE else found.workflow.entity
    roots = await load_roots(tx, tx.knowledge, {kind: ids}, "waiting") if ids else {}
    contexts: list[Context] = []
    moved = 0
    for root in roots.values():
        context = context_of(tx, root, [_nothing(root)])
        context.queue.clear()
        for subject in (root, *root.subjects()):
            if subject.workflow_id == found.workflow.id and subject.status in places:
                _move_one(tx, context, subject, found, places[subject.status])
                moved += 1
        contexts.append(context)
    await write_contexts(tx, contexts)
    return moved


def _nothing(root: Root) -> Event:
    return Event(root.kind, root.id, root.kind, root.id, "workflow.migrated")


def _move_one(tx: Pass, context: Context, subject: Any, found: Plan, status: str) -> None:
    """Pin an entity to the new version; timers of the old one go, those of the new one begin."""
    before = subject.status
    context.entity = subject
    for timer in found.workflow.timers:
        if before in timer.statuses:
            context.cancel_timer(timer.name)
    subject.workflow_id, subject.status = found.target.id, status
    for timer in found.target.timers:
        due_at = due_of(timer, subject, tx.now) if status in timer.statuses else None
        if due_at is not None:
            context.send(timer_event(context, subject, timer, due_at))
    payload = {
        "from": before,
        "to": status,
        "from_version": found.workflow.version,
        "to_version": found.target.version,
    }
    context.record(f"{subject.kind}.workflow_migrated", subject.kind, subject.id, payload)


async def _keep(tx: Tx, migration: Migration, decision: Decision, total: int) -> None:
    subject = {**msgspec.to_builtins(migration), "count": total}
    told = ("migrate", decision.by, decision.reason, decision.at)
    ids = (uuid_array([new_id()]), uuid_array([NIL]), [_encode(subject).decode()])
    await tx.execute(DESK.write_interventions, (*told, *ids))
