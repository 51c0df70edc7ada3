"""Everybody wants the same: no unit is given twice, and none is refused while one is left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.shop import (
    Shop,
    answered,
    assert_clean,
    assert_index_equals_database,
    count,
    opened,
    order,
    shop,
    stock_of,
    tell,
)

from penstock.app import Account
from penstock.rules.take import NewOrder

CLIENTS = 64
UNITS = {"L1": 40, "L2": 7, "L3": 29, "L4": 24}


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "hot_sku") as one:
        yield one


async def _place(account: Account, ref: str, qty: int = 1) -> dict[str, object]:
    (result,) = await account.grouping.submit([NewOrder(order(ref, ("P1", qty)))])
    return answered(result)


def test_64_clients_of_two_processes_get_exactly_what_there_is(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, *(("P1", location, units) for location, units in UNITS.items()))

            async def client(number: int) -> list[str]:
                account = (one, other)[number % 2]
                return [str((await _place(account, f"{number}-{n}"))["status"]) for n in range(3)]

            answers = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
            statuses = [status for answer in answers for status in answer]
            assert statuses.count("allocated") == sum(UNITS.values()) == 100
            assert statuses.count("unsourced") == 3 * CLIENTS - 100
            assert stock_of(lent, "P1") == {ref: (units, units) for ref, units in UNITS.items()}
            await assert_index_equals_database(lent, one)
            await assert_index_equals_database(lent, other)
            await assert_clean(lent, one)

    asyncio.run(story())


def test_orders_of_several_units_leave_nothing_behind(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, *(("P1", location, units) for location, units in UNITS.items()))
            accounts = [one, other]
            documents = await asyncio.gather(
                *(_place(accounts[n % 2], f"o{n}", 3) for n in range(CLIENTS))
            )
            assert lent.value("SELECT sum(qty_allocated) FROM order_line") == 100
            statuses = [document["status"] for document in documents]
            assert statuses.count("partly_allocated") == 1
            await assert_clean(lent, one)

    asyncio.run(story())


def test_what_is_cancelled_goes_to_those_who_ask_meanwhile(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 5))

            async def client(account: Account, number: int) -> int:
                got = 0
                for n in range(8):
                    document = await _place(account, f"{number}-{n}")
                    if document["status"] == "allocated":
                        got += 1
                        order_id = str(document["id"])
                        await tell(account, order_id, "order.cancellation_requested")
                return got

            clients = [client((one, other)[n % 2], n) for n in range(16)]
            assert sum(await asyncio.gather(*clients)) >= 5
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            last = [await _place(one, f"last-{n}") for n in range(6)]
            assert [d["status"] for d in last] == ["allocated"] * 5 + ["unsourced"]
            await assert_clean(lent, one)

    asyncio.run(story())
