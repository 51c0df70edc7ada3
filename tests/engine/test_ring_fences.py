"""What is kept for some is not sold to others, whoever races; caps hold to the unit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.shop import (
    Shop,
    answered,
    assert_clean,
    count,
    counters,
    locations_of,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
    work,
)

from penstock.app import Account
from penstock.availability.commands import put_controls, remove_controls
from penstock.availability.control_input import ControlInput
from penstock.rules.take import NewOrder

CLIENTS = 64
CANCEL = "order.cancellation_requested"
SHIPPED = "fulfilment.shipped"
CUSTOMERS = """
INSERT INTO customer (id, ref, tier) VALUES
    ('00000000-0000-7000-8000-000000000001', 'anna', 'gold'),
    ('00000000-0000-7000-8000-000000000002', 'bert', 'standard');
INSERT INTO network (id, ref) VALUES (1, 'west');
INSERT INTO network_location (network_id, location_id) VALUES (1, 1), (1, 2);
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "ring_fences", CUSTOMERS) as one:
        yield one


async def put(account: Account, *controls: ControlInput) -> None:
    async def write(tx: Any) -> list[Any]:
        return await put_controls(tx, controls)

    assert set(await account.database.run(account.schema, write)) <= {"created", "updated"}


def fence(qty: int, ref: str = "gold", **more: Any) -> ControlInput:
    return ControlInput(qty, sku="P1", kind="ring_fence", ref=ref, kept_tiers=["gold"], **more)


async def ask(account: Account, ref: str, who: str, qty: int = 1, **more: Any) -> Any:
    item = NewOrder(order(ref, ("P1", qty), customer=who, **more))
    (result,) = await account.grouping.submit([item])
    return answered(result)


def used(lent: Shop) -> list[tuple[Any, ...]]:
    return lent.sql(
        "SELECT c.ref, u.location_id, u.reserved, u.shipped FROM control_use u "
        "JOIN control c ON c.id = u.control_id WHERE u.reserved + u.shipped > 0 ORDER BY 1, 2"
    )


@pytest.mark.parametrize("scope", [{}, {"network": "west"}, {"location": "L1"}])
def test_64_clients_of_two_processes_never_get_what_is_kept_for_gold(
    lent: Shop, scope: dict[str, str]
) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await put(one, fence(10, **scope))
            await count(one, ("P1", "L1", 30), ("P1", "L2", 12))

            async def client(number: int) -> list[tuple[str, str]]:
                account = (one, other)[number % 2]
                who = "anna" if number % 4 == 0 else "bert"
                asked = [await ask(account, f"{number}-{n}", who) for n in range(2)]
                return [(who, str(one["status"])) for one in asked]

            def allocated(answers: list[list[tuple[str, str]]], who: str) -> int:
                return sum(pair == (who, "allocated") for answer in answers for pair in answer)

            standard = await asyncio.gather(*(client(n) for n in range(CLIENTS) if n % 4))
            assert allocated(standard, "bert") == 32
            gold = await asyncio.gather(*(client(n) for n in range(0, CLIENTS, 4)))
            assert allocated(gold, "anna") == 10
            assert sum(reserved for _, reserved in stock_of(lent, "P1").values()) == 42
            at = 1 if scope.get("location") else 0
            assert [(ref, reserved) for ref, _, reserved, _ in used(lent)] == [("gold", 10)]
            assert at in {0, 1}
            await assert_clean(lent, one)

    asyncio.run(story())


