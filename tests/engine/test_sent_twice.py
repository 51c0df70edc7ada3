"""What comes twice has one effect: refs, keys, events, in one process and in two at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.shop import (
    BATH,
    Shop,
    answered,
    assert_clean,
    count,
    counters,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
)

from penstock.errors import Broken, Refusal
from penstock.orders.intake import ChargeInput, DestinationInput, LineInput
from penstock.passes import Pass
from penstock.rules.take import NewOrder, RootEvent

CANCEL = "order.cancellation_requested"


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "sent_twice") as one:
        yield one


def code(result: Any) -> str:
    assert isinstance(result, Refusal), result
    return result.code


def test_the_same_order_sent_twice_at_once_is_one_order_with_one_answer(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 500))
            for n in range(30):
                twin = order(f"twin-{n}", ("P1", 2))
                answers = await asyncio.gather(
                    *(
                        a.grouping.submit([NewOrder(twin, key=f"k{n % 2}-{n}")])
                        for a in (one, other)
                    ),
                    *(a.grouping.submit([NewOrder(twin), NewOrder(twin)]) for a in (one, other)),
                )
                documents = [answered(result) for results in answers for result in results]
                assert all(document == documents[0] for document in documents)
                assert documents[0]["status"] == "allocated"
            assert lent.value("SELECT count(*) FROM orders") == 30
            assert stock_of(lent, "P1") == {"L1": (500, 60)}
            await assert_clean(lent, one)

    asyncio.run(story())


def test_refs_of_any_letters_are_kept_as_they_are_and_known_again(lent: Shop) -> None:
    odd = ["it's", 'a"b', "back\\slash", "\\N", "NULL", "{a,b}", "tab\there", "line\nend", "%s"]

    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 100))
            alone = [await place(one, order(ref, ("P1", 1))) for ref in odd]
            again = await place(one, *(order(ref, ("P1", 1)) for ref in odd))
            assert [document for (document,) in alone] == again
            assert [document["ref"] for document in again] == odd
            kept = [row[0] for row in lent.sql("SELECT ref FROM orders ORDER BY id")]
            assert kept == odd
            more = [order(f"{n} {ref}", ("P1", 1)) for n in range(3) for ref in odd]
            placed = await place(one, *more)  # rows enough for COPY
            assert [document["ref"] for document in placed] == [asked.ref for asked in more]
            assert lent.value("SELECT count(*) FROM orders WHERE ref LIKE '2 %'") == len(odd)
            await assert_clean(lent, one)

    asyncio.run(story())


def test_a_queued_statement_that_divides_by_zero_breaks_the_pass_and_leaves_nothing(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as one:

            async def work(tx: Pass) -> None:
                tx.queue(b"SELECT 1", ())
                tx.queue(b"SELECT 1 / (%s = %s)::int", (1, 2), "one is not two")
                tx.copy_in("count_note", "pass_id", [tx.id])

            before = lent.value("SELECT count(*) FROM pass")
            with pytest.raises(Broken, match="one is not two"):
                await one.knowledge.run_pass("test", work)
            assert lent.value("SELECT count(*) FROM pass") == before

    asyncio.run(story())


def test_the_same_ref_with_other_contents_is_refused_and_in_another_channel_is_another_order(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            items = [
                NewOrder(order("a", ("P1", 1))),
                NewOrder(order("a", ("P1", 2))),
                NewOrder(order("a", ("P1", 2), channel="market")),
            ]
            first, other, market = await one.grouping.submit(items)
            assert code(other) == "order_ref_taken"
            assert answered(first)["id"] != answered(market)["id"]
            (later,) = await one.grouping.submit([NewOrder(order("a", ("P1", 3)))])
            assert code(later) == "order_ref_taken"
            assert stock_of(lent, "P1") == {"L1": (10, 3)}
            await assert_clean(lent, one)

    asyncio.run(story())


def test_one_bad_order_of_a_batch_is_refused_alone(lent: Shop) -> None:
    async def story() -> None:
        lent.sql("INSERT INTO channel (id, ref, kind, currency) VALUES (9, 'bare', 'site', 'GBP')")
        lent.sql("UPDATE revision SET value = value + 1")
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            bad = {
                "unknown_sku": order("sku", ("P1", 1), ("NONE", 1)),
                "unknown_channel": order("channel", ("P1", 1), channel="nowhere"),
                "no_product_catalogue": order("bare", ("P1", 1), channel="bare"),
                "unknown_order_type": order("type", ("P1", 1), type="pigeon_post"),
                "unknown_customer": order("customer", ("P1", 1), customer="nobody"),
                "unknown_location": order("pickup", ("P1", 1), pickup_location="L99"),
                "quantity_out_of_range": order("qty", ("P1", 0)),
            }
            good = [order("good-1", ("P1", 1)), order("good-2", ("P1", 1))]
            items = [NewOrder(asked) for asked in (good[0], *bad.values(), good[1])]
            first, *refused, last = await one.grouping.submit(items)
            assert [code(result) for result in refused] == list(bad)
            assert {answered(first)["status"], answered(last)["status"]} == {"allocated"}
            assert stock_of(lent, "P1") == {"L1": (10, 2)}
            await assert_clean(lent, one)

    asyncio.run(story())


def test_an_order_that_no_column_can_hold_is_refused_alone(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            charge = ChargeInput("gift", 10**20)
            nowhere = DestinationInput(51.38, -2.36, town="Bath\0")
            bad = [
                order("parcels", ("P1", 1), max_parcels=100_000),
                order("nul\0", ("P1", 1)),
                order("sku", ("P1\0", 1)),
                order("town", ("P1", 1), destination=nowhere),
                order("attribute", ("P1", 1), attributes={"a": ["\0"]}),
                order("customer", ("P1", 1), customer="\0"),
                order("amount", lines=[LineInput("P1", 1, charges=[charge])]),
                order("price", lines=[LineInput("P1", 2_000, unit_price=Decimal(10**15))]),
                order("endless", lines=[LineInput("P1", 1, unit_price=Decimal("1e40"))]),
                order("nan", lines=[LineInput("P1", 1, unit_price=Decimal("NaN"))]),
            ]
            good = [order("good-1", ("P1", 1)), order("good-2", ("P1", 1))]
            items = [NewOrder(asked) for asked in (good[0], *bad, good[1])]
            first, *refused, last = await one.grouping.submit(items)
            assert all(isinstance(result, Refusal) for result in refused)
            assert {answered(first)["status"], answered(last)["status"]} == {"allocated"}
            await assert_clean(lent, one)

    asyncio.run(story())


def test_a_refused_order_may_come_again_under_its_key(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            wrong, right = order("a", ("NONE", 1)), order("a", ("P1", 1))
            for asked in (wrong, wrong):
                (refused,) = await one.grouping.submit([NewOrder(asked, key="k")])
                assert code(refused) == "unknown_sku"
            together = [NewOrder(wrong, key="k"), NewOrder(right, key="k")]
            refused, placed = await one.grouping.submit(together)
            assert code(refused) == "unknown_sku"
            assert answered(placed)["status"] == "allocated"
            (again,) = await one.grouping.submit([NewOrder(right, key="k")])
            assert answered(again) == answered(placed)
            (other,) = await one.grouping.submit([NewOrder(wrong, key="k")])
            assert code(other) == "idempotency_key_reused"
            await assert_clean(lent, one)

    asyncio.run(story())


def test_two_orders_under_one_key_in_one_group_are_not_both_taken(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            items = [NewOrder(order(ref, ("P1", 1)), key="k") for ref in ("a", "b")]
            first, second = await one.grouping.submit(items)
            assert answered(first)["status"] == "allocated"
            assert code(second) == "idempotency_key_reused"
            assert lent.value("SELECT count(*) FROM orders") == 1
            await assert_clean(lent, one)

    asyncio.run(story())


def test_a_cancellation_of_a_part_sent_again_under_its_key_cancels_once(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 10))
            (placed,) = await place(one, order("a", ("P1", 9)))
            part = {"lines": [{"ref": "1", "qty": 2}]}
            event = [RootEvent(placed["id"], CANCEL, part, key="k") for _ in range(6)]
            answers = await asyncio.gather(
                one.grouping.submit(event[:2]),
                other.grouping.submit(event[2:4]),
                one.grouping.submit(event[4:5]),
                other.grouping.submit(event[5:]),
            )
            documents = [answered(result) for results in answers for result in results]
            assert all(document == documents[0] for document in documents)
            assert counters(documents[0]) == (7, 0, 0, 2)
            assert stock_of(lent, "P1") == {"L1": (10, 7)}
            assert lent.value("SELECT count(*) FROM inbox") == 0
            await assert_clean(lent, one)

    asyncio.run(story())


def test_events_of_one_order_that_arrive_together_are_each_decided_in_turn(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            (placed,) = await place(one, order("a", ("P1", 9)))
            asked: list[dict[str, Any]] = [
                {"ref": "1", "qty": 2},
                {"ref": "x"},
                {"ref": "1", "qty": 3},
            ]
            items = [RootEvent(placed["id"], CANCEL, {"lines": [line]}) for line in asked]
            first, unknown, second = await one.grouping.submit(items)
            assert counters(answered(first)) == (7, 0, 0, 2)
            assert code(unknown) == "unknown_line"
            assert counters(answered(second)) == (4, 0, 0, 5)
            assert lent.value("SELECT count(*) FROM inbox") == 0
            await assert_clean(lent, one)

    asyncio.run(story())


def test_keys_sent_in_two_orders_to_two_processes_deadlock_nobody(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 2_000), ("P2", "L1", 2_000))
            for n in range(10):
                asked = [order(f"{n}-{i}", ("P1", 1), ("P2", 1)) for i in range(40)]
                items = [NewOrder(o, key=f"key-{o.ref}") for o in asked]
                forth, back = await asyncio.gather(
                    one.grouping.submit(items), other.grouping.submit(items[::-1])
                )
                assert [answered(r) for r in forth] == [answered(r) for r in back[::-1]]
            assert lent.value("SELECT count(*) FROM orders") == 400
            assert stock_of(lent, "P1") == {"L1": (2_000, 400)}
            events = "SELECT count(*) FROM event WHERE name = 'order.created'"
            assert lent.value(events) == 400
            await assert_clean(lent, one)

    asyncio.run(story())


def test_an_event_for_an_order_that_is_not_there_is_refused_alone(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one:
            await count(one, ("P1", "L1", 10))
            (placed,) = await place(one, order("a", ("P1", 1), destination=BATH))
            missing, done = await one.grouping.submit(
                [
                    RootEvent("00000000-0000-7000-8000-000000000001", CANCEL, {}),
                    RootEvent(placed["id"], CANCEL, {}),
                ]
            )
            assert code(missing) == "unknown_order"
            assert answered(done)["status"] == "cancelled"
            refused = await tell(one, placed["id"], "order.sourcing_retried")
            assert code(refused) == "not_allowed_in_status"

    asyncio.run(story())
