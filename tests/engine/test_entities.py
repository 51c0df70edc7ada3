"""Entities of any kind: their workflows, timers, refusals handled, events to one another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.shop import Shop, answered, count, opened, order, place, shop, tell, work

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.db import Tx
from penstock.engine.document import read_document
from penstock.engine.entities import EntityInput
from penstock.engine.inbox import Event, post
from penstock.engine.workflows import load_workflows, put_workflow, shipped_document
from penstock.errors import Refusal
from penstock.network.model import SwitchInput
from penstock.rules.crossings import Watcher
from penstock.rules.subjects import tell_switches
from penstock.rules.take import NewEntity, RootEvent
from penstock.rules.timeline import timeline

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PARCEL = """
name: parcel
entity: parcel
type: default
statuses:
  - {name: made, phase: begin, category: open, meaning: "Begun."}
  - {name: packed, phase: work, category: waiting, meaning: "Waits for its carrier."}
  - {name: late, phase: work, category: waiting, meaning: "Nobody came for it."}
  - {name: gone, phase: end, category: done, meaning: "Over."}
rulesets:
  - name: pack
    event: parcel.created
    statuses: [made]
    rules:
      - transition: {to: packed}
      - emit: {event: parcel.counted}
  - name: count heavy ones
    event: parcel.counted
    statuses: [packed]
    if: has(parcel.attributes.weight_g) && parcel.attributes.weight_g > 1000
    rules: []
  - name: fetch
    event: parcel.fetched
    statuses: [packed, late]
    rules:
      - transition: {to: gone}
      - send: {event: parcel.told, to: parent}
  - name: too late
    event: parcel.overdue
    statuses: [packed]
    rules: [{transition: {to: late}}]
  - name: pack again
    event: parcel.opened
    statuses: [late]
    rules: [{transition: {to: packed}}]
timers:
  - {name: overdue, event: parcel.overdue, statuses: [packed], after: 2h}
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "entities") as one:
        yield one


async def put(account: Account, text: str) -> None:
    vocabulary = account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, text, vocabulary))


async def make(account: Account, ref: str, **more: Any) -> Any:
    asked = EntityInput(kind="parcel", ref=ref, **more)
    (result,) = await account.grouping.submit([NewEntity(asked)])
    return answered(result)


async def send(account: Account, parcel: Any, name: str) -> Any:
    event = RootEvent(parcel["id"], name, {}, root_kind="parcel")
    (result,) = await account.grouping.submit([event])
    return result if isinstance(result, Refusal) else answered(result)


def timers(lent: Shop) -> list[Any]:
    return lent.sql("SELECT timer, due_at FROM inbox WHERE is_timer ORDER BY due_at")


def test_an_entity_of_ones_own_kind_goes_through_its_workflow(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(NOON)) as account:
            await put(account, PARCEL)
            parcel = await make(account, "p1", attributes={"weight_g": 5000})
            assert (parcel["status"], parcel["ref"]) == ("packed", "p1")
            assert await make(account, "p1") == parcel
            done = await send(account, parcel, "parcel.fetched")
            assert done["status"] == "gone"
            again = await send(account, parcel, "parcel.fetched")
            assert isinstance(again, Refusal)
            assert again.code == "not_allowed_in_status"
            names = lent.sql("SELECT name FROM event ORDER BY seq")
            assert [name for (name,) in names] == ["parcel.created", "parcel.packed", "parcel.gone"]

    asyncio.run(story())


