"""Promises: what a cart would get is what its order gets, with dates that a carrier keeps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.shop import BATH, Shop, count, opened, order, place, shop

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.errors import Refusal
from penstock.network.carriers import upsert_carriers, upsert_lanes
from penstock.network.commands import upsert_locations
from penstock.network.lanes import Band, CarrierInput, LaneInput, ServiceInput
from penstock.network.model import LocationInput
from penstock.orders.intake import LineInput
from penstock.rules.promise import BasketInput, PromiseInput, holding, promise

MONDAY_TEN = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
DAYS = ("mon", "tue", "wed", "thu", "fri")
HOURS = {day: [("09:00", "17:00")] for day in DAYS}
CASES = 10_000
AT_A_TIME = 250


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "promises") as one:
        yield one


def cart(*lines: tuple[str, int], **more: Any) -> PromiseInput:
    fields: dict[str, Any] = {"channel": "web", "destination": BATH, "chance": 0.9} | more
    return PromiseInput(lines=[LineInput(sku=sku, qty=qty) for sku, qty in lines], **fields)


def promised(account: Account, asked: PromiseInput) -> Any:
    return msgspec.to_builtins(promise(account.knowledge, asked, (1, 0)))


async def set_up(account: Account) -> None:
    """Give the stores hours, and two services of a carrier: tomorrow's, and the cheap one."""
    slow = ServiceInput("slow", {key: ["16:00"] for key in DAYS}, transit_days=[Band(20_000, 3)])
    fast = ServiceInput("fast", {key: ["16:00"] for key in DAYS}, transit_days=[Band(20_000, 1)])
    stores = [
        LocationInput(
            f"L{n}", "store", 51.38 + 0.9 * (n - 1), -2.36, time_zone="Europe/London",
            opening_hours=HOURS, handling_min=120,
        )
        for n in range(1, 9)
    ]  # fmt: skip

    async def work(tx: Any) -> None:
        assert not [one for one in await upsert_locations(tx, stores) if isinstance(one, Refusal)]
        await upsert_carriers(tx, [CarrierInput("post", [slow, fast])])
        await upsert_lanes(tx, [LaneInput("post", "fast", "@L8", "*", 9)])

    await account.database.run(account.schema, work)
    await account.knowledge.run_pass("look", lambda tx: asyncio.sleep(0))


def test_a_promise_has_locations_costs_and_dates_in_the_right_order(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2), ("P2", "L1", 1), ("P2", "L2", 5))
            found = promised(account, cart(("P1", 1), ("P2", 3)))
            (choice,) = found["choices"]
            assert {one["location"]: [line["qty"] for line in one["lines"]] for one in
                    choice["shipments"]} == {"L1": [1], "L2": [3]}  # fmt: skip
            first = choice["shipments"][0]
            assert [way["service"] for way in first["ways"]] == ["fast", "slow"]
            # 10:00 and two hours' handling make the collection of 16:00; tomorrow till 18:00.
            assert first["ways"][0]["ship_by"] == "2026-03-02T16:00:00Z"
            assert first["ways"][0]["latest"]["end"] == "2026-03-03T18:00:00Z"
            assert first["ways"][1]["latest"]["end"] == "2026-03-05T18:00:00Z"
            assert choice["by"] == "2026-03-03T18:00:00Z"
            assert choice["cost_minor"] == sum(one["cost_minor"] for one in choice["shipments"])

    asyncio.run(story())


def test_what_comes_too_late_for_today_goes_with_the_next_collection(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN.replace(hour=15))) as account:
            await set_up(account)
            await count(account, ("P1", "L1", 2))
            (choice,) = promised(account, cart(("P1", 1), carriers=["post/fast"]))["choices"]
            (way,) = choice["shipments"][0]["ways"]
            assert way["ship_by"] == "2026-03-03T16:00:00Z"
            assert choice["by"] == "2026-03-04T18:00:00Z"

    asyncio.run(story())


