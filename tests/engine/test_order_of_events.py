"""However many workers there are, each root's events are run in the order they were accepted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.engine.processes import workers
from tests.shop import Shop, answered, assert_clean, opened, shop, until

from penstock.app import Account
from penstock.engine.entities import EntityInput
from penstock.engine.inbox import Event, post
from penstock.engine.workflows import put_workflow
from penstock.rules.take import NewEntity, RootEvent

SEED = 20_261_123
ROOTS = 50
EVENTS = 40
WORKERS = 4
POSTERS = 2
PATIENCE_S = 120.0
TALLY = """
name: tally
entity: tally
type: default
statuses:
  - {name: even, phase: counting, category: waiting, meaning: "An even number of events was run."}
  - {name: odd, phase: counting, category: waiting, meaning: "An odd number of events was run."}
rulesets:
  - name: begin
    event: tally.created
    statuses: [even]
    rules: []
  - name: keep the number
    event: tally.told
    statuses: [even, odd]
    rules:
      - set_attribute:
          name: seen
          value: >-
            (has(tally.attributes.seen) ? tally.attributes.seen : [])
            + [has(event.payload.number) ? event.payload.number : -1]
      - emit: {event: tally.kept}
  - name: one more is odd
    event: tally.kept
    statuses: [even]
    rules: [{transition: {to: odd}}]
  - name: one more is even
    event: tally.kept
    statuses: [odd]
    rules: [{transition: {to: even}}]
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "order_of_events") as one:
        yield one


async def make_tallies(account: Account) -> list[str]:
    """Make the roots; returns their ids."""
    vocabulary = account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, TALLY, vocabulary))
    items = [NewEntity(EntityInput(kind="tally", ref=f"t{n}")) for n in range(ROOTS)]
    return [answered(result)["id"] for result in await account.grouping.submit(items)]


async def tell_in_turn(account: Account, chance: random.Random, ids: Sequence[str]) -> int:
    """Tell some roots all their numbers, in portions that mix them; returns how many were answered.

    Some portions are left to the workers; some are requests, whose answer is the decision.
    """
    numbers = {root_id: iter(range(EVENTS)) for root_id in ids}
    turns = [root_id for root_id in ids for _ in range(EVENTS)]
    chance.shuffle(turns)
    told_at_once = 0
    while turns:
        portion = [turns.pop() for _ in range(min(len(turns), chance.randint(1, 40)))]
        told = [(root_id, {"number": next(numbers[root_id])}) for root_id in portion]
        if chance.random() < 0.2:
            items = [RootEvent(one, "tally.told", it, root_kind="tally") for one, it in told]
            for result in await account.grouping.submit(items):
                answered(result)
            told_at_once += len(told)
        else:
            events = [Event("tally", one, "tally", one, "tally.told", it) for one, it in told]
            await _post(account, events)
    return told_at_once


async def _post(account: Account, events: list[Event]) -> None:
    now = account.knowledge.clock.now()
    await account.database.run(account.schema, lambda tx: post(tx, events, now))


def test_each_roots_events_are_run_in_their_order_whichever_worker_runs_them(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            ids = await make_tallies(account)
            chances = [random.Random(SEED + n) for n in range(POSTERS)]  # noqa: S311 (seeded)
            with workers(lent, tmp_path / "workers.log", WORKERS):
                posters = [
                    tell_in_turn(account, chance, ids[n::POSTERS])
                    for n, chance in enumerate(chances)
                ]
                answered_at_once = sum(await asyncio.gather(*posters))
                left = "SELECT count(*) FROM inbox"
                said = f"seed {SEED}: events are left over"
                await until(lambda: lent.value(left) == 0, said, PATIENCE_S)
            assert 0 < answered_at_once < ROOTS * EVENTS
            assert_in_order(lent)
            await assert_clean(lent, account)

    asyncio.run(story())


def assert_in_order(lent: Shop) -> None:
    """Assert that every root has seen every number in its turn, and the stream tells so."""
    wanted = (EVENTS + 1, "even", list(range(EVENTS)))
    found: list[Any] = lent.sql("SELECT seq, status, attributes->'seen' FROM entity ORDER BY ref")
    assert found == [wanted] * ROOTS, f"seed {SEED}"
    stream = lent.sql(
        "SELECT array_agg(seq ORDER BY seq), array_agg(name ORDER BY seq) FROM event "
        "WHERE root_kind = 'tally' GROUP BY root_id"
    )
    names = ["tally.created", *["tally.odd", "tally.even"] * (EVENTS // 2)]
    assert stream == [(list(range(1, EVENTS + 2)), names)] * ROOTS
    told = (
        "SELECT count(*) FROM trace, json_array_elements(detail) AS one "
        "WHERE one->>'event' = 'tally.told'"
    )
    assert lent.value(told) == ROOTS * EVENTS
    for table in ("dead_letter", "unhandled_event", "work_note"):
        assert lent.value(f"SELECT count(*) FROM {table}") == 0
