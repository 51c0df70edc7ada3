"""What a location can do in a day is counted with the stock, given back, and new each day."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

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
    stock_of,
    tell,
)

from penstock.clock import ManualClock
from penstock.rules.take import NewOrder

MONDAY = datetime(2026, 3, 2, 10, tzinfo=UTC)
LIMIT = 3
WEEKDAYS = ", ".join(f'"{day}": [["09:00", "17:00"]]' for day in ("mon", "tue", "wed", "fri"))
LIMITED = f"""
UPDATE location SET daily_capacity = '{{"deliver": {LIMIT}}}', opening_hours = '{{{WEEKDAYS}}}'
WHERE ref IN ('L1', 'L2');
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "capacity", LIMITED) as one:
        yield one


def used(lent: Shop) -> dict[tuple[str, str], int]:
    rows = lent.sql("SELECT location_id, day, used FROM capacity WHERE used > 0")
    return {(f"L{location}", f"{day:%a}"): orders for location, day, orders in rows}


def test_two_processes_never_take_more_than_the_days_capacity(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY)
        async with opened(lent, clock) as one, opened(lent, clock) as other:
            await count(one, ("P1", "L1", 100), ("P1", "L3", 4))
            results = await asyncio.gather(
                *(
                    account.grouping.submit([NewOrder(order(f"{n}-{place}", ("P1", 1)))])
                    for n in range(10)
                    for place, account in enumerate((one, other))
                )
            )
            assert all(isinstance(result[0], bytes) for result in results)
            statuses = "SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1"
            assert lent.sql(statuses) == [("allocated", LIMIT + 4), ("unsourced", 13 - LIMIT + 3)]
            assert used(lent) == {("L1", "Mon"): LIMIT}
            assert stock_of(lent, "P1") == {"L1": (100, LIMIT), "L3": (4, 4)}
            await assert_clean(lent, one)

    asyncio.run(story())


def test_cancelling_and_rejecting_give_the_day_its_capacity_back(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L1", 100), ("P1", "L2", 100))
            placed = await place(account, *(order(f"a{n}", ("P1", 1)) for n in range(6)))
            assert [locations_of(d)[0] for d in placed] == ["L1"] * LIMIT + ["L2"] * LIMIT
            await tell(account, placed[0]["id"], "order.cancellation_requested")
            assert used(lent) == {("L1", "Mon"): LIMIT - 1, ("L2", "Mon"): LIMIT}
            fulfilment_id = placed[5]["fulfilments"][0]["id"]
            rejected = await tell(
                account, placed[5]["id"], "fulfilment.rejected", fulfilment_id=fulfilment_id
            )
            assert locations_of(rejected, "awaiting_pick") == ["L1"]
            assert used(lent) == {("L1", "Mon"): LIMIT, ("L2", "Mon"): LIMIT - 1}
            again, full = await place(account, order("again", ("P1", 1)), order("full", ("P1", 1)))
            assert (locations_of(again), full["status"]) == (["L2"], "unsourced")
            await assert_clean(lent, account)

    asyncio.run(story())


def test_the_next_working_day_opens_again_and_a_cancellation_goes_to_its_own_day(
    lent: Shop,
) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY)
        async with opened(lent, clock) as account:
            await count(account, ("P1", "L1", 100))
            monday = await place(account, *(order(f"mon{n}", ("P1", 1)) for n in range(LIMIT)))
            (full,) = await place(account, order("full", ("P1", 1)))
            assert full["status"] == "unsourced"
            clock.advance_to(MONDAY.replace(hour=18))  # closed: counts on Tuesday
            (evening,) = await place(account, order("evening", ("P1", 1)))
            assert evening["status"] == "allocated"
            clock.advance_to(MONDAY.replace(day=4, hour=17, minute=1))  # Thursday is no day
            (later,) = await place(account, order("later", ("P1", 1)))
            assert later["status"] == "allocated"
            assert used(lent) == {("L1", "Mon"): LIMIT, ("L1", "Tue"): 1, ("L1", "Fri"): 1}
            await tell(account, monday[0]["id"], "order.cancellation_requested")
            assert used(lent) == {("L1", "Mon"): LIMIT - 1, ("L1", "Tue"): 1, ("L1", "Fri"): 1}
            retried = await tell(account, full["id"], "order.sourcing_retried")
            assert retried["status"] == "allocated"
            assert used(lent)["L1", "Fri"] == 2
            await assert_clean(lent, account)

    asyncio.run(story())


def test_one_group_does_not_overrun_a_capacity_it_shares(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY)) as account:
            await count(account, ("P1", "L1", 100), ("P2", "L1", 100))
            orders = [order(f"g{n}", (f"P{1 + n % 2}", 1)) for n in range(40)]
            placed = await place(account, *orders)
            assert sum(document["status"] == "allocated" for document in placed) == LIMIT
            assert used(lent) == {("L1", "Mon"): LIMIT}
            await assert_clean(lent, account)

    asyncio.run(story())
