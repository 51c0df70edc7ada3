"""Dates of orders: promised once, kept in view, and what changes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.shop import Shop, assert_clean, count, opened, order, place, shop, tell, work
from tests.stories.test_promises import MONDAY_TEN, cart, promised, set_up

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.errors import Refusal
from penstock.orders.intake import HoldInput
from penstock.rules.documents import order_document
from penstock.rules.roots import load_trees
from penstock.rules.take import NewOrder

COLLECT: dict[str, Any] = {
    "type": "click_and_collect",
    "service": "collect",
    "pickup_location": "L2",
    "destination": None,
}
CHANGED = "SELECT payload FROM event WHERE name = 'choice.promise_changed'"


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "dates") as one:
        yield one


async def seen(account: Account, order_id: str) -> Any:
    """Return an order as it is kept."""

    async def read(tx: Any) -> Any:
        (tree,) = await load_trees(tx, [order_id], "read")
        return order_document(tree, account.knowledge)

    return await account.database.run(account.schema, read)


def test_an_order_has_the_dates_that_its_location_and_its_carrier_keep(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2), ("P2", "L2", 5))
            (placed,) = await place(account, order("a", ("P1", 1), ("P2", 3)))
            one, other = placed["fulfilments"]
            assert (one["due_at"], one["carrier"]) == ("2026-03-02T16:00:00Z", "post/fast")
            assert one["expected_from"] == "2026-03-03T08:00:00Z"
            assert other["expected_until"] == "2026-03-03T18:00:00Z"
            (choice,) = placed["choices"]
            assert choice["promised_at"] == choice["expected_until"] == "2026-03-03T18:00:00Z"
            assert choice["is_late"] is False
            kept = await seen(account, placed["id"])
            assert kept["fulfilments"][0]["due_at"] == MONDAY_TEN.replace(hour=16)
            assert kept["choices"][0]["promised_from"] == MONDAY_TEN.replace(day=3, hour=8)

    asyncio.run(story())


def test_dates_are_told_in_the_time_of_the_location_and_the_destination(lent: Shop) -> None:
    async def story() -> None:
        june = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
        async with opened(lent, ManualClock(june)) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 5))
            asked = [order("a", ("P1", 1)), order("b", ("P1", 1), time_zone="America/New_York")]
            here, there = await place(account, *asked)
            assert here["fulfilments"][0]["due_at"] == "2026-06-01T16:00:00+01:00"
            assert here["choices"][0]["promised_at"] == "2026-06-02T18:00:00+01:00"
            assert there["fulfilments"][0]["due_at"] == "2026-06-01T16:00:00+01:00"
            assert there["choices"][0]["promised_at"] == "2026-06-02T18:00:00-04:00"
            kept = await seen(account, there["id"])
            assert kept["choices"][0]["promised_at"].isoformat() == "2026-06-02T18:00:00-04:00"

    asyncio.run(story())


def test_without_carriers_a_location_still_knows_when_it_has_to_be_done(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await count(account, ("P1", "L1", 2))
            (placed,) = await place(account, order("a", ("P1", 1)))
            (one,) = placed["fulfilments"]
            assert one["due_at"] == "2026-03-02T11:00:00Z"  # an hour's handling, always open
            assert "carrier" not in one
            assert placed["choices"][0]["promised_at"] is None

    asyncio.run(story())


def test_what_is_collected_is_promised_when_it_is_ready(lent: Shop) -> None:
    async def story() -> None:
        friday = datetime(2026, 3, 6, 16, 0, tzinfo=UTC)
        async with opened(lent, ManualClock(friday)) as account:
            await set_up(account)
            await count(account, ("P1", "L2", 2))
            asked = cart(("P1", 1), service="collect", pickup_location="L2", destination=None)
            told = promised(account, asked)["choices"][0]
            (placed,) = await place(account, order("a", ("P1", 1), **COLLECT))
            (one,) = placed["fulfilments"]
            assert one["due_at"] == told["shipments"][0]["ready_at"] == "2026-03-09T10:00:00Z"
            assert placed["choices"][0]["promised_at"] == told["by"] == "2026-03-09T10:00:00Z"

    asyncio.run(story())


def test_an_order_sourced_again_keeps_its_promise_and_shows_that_it_is_late(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY_TEN)
        async with opened(lent, clock) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2), ("P1", "L8", 2), at=MONDAY_TEN)
            (placed,) = await place(account, order("a", ("P1", 1), carriers=["post/fast"]))
            clock.advance_to(MONDAY_TEN + timedelta(hours=1))
            (first,) = placed["fulfilments"]
            again = await tell(
                account, placed["id"], "fulfilment.rejected", fulfilment_id=first["id"]
            )
            assert [one["location"] for one in again["fulfilments"]] == ["L1", "L8"]
            (choice,) = again["choices"]
            # Nine delivery days from L8, by its lane.
            assert choice["promised_at"] == "2026-03-03T18:00:00Z"
            assert choice["expected_until"] == "2026-03-13T18:00:00Z"
            assert choice["is_late"] is True
            ((payload,),) = lent.sql(CHANGED)
            assert payload["promised_at"] == "2026-03-03T18:00:00Z"
            assert payload["expected_until"] == "2026-03-13T18:00:00Z"
            kept = await seen(account, placed["id"])
            assert kept["choices"][0]["is_late"] is True
            await assert_clean(lent, account)

    asyncio.run(story())


def test_nobody_knows_when_what_no_location_will_do_is_there(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2))
            (placed,) = await place(account, order("a", ("P1", 1)))
            (first,) = placed["fulfilments"]
            again = await tell(
                account, placed["id"], "fulfilment.rejected", fulfilment_id=first["id"]
            )
            (choice,) = again["choices"]
            assert (choice["expected_until"], choice["is_late"]) == (None, False)
            assert choice["promised_at"] == "2026-03-03T18:00:00Z"
            assert lent.sql(CHANGED) == []

    asyncio.run(story())


def test_a_hold_moves_what_is_expected_but_not_what_was_promised(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY_TEN)
        async with opened(lent, clock) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2))
            asked = order("a", ("P1", 1), holds=[HoldInput("fraud")])
            (placed,) = await place(account, asked)
            assert placed["choices"][0]["promised_at"] == "2026-03-03T18:00:00Z"
            clock.advance_to(MONDAY_TEN + timedelta(days=1))
            freed = await tell(account, placed["id"], "order.hold_cleared", kind="fraud")
            assert freed["status"] == "allocated"
            (choice,) = freed["choices"]
            assert choice["promised_at"] == "2026-03-03T18:00:00Z"
            assert choice["expected_until"] == "2026-03-04T18:00:00Z"
            kept = await seen(account, placed["id"])
            assert kept["fulfilments"][0]["due_at"] == MONDAY_TEN.replace(day=3, hour=16)
            assert len(lent.sql(CHANGED)) == 1

    asyncio.run(story())


def test_what_an_order_promised_elsewhere_is_kept(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2))
            told = MONDAY_TEN + timedelta(hours=3)
            (placed,) = await place(account, order("a", ("P1", 1), promised_at=told))
            (choice,) = placed["choices"]
            assert (choice["promised_at"], choice["is_late"]) == ("2026-03-02T13:00:00Z", True)
            assert len(lent.sql(CHANGED)) == 1

    asyncio.run(story())


def test_an_order_that_nobody_waits_for_is_dated_by_the_worker(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY_TEN)
        async with opened(lent, clock) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2))
            wish: dict[str, Any] = {"carriers": ["post/slow"], "time_zone": "America/New_York"}
            (placed,) = await place(account, order("a", ("P1", 1), **wish), wait=False)
            assert await work(account) == 1
            kept = await seen(account, placed["id"])
            assert kept["fulfilments"][0]["carrier"] == "post/slow"
            assert kept["choices"][0]["promised_at"].isoformat() == "2026-03-05T18:00:00-05:00"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"carriers": ["post/none"]}, "unknown_carrier"),
        ({"time_zone": "Europe/Nowhere"}, "invalid_transit"),
        ({"slot_at": MONDAY_TEN}, "invalid_order"),
        ({"promised_at": datetime(2026, 3, 2, 10, 0)}, "invalid_order"),  # noqa: DTZ001
    ],
)
def test_an_order_with_dates_that_cannot_be_is_refused(
    lent: Shop, more: dict[str, Any], code: str
) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            asked = NewOrder(order("a", ("P1", 1), **more))
            (result,) = await account.grouping.submit([asked])
            assert isinstance(result, Refusal)
            assert result.code == code

    asyncio.run(story())
