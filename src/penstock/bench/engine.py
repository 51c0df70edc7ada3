"""`bench engine`: events a second through workflows, how late timers are, what a trace costs.

*Events*: so many entities with three events each waiting in the inbox (each is matched, moves its
entity, is recorded and traced), worked off by two worker processes; the rate counts from the commit
that posted them to the pass that took the last one. *Timers*: 100,000 wait for tomorrow while
others come due over a few seconds; late is from due to seen, by looking every few milliseconds.
*Rulesets*: own processor time of an event where its workflow has 10 rulesets and where it has
1,000, in this process. *Trace*: time to encode a trace and to write it, a piece.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from penstock.app import open_account
from penstock.bench.processes import workers
from penstock.bench.report import Budget, Figure, Options
from penstock.bench.retailer import SQL, Bench, Shop, judge, throw_away
from penstock.db import Tx, copy_text
from penstock.engine import inbox
from penstock.engine.entities import Entity, claim_entities
from penstock.engine.inbox import Event
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import load_workflows, put_workflow
from penstock.errors import Broken
from penstock.ids import new_id
from penstock.rules.work import run_due

ENTITIES = 10_000
WORKERS = 2
STEPS = ("thing.begun", "thing.went_on", "thing.ended")
STATUSES = ("new", "begun", "going", "ended")
WAITING_TIMERS = 100_000
DUE_TIMERS = 1_000
DUE_OVER_S = 5.0
LOOK_EVERY_S = 0.005
PATIENCE_S = 120.0
CHUNK = 10_000
MATCHED_EVENTS = 3_000
TRACES = 20_000

ENGINE_BUDGETS = (
    Budget("events_per_s", 10_000),
    Budget("timer_late_p99_ms", 1_000, "most"),
    Budget("audit_breaches", 0, "most"),
)


async def bench_engine(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure the engine; `orders` of the options is the number of entities."""
    count = options.orders or ENTITIES
    scale = min(count / ENTITIES, 1.0)
    async with throw_away(conninfo, Shop(1, 1, 1)) as bench:
        figures: dict[str, Figure] = {"entities": count}
        await _put(bench, _document("thing", 10))
        async with workers(conninfo, bench.account, WORKERS):
            await _work_off(bench, "ready", 1)  # both are up, and have compiled
            figures["events_per_s"] = round(await _work_off(bench, "thing", count))
            figures |= await _timers(bench, scale)
        figures |= await _rulesets(bench, max(round(MATCHED_EVENTS * scale), 30))
        figures["trace_us"] = await _trace_us(bench, max(round(TRACES * scale), 100))
        return WORKERS, {**figures, **await judge(bench)}


def _document(kind: str, rulesets: int) -> str:
    """Return a workflow of three steps, with so many rulesets in all, ten for each event."""
    steps = [
        {
            "name": f"step {place}",
            "event": event,
            "statuses": [STATUSES[place]],
            "if": f"{kind}.type == 'default'",
            "rules": [{"transition": {"to": STATUSES[place + 1]}}],
        }
        for place, event in enumerate(STEPS)
    ]
    others = [
        {
            "name": f"other {n}",
            "event": f"thing.other_{n // 10}",
            "statuses": ["new"],
            "if": f"{kind}.ref == 'other {n}'",
            "rules": [],
        }
        for n in range(rulesets - len(steps))
    ]
    statuses = [
        {"name": name, "phase": "life", "category": category, "meaning": "A step."}
        for name, category in zip(STATUSES, ("waiting", "waiting", "waiting", "done"), strict=True)
    ]
    document = {
        "name": kind,
        "entity": kind,
        "type": "default",
        "statuses": statuses,
        "rulesets": steps + others,
    }
    return msgspec.json.encode(document).decode()


async def _put(bench: Bench, text: str) -> None:
    vocabulary = load_vocabulary()
    await bench.database.run(bench.schema, lambda tx: put_workflow(tx, text, vocabulary))


async def _make(bench: Bench, kind: str, label: str, count: int) -> list[str]:
    """Make so many entities of a kind, in its first status; returns their ids."""
    ids: list[str] = []

    async def work(tx: Tx, first: int) -> list[str]:
        workflows = await load_workflows(tx, load_vocabulary())
        workflow = workflows.active[kind, "default", None]
        made = [
            Entity(
                id=new_id(),
                kind=kind,
                ref=f"{label} {first + n}",
                type="default",
                workflow_id=workflow.id,
                status=workflow.initial,
                created_at=datetime.now(UTC),
            )
            for n in range(min(CHUNK, count - first))
        ]
        await claim_entities(tx, made)
        return [one.id for one in made]

    for first in range(0, count, CHUNK):
        ids += await bench.database.run(bench.schema, lambda tx, at=first: work(tx, at))
    return ids


async def _post(bench: Bench, events: Sequence[Event]) -> None:
    now = datetime.now(UTC)
    await bench.database.run(bench.schema, lambda tx: inbox.post(tx, events, now))


