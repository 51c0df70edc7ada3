"""How lines are met: unstocked, reserved and shipped elsewhere, pinned, collected, complete."""

from __future__ import annotations

import asyncio

from tests.shop import (
    BATH,
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
    work,
)

from penstock.errors import Refusal
from penstock.orders.intake import ChoiceInput, HoldInput, LineInput

SHIPPED = "fulfilment.shipped"
CLEARED = "order.hold_cleared"


def test_lines_that_need_no_stock_follow_those_that_do(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            asked = order("both", ("P1", 2), ("WRAP", 1)), order("wrap", ("WRAP", 3))
            both, wrap = await place(account, *asked)
            assert (both["status"], counters(both, 1)) == ("allocated", (1, 0, 0, 0))
            assert (wrap["status"], wrap["fulfilments"]) == ("shipped", [])
            assert counters(wrap) == (0, 0, 3, 0)
            (fulfilment,) = both["fulfilments"]
            done = await tell(account, both["id"], SHIPPED, fulfilment_id=fulfilment["id"])
            assert (done["status"], counters(done, 1)) == ("shipped", (0, 0, 1, 0))
            assert stock_of(lent, "P1") == {"L1": (3, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_lines_reserved_or_shipped_elsewhere_move_no_stock(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            lines = [
                LineInput("P1", 2, location="L1", state="shipped"),
                LineInput("P1", 1, location="L1", state="reserved"),
            ]
            till = order("till", lines=lines[:1])
            mixed = order("mixed", lines=[*lines, LineInput("P1", 4)])
            till, mixed = await place(account, till, mixed)
            assert (till["status"], till["fulfilments"]) == ("shipped", [])
            assert [counters(mixed, n) for n in range(3)] == [
                (0, 0, 2, 0),
                (1, 0, 0, 0),
                (4, 0, 0, 0),
            ]
            assert stock_of(lent, "P1") == {"L1": (5, 4)}
            done = await tell(account, mixed["id"], "order.cancellation_requested")
            assert done["status"] == "shipped"
            assert [counters(done, n) for n in range(3)] == [
                (0, 0, 2, 0),
                (0, 0, 0, 1),
                (0, 0, 0, 4),
            ]
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_pinned_line_comes_from_its_location_or_from_nowhere(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5), ("P1", "L3", 2))
            lines = [LineInput("P1", 3, location="L3"), LineInput("P1", 1)]
            (placed,) = await place(account, order("a", lines=lines))
            assert locations_of(placed) == ["L1", "L3"]
            assert (counters(placed), counters(placed, 1)) == ((2, 1, 0, 0), (1, 0, 0, 0))
            assert stock_of(lent, "P1") == {"L1": (5, 1), "L3": (2, 2)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_collection_is_met_where_it_is_picked_up(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5), ("P1", "L3", 2))
            collect = {"service": "collect", "pickup_location": "L3", "destination": None}
            (placed,) = await place(account, order("a", ("P1", 3), **collect))
            assert (placed["status"], counters(placed)) == ("partly_allocated", (2, 1, 0, 0))
            assert locations_of(placed) == ["L3"]
            service = "SELECT DISTINCT service FROM fulfilment"
            assert lent.sql(service) == [("collect",)]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_ship_complete_takes_all_of_a_choice_or_nothing(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2), ("P1", "L2", 2), ("P2", "L1", 1))
            choices = [
                ChoiceInput([LineInput("P1", 3), LineInput("P2", 2)], destination=BATH),
                ChoiceInput([LineInput("P1", 1)], destination=BATH),
            ]
            choices[0].ship_complete = True
            short, whole = await place(
                account,
                order("short", lines=[], destination=None, choices=choices),
                order("whole", ("P1", 3), ship_complete=True),
            )
            assert [counters(short, n)[:2] for n in range(3)] == [(0, 3), (0, 2), (1, 0)]
            assert (whole["status"], locations_of(whole)) == ("allocated", ["L1", "L2"])
            assert stock_of(lent, "P2") == {"L1": (1, 0)}
            await count(account, ("P1", "L1", 9), ("P2", "L1", 9))
            done = await tell(account, short["id"], "order.sourcing_retried")
            assert done["status"] == "allocated"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_no_more_parcels_are_made_than_are_allowed(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2), ("P1", "L2", 1), ("P1", "L3", 4))
            (one, two) = await place(
                account,
                order("one", ("P1", 4), max_parcels=1),
                order("two", ("P1", 3), max_parcels=2),
            )
            assert (one["status"], locations_of(one)) == ("allocated", ["L3"])
            assert (two["status"], locations_of(two)) == ("allocated", ["L1", "L2"])
            (again,) = await place(account, order("again", ("P1", 1), max_parcels=1))
            assert again["status"] == "unsourced"
            await count(account, ("P1", "L1", 3))
            done = await tell(account, again["id"], "order.sourcing_retried")
            assert (done["status"], locations_of(done)) == ("allocated", ["L1"])
            rejected = done["fulfilments"][0]["id"]
            done = await tell(account, again["id"], "fulfilment.rejected", fulfilment_id=rejected)
            assert (done["status"], locations_of(done)) == ("unsourced", ["L1"])
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_hold_keeps_from_release_until_the_last_one_is_cleared(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            holds = [HoldInput("fraud", "looks odd"), HoldInput("payment")]
            (placed,) = await place(account, order("a", ("P1", 2), ("WRAP", 1), holds=holds))
            assert (placed["status"], len(placed["holds"])) == ("held", 2)
            (fulfilment,) = placed["fulfilments"]
            assert fulfilment["status"] == "created"
            assert stock_of(lent, "P1") == {"L1": (5, 2)}
            refused = await tell(account, placed["id"], SHIPPED, fulfilment_id=fulfilment["id"])
            assert isinstance(refused, Refusal)
            refused = await tell(account, placed["id"], CLEARED, kind="address", by="ops")
            assert (type(refused), refused.code) == (Refusal, "no_such_hold")
            still = await tell(account, placed["id"], CLEARED, kind="fraud", by="ops")
            assert (still["status"], still["fulfilments"][0]["status"]) == ("held", "created")
            free = await tell(account, placed["id"], CLEARED, kind="payment", by="ops")
            assert (free["status"], free["holds"]) == ("allocated", [])
            assert free["fulfilments"][0]["status"] == "awaiting_pick"
            cleared = "SELECT kind, cleared_by FROM order_hold ORDER BY kind"
            assert lent.sql(cleared) == [("fraud", "ops"), ("payment", "ops")]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_held_order_of_nothing_but_unstocked_lines_waits_too(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            (placed,) = await place(account, order("a", ("WRAP", 1), holds=[HoldInput("fraud")]))
            assert (placed["status"], counters(placed)) == ("held", (1, 0, 0, 0))
            done = await tell(account, placed["id"], CLEARED, kind="fraud")
            assert (done["status"], counters(done)) == ("shipped", (0, 0, 1, 0))
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_nobody_waits_for_is_decided_by_a_worker_once(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as worker:
            await count(account, ("P1", "L1", 25))
            asked = [order(f"later-{n}", ("P1", 1)) for n in range(30)]
            taken = await place(account, *asked, wait=False)
            assert {document["status"] for document in taken} == {"created"}
            again = await place(account, *asked[:3], wait=False)
            assert [d["id"] for d in again] == [d["id"] for d in taken[:3]]
            done = await asyncio.gather(work(worker), work(account))
            assert sum(done) >= 30
            statuses = "SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1"
            assert lent.sql(statuses) == [("allocated", 25), ("unsourced", 5)]
            assert lent.value("SELECT count(*) FROM inbox") == 0
            assert lent.value("SELECT count(*) FROM work_note") == 0
            assert stock_of(lent, "P1") == {"L1": (25, 25)}
            await assert_clean(lent, account)

    asyncio.run(story())
