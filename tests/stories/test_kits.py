"""Kits: sold as one line, reserved and given back as what they are made of, exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

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
    stock_of,
    tell,
    work,
)

from penstock.app import Account
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ComponentInput, ProductInput
from penstock.errors import Refusal
from penstock.orders.intake import LineInput
from penstock.rules.take import NewOrder

KIT = ProductInput(
    "KIT", kind="group", components=[ComponentInput("P1", 2), ComponentInput("P2", 1)]
)
APART = ProductInput("APART", kind="group", components=KIT.components, may_ship_apart=True)
CLIENTS = 64
CANCEL = "order.cancellation_requested"


async def put(account: Account, *products: ProductInput) -> None:
    outcomes = await account.knowledge.run_pass(
        "import", lambda tx: upsert_products(tx, "main", products)
    )
    assert [one.refusal for one in outcomes] == [None] * len(products)


def components(document: Any, line: int = 0) -> dict[str, tuple[int, int, int, int]]:
    (choice,) = document["choices"]
    names = ("qty_allocated", "qty_unsourced", "qty_shipped", "qty_cancelled")
    return {
        one["sku"]: (one[names[0]], one[names[1]], one[names[2]], one[names[3]])
        for one in choice["lines"][line]["components"]
    }


def test_a_kit_is_one_line_of_money_and_its_parts_are_reserved_and_shipped(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, KIT)
            await count(account, ("P1", "L1", 9), ("P2", "L1", 9), ("P1", "L2", 50))
            line = LineInput(sku="KIT", qty=3, unit_price=Decimal("9.99"))
            (placed,) = await place(account, order("a", lines=[line]))
            assert placed["total_minor"] == 2997
            assert counters(placed) == (3, 0, 0, 0)
            assert components(placed) == {"P1": (6, 0, 0, 0), "P2": (3, 0, 0, 0)}
            assert stock_of(lent, "P1") == {"L1": (9, 6), "L2": (50, 0)}
            assert stock_of(lent, "P2") == {"L1": (9, 3)}
            (work_here,) = placed["fulfilments"]
            assert sorted((part["sku"], part["qty"]) for part in work_here["lines"]) == [
                ("P1", 6),
                ("P2", 3),
            ]
            assert work_here["weight_g"] == 9 * 400
            done = await tell(
                account, placed["id"], "fulfilment.shipped", fulfilment_id=work_here["id"]
            )
            assert (done["status"], counters(done)) == ("shipped", (0, 0, 3, 0))
            assert stock_of(lent, "P2") == {"L1": (6, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_kit_ships_whole_though_its_parts_are_nearer_apart(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, KIT, APART)
            await count(account, ("P1", "L1", 2), ("P2", "L2", 1), ("P1", "L5", 4), ("P2", "L5", 2))
            whole, apart, nothing = await place(
                account, order("a", ("KIT", 2)), order("b", ("APART", 1)), order("c", ("KIT", 1))
            )
            assert locations_of(whole) == ["L5"]
            assert locations_of(apart) == ["L1", "L2"]
            assert counters(apart) == (1, 0, 0, 0)
            assert counters(nothing) == (0, 1, 0, 0)
            assert components(nothing) == {"P1": (0, 2, 0, 0), "P2": (0, 1, 0, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_lines_that_share_a_component_are_summed_before_they_are_promised(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(
                account,
                KIT,
                ProductInput("DUO", kind="group", components=[ComponentInput("P1", 3)]),
            )
            await count(account, ("P1", "L1", 5), ("P2", "L1", 5), ("P1", "L2", 1))
            (placed,) = await place(account, order("a", ("KIT", 1), ("DUO", 1), ("P1", 1)))
            assert [counters(placed, n) for n in range(3)] == [(1, 0, 0, 0)] * 3
            assert stock_of(lent, "P1") == {"L1": (5, 5), "L2": (1, 1)}
            await count(account, ("P1", "L1", 9))
            (short,) = await place(account, order("b", ("KIT", 1), ("DUO", 1)))
            assert sorted(counters(short, n) for n in range(2)) == [(0, 1, 0, 0), (1, 0, 0, 0)]
            assert stock_of(lent, "P1")["L1"][1] <= 9
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_cancelled_and_a_rejected_kit_give_back_their_parts_once(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, KIT)
            await count(account, ("P1", "L1", 4), ("P2", "L1", 9), ("P1", "L2", 2), ("P2", "L2", 1))
            (placed,) = await place(account, order("a", ("KIT", 3)))
            assert locations_of(placed) == ["L1", "L2"]
            less = await tell(
                account, placed["id"], CANCEL, key="c", lines=[{"ref": "1", "qty": 1}]
            )
            assert counters(less) == (2, 0, 0, 1)
            again = await tell(
                account, placed["id"], CANCEL, key="c", lines=[{"ref": "1", "qty": 1}]
            )
            assert counters(again) == (2, 0, 0, 1)
            reserved = [stock_of(lent, sku) for sku in ("P1", "P2")]
            assert [sum(one[1] for one in each.values()) for each in reserved] == [4, 2]
            at_l1 = next(f for f in less["fulfilments"] if f["location"] == "L1")
            moved = await tell(
                account, placed["id"], "fulfilment.rejected", fulfilment_id=at_l1["id"]
            )
            assert counters(moved) == (1, 1, 0, 1)
            assert stock_of(lent, "P2") == {"L1": (9, 0), "L2": (1, 1)}
            gone = await tell(account, placed["id"], CANCEL)
            assert (gone["status"], counters(gone)) == ("cancelled", (0, 0, 0, 3))
            assert stock_of(lent, "P1") == {"L1": (4, 0), "L2": (2, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_kit_that_loses_a_part_to_a_count_is_sourced_whole_elsewhere(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await put(account, KIT)
            await count(account, ("P1", "L1", 4), ("P2", "L1", 2), ("P1", "L3", 2), ("P2", "L3", 1))
            (placed,) = await place(account, order("a", ("KIT", 2)))
            assert locations_of(placed) == ["L1"]
            await count(account, ("P1", "L1", 3))
            await work(account)
            assert stock_of(lent, "P2")["L3"] == (1, 1)
            assert stock_of(lent, "P1")["L3"] == (2, 2)
            await assert_clean(lent, account)

    asyncio.run(story())


def test_of_sixty_four_clients_one_gets_the_last_kit(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as first, opened(lent) as second:
            await put(first, KIT)
            rows = [("P1", "L1", 7), ("P2", "L1", 9), ("P1", "L2", 2), ("P2", "L2", 1)]
            await count(first, *rows, ("P2", "L3", 50))
            asked = [
                account.grouping.submit([NewOrder(order(f"{n}", ("KIT", 1)))])
                for n, account in enumerate([first, second] * (CLIENTS // 2))
            ]
            answers = [answered(one) for (one,) in await asyncio.gather(*asked)]
            outcomes = Counter(counters(one) for one in answers)
            assert outcomes == {(1, 0, 0, 0): 4, (0, 1, 0, 0): CLIENTS - 4}
            assert stock_of(lent, "P1") == {"L1": (7, 6), "L2": (2, 2)}
            assert stock_of(lent, "P2") == {"L1": (9, 3), "L2": (1, 1), "L3": (50, 0)}
            await assert_clean(lent, first)

    asyncio.run(story())


def test_a_product_that_is_off_is_refused_and_work_in_progress_stays(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await put(account, KIT)
            await count(account, ("P1", "L1", 20), ("P2", "L1", 20))
            (placed,) = await place(account, order("a", ("KIT", 1), ("P1", 1)))
            await put(account, ProductInput("P2", is_on=False, weight_g=400))
            for process in (account, other):
                for sku in ("P2", "KIT"):
                    (result,) = await process.grouping.submit([NewOrder(order(sku, (sku, 1)))])
                    assert isinstance(result, Refusal), result
                    assert (result.code, result.data["sku"]) == ("sku_off", "P2")
            (work_here,) = placed["fulfilments"]
            done = await tell(
                other, placed["id"], "fulfilment.shipped", fulfilment_id=work_here["id"]
            )
            assert done["status"] == "shipped"
            await put(other, ProductInput("P2", weight_g=400))
            (back,) = await place(account, order("KIT", ("KIT", 1)))
            assert counters(back) == (1, 0, 0, 0)
            await assert_clean(lent, account)

    asyncio.run(story())
