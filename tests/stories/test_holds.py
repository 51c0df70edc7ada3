"""Holds on orders: placed by a workflow or a person, cleared, or ended by their time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.shop import (
    Shop,
    assert_clean,
    count,
    locations_of,
    opened,
    order,
    place,
    shop,
    tell,
    work,
)

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.engine.workflows import put_workflow
from penstock.errors import Refusal
from penstock.orders.intake import ChoiceInput, HoldInput, LineInput

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
GUARDED = """
name: guarded
entity: order
type: guarded
statuses:
  - {name: created, phase: intake, category: open, meaning: "Taken in."}
  - {name: held, phase: routing, category: waiting, meaning: "A hold is open."}
  - {name: released, phase: done, category: done, meaning: "Handed to its locations."}
rulesets:
  - name: brought along
    event: order.created
    statuses: [created]
    if: order.asks_hold
    rules: [place_hold]
  - name: fraud
    event: order.created
    statuses: [created]
    if: order.total_minor > 10000
    rules:
      - place_hold: {kind: fraud, reason: "A large amount.", until: 2h}
  - name: route
    event: order.created
    statuses: [created]
    rules: [source, allocate, create_fulfilments, emit: {event: order.routed}]
  - name: hold
    event: order.hold_requested
    statuses: [created, held]
    rules: [place_hold, emit: {event: order.routed}]
  - name: clear
    event: order.hold_cleared
    statuses: [held]
    rules: [clear_hold, emit: {event: order.routed}]
  - name: clear all
    event: order.trusted
    statuses: [held]
    rules: [clear_hold: {kind: "*"}, emit: {event: order.routed}]
  - name: expire
    event: order.hold_expired
    statuses: [held]
    rules: [clear_hold, emit: {event: order.routed}]
  - name: keep
    event: order.routed
    statuses: [created, held]
    if: order.hold_count > 0
    rules: [release, transition: {to: held}]
  - name: go on
    event: order.routed
    statuses: [created, held]
    if: order.hold_count == 0
    rules: [release, transition: {to: released}]
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "holds") as one:
        yield one


async def begin(account: Account) -> None:
    vocabulary = account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, GUARDED, vocabulary))
    await count(account, ("P1", "L1", 50), ("P2", "L2", 50))


async def guarded(account: Account, *kinds: str) -> Any:
    """Place an order of 200 pounds, which is held for two hours, with more holds of some kinds."""
    line = LineInput(sku="P1", qty=1, unit_price=Decimal(200))
    more = [HoldInput(kind) for kind in kinds]
    (placed,) = await place(account, order("a", type="guarded", lines=[line], holds=more))
    return placed


def holds(lent: Shop) -> list[tuple[Any, ...]]:
    return lent.sql(
        "SELECT kind, reason, placed_by, placed_at, until_at, cleared_at, cleared_by "
        "FROM order_hold ORDER BY placed_at, kind, id"
    )


def timers(lent: Shop) -> list[tuple[Any, ...]]:
    return lent.sql("SELECT timer, due_at FROM inbox WHERE is_timer ORDER BY due_at, timer")