async def _work_off(bench: Bench, label: str, count: int) -> float:
    """Post three events for each of so many entities; returns events a second until none waits."""
    ids = await _make(bench, "thing", label, count)
    events = [Event("thing", one, "thing", one, name) for name in STEPS for one in ids]
    await _post(bench, events)
    started = time.perf_counter()
    await _until_ended(bench, label, count)
    return len(events) / (time.perf_counter() - started)


async def _until_ended(bench: Bench, label: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        row = await bench.database.run(
            bench.schema, lambda tx: tx.fetch_one(SQL.inbox_is_empty, (datetime.now(UTC),))
        )
        if row is not None and row[0]:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    row = await bench.database.run(
        bench.schema, lambda tx: tx.fetch_one(SQL.entities_ended, (f"{label} %",))
    )
    if row is None or row[0] != count:
        raise Broken(f"{row and row[0]} of {count} entities came to their end")


async def _timers(bench: Bench, scale: float) -> dict[str, Figure]:
    """Have timers come due while many more wait; returns how late they were seen done."""
    waiting, due = max(round(WAITING_TIMERS * scale), 10), max(round(DUE_TIMERS * scale), 10)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    sleepers = await _make(bench, "thing", "sleeper", waiting)
    for first in range(0, waiting, CHUNK):
        await _post(bench, [_timer(one, tomorrow) for one in sleepers[first : first + CHUNK]])
    ids = await _make(bench, "thing", "timed", due)
    begin = datetime.now(UTC) + timedelta(seconds=1)
    instants = {one: begin + timedelta(seconds=DUE_OVER_S * n / due) for n, one in enumerate(ids)}
    await _post(bench, [_timer(one, at) for one, at in instants.items()])
    late = await _seen_late(bench, instants)
    return {
        "timers_waiting": waiting,
        "timers_due": due,
        "timer_late_p50_ms": round(float(np.percentile(late, 50)), 1),
        "timer_late_p99_ms": round(float(np.percentile(late, 99)), 1),
    }


def _timer(entity_id: str, due_at: datetime) -> Event:
    event = Event("thing", entity_id, "thing", entity_id, STEPS[0])
    event.due_at, event.is_timer, event.timer = due_at, True, "bench"
    return event


async def _seen_late(bench: Bench, instants: dict[str, datetime]) -> list[float]:
    """Look until every timer was done; returns by how many milliseconds each was seen late."""
    late: list[float] = []
    missing = set(instants)
    deadline = time.monotonic() + PATIENCE_S
    while missing and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_EVERY_S)
        rows = await bench.database.run(
            bench.schema, lambda tx: tx.fetch(SQL.timers_done, ("timed %",))
        )
        now = datetime.now(UTC)
        for (entity_id,) in rows:
            if entity_id in missing:
                missing.remove(entity_id)
                late.append((now - instants[entity_id]).total_seconds() * 1000)
    if missing:
        raise Broken(f"{len(missing)} timers never fired")
    return late


async def _rulesets(bench: Bench, count: int) -> dict[str, Figure]:
    """Return own processor time of an event, with few and with many rulesets, in microseconds."""
    figures: dict[str, Figure] = {}
    for rulesets in (10, 1_000):
        kind = f"matched_{rulesets}"
        await _put(bench, _document(kind, rulesets))
        account = await open_account(bench.conninfo, bench.account)
        try:
            ids = await _make(bench, kind, kind, count)
            await _post(bench, [Event(kind, one, kind, one, STEPS[0]) for one in ids])
            async with bench.database.connection() as connection:
                pid = connection.info.backend_pid
                used_s = time.process_time()
                done = 0
                while done < count:
                    done += await run_due(account.knowledge, pid)
                used_s = time.process_time() - used_s
        finally:
            await account.close()
        figures[f"us_per_event_{rulesets}_rulesets"] = round(used_s / count * 1e6, 1)
    return figures


async def _trace_us(bench: Bench, count: int) -> float:
    """Return what one trace costs: encoding as the engine does, and its row in PostgreSQL."""
    detail: list[dict[str, Any]] = [
        {
            "event": STEPS[0],
            "workflow": 1,
            "batch": 500,
            "from": STATUSES[0],
            "rulesets": [[0, 12]],
            "to": STATUSES[1],
            "changes": [f"thing.{STATUSES[1]}"],
        }
    ]
    encode = msgspec.json.Encoder().encode
    pass_id = new_id()
    started = time.perf_counter()

    async def work(tx: Tx) -> None:
        lines = [
            f"{pass_id}\t{new_id()}\t{STEPS[0]}\t{copy_text(encode(detail).decode())}"
            for _ in range(count)
        ]
        tx.copy_in("trace", "pass_id, root_id, event, detail", lines)

    await bench.database.run(bench.schema, work)
    return round((time.perf_counter() - started) / count * 1e6, 1)
