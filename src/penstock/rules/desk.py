"""The stuck desk: what makes no progress, why, and what a person can do about it.

Owns the causes (one query each, bounded) and the remedies: retry, skip, and moving a status past
the workflow. Every remedy is kept in `intervention`, with who did it and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from penstock.db import Tx, uuid_array
from penstock.engine import jobs
from penstock.engine.inbox import Event
from penstock.engine.jobs import Decision
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.passes import Pass
from penstock.rules.execute import write_contexts
from penstock.rules.finding import Found
from penstock.rules.knowledge import Knowledge
from penstock.rules.roots import context_of, load_roots
from penstock.rules.timeline import SQL

OVERDUE = timedelta(minutes=1)
WAITING = timedelta(days=7)
_encode = msgspec.json.Encoder().encode


class Limits(msgspec.Struct, frozen=True):
    """From when on something counts as stuck, and how many rows of a cause are shown."""

    older_than: timedelta = timedelta(hours=1)
    waiting_for: timedelta = WAITING
    most: int = 50


class Stuck(msgspec.Struct):
    """Something that makes no progress."""

    id: str
    cause: str
    entity: str
    entity_id: str
    root_id: str
    since: datetime
    sentence: str
    remedies: list[str]


async def find_stuck(tx: Tx, knowledge: Knowledge, now: datetime, limits: Limits) -> list[Stuck]:
    """Return what is stuck, by cause, the oldest of each first."""
    most = limits.most
    found = [
        _stuck(row, "dead_letter", f"{row[5]} failed for good: {row[7]}", _EVENT)
        for row in await tx.fetch(SQL.stuck_dead_letters, (most,))
    ]
    for row in await tx.fetch(SQL.stuck_unhandled, (most,)):
        sentence = f"No ruleset handles {row[5]} of a {row[3]} that is {row[7]}."
        found.append(_stuck(row, "unhandled", sentence, _EVENT))
    for row in await tx.fetch(SQL.stuck_inbox, (now - OVERDUE, most)):
        sentence = f"{row[5]} is overdue and nobody runs it: is a worker running?"
        found.append(_stuck(row, "overdue", sentence, ["look"]))
    for row in await tx.fetch(SQL.stuck_jobs, (most, now - OVERDUE, most)):
        is_failed = row[7] == "failed"
        sentence = f"A call ({row[5]}) {'was given up' if is_failed else 'is overdue'}: {row[8]}"
        found.append(_stuck(row, "job", sentence, _EVENT))
    found += await _without_progress(tx, knowledge, "open", now - limits.older_than, most)
    found += await _without_progress(tx, knowledge, "waiting", now - limits.waiting_for, most)
    return found


_EVENT = ["retry", "skip"]


def _stuck(row: tuple[Any, ...], cause: str, sentence: str, remedies: list[str]) -> Stuck:
    return Stuck(row[0], cause, row[3], row[4], row[2], row[6], sentence, remedies)


async def _without_progress(
    tx: Tx, knowledge: Knowledge, category: str, before: datetime, most: int
) -> list[Stuck]:
    """Find what is in a status of a category, unchanged for long, with nothing to come."""
    queries = {"order": SQL.stuck_orders, "fulfilment": SQL.stuck_fulfilments}
    found: list[Stuck] = []
    for kind, query in (*queries.items(), ("", SQL.stuck_entities)):
        ids, statuses = _statuses(knowledge, category, kind)
        if not ids:
            continue
        for row in await tx.fetch(query, (ids, statuses, before, most)):
            waits = "waits" if category == "waiting" else "should move by itself, but stands still"
            sentence = (
                f"{row[3].capitalize()} {row[5]} is {row[7]} and {waits}; nothing is to come."
            )
            stuck = _stuck(row, f"no_progress_{category}", sentence, ["event", "move"])
            found.append(stuck)
    return found


def _statuses(knowledge: Knowledge, category: str, kind: str) -> tuple[list[int], list[str]]:
    """Return (workflow id, status) pairs of a category, of a kind (empty: of all other kinds)."""
    pairs = [
        (workflow.id, status)
        for workflow in knowledge.workflows.by_id.values()
        for status, its in workflow.categories.items()
        if its == category
        and (workflow.entity == kind if kind else workflow.entity not in {"order", "fulfilment"})
        and not (kind == "fulfilment" and category == "waiting" and status == "created")
    ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


# ── remedies ─────────────────────────────────────────────────────────────────────────────────────


async def retry(tx: Tx, ids: Sequence[str], decision: Decision) -> list[str]:
    """Try dead letters, unhandled events and jobs again; returns the ids that were to be tried.

    Those that are resolved already are left alone. Refuses `unknown_entity` if none is known.
    """
    values = (decision.at, uuid_array(ids))
    done = await tx.fetch(SQL.retry_dead_letters, values)
    done += await tx.fetch(SQL.retry_unhandled, values)
    return await _with_jobs(tx, "retry", ids, done, decision)


async def skip(tx: Tx, ids: Sequence[str], decision: Decision) -> list[str]:
    """Leave dead letters, unhandled events and jobs be; as `retry`."""
    values = (decision.at, uuid_array(ids))
    done = await tx.fetch(SQL.skip_dead_letters, values)
    done += await tx.fetch(SQL.skip_unhandled, values)
    return await _with_jobs(tx, "skip", ids, done, decision)


async def _with_jobs(
    tx: Tx, action: str, ids: Sequence[str], done: list[tuple[Any, ...]], decision: Decision
) -> list[str]:
    roots = {str(row[0]): row[1] for row in done}
    await _keep(tx, action, roots, decision)
    rest = [one for one in ids if one not in roots]
    known = {row[0] for row in await tx.fetch(jobs.SQL.lock_jobs, (uuid_array(rest),))}
    of_jobs = [one for one in rest if one in known]
    if of_jobs:
        verb = jobs.retry_jobs if action == "retry" else jobs.skip_jobs
        await verb(tx, of_jobs, decision)
    return [*roots, *of_jobs]


async def _keep(tx: Tx, action: str, roots: dict[str, Any], decision: Decision) -> None:
    if roots:
        subjects = [_encode({"event_id": one}).decode() for one in roots]
        told = (action, decision.by, decision.reason, decision.at)
        ids = uuid_array(new_id() for _ in roots)
        values = (*told, ids, uuid_array(roots.values()), subjects)
        await tx.execute(SQL.write_interventions, values)


async def move(tx: Pass, found: Found, status: str, decision: Decision) -> None:
    """Move an entity to a status of its workflow, past the rulesets; timers follow.

    Refuses `unknown_entity`, `unknown_order`, `undeclared_status`.
    """
    knowledge: Knowledge = tx.knowledge
    roots = await load_roots(tx, knowledge, {found.root_kind: [found.root_id]}, "waiting")
    root = roots.get(found.root_id)
    if root is None:
        raise Refusal("unknown_entity", f"There is no {found.entity} {found.entity_id}.")
    event = Event(found.root_kind, found.root_id, found.entity, found.entity_id, "desk.moved")
    context = context_of(tx, root, [event])
    workflow = context.meet(event)
    if context.refusal is not None:
        raise context.refusal
    if status not in workflow.categories:
        known = ", ".join(workflow.categories)
        raise Refusal("undeclared_status", f"{status!r} is no status of it; there are: {known}.")
    before = context.entity.status
    context.move(context.entity, workflow, status, {"by": decision.by, "reason": decision.reason})
    context.queue.clear()
    await write_contexts(tx, [context])
    subject = {"entity": found.entity, "id": found.entity_id, "from": before, "to": status}
    await tx.execute(
        SQL.write_interventions,
        (
            "move",
            decision.by,
            decision.reason,
            decision.at,
            uuid_array([new_id()]),
            uuid_array([found.root_id]),
            [_encode(subject).decode()],
        ),
    )
