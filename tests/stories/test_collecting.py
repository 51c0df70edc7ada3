"""Click and collect: reserved where it is picked up, made ready, handed over, or given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.shop import Shop, assert_clean, count, opened, order, place, shop, stock_of, tell, work

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.errors import Refusal

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
COLLECT: dict[str, Any] = {
    "type": "click_and_collect",
    "service": "collect",
    "pickup_location": "L3",
    "destination": None,
}


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "collecting") as one:
        yield one


async def placed_at_store(account: Account, ref: str) -> tuple[Any, str]:
    (placed,) = await place(account, order(ref, ("P1", 2), ("P2", 1), **COLLECT))
    (fulfilment,) = placed["fulfilments"]
    assert (fulfilment["location"], fulfilment["status"]) == ("L3", "awaiting_pick")
    return placed, fulfilment["id"]


def test_what_is_collected_leaves_the_store_and_ends_the_order(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L3", 5), ("P2", "L3", 5), ("P1", "L1", 9))
            placed, fulfilment = await placed_at_store(account, "a")
            ready = await tell(
                account, placed["id"], "fulfilment.readied", fulfilment_id=fulfilment
            )
            assert ready["status"] == "ready"
            done = await tell(
                account, placed["id"], "fulfilment.collected", fulfilment_id=fulfilment
            )
            assert done["status"] == "collected"
            assert [one["status"] for one in done["fulfilments"]] == ["collected"]
            assert stock_of(lent, "P1") == {"L1": (9, 0), "L3": (3, 0)}
            again = await tell(
                account, placed["id"], "fulfilment.collected", fulfilment_id=fulfilment
            )
            assert isinstance(again, Refusal)
            assert again.code == "not_allowed_in_status"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_nobody_collects_for_a_week_is_given_back(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await count(account, ("P1", "L3", 5), ("P2", "L3", 5), at=NOON)
            placed, fulfilment = await placed_at_store(account, "a")
            await tell(account, placed["id"], "fulfilment.readied", fulfilment_id=fulfilment)
            clock.advance_to(NOON + timedelta(days=6))
            assert await work(account) == 0
            clock.advance_to(NOON + timedelta(days=7, seconds=1))
            assert await work(account) == 1
            assert lent.value("SELECT status FROM orders") == "cancelled"
            assert lent.value("SELECT status FROM fulfilment") == "cancelled"
            assert stock_of(lent, "P1") == {"L3": (5, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())
