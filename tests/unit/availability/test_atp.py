"""Totals per product and virtual catalogue equal the sum over positions, whatever happens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability import atp
from penstock.availability.atp import Availability
from penstock.availability.controls import Controls
from penstock.availability.index import Index
from penstock.availability.rule import Rule
from penstock.clock import ManualClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = [Rule(qty=1), Rule(location_kind="store", qty=2), Rule(channel_id=2, product_id=2, qty=4)]
# Version is drawn, so that some entries come too late; pool 2 is not for sale.
STEPS = st.lists(
    st.lists(
        st.tuples(st.integers(1, 80), st.integers(-3, 12), st.integers(0, 6), st.integers(1, 9)),
        min_size=1,
        max_size=12,
    ),
    max_size=8,
)


def entries_of(step: list[tuple[int, int, int, int]]) -> list[tuple[int, ...]]:
    return [
        (id_, 1 + id_ // 16, 10 + 10 * (id_ % 8), 1 + id_ % 16 // 8, hand, reserved, version)
        for id_, hand, reserved, version in step
    ]


def controls(locations: shop.Locations, *rules: Rule) -> Controls:
    return Controls(rules or RULES, [1], shop.Channels(), locations)


def shop_of(index: Index, locations: shop.Locations) -> Availability:
    return Availability(ManualClock(NOON), index, locations, controls(locations))


def by_hand(index: Index, shop_now: Availability, channel_id: int, product_id: int) -> int:
    """Sum a product's positions one by one."""
    locations = shop_now.locations
    serves = locations.serving(channel_id, "deliver", NOON)
    total = 0
    for position in np.flatnonzero(index.product == product_id).tolist():
        location_id = int(index.location[position])
        row = locations.refs.index(f"L{location_id}") if f"L{location_id}" in locations.refs else -1
        if row >= 0 and serves[row] and index.pool[position] == 1:
            net = int(index.on_hand[position]) - int(index.reserved[position])
            floor = shop_now.controls.at(NOON).floor_of(channel_id, product_id, location_id)
            total += max(0, net - floor)
    return total


def assert_totals(index: Index, shop_now: Availability) -> None:
    products = np.array([-1, 0, *range(1, 8), 5_000], dtype=np.int32)
    for channel_id in (1, 2, 3):
        totals = shop_now.catalogue(channel_id, "deliver").totals_of(products).tolist()
        expected = [by_hand(index, shop_now, channel_id, p) if p > 0 else 0 for p in products]
        assert totals == expected


@given(before=STEPS, during=STEPS, after=STEPS, slice_size=st.integers(1, 40))
def test_totals_equal_brute_force_while_they_are_built_and_afterwards(
    before: list[list[tuple[int, int, int, int]]],
    during: list[list[tuple[int, int, int, int]]],
    after: list[list[tuple[int, int, int, int]]],
    slice_size: int,
) -> None:
    locations = shop.locations(7)  # positions at location 80 are nobody's
    locations.off[2, "deliver"] = {20}
    index = Index()
    shop_now = shop_of(index, locations)
    catalogues = [shop_now.catalogue(channel_id, "deliver") for channel_id in (1, 2, 3)]
    usual, atp.POSITIONS_PER_SLICE = atp.POSITIONS_PER_SLICE, slice_size
    try:
        for step in before:
            index.apply(shop.rows(*entries_of(step)))
        for step in during:
            catalogues[0].build_slice()
            assert_totals(index, shop_now)
            index.apply(shop.rows(*entries_of(step)))
        asyncio.run(shop_now.settle())
        assert all(catalogue.is_built for catalogue in catalogues)
        assert_totals(index, shop_now)
        for step in after:
            index.apply(shop.rows(*entries_of(step)))
            assert_totals(index, shop_now)
    finally:
        atp.POSITIONS_PER_SLICE = usual


def test_a_location_switched_off_is_out_of_availability_before_totals_are_built_anew() -> None:
    locations = shop.locations(3)
    index = shop.index_of((1, 1, 10, 1, 9, 0, 1), (2, 1, 20, 1, 9, 0, 1))
    shop_now = shop_of(index, locations)
    assert shop_now.catalogue(3, "deliver").totals_of(np.array([1])).tolist() == [14]
    asyncio.run(shop_now.settle())
    off = shop.locations(3)
    off.off[3, "deliver"] = {10}
    shop_now.configure(off, controls(off))
    assert shop_now.catalogue(3, "deliver").totals_of(np.array([1])).tolist() == [7]
    assert not shop_now.catalogue(3, "deliver").is_built
    asyncio.run(shop_now.settle())
    assert shop_now.catalogue(3, "deliver").totals_of(np.array([1])).tolist() == [7]


def test_a_switch_that_has_an_hour_is_heeded_when_it_comes() -> None:
    locations = shop.locations(3)
    shop_now = shop_of(shop.index_of((1, 1, 10, 1, 9, 0, 1)), locations)
    asyncio.run(shop_now.settle())
    first = shop_now.catalogue(3, "deliver")
    shop_now.heed_switches()
    assert shop_now.catalogue(3, "deliver") is first
    locations.off[3, "deliver"] = {10}  # the directory answers by the clock
    shop_now.heed_switches()
    assert shop_now.catalogue(3, "deliver").totals_of(np.array([1])).tolist() == [0]


def test_another_index_is_answered_from_and_followed() -> None:
    shop_now = shop_of(shop.index_of((1, 1, 10, 1, 9, 0, 1)), shop.locations(3))
    shop_now.catalogue(3, "deliver")
    asyncio.run(shop_now.settle())
    restored = shop.index_of((1, 1, 10, 1, 5, 0, 1))
    shop_now.use_index(restored)
    asyncio.run(shop_now.settle())
    restored.apply(shop.rows((1, 1, 10, 1, 6, 0, 2)))
    assert shop_now.catalogue(3, "deliver").totals_of(np.array([1])).tolist() == [4]


def test_totals_are_kept_by_a_task_until_it_is_stopped() -> None:
    async def story() -> None:
        stop = asyncio.Event()
        shop_now = shop_of(shop.index_of((1, 1, 10, 1, 9, 0, 1)), shop.locations(3))
        task = asyncio.create_task(shop_now.run(stop))
        catalogue = shop_now.catalogue(3, "deliver")
        await asyncio.sleep(0)  # the task begins
        stop.set()
        await asyncio.wait_for(task, 10)
        assert catalogue.is_built

    asyncio.run(story())
