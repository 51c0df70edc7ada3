"""What carts hold counts on caps and ring-fences, and goes on counting once it is an order's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
)
from tests.stories.test_carts import cart, decide, held, refused

from penstock.app import Account
from penstock.availability.commands import put_controls
from penstock.availability.control_input import ControlInput
from penstock.clock import ManualClock
from penstock.rules.carts import CartChange
from penstock.rules.expiry import end_what_is_over

CUSTOMERS = """
INSERT INTO customer (id, ref, tier) VALUES
    ('00000000-0000-7000-8000-000000000001', 'anna', 'gold'),
    ('00000000-0000-7000-8000-000000000002', 'bert', 'standard');
"""
CANCEL = "order.cancellation_requested"
CAP = ControlInput(5, sku="P1", kind="cap", ref="cap", channel="web")
FENCE = ControlInput(4, sku="P1", kind="ring_fence", ref="gold", kept_tiers=["gold"])


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "carts_controls", CUSTOMERS) as one:
        yield one


async def put(account: Account, *controls: ControlInput) -> None:
    async def write(tx: Any) -> list[Any]:
        return await put_controls(tx, controls)

    assert set(await account.database.run(account.schema, write)) <= {"created", "updated"}


def used(lent: Shop) -> int:
    return lent.value("SELECT coalesce(sum(reserved), 0) FROM control_use")


def test_a_cart_counts_on_a_cap_and_its_order_counts_what_it_takes_more(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, CAP)
            await count(account, ("P1", "L1", 20))
            await decide(account, cart("C", ("P1", 4)))
            assert used(lent) == 4
            assert refused(await decide(account, cart("D", ("P1", 2)))) == "out_of_stock"
            (taken,) = await place(account, order("O", ("P1", 7), cart="C"))
            assert counters(taken)[:2] == (5, 2)
            assert stock_of(lent, "P1") == {"L1": (20, 5)}
            assert used(lent) == 5
            await assert_clean(lent, account)
            await tell(account, taken["id"], CANCEL)
            assert used(lent) == 0
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_cart_that_is_held_anew_counts_only_what_it_holds(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, CAP)
            await count(account, ("P1", "L1", 20))
            for qty in (5, 2, 4):
                document = await decide(account, cart("C", ("P1", qty)))
                assert held(document) == [("P1", "L1", qty)]
                assert used(lent) == qty
            await decide(account, CartChange("web", "C", "extend", 30))
            assert used(lent) == 4
            await decide(account, CartChange("web", "C", "release"))
            assert used(lent) == 0
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_is_kept_for_gold_is_held_by_gold_carts_and_freed_when_they_are_over(
    lent: Shop,
) -> None:
    async def story() -> None:
        clock = ManualClock(lent.value("SELECT now()"))
        async with opened(lent, clock) as account:
            await put(account, FENCE)
            await count(account, ("P1", "L1", 6))
            assert held(await decide(account, cart("B", ("P1", 2), customer="bert")))
            assert refused(await decide(account, cart("B2", ("P1", 1), customer="bert")))
            await decide(account, cart("A", ("P1", 3), customer="anna"))
            assert used(lent) == 3
            clock.advance_to(clock.now() + timedelta(hours=3))
            assert await end_what_is_over(account.knowledge) == 2
            assert used(lent) == 0
            await decide(account, cart("A2", ("P1", 4), customer="anna"))
            (taken,) = await place(account, order("O", ("P1", 4), customer="anna", cart="A2"))
            assert taken["status"] == "allocated"
            assert used(lent) == 4
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_buffer_that_comes_later_takes_nothing_from_a_cart(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            await decide(account, cart("C", ("P1", 4)))
            await put(account, ControlInput(5, sku="P1", channel="web"))
            (taken,) = await place(account, order("O", ("P1", 5), cart="C"))
            assert counters(taken)[:2] == (4, 1)
            assert stock_of(lent, "P1") == {"L1": (5, 4)}
            await assert_clean(lent, account)

    asyncio.run(story())
