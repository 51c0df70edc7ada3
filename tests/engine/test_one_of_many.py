"""A rule goes wrong for one entity of two hundred: the others are decided, whoever runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.shop import Shop, answered, assert_clean, opened, shop, work

from penstock.app import Account
from penstock.engine.entities import EntityInput
from penstock.engine.inbox import Event, post
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import put_workflow
from penstock.errors import Refusal
from penstock.rules.take import NewEntity, RootEvent

RULES = Path(__file__).parent / "poison_rules"
ENTITIES = 200
BAD = 123
PROBE = """
name: probe
entity: probe
type: default
statuses:
  - {name: fresh, phase: only, category: waiting, meaning: "Nobody has tasted it."}
  - {name: tasted, phase: only, category: waiting, meaning: "Somebody has."}
  - {name: eaten, phase: only, category: done, meaning: "Nothing is left of it."}
rulesets:
  - {name: begin, event: probe.created, statuses: [fresh], rules: []}
  - name: taste
    event: probe.tasted
    statuses: [fresh, tasted]
    rules:
      - emit: {event: probe.told}
      - poison: {"on": taste}
      - transition: {to: tasted}
  - {name: tell, event: probe.told, statuses: [tasted], rules: [{add_note: {text: "Good."}}]}
  - name: eat
    event: probe.eaten
    statuses: [fresh, tasted]
    rules: [{transition: {to: eaten}}]
"""
# How the rule goes wrong, and what the dead letter says then.
WAYS = {
    "raise": f"ValueError('order p{BAD} is poisonous')",
    "refuse": f"poisoned: Order p{BAD} is refused.",
    "loop": "too_many_events: More than 50 events, or 20 deep, in one pass: a loop?",
}


@pytest.fixture
def lent(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.syspath_prepend(str(RULES))
    with shop(database, "one_of_many") as one:
        yield one


async def make(account: Account, how: str) -> list[str]:
    """Make the entities, one of them bad; returns their ids."""
    vocabulary = load_vocabulary()
    await account.database.run(account.schema, lambda tx: put_workflow(tx, PROBE, vocabulary))
    asked = [
        EntityInput(kind="probe", ref=f"p{n}", attributes={"taste": how} if n == BAD else {})
        for n in range(ENTITIES)
    ]
    results = await account.grouping.submit([NewEntity(one) for one in asked])
    return [answered(result)["id"] for result in results]


async def leave(account: Account, ids: list[str], name: str) -> None:
    """Leave an event for each entity to a worker."""
    events = [Event("probe", one, "probe", one, name) for one in ids]
    now = account.knowledge.clock.now()
    await account.database.run(account.schema, lambda tx: post(tx, events, now))


def assert_all_but_one(lent: Shop, status: str) -> None:
    """Assert that one entity is as it was and nothing is left of what it did."""
    statuses = "SELECT status, seq, count(*) FROM entity GROUP BY 1, 2"
    assert sorted(lent.sql(statuses)) == [("fresh", 1, 1), (status, 2, ENTITIES - 1)]
    assert lent.value("SELECT ref FROM entity WHERE status = 'fresh'") == f"p{BAD}"
    assert lent.value("SELECT count(*), count(DISTINCT root_id) FROM note") == ENTITIES - 1
    assert lent.value(f"SELECT count(*) FROM event WHERE name = 'probe.{status}'") == ENTITIES - 1
    for table in ("inbox", "work_note", "unhandled_event"):
        assert lent.value(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize("how", WAYS)
def test_a_worker_buries_the_one_event_that_goes_wrong_and_runs_the_others(
    lent: Shop, how: str
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            ids = await make(account, how)
            await leave(account, ids, "probe.tasted")
            await work(account)
            assert_all_but_one(lent, "tasted")
            buried = lent.sql("SELECT entity, entity_id::text, name, error FROM dead_letter")
            assert buried == [("probe", ids[BAD], "probe.tasted", WAYS[how])]
            lines = lent.value("SELECT traceback FROM dead_letter")
            assert ("poison_rules.py" in lines) == (how == "raise")
            await leave(account, ids, "probe.eaten")
            await work(account)
            assert lent.sql("SELECT DISTINCT status FROM entity") == [("eaten",)]
            await assert_clean(lent, account)

    asyncio.run(story())


@pytest.mark.parametrize("how", WAYS)
def test_one_client_of_many_hears_that_its_event_goes_wrong(lent: Shop, how: str) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            ids = await make(account, how)
            submits = [
                account.grouping.submit([RootEvent(one, "probe.tasted", {}, root_kind="probe")])
                for one in ids
            ]
            results: list[Any] = await asyncio.gather(*submits, return_exceptions=True)
            heard = results.pop(BAD)
            if how == "raise":
                assert repr(heard) == WAYS[how]
            else:
                (refusal,) = heard
                assert isinstance(refusal, Refusal)
                assert f"{refusal.code}: {refusal}" == WAYS[how]
            assert {answered(result)["status"] for (result,) in results} == {"tasted"}
            assert_all_but_one(lent, "tasted")
            assert lent.value("SELECT count(*) FROM dead_letter") == 0
            await assert_clean(lent, account)

    asyncio.run(story())