def test_a_timer_is_set_on_entering_and_gone_on_leaving(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await put(account, PARCEL)
            first, second = await make(account, "p1"), await make(account, "p2")
            assert timers(lent) == [("overdue", NOON + timedelta(hours=2))] * 2
            await send(account, first, "parcel.fetched")
            assert len(timers(lent)) == 1
            clock.advance_to(NOON + timedelta(hours=3))
            assert await work(account) == 1
            assert lent.value("SELECT status FROM entity WHERE ref = 'p2'") == "late"
            assert timers(lent) == []
            await send(account, second, "parcel.opened")
            assert timers(lent) == [("overdue", NOON + timedelta(hours=5))]

    asyncio.run(story())


def test_a_timer_of_a_status_left_in_the_same_pass_does_not_run(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await put(
                account,
                PARCEL.replace(
                    "statuses: [packed]\n    rules: [{trans", "statuses: ['*']\n    rules: [{trans"
                ),
            )
            first, second = await make(account, "p1"), await make(account, "p2")
            for parcel, minutes in ((first, 119), (second, 121)):
                fetched = Event("parcel", parcel["id"], "parcel", parcel["id"], "parcel.fetched")
                fetched.due_at = NOON + timedelta(minutes=minutes)
                await account.database.run(
                    account.schema, lambda tx, one=fetched: post(tx, [one], NOON)
                )
            clock.advance_to(NOON + timedelta(hours=3))
            await work(account)
            names = "SELECT array_agg(v.name ORDER BY v.seq) FROM event v WHERE root_id = '{}'"
            begun = ["parcel.created", "parcel.packed"]
            assert lent.value(names.format(first["id"])) == [*begun, "parcel.gone"]
            ended = [*begun, "parcel.late", "parcel.gone"]
            assert lent.value(names.format(second["id"])) == ended
            assert lent.value("SELECT count(*) FROM unhandled_event") == 0
            assert lent.value("SELECT count(*) FROM inbox") == 0

    asyncio.run(story())


def test_a_child_tells_its_parent_through_the_inbox(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, PARCEL)
            (placed,) = await place(account, order("a", ("P1", 1)))
            parcel = await make(account, "p1", parent_kind="order", parent_id=placed["id"])
            await send(account, parcel, "parcel.fetched")
            assert await work(account) == 1
            unhandled = lent.sql("SELECT name, entity, status FROM unhandled_event")
            assert unhandled == [("parcel.told", "order", "unsourced")]

    asyncio.run(story())


def careful() -> str:
    """Return home delivery as another type, which says what to do when no hold is open."""
    document: Any = msgspec.to_builtins(read_document(shipped_document("home_delivery")))
    document |= {"name": "careful", "type": "careful"}
    clear = next(one for one in document["rulesets"] if one["name"] == "clear a hold")
    clear["on_refusal"] = "order.nothing_to_clear"
    lost = {"name": "nothing", "event": "order.nothing_to_clear", "statuses": ["*"]}
    document["rulesets"].append(lost | {"rules": [{"transition": {"to": "held"}}]})
    return msgspec.json.encode(document).decode()


def test_a_refusal_is_handled_by_the_workflow_that_says_how(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, careful())
            plain, asked = await place(
                account, order("a", ("P1", 1)), order("b", ("P1", 1), type="careful")
            )
            refused = await tell(account, plain["id"], "order.hold_cleared", kind="fraud")
            assert isinstance(refused, Refusal)
            assert refused.code == "no_such_hold"
            handled = await tell(account, asked["id"], "order.hold_cleared", kind="fraud")
            assert handled["status"] == "held"
            entries = await account.database.run(
                account.schema, lambda tx: timeline(tx, asked["id"])
            )
            ran = [event for one in entries if one.what == "ran" for event in one.detail["events"]]
            first, second = ran[-2:]
            assert first["not_met"] == ["clear a hold (refused: no_such_hold)"]
            assert (second["event"], second["to"]) == ("order.nothing_to_clear", "held")

    asyncio.run(story())


def test_a_loop_is_refused_and_leaves_nothing(lent: Shop) -> None:
    text = PARCEL.replace("    rules: []", "    rules: [{emit: {event: parcel.counted}}]")

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            asked = EntityInput(kind="parcel", ref="p1", attributes={"weight_g": 5000})
            calm = EntityInput(kind="parcel", ref="p2")
            results = await account.grouping.submit([NewEntity(asked), NewEntity(calm)])
            assert isinstance(results[0], Refusal)
            assert results[0].code == "too_many_events"
            assert answered(results[1])["status"] == "packed"
            assert lent.sql("SELECT ref FROM entity") == [("p2",)]

    asyncio.run(story())


POSITION = """
name: own_position
entity: position
type: default
statuses:
  - {name: in_stock, phase: stock, category: waiting, meaning: "There is some."}
  - {name: out_of_stock, phase: stock, category: waiting, meaning: "There is none."}
rulesets:
  - name: gone
    event: inventory.out_of_stock
    statuses: [in_stock]
    rules: [{transition: {to: out_of_stock}}]
  - name: back
    event: inventory.back_in_stock
    statuses: ['*']
    rules: [{transition: {to: in_stock}}]
"""


def test_a_position_is_told_when_it_runs_out_and_comes_back_never_per_row(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, POSITION)
            watcher = Watcher(account.knowledge, account.availability, account.follower)
            await count(account, ("P1", "L1", 5), ("P2", "L1", 5))
            assert await watcher.step() == 0  # they are new
            told = "SELECT name, count(*) FROM inbox GROUP BY 1"
            await count(account, ("P1", "L1", 9), ("P2", "L1", 3))
            await place(account, order("a", ("P1", 4)))
            assert await watcher.step() == 0
            await place(account, order("b", ("P1", 5)))
            assert await watcher.step() == 1
            assert lent.sql(told) == [("inventory.out_of_stock", 1)]
            await work(account)
            states = "SELECT ref, status FROM entity ORDER BY ref"
            assert lent.sql(states) == [("P1@L1", "out_of_stock")]
            await count(account, ("P1", "L1", 30))
            assert await watcher.step() == 1
            await work(account)
            assert lent.sql(states) == [("P1@L1", "in_stock")]

    asyncio.run(story())


LOCATION = """
name: own_location
entity: location
type: default
statuses:
  - {name: open, phase: life, category: waiting, meaning: "It serves."}
  - {name: closed, phase: life, category: waiting, meaning: "A service is off."}
rulesets:
  - name: close
    event: location.switched_off
    statuses: [open]
    rules: [{transition: {to: closed}}]
  - name: open
    event: location.switched_on
    statuses: [closed]
    rules: [{transition: {to: open}}]
"""


def test_a_location_is_told_when_a_service_is_switched(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, LOCATION)
            workflows = account.knowledge.workflows
            off = SwitchInput("L1", "deliver", is_on=False, reason="flood")

            async def switch(tx: Tx) -> None:
                workflows = await load_workflows(tx, account.knowledge.vocabulary)
                await tell_switches(tx, workflows, "location", [off], NOON)

            await account.database.run(account.schema, switch)
            assert not workflows.handles("location")
            await work(account)
            assert lent.sql("SELECT ref, status FROM entity") == [("L1", "closed")]

    asyncio.run(story())
