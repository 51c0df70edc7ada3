"""Parcels whose workflow calls a peer: what tests of jobs share.

A parcel asks as it is made and then waits; an answer makes it good or bad (a score of 80 or more),
a failure makes it lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.shop import Shop, answered, opened, shop, until

from penstock.app import Account
from penstock.clock import Clock
from penstock.connectors.run import LEASE, run_jobs
from penstock.engine.entities import EntityInput
from penstock.engine.workflows import put_workflow
from penstock.rules.take import NewEntity

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TOKEN = "rosebud-4711"  # noqa: S105 (a test's)
JOB = "SELECT status, attempts, due_at, last_error FROM job ORDER BY id"
STATUSES = "SELECT status, count(*) FROM entity GROUP BY 1 ORDER BY 1"


@contextmanager
def calling_shop(database: str, name: str) -> Generator[Shop]:
    """Lend a shop whose jobs may use a secret and go straight to this machine."""
    with pytest.MonkeyPatch.context() as patch, shop(database, name) as one:
        patch.setenv("PENSTOCK_SECRET_FRAUD", TOKEN)
        patch.setenv("NO_PROXY", "*")
        yield one


def workflow(*rules: dict[str, Any]) -> str:
    """Return a workflow of parcels that does these rules first and waits for what comes of it."""
    statuses = {
        "made": "open",
        "asking": "waiting",
        "good": "done",
        "bad": "done",
        "lost": "failed",
    }
    ends = {"parcel.scored": "good", "parcel.unknown": "lost", "parcel.disliked": "bad"}
    document: dict[str, Any] = {
        "name": "parcel",
        "entity": "parcel",
        "type": "default",
        "statuses": [
            {"name": name, "phase": "only", "category": category, "meaning": "As it says."}
            for name, category in statuses.items()
        ],
        "rulesets": [
            {
                "name": "ask",
                "event": "parcel.created",
                "statuses": ["made"],
                "rules": [*rules, {"transition": {"to": "asking"}}],
            }
        ],
    }
    for event, status in ends.items():
        rule: dict[str, Any] = {"name": status, "event": event, "statuses": ["asking"]}
        rule["rules"] = [{"transition": {"to": status}}]
        document["rulesets"].append(rule)
    for event in ("parcel.told", "parcel.late"):
        heard = {"name": event, "event": event, "statuses": [*statuses]}
        document["rulesets"].append(heard | {"rules": [{"add_note": {"text": event}}]})
    scored = document["rulesets"][1]
    scored["if"] = "!has(event.payload.score) || event.payload.score < 80"
    disliked = {**scored, "name": "dislike", "rules": [{"transition": {"to": "bad"}}]}
    disliked["if"] = "has(event.payload.score) && event.payload.score >= 80"
    document["rulesets"].append(disliked)
    return msgspec.json.encode(document).decode()


def http_call(url: str, **more: Any) -> dict[str, Any]:
    call = {
        "url": f"'{url}/check'",
        "body": {"parcel": "parcel.ref"},
        "headers": {"Authorization": "Bearer env:PENSTOCK_SECRET_FRAUD"},
        "answer": "parcel.scored",
        "on_failure": "parcel.unknown",
        "retry": {"first": "10s", "factor": 2, "longest": "1h", "attempts": 3},
    }
    return {"http_call": call | more}


async def put(account: Account, *rules: dict[str, Any]) -> None:
    text, vocabulary = workflow(*rules), account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, text, vocabulary))


async def make(account: Account, *refs: str) -> None:
    """Make parcels; their workflow asks for what it asks."""
    items = [NewEntity(EntityInput(kind="parcel", ref=ref)) for ref in refs]
    for result in await account.grouping.submit(items):
        answered(result)


@asynccontextmanager
async def running(lent: Shop, clock: Clock | None = None) -> AsyncGenerator[Account]:
    """Open the account with what does its jobs beside it; it has to end when it is told to."""
    async with opened(lent, clock) as account:
        stop = asyncio.Event()
        jobs = asyncio.create_task(run_jobs(account.knowledge, stop))
        try:
            yield account
        finally:
            stop.set()
            await asyncio.wait_for(jobs, 15)
            assert "Runner." not in " ".join(repr(task) for task in asyncio.all_tasks())


async def until_jobs(lent: Shop, **counts: int) -> None:
    """Wait until there are so many jobs in each status, and none in another."""
    query = "SELECT status, count(*) FROM job GROUP BY 1"
    await until(lambda: dict(lent.sql(query)) == counts, f"the jobs never are {counts}")


async def until_tried(lent: Shop, attempts: int, clock: Clock) -> datetime:
    """Wait until the one job has been tried so often and waits; returns when it is due again."""

    def is_waiting() -> bool:
        ((_, tried, due_at, error),) = lent.sql(JOB)
        return tried == attempts and error is not None and due_at != clock.now() + LEASE

    await until(is_waiting, f"the job is not tried {attempts} times")
    return lent.value("SELECT due_at FROM job")
