"""Pick-up slots: offered, taken with the order, never one too many, given back with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.shop import Shop, answered, assert_clean, count, opened, order, place, shop, tell, work
from tests.stories.test_promises import cart, promised

from penstock.app import Account
from penstock.audit.run import audit
from penstock.clock import ManualClock
from penstock.errors import Refusal
from penstock.orders.intake import OrderInput
from penstock.rules.take import NewOrder

MONDAY = datetime(2026, 3, 2, 10, tzinfo=UTC)
NOON = MONDAY.replace(hour=12)
CLIENTS = 64
SLOTS = """
UPDATE location SET calendar = '{"slots": {"collect": {"length_min": 60, "capacity": 2}}}',
    opening_hours = '{"mon": [["09:00", "17:00"]], "tue": [["09:00", "11:00"]]}'
WHERE ref IN ('L2', 'L3');
UPDATE revision SET value = value + 1 WHERE name = 'network';
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "slots", SLOTS) as one:
        yield one


def collected(ref: str, slot_at: datetime | None = NOON, at: str = "L2") -> OrderInput:
    return order(
        ref, ("P1", 1), type="click_and_collect", service="collect", pickup_location=at,
        destination=None, slot_at=slot_at,
    )  # fmt: skip


def used(lent: Shop) -> dict[tuple[str, int], int]:
    rows = lent.sql("SELECT location_id, slot_at, used FROM slot_capacity WHERE used > 0")
    return {(f"L{location}", at.astimezone(UTC).hour): number for location, at, number in rows}


async def codes(account: Account, *orders: OrderInput, wait: bool = True) -> list[str]:
    """Place orders; returns the status of each, or the code of its refusal."""
    results = await account.grouping.submit([NewOrder(one, wait=wait) for one in orders])
    return [r.code if isinstance(r, Refusal) else answered(r)["status"] for r in results]


def test_a_slot_that_a_promise_offers_is_taken_by_the_order_and_shown(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L2", 9))
            asked = cart(("P1", 1), service="collect", pickup_location="L2", destination=None)
            (choice,) = promised(account, asked)["choices"]
            # An hour's handling from ten o'clock.
            offered = choice["shipments"][0]["slots"]
            assert offered[0] == {
                "start": "2026-03-02T11:00:00Z", "end": "2026-03-02T12:00:00Z", "left": 2,
            }  # fmt: skip
            assert [one["start"][8:13] for one in offered[5:8]] == ["02T16", "03T09", "03T10"]
            (placed,) = await place(account, collected("a"))
            (mine,) = placed["choices"]
            assert mine["promised_from"] == mine["slot_at"] == "2026-03-02T12:00:00Z"
            assert mine["promised_at"] == "2026-03-02T13:00:00Z"
            assert placed["fulfilments"][0]["due_at"] == "2026-03-02T12:00:00Z"
            asked.slot_at = NOON
            (told,) = promised(account, asked)["choices"]
            assert (told["since"], told["by"]) == (mine["promised_from"], mine["promised_at"])
            assert await codes(account, collected("b"), collected("c")) == [
                "allocated",
                "slot_full",
            ]
            await account.knowledge.refresh_capacity()
            (choice,) = promised(account, asked)["choices"]
            hours = [one["start"][11:13] for one in choice["shipments"][0]["slots"]]
            assert hours[:2] == ["13", "14"]
            assert used(lent) == {("L2", 12): 2}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_the_last_slot_goes_to_one_of_many_clients(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY)
        async with opened(lent, clock) as one, opened(lent, clock) as other:
            await count(one, ("P1", "L2", CLIENTS))
            assert await codes(one, collected("first")) == ["allocated"]
            results = await asyncio.gather(
                *(codes((one, other)[n % 2], collected(f"c{n}")) for n in range(CLIENTS))
            )
            told = sorted(code for (code,) in results)
            assert told == ["allocated"] + ["slot_full"] * (CLIENTS - 1)
            assert used(lent) == {("L2", 12): 2}
            assert lent.value("SELECT sum(reserved) FROM position") == 2
            assert lent.value("SELECT count(*) FROM orders") == 2
            await assert_clean(lent, one)

    asyncio.run(story())


def test_a_cancelled_order_gives_its_slot_back_and_a_collected_one_keeps_it(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L2", 9))
            kept, gone = await place(account, collected("kept"), collected("gone"))
            await tell(account, gone["id"], "order.cancellation_requested")
            assert used(lent) == {("L2", 12): 1}
            (fulfilment,) = kept["fulfilments"]
            done = await tell(
                account, kept["id"], "fulfilment.collected", fulfilment_id=fulfilment["id"]
            )
            assert done["status"] == "collected"
            assert used(lent) == {("L2", 12): 1}
            assert await codes(account, collected("again"), collected("late")) == [
                "allocated",
                "slot_full",
            ]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_order_that_its_location_rejects_keeps_its_slot_while_it_waits(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L2", 9))
            (placed,) = await place(account, collected("a"))
            (fulfilment,) = placed["fulfilments"]
            done = await tell(
                account, placed["id"], "fulfilment.rejected", fulfilment_id=fulfilment["id"]
            )
            assert done["status"] == "unsourced"
            assert used(lent) == {("L2", 12): 1}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_slot_moves_with_the_place_and_the_hour(lent: Shop) -> None:
    """No shipped workflow moves them yet; what a rule changes of a choice, its slot follows."""

    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            (placed,) = await place(account, collected("a"))
            assert (placed["status"], used(lent)) == ("unsourced", {("L2", 12): 1})
            lent.sql(
                "UPDATE choice SET pickup_location_id = 3, slot_at = slot_at + interval '1 hour';"
            )
            again = await tell(account, placed["id"], "order.hold_requested", kind="address")
            assert isinstance(again, dict), again
            assert used(lent) == {("L3", 13): 1}
            await assert_clean(lent, account)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("slot_at", "place_ref", "code"),
    [
        (NOON + timedelta(minutes=30), "L2", "no_slots"),
        (NOON, "L1", "no_slots"),
        (NOON - timedelta(hours=2), "L2", "slot_too_early"),  # ends when it is ready
        (NOON - timedelta(hours=3), "L2", "slot_too_early"),
        (NOON + timedelta(days=2), "L2", "no_slots"),  # closed
    ],
)
def test_a_slot_that_cannot_be_is_refused(
    lent: Shop, slot_at: datetime, place_ref: str, code: str
) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", place_ref, 9))
            assert await codes(account, collected("a", slot_at, place_ref)) == [code]
            assert used(lent) == {}
            assert lent.value("SELECT count(*) FROM orders") == 0
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_order_that_nobody_waits_for_has_its_slot_from_the_start(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L2", 9))
            asked = [collected(f"c{n}") for n in range(3)]
            told = await codes(account, *asked, wait=False)
            assert told == ["created", "created", "slot_full"]
            assert await work(account) == 2
            assert lent.sql("SELECT status FROM orders") == [("allocated",), ("allocated",)]
            assert used(lent) == {("L2", 12): 2}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_the_audit_finds_a_slot_that_is_counted_wrong(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L2", 9))
            await place(account, collected("a"))
            lent.sql("UPDATE slot_capacity SET used = 2")
            report = await audit(account.database, lent.schema)
            found: list[Any] = [one for one in report.checks if one.breaches]
            assert [(one.name, one.breaches) for one in found] == [("capacity", 1)]
            assert "has counted 2, but 1 choices hold it" in found[0].examples[0]

    asyncio.run(story())
