"""Less is there than is reserved: the truth is accepted, and who can wait gives way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    locations_of,
    opened,
    order,
    place,
    stock_of,
    tell,
    work,
)

from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.commands import ReserveRequest, reserve
from penstock.inventory.counts import adjust_stock
from penstock.inventory.model import Adjustment

NOW = datetime.now(UTC)


def statuses(lent: Shop) -> dict[str, str]:
    return dict(lent.sql("SELECT ref, status FROM orders ORDER BY ref"))


def promised(days: int) -> dict[str, Any]:
    return {"promised_at": NOW + timedelta(days=days)}


def test_a_count_below_reserved_sheds_the_lowest_priority_then_the_latest_promise(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as worker:
            await count(account, ("P1", "L1", 10))
            orders = [order(f"day-{n}", ("P1", 2), **promised(n)) for n in (1, 3, 2, 4)]
            low = order("low", ("P1", 2), priority=1, **promised(1))
            documents = await place(account, *orders, low)
            assert [one["priority"] for one in documents] == [5, 5, 5, 5, 1]
            await count(account, ("P1", "L1", 5), ("P1", "L2", 3))
            assert await work(worker) == 3
            assert statuses(lent) == {
                "day-1": "allocated",
                "day-2": "allocated",
                "day-3": "allocated",
                "day-4": "allocated",
                "low": "unsourced",
            }
            kept = lent.sql(
                "SELECT o.ref FROM reservation r JOIN orders o ON o.id = r.root_id "
                "JOIN position p ON p.id = r.position_id "
                "WHERE p.location_id = 1 AND r.qty = 2 ORDER BY 1"
            )
            assert [ref for (ref,) in kept][:2] == ["day-1", "day-2"]
            assert stock_of(lent, "P1") == {"L1": (5, 5), "L2": (3, 3)}
            shortage = "SELECT count(*) FROM event WHERE name = 'inventory.shortage'"
            assert lent.value(shortage) == 1
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())


def test_every_line_of_an_order_that_lost_its_stock_is_sourced_again(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            skus = [f"P{n}" for n in range(1, 6)]
            await count(account, *((sku, "L1", 4) for sku in skus))
            (placed,) = await place(account, order("a", *((sku, 2) for sku in skus)))
            assert locations_of(placed) == ["L1"]
            await count(account, *((sku, "L2", 4) for sku in skus))
            await count(account, *((sku, "L1", 0) for sku in skus))
            await work(account)
            assert statuses(lent) == {"a": "allocated"}
            for sku in skus:
                assert stock_of(lent, sku) == {"L1": (0, 0), "L2": (4, 2)}
            assert lent.value("SELECT count(*) FROM dead_letter") == 0
            assert lent.value("SELECT count(*) FROM inbox") == 0
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_cancellation_meets_an_order_that_is_about_to_lose_its_stock(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 4), ("P2", "L1", 4))
            (placed,) = await place(account, order("a", ("P1", 2), ("P2", 2)))
            await count(account, ("P1", "L1", 0), ("P2", "L1", 0))
            part: dict[str, Any] = {"lines": [{"ref": "1", "qty": 1}]}
            done = await tell(account, placed["id"], "order.cancellation_requested", **part)
            assert (done["status"], counters(done)) == ("unsourced", (0, 1, 0, 1))
            assert lent.value("SELECT count(*) FROM inbox") == 0
            assert stock_of(lent, "P1") == {"L1": (0, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_ships_before_it_is_shed_leaves_less_than_nothing(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 4))
            (placed,) = await place(account, order("a", ("P1", 3)))
            now = account.knowledge.clock.now()
            lost = [Adjustment(1, 1, -2, now, reason="broken")]
            await account.knowledge.run_pass("adjust", lambda tx: adjust_stock(tx, lost, new_id()))
            assert lent.value("SELECT name FROM inbox") == "order.stock_lost"
            lent.sql("UPDATE inbox SET due_at = now() + interval '1 hour'")
            (fulfilment,) = placed["fulfilments"]
            done = await tell(
                account, placed["id"], "fulfilment.shipped", fulfilment_id=fulfilment["id"]
            )
            assert done["status"] == "shipped"
            assert stock_of(lent, "P1") == {"L1": (-1, 0)}
            lent.sql("UPDATE inbox SET due_at = now()")
            assert await work(account) == 1
            assert statuses(lent) == {"a": "shipped"}
            assert stock_of(lent, "P1") == {"L1": (-1, 0)}
            (short,) = await place(account, order("b", ("P1", 1)))
            assert short["status"] == "unsourced"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_second_count_before_the_first_was_worked_off_sheds_nobody_twice(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 6))
            await place(account, *(order(f"o{n}", ("P1", 2), **promised(n)) for n in (1, 2, 3)))
            await count(account, ("P1", "L1", 5))
            await count(account, ("P1", "L1", 4))
            await count(account, ("P1", "L1", 3))
            await work(account)
            assert statuses(lent) == {
                "o1": "allocated",
                "o2": "partly_allocated",
                "o3": "unsourced",
            }
            assert stock_of(lent, "P1") == {"L1": (3, 3)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_order_keeps_its_place_when_a_count_takes_a_part_of_what_it_has(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (placed,) = await place(account, order("a", ("P1", 5)))
            await count(account, ("P1", "L1", 3))
            await work(account)
            await tell(account, placed["id"], "order.sourcing_retried")
            assert statuses(lent) == {"a": "partly_allocated"}
            assert stock_of(lent, "P1") == {"L1": (3, 3)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_shortage_ends_cart_holds_before_an_order_loses_anything(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await count(account, ("P1", "L1", 6))
            await place(account, order("a", ("P1", 2)))
            now = account.knowledge.clock.now()
            expires_at = now + timedelta(hours=1)
            cart = ReserveRequest(new_id(), new_id(), 1, 1, 1, 1, 3, expires_at=expires_at)
            terms = account.knowledge.terms(now)
            (held,) = await account.knowledge.run_pass(
                "hold", lambda tx: reserve(tx, [cart], terms)
            )
            assert not isinstance(held, Refusal)
            assert stock_of(lent, "P1") == {"L1": (6, 5)}
            await count(other, ("P1", "L1", 4))
            assert stock_of(lent, "P1") == {"L1": (4, 2)}
            assert lent.value("SELECT count(*) FROM inbox") == 0
            await assert_index_equals_database(lent, account)
            await assert_index_equals_database(lent, other)
            (next_one,) = await place(account, order("b", ("P1", 2)))
            assert next_one["status"] == "allocated"
            assert statuses(lent) == {"a": "allocated", "b": "allocated"}
            await assert_clean(lent, account)

    asyncio.run(story())
