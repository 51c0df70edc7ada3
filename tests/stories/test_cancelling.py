"""Cancelling, whole and in part: stock and capacity come back exactly once."""

from __future__ import annotations

import asyncio

import pytest
from tests.shop import (
    Shop,
    assert_clean,
    count,
    counters,
    locations_of,
    opened,
    order,
    place,
    stock_of,
    tell,
)

from penstock.errors import Refusal
from penstock.orders.intake import HoldInput

CANCEL = "order.cancellation_requested"
SHIPPED = "fulfilment.shipped"


def everything(lent: Shop) -> list[list[tuple[object, ...]]]:
    tables = ("orders", "choice", "order_line", "fulfilment", "fulfilment_line", "event", "inbox")
    return [lent.sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]


def test_cancelling_an_order_gives_all_of_it_back_and_twice_is_refused(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5), ("P2", "L1", 5))
            (placed,) = await place(account, order("a", ("P1", 3), ("P2", 2), ("WRAP", 1)))
            assert stock_of(lent, "P1") == {"L1": (5, 3)}
            done = await tell(account, placed["id"], CANCEL)
            assert (done["status"], counters(done, 2)) == ("cancelled", (0, 0, 0, 1))
            assert locations_of(done, "cancelled") == ["L1"]
            again = await tell(account, placed["id"], CANCEL)
            assert isinstance(again, Refusal)
            assert again.code == "not_allowed_in_status"
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            assert stock_of(lent, "P2") == {"L1": (5, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_part_of_a_line_that_is_split_goes_youngest_fulfilment_first(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 3), ("P1", "L2", 3))
            (placed,) = await place(account, order("a", ("P1", 7)))
            assert counters(placed) == (6, 1, 0, 0)
            assert locations_of(placed) == ["L1", "L2"]
            done = await tell(account, placed["id"], CANCEL, lines=[{"ref": "1", "qty": 3}])
            assert (done["status"], counters(done)) == ("allocated", (4, 0, 0, 3))
            reserved = {ref: pair[1] for ref, pair in stock_of(lent, "P1").items()}
            assert sum(reserved.values()) == 4
            assert sorted(reserved.values()) == [1, 3]
            rest = await tell(account, placed["id"], CANCEL, lines=[{"ref": "1"}])
            assert (rest["status"], counters(rest)) == ("cancelled", (0, 0, 0, 7))
            assert stock_of(lent, "P1") == {"L1": (3, 0), "L2": (3, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([{"ref": "nowhere"}], "unknown_line"),
        ([{"ref": "1", "qty": 4}], "not_cancellable"),
        ([{"ref": "1", "qty": 2}, {"ref": "1", "qty": 2}], "not_cancellable"),
        ([{"ref": "1", "qty": 0}], "quantity_out_of_range"),
        ([{"ref": "1", "qty": -2}], "quantity_out_of_range"),
        ([{"ref": "1", "qty": "two"}], "quantity_out_of_range"),
        ([{"qty": 1}], "unknown_line"),
    ],
)
def test_a_cancellation_that_cannot_be_is_refused_and_changes_nothing(
    lent: Shop, lines: list[dict[str, object]], code: str
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (placed,) = await place(account, order("a", ("P1", 3)))
            before = everything(lent)
            refused = await tell(account, placed["id"], CANCEL, lines=lines)
            assert isinstance(refused, Refusal)
            assert refused.code == code
            assert before == everything(lent)
            assert stock_of(lent, "P1") == {"L1": (5, 3)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_has_shipped_stays_shipped_and_the_rest_is_cancelled(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2), ("P2", "L2", 2))
            (placed,) = await place(account, order("a", ("P1", 2), ("P2", 1)))
            first = next(f for f in placed["fulfilments"] if f["location"] == "L1")
            shipped = await tell(
                account, placed["id"], "fulfilment.shipped", fulfilment_id=first["id"]
            )
            assert (shipped["status"], counters(shipped)) == ("allocated", (0, 0, 2, 0))
            assert stock_of(lent, "P1") == {"L1": (0, 0)}
            done = await tell(account, placed["id"], CANCEL)
            assert (done["status"], counters(done), counters(done, 1)) == (
                "shipped",
                (0, 0, 2, 0),
                (0, 0, 0, 1),
            )
            assert stock_of(lent, "P2") == {"L2": (2, 0)}
            again = await tell(
                account, placed["id"], "fulfilment.shipped", fulfilment_id=first["id"]
            )
            assert isinstance(again, Refusal)
            assert stock_of(lent, "P1") == {"L1": (0, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_needs_no_stock_waits_for_the_hold_though_the_rest_is_cancelled(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            asked = order("a", ("P1", 3), ("WRAP", 1), holds=[HoldInput("fraud")])
            (placed,) = await place(account, asked)
            assert placed["status"] == "held"
            left = await tell(account, placed["id"], CANCEL, lines=[{"ref": "1"}])
            assert (left["status"], counters(left), counters(left, 1)) == (
                "held",
                (0, 0, 0, 3),
                (1, 0, 0, 0),
            )
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            free = await tell(account, placed["id"], "order.hold_cleared", kind="fraud", by="ops")
            assert (free["status"], counters(free, 1)) == ("shipped", (0, 0, 1, 0))
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_order_taken_in_but_not_decided_can_be_cancelled(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (taken,) = await place(account, order("a", ("P1", 3)), wait=False)
            assert taken["status"] == "created"
            done = await tell(account, taken["id"], CANCEL)
            assert (done["status"], counters(done)) == ("cancelled", (0, 0, 0, 3))
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            assert lent.value("SELECT count(*) FROM inbox") == 0
            await assert_clean(lent, account)

    asyncio.run(story())
