"""A cart's hand-over to its order survives dying workers, and its own time passing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection
from tests.engine import test_crash_points as crashing
from tests.engine.crash_points import CART_PLACES
from tests.engine.crash_process import Order
from tests.shop import Shop, answered, assert_clean, count, opened, order, place, shop, stock_of
from tests.stories.test_carts import cart, decide, held

from penstock.errors import Refusal
from penstock.rules.expiry import end_what_is_over
from penstock.rules.take import NewOrder
from penstock.rules.work import run_due

CARTS = 40


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "cart_crashes") as one:
        yield one


class Later:
    """The machine's clock, and so much later."""

    ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.mark.slow
def test_a_worker_that_dies_while_an_order_takes_its_cart_over_changes_nothing(
    lent: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashing, "AHEAD", timedelta())

    async def story() -> None:
        async with (
            opened(lent) as account,
            crashing.victims(lent) as dying,
            await AsyncConnection.connect(lent.conninfo) as connection,
        ):
            pid = connection.info.backend_pid
            worker = crashing.Survivor(lent, account, crashing.ClockAhead(), pid)
            await count(account, ("P1", "L2", 500), ("P2", "L3", 500))
            wrong: list[str] = []
            for number, where in enumerate(CART_PLACES):
                await count(account, ("P1", "L1", 0))
                document = await decide(account, cart(f"C{number}", ("P1", 2), ("P2", 1)))
                await count(account, ("P1", "L1", 9))  # nearer, but not where it was held
                asked = order(f"O{number}", ("P1", 2), cart=f"C{number}")
                await account.grouping.submit([NewOrder(asked, wait=False)])
                victim = await dying.send(Order(where, 1, is_ahead=False))
                await run_due(account.knowledge, pid)
                await victim.die()
                await worker.finish()
                rows = lent.sql(
                    "SELECT r.kind, r.qty, p.location_id, c.status FROM reservation r "
                    "JOIN position p ON p.id = r.position_id JOIN orders o ON o.id = r.root_id "
                    f"JOIN cart c ON c.order_id = o.id WHERE o.ref = 'O{number}'"
                )
                if rows != [(2, 2, 2, "ordered")] or not victim.was_there:
                    wrong.append(f"{where}: {rows}, {victim.was_there}, {held(document)}")
            assert not wrong, "\n".join(wrong)
            assert stock_of(lent, "P2") == {"L3": (500, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_hold_that_is_over_while_its_order_comes_is_neither_lost_nor_sold_twice(
    lent: Shop,
) -> None:
    async def story() -> None:
        clock, behind = Later(), Later()
        async with opened(lent, clock) as one, opened(lent, behind) as other:
            await count(one, ("P1", "L1", CARTS // 2), ("P1", "L2", CARTS // 2))
            for n in range(CARTS):
                assert (await decide(one, cart(f"C{n}", ("P1", 1))))["status"] == "held"
            clock.ahead = timedelta(minutes=20)  # for `other` nothing is over yet

            async def come(n: int) -> str:
                account = other if n % 2 else one
                asked = NewOrder(order(f"O{n}", ("P1", 1), cart=f"C{n}"))
                return answered((await account.grouping.submit([asked]))[0])["status"]

            coming = [asyncio.create_task(come(n)) for n in range(CARTS)]
            ending = [asyncio.create_task(end_what_is_over(one.knowledge)) for _ in range(3)]
            statuses = await asyncio.gather(*coming)
            await asyncio.gather(*ending)
            assert statuses == ["allocated"] * CARTS
            assert lent.value("SELECT count(*) FROM reservation WHERE kind = 2") == CARTS
            assert sum(row[1] for row in stock_of(lent, "P1").values()) == CARTS
            await assert_clean(lent, one)

    asyncio.run(story())


def test_carts_held_anew_and_orders_that_take_them_never_deadlock_or_oversell(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, *(("P1", f"L{n}", 6) for n in (1, 2, 3)), ("P2", "L2", 9))
            accounts = [one, other]

            async def shopper(n: int) -> None:
                account = accounts[n % 2]
                for again in range(4):
                    lines = [("P1", 1 + (n + again) % 2), ("P2", 1)]
                    item = cart(f"C{n}", *lines, all_or_nothing=n % 3 == 0)
                    await account.grouping.submit([item])
                await place(account, order(f"O{n}", ("P1", 1), ("P2", 1), cart=f"C{n}"))

            await asyncio.gather(*(shopper(n) for n in range(24)))
            await assert_clean(lent, one)
            assert sum(row[1] for row in stock_of(lent, "P1").values()) == 18
            assert stock_of(lent, "P2") == {"L2": (9, 9)}
            assert lent.value("SELECT count(*) FROM reservation WHERE kind = 1") == 0

    asyncio.run(story())


def test_a_hold_asked_twice_under_one_key_is_made_once(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9))
            item = cart("C", ("P1", 2))
            item.key = "once"
            first = await account.grouping.submit([item])
            again = await account.grouping.submit([item])
            assert answered(first[0]) == answered(again[0])
            other = cart("C", ("P1", 3))
            other.key = "once"
            (result,) = await account.grouping.submit([other])
            assert isinstance(result, Refusal)
            assert result.code == "idempotency_key_reused"
            assert stock_of(lent, "P1") == {"L1": (9, 2)}

    asyncio.run(story())
