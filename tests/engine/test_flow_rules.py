"""What rules make of an event: payloads, branches, timers by name, attributes, notes, waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.shop import Shop, answered, count, opened, order, place, shop, tell, work

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.engine.entities import EntityInput
from penstock.engine.workflows import put_workflow
from penstock.errors import Refusal
from penstock.rules.take import NewEntity, RootEvent

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def claim(rulesets: str, more: str = "") -> str:
    """Return a workflow of claims, with rulesets in the statuses open, waiting and settled."""
    return f"""
name: claim
entity: claim
type: default
statuses:
  - {{name: open, phase: begin, category: open, meaning: "Begun."}}
  - {{name: waiting, phase: work, category: waiting, meaning: "Waits."}}
  - {{name: settled, phase: end, category: done, meaning: "Over."}}
rulesets:
  - {{name: wait, event: claim.paused, statuses: [open], rules: [{{transition: {{to: waiting}}}}]}}
  - name: settle
    event: claim.settled
    statuses: ['*']
    rules: [{{transition: {{to: settled}}}}]
{rulesets}
{more}
"""


def on(event: str, *rules: str, more: str = "") -> str:
    """Return a ruleset for an event in every status."""
    listed = "".join(f"\n      - {rule}" for rule in rules)
    name = f"{event} {more}".strip().replace(":", "")
    return f"  - name: {name}\n    event: {event}\n    statuses: ['*']\n{more}    rules:{listed}\n"


def given(name: str) -> str:
    """Return an expression for what the event carries under a name."""
    return f"\"has(event.payload.{name}) ? event.payload.{name} : ''\""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "flow") as one:
        yield one


async def put(account: Account, text: str) -> None:
    vocabulary = account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, text, vocabulary))


async def make(account: Account, ref: str, kind: str = "claim", **more: Any) -> Any:
    asked = EntityInput(kind=kind, ref=ref, **more)
    (result,) = await account.grouping.submit([NewEntity(asked)])
    return result if isinstance(result, Refusal) else answered(result)


async def send(account: Account, entity: Any, name: str, **payload: Any) -> Any:
    event = RootEvent(entity["id"], name, payload, root_kind=entity["kind"])
    (result,) = await account.grouping.submit([event])
    return result if isinstance(result, Refusal) else answered(result)


def waiting(lent: Shop) -> list[tuple[Any, ...]]:
    return lent.sql("SELECT name, timer, due_at, payload FROM inbox ORDER BY due_at, name")


def test_an_emitted_event_carries_what_its_expressions_give(lent: Shop) -> None:
    text = claim(
        on(
            "claim.created",
            "emit: {event: claim.weighed, payload: {heavy: size(claim.ref) > 1, "
            "of: \"claim.ref + '!'\"}}",
        )
        + on(
            "claim.weighed",
            "set_attributes: {values: {seen: event.payload, before: claim.status}}",
            more="    if: has(event.payload.heavy) && event.payload.heavy\n",
        )
    )

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            made = await make(account, "c1")
            seen = {"heavy": True, "of": "c1!"}
            assert made["attributes"] == {"seen": seen, "before": "open"}
            assert (await make(account, "c"))["attributes"] == {}

    asyncio.run(story())


def test_a_branch_emits_the_one_event_or_the_other(lent: Shop) -> None:
    text = claim(
        on(
            "claim.created",
            "branch: {if: \"claim.ref.startsWith('b')\", then: claim.settled, "
            "otherwise: claim.paused}",
        )
        + on("claim.judged", "branch: {if: \"claim.ref == 'b'\", then: claim.settled}")
        + on("claim.asked", "branch: {if: claim.ref, then: claim.settled}")
    )

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            big, small = await make(account, "big"), await make(account, "small")
            assert (big["status"], small["status"]) == ("settled", "waiting")
            assert (await send(account, small, "claim.judged"))["status"] == "waiting"
            refused = await send(account, small, "claim.asked")
            assert isinstance(refused, Refusal)
            assert refused.code == "condition_failed"

    asyncio.run(story())


def test_a_scheduled_event_fires_once_and_is_moved_or_taken_back_by_its_name(lent: Shop) -> None:
    text = claim(
        on(
            "claim.created",
            "schedule: {event: claim.settled, after: 2h, name: end, payload: {why: \"'late'\"}}",
        )
        + on(
            "claim.moved",
            f"schedule: {{event: claim.settled, at: {given('at')}, after: 1h, name: end}}",
        )
        + on("claim.kept", "cancel_scheduled: {name: end}", "cancel_scheduled: {name: other}")
    )

    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await put(account, text)
            due = NOON + timedelta(hours=2)
            first, second = await make(account, "c1"), await make(account, "c2")
            third = await make(account, "c3")
            assert waiting(lent) == [("claim.settled", "end", due, {"why": "late"})] * 3
            await send(account, second, "claim.kept")
            refused = await send(account, third, "claim.moved", at="soon")
            assert isinstance(refused, Refusal)
            assert refused.code == "condition_failed"
            await send(account, third, "claim.moved", at="2026-03-02T20:00:00")
            moved = NOON + timedelta(hours=9)
            assert [row[2] for row in waiting(lent)] == [due, moved]
            clock.advance_to(NOON + timedelta(hours=3))
        async with opened(lent, clock) as account:
            assert await work(account) == 1
            assert await work(account) == 0
            statuses = dict(lent.sql("SELECT ref, status FROM entity"))
            assert statuses == {"c1": "settled", "c2": "open", "c3": "open"}
            assert first["status"] == "open"

    asyncio.run(story())


def test_a_timer_taken_back_does_not_fire_even_if_both_were_overdue(lent: Shop) -> None:
    text = claim(
        on(
            "claim.created",
            "schedule: {event: claim.kept, after: 1h}",
            "schedule: {event: claim.settled, after: 2h, name: end}",
        )
        + on("claim.kept", "cancel_scheduled: {name: end}")
    )

    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await put(account, text)
            await make(account, "c1")
            clock.advance_to(NOON + timedelta(hours=5))
            assert await work(account) == 1
            assert lent.value("SELECT status FROM entity") == "open"
            assert waiting(lent) == []

    asyncio.run(story())


def test_attributes_are_set_and_taken_away_with_the_timers_due_at_them(lent: Shop) -> None:
    timers = "timers:\n  - {name: end, event: claim.settled, statuses: [open], at: ends_at}\n"
    text = claim(
        on("claim.dated", f"set_attribute: {{name: ends_at, value: {given('at')}}}")
        + on("claim.undated", "unset_attribute: {name: ends_at}", "unset_attribute: {name: none}"),
        timers,
    )

    async def story() -> None:
        async with opened(lent, ManualClock(NOON)) as account:
            await put(account, text)
            made = await make(account, "c1", attributes={"x": 1})
            assert waiting(lent) == []
            dated = await send(account, made, "claim.dated", at="2026-03-02T20:00:00Z")
            assert dated["attributes"] == {"x": 1, "ends_at": "2026-03-02T20:00:00Z"}
            assert [row[1] for row in waiting(lent)] == ["end"]
            undated = await send(account, made, "claim.undated")
            assert undated["attributes"] == {"x": 1}
            assert waiting(lent) == []

    asyncio.run(story())


def test_a_note_says_who_wrote_it(lent: Shop) -> None:
    text = claim(
        on("claim.created", "add_note: {text: Begun.}")
        + on("claim.called", "add_note: {value: \"'Called ' + string(size(event.payload))\"}")
    )

    async def story() -> None:
        async with opened(lent, ManualClock(NOON)) as account:
            await put(account, text)
            made = await make(account, "c1")
            await send(account, made, "claim.called", times=3, of=4, by="ann")
            rows = lent.sql(
                "SELECT root_id, entity, entity_id, by, text, noted_at FROM note ORDER BY id"
            )
            mine = (made["id"], "claim", made["id"])
            assert [(str(r[0]), r[1], str(r[2]), *r[3:]) for r in rows] == [
                (*mine, "claim", "Begun.", NOON),
                (*mine, "ann", "Called 3", NOON),
            ]

    asyncio.run(story())


def test_a_rule_refuses_on_purpose_and_nothing_of_the_event_stays(lent: Shop) -> None:
    text = claim(
        on(
            "claim.reduced",
            "set_attribute: {name: touched, value: 'true'}",
            "refuse: {code: too_late, message: It is over.}",
        )
    )

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            made = await make(account, "c1")
            refused = await send(account, made, "claim.reduced")
            assert isinstance(refused, Refusal)
            assert (refused.code, refused.message) == ("too_late", "It is over.")
            assert lent.value("SELECT attributes FROM entity") == {}

    asyncio.run(story())


def test_a_root_goes_on_once_all_of_its_children_are_done(lent: Shop) -> None:
    text = claim(
        on(
            "claim.created",
            "send: {event: claim.child_changed, to: parent, payload: {ref: claim.ref}}",
        )
        + on("claim.settled", "send: {event: claim.child_changed, to: parent}")
        + on(
            "claim.child_changed",
            "wait_for: {children: claim, in: [waiting], how: any, then: claim.paused}",
            "wait_for: {children: claim, in: [settled], then: claim.settled}",
            "wait_for: {children: parcel, in: [settled], then: claim.paused}",
            "wait_for: {children: fulfilment, in: [shipped], then: claim.paused}",
        )
    )

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            parent = await make(account, "all")
            family = {"parent_kind": "claim", "parent_id": parent["id"]}
            one = await make(account, "one", **family)
            two = await make(account, "two", **family)
            posted = [row[3] for row in waiting(lent)]
            assert [one["ref"] for one in posted] == ["one", "two"]
            assert {one["from"] for one in posted} == {"claim"}

            def status() -> str:
                return str(lent.value("SELECT status FROM entity WHERE ref = 'all'"))

            await send(account, one, "claim.settled")
            await work(account)
            assert status() == "open"
            await send(account, two, "claim.settled")
            await work(account)
            assert status() == "settled"

    asyncio.run(story())


def test_an_order_goes_on_once_any_or_all_of_its_fulfilments_have_ended(lent: Shop) -> None:
    text = """
