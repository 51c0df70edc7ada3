"""Twenty thousand timers come due at one instant, and a worker dies among them: each fires once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.engine.processes import workers
from tests.shop import Shop, assert_clean, opened, shop, until

from penstock.app import Account
from penstock.db import Tx
from penstock.engine.entities import Entity, claim_entities
from penstock.engine.inbox import Event, cancel_timers, post
from penstock.engine.workflows import put_workflow
from penstock.ids import new_id

ALARMS = 20_000
STOPPED = 500  # taken back before they are due
SILENCED = 500  # these take tomorrow's back when they ring
PATIENCE_S = 120.0
ALARM = """
name: alarm
entity: alarm
type: default
statuses:
  - {name: set, phase: only, category: waiting, meaning: "Has not rung."}
  - {name: ringing, phase: only, category: waiting, meaning: "Has rung once."}
  - {name: wrong, phase: only, category: failed, meaning: "Has rung twice."}
rulesets:
  - name: ring
    event: alarm.due
    statuses: [set]
    rules: [{transition: {to: ringing}}]
  - name: ring once and no more
    event: alarm.due
    statuses: [set]
    if: has(alarm.attributes.once)
    rules: [{cancel_scheduled: {name: tomorrow}}]
  - name: ring twice
    event: alarm.due
    statuses: [ringing]
    rules: [{transition: {to: wrong}}]
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "timer_storm") as one:
        yield one


async def set_alarms(account: Account, due_at: datetime) -> None:
    """Make the alarms, each with a timer for now and one for tomorrow, and take some back."""
    vocabulary = account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, ALARM, vocabulary))
    await account.knowledge.run_pass("alarms", lambda tx: _set(tx, account, due_at))


async def _set(tx: Tx, account: Account, due_at: datetime) -> None:
    workflow = account.knowledge.workflow_of("alarm", "default", None)
    assert workflow is not None
    now = account.knowledge.clock.now()
    alarms = [
        Entity(new_id(), "alarm", f"a{n}", "default", workflow.id, workflow.initial, now)
        for n in range(ALARMS)
    ]
    for alarm in alarms[STOPPED : STOPPED + SILENCED]:
        alarm.attributes = {"once": True}
    await claim_entities(tx, alarms)
    await post(tx, _timers(alarms, "today", due_at), now)
    await post(tx, _timers(alarms, "tomorrow", due_at + timedelta(days=1)), now)
    await tx.write_queued()
    await cancel_timers(tx, [(alarm.id, alarm.id, "today") for alarm in alarms[:STOPPED]])


def _timers(alarms: Sequence[Entity], name: str, due_at: datetime) -> list[Event]:
    return [
        Event("alarm", a.id, "alarm", a.id, "alarm.due", {}, due_at, is_timer=True, timer=name)
        for a in alarms
    ]


@pytest.mark.slow
def test_each_timer_of_a_storm_fires_once_though_a_worker_is_killed_in_it(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            with workers(lent, tmp_path / "workers.log", 2) as running:
                due_at = account.knowledge.clock.now()
                await set_alarms(account, due_at)
                left = f"SELECT count(*) FROM inbox WHERE due_at <= '{due_at.isoformat()}'"
                half = (ALARMS - STOPPED) / 2
                await until(lambda: lent.value(left) < half, "half never rings", PATIENCE_S)
                running.kill(running.running[0])
                assert 0 < lent.value(left) < half
                await until(lambda: lent.value(left) == 0, "some never ring", PATIENCE_S)
            assert_each_rang_once(lent)
            await assert_clean(lent, account)

    asyncio.run(story())


def assert_each_rang_once(lent: Shop) -> None:
    """Assert that all rang once but those taken back, and the others wait for tomorrow."""
    rang = ALARMS - STOPPED
    statuses = "SELECT status, seq, count(*) FROM entity WHERE kind = 'alarm' GROUP BY 1, 2"
    assert sorted(lent.sql(statuses)) == [("ringing", 1, rang), ("set", 0, STOPPED)]
    told = "SELECT name, count(*), count(DISTINCT root_id) FROM event GROUP BY 1"
    assert lent.sql(told) == [("alarm.ringing", rang, rang)]
    ran = "SELECT sum(json_array_length(detail))::int, count(DISTINCT root_id) FROM trace"
    assert lent.sql(ran) == [(rang, rang)]
    waiting = "SELECT timer, count(*), count(DISTINCT root_id) FROM inbox GROUP BY 1"
    assert lent.sql(waiting) == [("tomorrow", ALARMS - SILENCED, ALARMS - SILENCED)]
    silenced = (
        "SELECT count(*) FROM inbox i JOIN entity e ON e.id = i.root_id WHERE e.attributes ? 'once'"
    )
    assert lent.value(silenced) == 0
    for table in ("dead_letter", "unhandled_event", "work_note"):
        assert lent.value(f"SELECT count(*) FROM {table}") == 0