def test_the_lane_of_a_location_beats_the_distance(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await set_up(account)
            await count(account, ("P1", "L8", 2))
            (choice,) = promised(account, cart(("P1", 1)))["choices"]
            ways = choice["shipments"][0]["ways"]
            assert [way["service"] for way in ways] == ["slow", "fast"]  # nine days from there

    asyncio.run(story())


def test_what_lacks_is_said_and_a_date_is_not_invented(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await count(account, ("P1", "L1", 2))
            (choice,) = promised(account, cart(("P1", 5), ("P3", 1)))["choices"]
            assert [(one["sku"], one["qty"]) for one in choice["lacking"]] == [("P1", 3), ("P3", 1)]
            assert (choice["by"], choice["shipments"][0]["location"]) == (None, "L1")

    asyncio.run(story())


def test_a_pick_up_is_promised_from_the_hours_of_its_location(lent: Shop) -> None:
    async def story() -> None:
        friday = datetime(2026, 3, 6, 16, 0, tzinfo=UTC)
        async with opened(lent, ManualClock(friday)) as account:
            await set_up(account)
            await count(account, ("P1", "L2", 2))
            asked = cart(("P1", 1), service="collect", pickup_location="L2", destination=None)
            (choice,) = promised(account, asked)["choices"]
            (one,) = choice["shipments"]
            # One of two hours on Friday, the other on Monday.
            assert one["ready_at"] == "2026-03-09T10:00:00Z"
            assert choice["by"] == one["collect_from"] == "2026-03-09T10:00:00Z"

    asyncio.run(story())


def test_the_nearest_locations_that_hold_a_basket_are_listed(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            await set_up(account)
            await count(
                account,
                ("P1", "L1", 1), ("P1", "L2", 3), ("P2", "L2", 1), ("P1", "L4", 9), ("P2", "L4", 9),
            )  # fmt: skip
            lines = [LineInput("P1", 1), LineInput("P1", 1), LineInput("P2", 1)]
            asked = BasketInput(channel="web", lines=lines, latitude=51.38, longitude=-2.36)
            found = holding(account.knowledge, asked, (1, 0)).locations
            assert [(one.location, one.is_whole) for one in found] == [("L2", True), ("L4", True)]
            assert found[0].ready_at == MONDAY_TEN.replace(hour=12)
            (window,) = found[0].hours
            assert window.start == MONDAY_TEN.replace(hour=9)
            assert window.end == MONDAY_TEN.replace(hour=17)
            asked.part = True
            found = holding(account.knowledge, asked, (1, 0)).locations
            assert [one.location for one in found] == ["L1", "L2", "L4"]
            assert [line.qty for line in found[0].lines] == [1, 0, 0]
            asked.limit = 1
            assert len(holding(account.knowledge, asked, (1, 0)).locations) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"carriers": ["post/none"]}, "unknown_carrier"),
        ({"time_zone": "Europe/Nowhere"}, "invalid_transit"),
        ({"channel": "nowhere"}, "unknown_channel"),
        ({"lines": []}, "invalid_order"),
        ({"destination": None}, "invalid_order"),
    ],
)
def test_what_cannot_be_promised_is_refused(lent: Shop, more: dict[str, Any], code: str) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(MONDAY_TEN)) as account:
            fields: dict[str, Any] = {"channel": "web", "destination": BATH}
            fields["lines"] = [LineInput("P1", 1)]
            with pytest.raises(Refusal) as caught:
                promised(account, PromiseInput(**(fields | more)))
            assert caught.value.code == code

    asyncio.run(story())


def test_a_promise_is_what_the_order_gets_in_ten_thousand_cases(lent: Shop) -> None:
    """Each cart is asked for, and placed at once; stock and the clock move on between batches.

    Locations, quantities, costs and dates are the same, cart by cart.
    """
    chance = random.Random(11)  # noqa: S311 (a test's)

    async def story() -> None:
        clock = ManualClock(MONDAY_TEN)
        async with opened(lent, clock) as account:
            await set_up(account)
            rows = [
                (f"P{sku}", f"L{n}", chance.randint(0, 900))
                for sku in range(1, 31)
                for n in range(1, 9)
            ]
            await count(account, *rows)
            for first in range(0, CASES, AT_A_TIME):
                await one_batch(account, chance, first)
                clock.advance_to(clock.now() + timedelta(minutes=chance.randint(1, 90)))

    asyncio.run(story())


def some_wish(chance: random.Random, most: int | None) -> dict[str, Any]:
    """Return how a cart wants its dates: mostly as usual."""
    return {
        "max_parcels": most,
        "carriers": chance.choice([[], [], ["post/slow"], ["post/fast"]]),
        "chance": chance.choice([0.9, 0.9, 0.5, 0.99]),
        "time_zone": chance.choice([None, None, "America/New_York"]),
    }


def instants(*texts: str | None) -> list[datetime | None]:
    return [None if one is None else datetime.fromisoformat(one) for one in texts]


def dates_told(shipment: Any) -> list[Any]:
    way = shipment["ways"][0]
    told = instants(way["ship_by"], way["earliest"]["start"], way["latest"]["end"])
    return [f"{way['carrier']}/{way['service']}", *told]


def dates_given(fulfilment: Any) -> list[Any]:
    names = ("due_at", "expected_from", "expected_until")
    return [fulfilment["carrier"], *instants(*(fulfilment[name] for name in names))]


async def one_batch(account: Account, chance: random.Random, first: int) -> None:
    for number in range(first, first + AT_A_TIME, 25):
        # Carts without a product in common: none of the batch takes what another was promised.
        skus = chance.sample([f"P{n}" for n in range(1, 31)], 25)
        limits = [chance.choice([None, 1, 2]) for _ in skus]
        wanted = [chance.randint(1, 40) for _ in skus]
        wishes = [some_wish(chance, most) for most in limits]
        carts = [
            promised(account, cart((sku, qty), **wish))
            for sku, qty, wish in zip(skus, wanted, wishes, strict=True)
        ]
        orders = [
            order(f"{number}-{n}", (sku, qty), **wish)
            for n, (sku, qty, wish) in enumerate(zip(skus, wanted, wishes, strict=True))
        ]
        for said, got in zip(carts, await place(account, *orders), strict=True):
            (choice,) = said["choices"]
            told = [
                (one["location"], [line["qty"] for line in one["lines"]], one["cost_minor"])
                for one in choice["shipments"]
            ]
            given = [
                (one["location"], [line["qty"] for line in one["lines"]], one["cost_minor"])
                for one in got["fulfilments"]
            ]
            assert told == given
            assert [dates_told(one) for one in choice["shipments"]] == [
                dates_given(one) for one in got["fulfilments"]
            ]
            (mine,) = got["choices"]
            assert instants(choice["since"], choice["by"]) == instants(
                mine["promised_from"], mine["promised_at"]
            )
            lacking = sum(line["qty"] for line in choice["lacking"])
            assert lacking == got["choices"][0]["lines"][0]["qty_unsourced"]
