"""Limits: nobody has more than he may, however he asks; what he gives back he may have again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.shop import Shop, assert_clean, count, opened, order, shop, stock_of, tell
from tests.stories.test_carts import cart, decide, held, refused

from penstock.app import Account
from penstock.errors import Refusal
from penstock.inventory.limit_rules import LimitInput, drop_limit, list_limits, set_limits
from penstock.records import insist
from penstock.rules.carts import CartChange
from penstock.rules.expiry import end_what_is_over
from penstock.rules.take import NewOrder

CUSTOMERS = """
INSERT INTO customer (id, ref, tier) VALUES (gen_random_uuid(), 'ann', 'gold'),
    (gen_random_uuid(), 'bob', 'standard');
UPDATE product SET category_ref = 'drop' WHERE ref IN ('P1', 'P2');
UPDATE revision SET value = value + 1;
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "limits", CUSTOMERS) as one:
        yield one


class Moved:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at


async def limit(account: Account, *limits: LimitInput) -> None:
    insist(await account.database.run(account.schema, lambda tx: set_limits(tx, limits)))


async def place(account: Account, ref: str, qty: int, **more: Any) -> Any:
    sku = more.pop("sku", "P1")
    return await decide(account, NewOrder(order(ref, (sku, qty), **more)))


def test_orders_and_carts_of_one_customer_count_together(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 50), ("P2", "L1", 50), ("P3", "L1", 50))
            await limit(account, LimitInput("drop", category="drop", qty=4))
            first = await place(account, "O1", 2, customer="ann")
            result = await place(account, "O2", 3, customer="ann", sku="P2")
            assert refused(result) == "limit_reached"
            assert result.data["left"] == 2
            assert (await decide(account, cart("C", ("P2", 2), customer="ann")))["status"] == "held"
            assert refused(await place(account, "O3", 1, customer="ann")) == "limit_reached"
            assert (await place(account, "O4", 4, customer="bob"))["status"] == "allocated"
            assert (await place(account, "O5", 9, customer="ann", sku="P3"))["status"]
            assert refused(await place(account, "O6", 1)) == "identity_needed"
            by_mail = {"email": " Eve@example.com"}
            assert (await place(account, "O7", 4, attributes=by_mail))["status"] == "allocated"
            result = await decide(account, cart("D", ("P1", 1), email="eve@EXAMPLE.com"))
            assert refused(result) == "limit_reached"
            assert "example" not in str(lent.sql("SELECT identity FROM limit_entry"))
            taken = await place(account, "O8", 2, customer="ann", sku="P2", cart="C")
            assert taken["status"] == "allocated"
            await tell(account, first["id"], "order.cancellation_requested")
            assert (await place(account, "O9", 2, customer="ann"))["status"] == "allocated"
            assert refused(await place(account, "O10", 1, customer="ann")) == "limit_reached"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_64_clients_of_one_customer_get_no_more_than_he_may_have(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 90), ("P1", "L2", 90))
            await limit(one, LimitInput("two", sku="P1", qty=5))
            accounts = [one, other]

            async def client(n: int) -> Any:
                account = accounts[n // 2 % 2]
                if n % 2:
                    return await place(account, f"O{n}", 1, customer="ann")
                return await decide(account, cart(f"C{n}", ("P1", 1), customer="ann"))

            results = await asyncio.gather(*(client(n) for n in range(64)))
            codes = [r.code for r in results if isinstance(r, Refusal)]
            assert codes == ["limit_reached"] * 59
            assert sum(reserved for _, reserved in stock_of(lent, "P1").values()) == 5
            await assert_clean(lent, one)

    asyncio.run(story())


def test_what_a_cart_counted_is_free_once_it_is_released_or_over(lent: Shop) -> None:
    async def story() -> None:
        clock = Moved()
        async with opened(lent, clock) as account:
            await count(account, ("P1", "L1", 50))
            await limit(account, LimitInput("two", sku="P1", qty=2))
            await decide(account, cart("C", ("P1", 2), session="s1"))
            assert refused(await decide(account, cart("D", ("P1", 1), session="s1")))
            longer = await decide(account, CartChange("web", "C", "extend", 30))
            assert held(longer) == [("P1", "L1", 2)]
            fewer = await decide(account, cart("C", ("P1", 1), session="s1"))
            assert held(fewer) == [("P1", "L1", 1)]
            assert (await decide(account, cart("D", ("P1", 1), session="s1")))["status"] == "held"
            await decide(account, CartChange("web", "D", "release"))
            clock.at += timedelta(minutes=16)
            both = cart("E", ("P1", 2), session="s1")
            assert (await decide(account, both))["status"] == "held"
            assert await end_what_is_over(account.knowledge) == 1
            assert lent.sql("SELECT ref FROM cart WHERE status = 'expired'") == [("C",)]
            assert lent.value("SELECT count(*) FROM limit_entry") == 1
            assert stock_of(lent, "P1") == {"L1": (50, 2)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_limit_has_a_channel_a_period_and_an_end(lent: Shop) -> None:
    async def story() -> None:
        clock = Moved()
        async with opened(lent, clock) as account:
            await count(account, ("P1", "L1", 50))
            ends_at = clock.at + timedelta(days=3)
            daily = LimitInput("day", sku="P1", channel="web", qty=1, period_h=24, ends_at=ends_at)
            await limit(account, daily)
            assert (await place(account, "O1", 1, customer="ann"))["status"] == "allocated"
            assert refused(await place(account, "O2", 1, customer="ann")) == "limit_reached"
            assert (await place(account, "M1", 9, customer="ann", channel="market"))["status"]
            clock.at += timedelta(hours=25)
            assert (await place(account, "O3", 1, customer="ann"))["status"] == "allocated"
            clock.at = ends_at
            assert (await place(account, "O4", 9, customer="ann"))["status"] == "allocated"
            there = await account.database.run(account.schema, list_limits)
            assert [one.ref for one in there] == ["day"]
            assert (
                await account.database.run(account.schema, lambda tx: set_limits(tx, [daily]))
            ) == ["unchanged"]
            await account.database.run(account.schema, lambda tx: drop_limit(tx, "day"))
            assert await account.database.run(account.schema, list_limits) == []

    asyncio.run(story())


def test_carts_hold_no_more_of_a_product_than_its_quota(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 6), ("P1", "L2", 4))
            await limit(one, LimitInput("quota", sku="P1", held_percent=50))
            accounts = [one, other]
            results = await asyncio.gather(
                *(decide(accounts[n % 2], cart(f"C{n}", ("P1", 1))) for n in range(32))
            )
            codes = [r.code for r in results if isinstance(r, Refusal)]
            assert codes == ["hold_quota_reached"] * 27
            won = next(r for r in results if not isinstance(r, Refusal))
            assert (await decide(one, cart(won["ref"], ("P1", 1))))["status"] == "held"
            assert refused(await decide(one, cart(won["ref"], ("P1", 2)))) == "hold_quota_reached"
            assert (await place(other, "O", 5))["status"] == "allocated"
            await assert_clean(lent, one)

    asyncio.run(story())