def test_standard_and_gold_race_and_gold_gets_at_least_what_is_kept(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await put(one, fence(10))
            await count(one, ("P1", "L1", 11), ("P1", "L2", 11), ("P1", "L3", 8))

            async def client(number: int) -> tuple[str, str]:
                who = "anna" if number % 6 == 0 else "bert"
                document = await ask((one, other)[number % 2], str(number), who)
                return who, str(document["status"])

            pairs = await asyncio.gather(*(client(n) for n in range(120)))
            gold = pairs.count(("anna", "allocated"))
            standard = pairs.count(("bert", "allocated"))
            assert gold + standard == 30
            assert gold >= 10
            assert standard <= 20
            await assert_clean(lent, one)

    asyncio.run(story())


def test_what_comes_back_is_kept_again_and_what_is_shipped_is_not(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, fence(2))
            await count(account, ("P1", "L1", 3))
            first = await ask(account, "first", "anna", qty=2)
            assert used(lent) == [("gold", 0, 2, 0)]
            await tell(account, first["id"], CANCEL)
            assert used(lent) == []
            assert (await ask(account, "second", "bert", qty=2))["status"] != "allocated"
            assert stock_of(lent, "P1") == {"L1": (3, 1)}
            third = await ask(account, "third", "anna", qty=2)
            (work_,) = third["fulfilments"]
            await tell(account, third["id"], SHIPPED, fulfilment_id=work_["id"])
            await work(account)
            assert used(lent) == [("gold", 0, 0, 2)]
            await count(account, ("P1", "L1", 5))
            assert (await ask(account, "fourth", "bert", qty=4))["status"] == "allocated"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_units_are_kept_for_large_baskets_of_one_currency(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            kept: dict[str, Any] = {"basket_min_minor": 10_000, "basket_currency": "GBP"}
            await put(account, ControlInput(3, sku="P1", kind="ring_fence", ref="big", **kept))
            await count(account, ("P1", "L1", 3))
            small = await ask(account, "small", "bert")
            assert counters(small)[:2] == (0, 1)
            big = order("big", ("P1", 2))
            big.lines[0].unit_price = Decimal(60)
            (document,) = await place(account, big)
            assert document["status"] == "allocated"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_cap_of_a_channel_holds_to_the_unit_and_routes_as_ever(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await put(one, ControlInput(25, channel="market", kind="cap", ref="market"))
            await count(one, ("P1", "L1", 30), ("P1", "L2", 30))

            async def client(number: int) -> str:
                account = (one, other)[number % 2]
                document = await ask(account, str(number), "bert", qty=2, channel="market")
                return str(document["status"])

            statuses = await asyncio.gather(*(client(number) for number in range(40)))
            assert statuses.count("allocated") == 12
            assert used(lent) == [("market", 0, 25, 0)]  # the thirteenth got one of its two
            assert stock_of(lent, "P1") == {"L1": (30, 25), "L2": (30, 0)}
            assert (await ask(one, "web", "bert", qty=30))["status"] == "allocated"
            await assert_clean(lent, one)

    asyncio.run(story())


def test_a_cap_per_location_sends_the_rest_from_elsewhere(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, ControlInput(4, kind="cap", ref="each", per_location=True))
            await count(account, ("P1", "L1", 30), ("P1", "L2", 30))
            documents = [await ask(account, str(n), "bert", qty=2) for n in range(5)]
            assert [locations_of(one) for one in documents[:4]] == [["L1"]] * 2 + [["L2"]] * 2
            assert counters(documents[4])[:2] == (0, 2)
            assert used(lent) == [("each", 1, 4, 0), ("each", 2, 4, 0)]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_control_put_anew_keeps_its_count_and_one_removed_gives_way(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, ControlInput(2, kind="cap", ref="few"))
            await count(account, ("P1", "L1", 30))
            first = await ask(account, "1", "bert", qty=2)
            await put(account, ControlInput(3, kind="cap", ref="few"))
            assert counters(await ask(account, "2", "bert", qty=2))[:2] == (1, 1)
            await account.database.run(account.schema, lambda tx: remove_controls(tx, ["few"]))
            assert (await ask(account, "3", "bert", qty=5))["status"] == "allocated"
            await tell(account, first["id"], CANCEL)
            assert lent.value("SELECT sum(reserved) FROM control_use") == 1
            await assert_clean(lent, account)

    asyncio.run(story())
