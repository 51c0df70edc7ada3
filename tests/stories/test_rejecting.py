"""A location that will not do its work: sourced again without it, once, with what is left."""

from __future__ import annotations

import asyncio

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

from penstock.errors import Refusal
from penstock.rules.take import RootEvent

REJECTED = "fulfilment.rejected"
RETRIED = "order.sourcing_retried"


def test_a_rejected_fulfilment_is_sourced_again_without_its_location(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9), ("P1", "L2", 2))
            (placed,) = await place(account, order("a", ("P1", 3), ("P2", 1)))
            (first,) = placed["fulfilments"]
            assert first["location"] == "L1"
            done = await tell(
                account, placed["id"], REJECTED, fulfilment_id=first["id"], reason="broken"
            )
            assert (done["status"], counters(done)) == ("partly_allocated", (2, 1, 0, 0))
            assert locations_of(done, "rejected") == ["L1"]
            assert locations_of(done, "awaiting_pick") == ["L2"]
            assert stock_of(lent, "P1") == {"L1": (9, 0), "L2": (2, 2)}
            again = await tell(account, placed["id"], REJECTED, fulfilment_id=first["id"])
            assert (type(again), again.code) == (Refusal, "not_allowed_in_status")
            nowhere = await tell(account, placed["id"], REJECTED, fulfilment_id=placed["id"])
            assert (type(nowhere), nowhere.code) == (Refusal, "unknown_entity")
            assert stock_of(lent, "P1") == {"L1": (9, 0), "L2": (2, 2)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_when_every_location_has_rejected_the_order_waits_and_comes_back(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9), ("P1", "L2", 9))
            (document,) = await place(account, order("a", ("P1", 3)))
            for _ in range(2):
                open_one = next(
                    f for f in document["fulfilments"] if f["status"] == "awaiting_pick"
                )
                document = await tell(
                    account, document["id"], REJECTED, fulfilment_id=open_one["id"]
                )
            assert (document["status"], counters(document)) == ("unsourced", (0, 3, 0, 0))
            document = await tell(account, document["id"], RETRIED)
            assert document["status"] == "unsourced"
            await count(account, ("P1", "L4", 5))
            document = await tell(account, document["id"], RETRIED)
            assert (document["status"], locations_of(document, "awaiting_pick")) == (
                "allocated",
                ["L4"],
            )
            assert stock_of(lent, "P1") == {"L1": (9, 0), "L2": (9, 0), "L4": (5, 3)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_location_rejects_while_another_has_shipped(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2), ("P2", "L2", 2), ("P2", "L3", 2))
            (placed,) = await place(account, order("a", ("P1", 2), ("P2", 2)))
            by_location = {f["location"]: f["id"] for f in placed["fulfilments"]}
            await tell(account, placed["id"], "fulfilment.shipped", fulfilment_id=by_location["L1"])
            done = await tell(account, placed["id"], REJECTED, fulfilment_id=by_location["L2"])
            assert (done["status"], counters(done), counters(done, 1)) == (
                "allocated",
                (0, 0, 2, 0),
                (2, 0, 0, 0),
            )
            assert locations_of(done, "awaiting_pick") == ["L3"]
            assert stock_of(lent, "P1") == {"L1": (0, 0)}
            assert stock_of(lent, "P2") == {"L2": (2, 0), "L3": (2, 2)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_rejection_behind_what_was_decided_in_the_same_pass_has_a_pass_of_its_own(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5), ("P1", "L2", 5))
            (placed,) = await place(account, order("a", ("P1", 3)))
            (fulfilment,) = placed["fulfilments"]
            cancelled = RootEvent(
                placed["id"], "order.cancellation_requested", {"lines": [{"ref": "1", "qty": 1}]}
            )
            rejected = RootEvent(
                placed["id"],
                "fulfilment.rejected",
                {"reason": "broken"},
                entity="fulfilment",
                entity_id=fulfilment["id"],
            )
            for result in await account.grouping.submit([cancelled, rejected]):
                answered(result)
            await work(account)
            assert stock_of(lent, "P1") == {"L1": (5, 0), "L2": (5, 2)}
            assert lent.value("SELECT count(*) FROM dead_letter") == 0
            await assert_clean(lent, account)

    asyncio.run(story())