name: split
entity: order
type: split
statuses:
  - {name: created, phase: begin, category: open, meaning: "Begun."}
  - {name: some_gone, phase: work, category: waiting, meaning: "Some have left."}
  - {name: all_gone, phase: end, category: done, meaning: "All have left."}
rulesets:
  - name: route
    event: order.created
    statuses: [created]
    rules: [source, allocate, create_fulfilments, release]
  - name: look
    event: order.fulfilment_shipped
    statuses: ['*']
    rules:
      - wait_for: {children: fulfilment, in: [shipped], how: any, then: order.some_shipped}
      - wait_for: {children: fulfilment, in: [shipped, cancelled], then: order.all_shipped}
  - name: some
    event: order.some_shipped
    statuses: [created]
    rules: [transition: {to: some_gone}]
  - name: more
    event: order.some_shipped
    statuses: [some_gone]
    rules: []
  - name: all
    event: order.all_shipped
    statuses: ['*']
    rules: [transition: {to: all_gone}]
"""

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            await count(account, ("P1", "L1", 5), ("P2", "L2", 5))
            (placed,) = await place(account, order("a", ("P1", 1), ("P2", 1), type="split"))
            one, two = (f["id"] for f in placed["fulfilments"])
            first = await tell(account, placed["id"], "fulfilment.shipped", fulfilment_id=one)
            assert first["status"] == "some_gone"
            second = await tell(account, placed["id"], "fulfilment.shipped", fulfilment_id=two)
            assert second["status"] == "all_gone"

    asyncio.run(story())


PRODUCT = """
name: own_product
entity: product
type: default
statuses:
  - {name: listed, phase: a, category: open, meaning: "Sold."}
  - {name: wanted, phase: a, category: waiting, meaning: "Asked for."}
