"""Running a supplied document once: beside the entity's own version, in one pass, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.shop import Shop, count, opened, order, place, shop

from penstock.app import Account
from penstock.engine.jobs import Decision
from penstock.errors import Refusal
from penstock.rules.finding import Named
from penstock.rules.run_once import Ran, Run, run_once
from penstock.rules.timeline import timeline

MEND = """
name: mend
entity: order
type: home_delivery
statuses:
  - {name: held, phase: routing, category: waiting, meaning: "As in home delivery."}
  - {name: allocated, phase: fulfilment, category: open, meaning: "As in home delivery."}
rulesets:
  - name: mend
    event: order.mended
    statuses: [allocated]
    rules:
      - set_attribute: {name: mended, value: "has(event.payload.how) ? event.payload.how : ''"}
      - place_hold: {kind: address, reason: "It came back."}
      - transition: {to: held}
"""
HOLD = 'place_hold: {kind: address, reason: "It came back."}'
TABLES = ("event", "workflow_run", "intervention", "workflow", "order_hold")


@pytest.fixture(scope="module")
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "run_once") as one:
        yield one


def run(account: Account, order_id: str, **more: Any) -> Any:
    decision = Decision("somebody", "the carrier lost it", account.knowledge.clock.now())
    fields: dict[str, Any] = {"document": MEND, "event": "order.mended"} | more
    fields.setdefault("payload", {"how": "by hand"})
    wanted = Run(entity=Named("order", id=order_id), decision=decision, **fields)
    return run_once(account.knowledge, wanted)


def counts(lent: Shop) -> dict[str, int]:
    return {table: lent.value(f"SELECT count(*) FROM {table}") for table in TABLES}


def test_a_document_is_run_once_beside_the_entitys_own_version_and_kept(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (one,) = await place(account, order("a", ("P1", 1)))
            before = counts(lent)
            dry: Ran = await run(account, one["id"], is_dry=True)
            assert (dry.document["status"], dry.is_dry) == ("held", True)
            assert counts(lent) == before
            ran: Ran = await run(account, one["id"])
            assert (ran.document["status"], ran.document["holds"][0]["kind"]) == ("held", "address")
            (event,) = ran.events
            assert [one["name"] for one in event["rulesets"]] == ["mend"]
            assert event["workflow"] == "home_delivery@2"
            after = counts(lent)
            assert after["workflow"] == before["workflow"]
            assert (after["workflow_run"], after["intervention"]) == (1, 1)
            kept = lent.sql("SELECT by, reason, document->>'name' FROM workflow_run")
            assert kept == [("somebody", "the carrier lost it", "mend")]
            assert lent.value("SELECT attributes->>'mended' FROM orders") == "by hand"
            entries = await account.database.run(account.schema, lambda tx: timeline(tx, one["id"]))
            told = [(e.what, e.detail.get("action")) for e in entries if e.what != "ran"]
            assert told == [("intervention", "run once")]
            with pytest.raises(Refusal) as caught:  # it is held now, and the document knows no more
                await run(account, one["id"])
            assert caught.value.code == "not_allowed_in_status"

    asyncio.run(story())


def test_the_entitys_own_rulesets_go_on_with_what_it_emits(lent: Shop) -> None:
    cancel = MEND.replace(
        "      - transition: {to: held}\n", "      - emit: {event: order.cancellation_requested}\n"
    ).replace(f"      - {HOLD}\n", "")

    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P2", "L1", 5))
            (one,) = await place(account, order("b", ("P2", 2)))
            ran: Ran = await run(account, one["id"], document=cancel)
            assert ran.document["status"] == "cancelled"
            assert lent.value("SELECT reserved FROM position WHERE product_id = 2") == 0
            names = [event["event"] for event in ran.events]
            assert names == ["order.mended", "order.cancellation_requested", "order.changed"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("entity: order", "entity: parcel", "wrong_entity"),
        ("name: held,", "name: lost,", "undeclared_status"),
        ("place_hold", "place_holds", "unknown_rule"),
        ("has(event.payload.how) ? event.payload.how : ''", "order.colour", "unknown_field"),
        ("transition: {to: held}", "emit: {event: order.mended}", "loop"),
        (HOLD, "refuse: {code: too_late, message: Over.}", "too_late"),
        ("event: order.mended", "event: order.never", "not_allowed_in_status"),
    ],
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing(
    lent: Shop, old: str, new: str, code: str
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P3", "L1", 50))
            (one,) = await place(account, order(f"c-{code}", ("P3", 1)))
            before = counts(lent)
            with pytest.raises(Refusal) as caught:
                await run(account, one["id"], document=MEND.replace(old, new))
            assert caught.value.code == code
            assert counts(lent) == before

    asyncio.run(story())
