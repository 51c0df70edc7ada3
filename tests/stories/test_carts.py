"""A cart holds its basket where sourcing says, and becomes an order without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.shop import (
    BATH,
    Shop,
    answered,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    locations_of,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
)

from penstock.app import Account
from penstock.errors import Refusal
from penstock.orders.carts import CartInput, CartLineInput
from penstock.rules.carts import CartChange, NewHold
from penstock.rules.take import Work


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "carts") as one:
        yield one


def cart(ref: str, *lines: tuple[str, int], **more: Any) -> NewHold:
    """Return a hold of (SKU, quantity) lines, for delivery to Bath unless `more` says otherwise."""
    asked = [CartLineInput(sku=sku, qty=qty) for sku, qty in lines]
    fields: dict[str, Any] = {"channel": "web", "lines": asked, "destination": BATH, **more}
    return NewHold(CartInput(ref=ref, **fields))


async def decide(account: Account, item: Work) -> Any:
    """Have one item decided; returns its document, or the refusal."""
    (result,) = await account.grouping.submit([item])
    return result if isinstance(result, Refusal) else answered(result)


def refused(result: Any) -> str:
    assert isinstance(result, Refusal), result
    return result.code


def held(document: Any) -> list[tuple[str, str, int]]:
    return sorted((one["sku"], one["location"], one["qty"]) for one in document["held"])


def test_a_cart_is_held_where_sourcing_says_and_its_order_takes_it_over(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2), ("P1", "L2", 9), ("P2", "L2", 5))
            document = await decide(account, cart("C", ("P1", 3), ("P2", 1)))
            assert document["status"] == "held"
            assert held(document) == [("P1", "L2", 3), ("P2", "L2", 1)]
            assert document["lacks"] == []
            await count(account, ("P1", "L1", 9), ("P2", "L1", 9))  # now L1 would be cheaper
            before = lent.value("SELECT count(*) FROM journal")
            rows = lent.sql("SELECT id FROM reservation ORDER BY id")
            (taken,) = await place(account, order("O", ("P1", 3), ("P2", 1), cart="C"))
            assert taken["cart"] == {"ref": "C", "status": "ordered"}
            assert taken["status"] == "allocated"
            assert locations_of(taken) == ["L2"]
            assert lent.value("SELECT count(*) FROM journal") == before
            assert lent.sql("SELECT id FROM reservation ORDER BY id") == rows
            assert lent.sql("SELECT DISTINCT kind, expires_at FROM reservation") == [(2, None)]
            why = lent.value("SELECT explanation FROM sourcing_decision")
            assert [one["units"] for one in why["held"]] == [4]
            assert lent.sql("SELECT status FROM cart") == [("ordered",)]
            assert refused(await decide(account, cart("C", ("P1", 1)))) == "cart_ordered"
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_order_that_differs_from_its_cart_is_sourced_for_the_difference(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L2", 2), ("P2", "L3", 5), ("P3", "L2", 4))
            await decide(account, cart("C", ("P1", 2), ("P2", 4)))
            await count(account, ("P1", "L4", 5))
            asked = order("O", ("P1", 3), ("P2", 1), ("P3", 1), cart="C")
            (taken,) = await place(account, asked)
            assert taken["status"] == "allocated"
            assert stock_of(lent, "P1") == {"L2": (2, 2), "L4": (5, 1)}
            assert stock_of(lent, "P2") == {"L3": (5, 1)}
            assert stock_of(lent, "P3") == {"L2": (4, 1)}
            assert lent.value("SELECT count(*) FROM reservation WHERE kind = 1") == 0
            await assert_clean(lent, account)

    asyncio.run(story())


def test_all_or_nothing_takes_nothing_and_leaves_what_was_held(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2), ("P2", "L1", 1))
            result = await decide(account, cart("C", ("P1", 2), ("P2", 2)))
            assert refused(result) == "out_of_stock"
            assert lent.value("SELECT count(*) FROM cart") == 0
            assert stock_of(lent, "P1") == {"L1": (2, 0)}
            document = await decide(account, cart("C", ("P1", 2), ("P2", 2), all_or_nothing=False))
            assert held(document) == [("P1", "L1", 2), ("P2", "L1", 1)]
            assert document["lacks"] == [{"line": "2", "sku": "P2", "qty": 1}]
            assert refused(await decide(account, cart("C", ("P1", 3)))) == "out_of_stock"
            assert stock_of(lent, "P1") == {"L1": (2, 2)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_cart_is_replaced_extended_and_released_any_number_of_times(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 3), ("P2", "L2", 3))
            first = await decide(account, cart("C", ("P1", 3)))
            rows = lent.sql("SELECT id FROM reservation")
            again = await decide(account, cart("C", ("P1", 3)))
            assert held(again) == held(first)
            assert lent.sql("SELECT id FROM reservation") == rows
            other = await decide(account, cart("C", ("P1", 1), ("P2", 2)))
            assert held(other) == [("P1", "L1", 1), ("P2", "L2", 2)]
            longer = await decide(account, CartChange("web", "C", "extend", 40))
            assert longer["expires_at"] > other["expires_at"]
            assert held(longer) == held(other)
            assert lent.value("SELECT count(DISTINCT expires_at) FROM reservation") == 1
            assert refused(await decide(account, CartChange("web", "C", "extend", 61)))
            for _ in range(2):
                done = await decide(account, CartChange("web", "C", "release"))
                assert done["status"] == "released"
            assert stock_of(lent, "P1") == {"L1": (3, 0)}
            assert stock_of(lent, "P2") == {"L2": (3, 0)}
            assert (
                refused(await decide(account, CartChange("web", "C", "extend"))) == "cart_not_held"
            )
            assert (
                refused(await decide(account, CartChange("web", "X", "release"))) == "unknown_cart"
            )
            (taken,) = await place(account, order("O", ("P1", 3), cart="C"))
            assert taken["cart"] == {"ref": "C", "status": "released"}
            assert taken["status"] == "allocated"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_64_clients_hold_the_last_units_and_nobody_else_gets_them(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 3), ("P1", "L2", 4))
            accounts = [one, other]
            results = await asyncio.gather(
                *(decide(accounts[n % 2], cart(f"C{n}", ("P1", 1))) for n in range(64))
            )
            won = [r for r in results if not isinstance(r, Refusal)]
            lost = [r.code for r in results if isinstance(r, Refusal)]
            assert len(won) == 7
            assert lost == ["out_of_stock"] * 57
            placed = await asyncio.gather(
                *(
                    place(accounts[n % 2], order(f"O{n}", ("P1", 1), cart=f"C{n}"))
                    for n in range(64)
                )
            )
            statuses = {document["ref"]: document["status"] for (document,) in placed}
            assert {ref for ref, status in statuses.items() if status == "allocated"} == {
                f"O{document['ref'][1:]}" for document in won
            }
            await assert_clean(lent, one)

    asyncio.run(story())


def test_cancelling_the_order_of_a_cart_gives_its_stock_back_once(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2))
            await decide(account, cart("C", ("P1", 2)))
            (taken,) = await place(account, order("O", ("P1", 2), cart="C"))
            assert counters(taken) == (2, 0, 0, 0)
            await tell(account, taken["id"], "order.cancellation_requested")
            assert stock_of(lent, "P1") == {"L1": (2, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_channel_says_how_long_its_carts_are_held(lent: Shop) -> None:
    async def story() -> None:
        settings = '{"cart_minutes": 5, "cart_most_minutes": 7}'
        lent.sql(
            f"UPDATE channel SET settings = '{settings}' WHERE ref = 'web';"
            "UPDATE revision SET value = value + 1"
        )
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9))
            await decide(account, cart("C", ("P1", 1)))
            assert lent.value("SELECT expires_at - changed_at FROM cart") == timedelta(minutes=5)
            await decide(account, CartChange("web", "C", "extend", 7))
            assert lent.value("SELECT expires_at - changed_at FROM cart") == timedelta(minutes=7)
            assert refused(await decide(account, cart("C", ("P1", 1), minutes=8))) == "invalid_cart"

    asyncio.run(story())


def test_a_cart_to_be_collected_is_held_and_taken_over_there(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9), ("P1", "L4", 2))
            there = {"service": "collect", "pickup_location": "L4", "destination": None}
            document = await decide(account, cart("C", ("P1", 2), **there))
            assert held(document) == [("P1", "L4", 2)]
            assert refused(await decide(account, cart("D", ("P1", 1), **there))) == "out_of_stock"
            asked = order("O", ("P1", 2), type="click_and_collect", cart="C", **there)
            (taken,) = await place(account, asked)
            assert locations_of(taken) == ["L4"]
            assert stock_of(lent, "P1") == {"L1": (9, 0), "L4": (2, 2)}
            await assert_clean(lent, account)

    asyncio.run(story())