rulesets:
  - name: want
    event: product.demanded
    statuses: [listed, wanted]
    rules:
      - transition: {to: wanted}
      - set_attribute: {name: qty, value: "has(event.payload.qty) ? event.payload.qty : 0"}
"""


def test_an_event_goes_to_an_entity_of_another_kind_by_its_ref(lent: Shop) -> None:
    text = claim(
        on(
            "claim.created",
            "send_to: {kind: order, ref: claim.ref, event: order.claimed, "
            "payload: {claim: claim.ref}}",
        )
        + on(
            "claim.told",
            f"send_to: {{kind: claim, ref: {given('ref')}, event: claim.settled}}",
            "send_to: {kind: product, ref: \"'P1'\", event: product.demanded, payload: {qty: '3'}}",
        )
    )

    async def story() -> None:
        async with opened(lent) as account:
            await put(account, text)
            await put(account, PRODUCT)
            nobody = await make(account, "nobody", channel="web")
            assert isinstance(nobody, Refusal)
            assert nobody.code == "unknown_entity"
            (placed,) = await place(account, order("a", ("P1", 1)))
            made = await make(account, "a", channel="web")
            (posted,) = lent.sql("SELECT root_kind, root_id::text, name, payload FROM inbox")
            sender = {"claim": "a", "from": "claim", "from_id": made["id"]}
            assert posted == ("order", placed["id"], "order.claimed", sender)
            done = await send(account, made, "claim.told", ref="a")
            assert done["status"] == "open"
            await work(account)
            rows = lent.sql("SELECT kind, ref, status, attributes FROM entity ORDER BY kind")
            assert rows == [("claim", "a", "settled", {}), ("product", "P1", "wanted", {"qty": 3})]

    asyncio.run(story())