def test_a_hold_expires_by_its_timer_after_a_restart_and_the_order_goes_on(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        until = NOON + timedelta(hours=2)
        async with opened(lent, clock) as account:
            await begin(account)
            placed = await guarded(account)
            assert placed["status"] == "held"
            assert [(one["kind"], one["reason"]) for one in placed["holds"]] == [
                ("fraud", "A large amount.")
            ]
            assert placed["holds"][0]["until_at"] == "2026-03-02T14:00:00Z"
            assert timers(lent) == [("hold:fraud", until)]
            clock.advance_to(NOON + timedelta(hours=1))
            assert await work(account) == 0
            clock.advance_to(NOON + timedelta(hours=2))
        async with opened(lent, clock) as account:
            assert await work(account) == 1
            assert lent.value("SELECT status FROM orders") == "released"
            (hold,) = holds(lent)
            assert hold[3:] == (NOON, until, until, "guarded")
            assert lent.value("SELECT status FROM fulfilment") == "awaiting_pick"
            names = [name for (name,) in lent.sql("SELECT name FROM event ORDER BY seq")]
            assert names.index("order.hold_placed") < names.index("order.hold_cleared")
            assert await work(account) == 0
            await assert_clean(lent, account)

    asyncio.run(story())


def test_the_timer_of_a_hold_that_was_cleared_never_fires(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await begin(account)
            placed = await guarded(account)
            clock.advance_to(NOON + timedelta(hours=1))
            done = await tell(account, placed["id"], "order.hold_cleared", kind="fraud", by="ann")
            assert (done["status"], done["holds"]) == ("released", [])
            assert timers(lent) == []
            clock.advance_to(NOON + timedelta(hours=3))
            assert await work(account) == 0
            (hold,) = holds(lent)
            assert hold[5:] == (NOON + timedelta(hours=1), "ann")
            for table in ("dead_letter", "unhandled_event"):
                assert lent.value(f"SELECT count(*) FROM {table}") == 0

    asyncio.run(story())


def test_of_two_holds_each_goes_by_itself_and_the_order_waits_for_both(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await begin(account)
            placed = await guarded(account)
            held = await tell(
                account,
                placed["id"],
                "order.hold_requested",
                kind="address",
                reason="No such street.",
                until="3h",
                by="ann",
            )
            assert [one["kind"] for one in held["holds"]] == ["fraud", "address"]
            assert [name for name, _ in timers(lent)] == ["hold:fraud", "hold:address"]
            clock.advance_to(NOON + timedelta(hours=2))
            assert await work(account) == 1
            assert lent.value("SELECT status FROM orders") == "held"
            refused = await tell(account, placed["id"], "order.hold_cleared", kind="fraud")
            assert isinstance(refused, Refusal)
            assert refused.code == "no_such_hold"
            clock.advance_to(NOON + timedelta(hours=3))
            assert await work(account) == 1
            assert lent.value("SELECT status FROM orders") == "released"

    asyncio.run(story())


def test_a_hold_of_the_same_kind_is_replaced_with_its_timer(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await begin(account)
            placed = await guarded(account, "fraud", "fraud")
            assert [(one["kind"], one["reason"]) for one in placed["holds"]] == [
                ("fraud", "A large amount.")
            ]
            assert placed["holds"][0]["until_at"] == "2026-03-02T14:00:00Z"
            again = await tell(
                account, placed["id"], "order.hold_requested", kind="fraud", until="5h"
            )
            assert len(again["holds"]) == 1
            assert timers(lent) == [("hold:fraud", NOON + timedelta(hours=5))]
            done = await tell(account, placed["id"], "order.trusted")
            assert done["status"] == "released"
            assert timers(lent) == []
            assert len(holds(lent)) == 4
            assert all(hold[5] == NOON for hold in holds(lent))

    asyncio.run(story())


def test_a_hold_on_a_line_or_a_choice_keeps_only_what_it_covers(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await begin(account)
            home = order("x").destination
            (placed,) = await place(
                account,
                order(
                    "a",
                    type="guarded",
                    destination=None,
                    lines=[],
                    holds=[HoldInput("payment")],
                    choices=[
                        ChoiceInput(lines=[LineInput(sku=sku, qty=1, ref=sku)], destination=home)
                        for sku in ("P1", "P2")
                    ],
                ),
            )
            choice_id = placed["choices"][1]["id"]
            for scope in ({"line": "P1", "until": "1h"}, {"choice": choice_id}, {"line": "P1"}):
                await tell(account, placed["id"], "order.hold_requested", kind="care", **scope)
            assert timers(lent) == []
            cleared = await tell(account, placed["id"], "order.hold_cleared", kind="payment")
            assert locations_of(cleared, "awaiting_pick") == []
            scope = {"kind": "care", "line": "P1"}
            one = await tell(account, placed["id"], "order.hold_cleared", **scope)
            assert (one["status"], locations_of(one, "awaiting_pick")) == ("held", ["L1"])
            both = await tell(account, placed["id"], "order.hold_cleared", kind="care")
            assert both["status"] == "released"
            assert locations_of(both, "awaiting_pick") == ["L1", "L2"]

    asyncio.run(story())


def test_a_hold_that_cannot_be_is_refused(lent: Shop) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "invalid_hold"),
        ({"kind": 7}, "invalid_hold"),
        ({"kind": "care", "until": "soon"}, "invalid_hold"),
        ({"kind": "care", "line": "none"}, "unknown_line"),
        ({"kind": "care", "choice": "none"}, "unknown_choice"),
        ({"holds": [{"reason": "no kind"}]}, "invalid_hold"),
    ]

    async def story() -> None:
        async with opened(lent, ManualClock(NOON)) as account:
            await begin(account)
            placed = await guarded(account)
            for payload, code in wrong:
                refused = await tell(account, placed["id"], "order.hold_requested", **payload)
                assert isinstance(refused, Refusal)
                assert refused.code == code
            assert len(holds(lent)) == 1

    asyncio.run(story())
