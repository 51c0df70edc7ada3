"""What `/v1/availability` answers, from memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability.atp import Availability
from penstock.availability.controls import Controls
from penstock.availability.follow import Follower
from penstock.availability.index import Index
from penstock.availability.nearest import distances_km, places_with_stock
from penstock.availability.rule import Rule
from penstock.availability.views import MAX_SKUS, Sight, answer, decode_request
from penstock.clock import ManualClock
from penstock.errors import Refusal

CLOCK = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


def sight_of(index: Index, *rules: Rule, pools: tuple[int, ...] = (1,)) -> Sight:
    locations = shop.locations(6)
    controls = Controls(rules, pools, shop.Channels(), locations)
    availability = Availability(CLOCK, index, locations, controls)
    follower = Follower("nowhere", "nobody")
    return Sight(follower, availability, shop.Channels(), shop.products(5))


def ask(sight: Sight, **request: Any) -> dict[str, Any]:
    body = msgspec.json.encode({"channel": "site", **request})
    return msgspec.json.decode(answer(sight, decode_request(body)))


def small_shop() -> Sight:
    return sight_of(
        shop.index_of(
            (1, 1, 10, 1, 9, 1, 1),
            (2, 1, 30, 1, 4, 4, 1),
            (3, 1, 60, 1, 7, 0, 1),
            (4, 2, 20, 1, 3, 0, 1),
            (5, 2, 20, 2, 50, 0, 1),
        )
    )


def test_a_total_is_given_for_each_sku_in_the_order_asked() -> None:
    sight = small_shop()
    expected = [
        {"sku": "P2", "available": 3},
        {"sku": "P1", "available": 15},
        {"sku": "P5", "available": 0},
    ]
    for _ in range(2):
        said = ask(sight, skus=["P2", "P1", "P5"])
        assert said["items"] == expected
        assert said["version"] == 0
        assert said["age_ms"] >= 0
        asyncio.run(sight.availability.settle())


def test_what_is_no_ordinary_product_says_so() -> None:
    sight = small_shop()
    sight.products.is_on[1] = False
    sight.products.is_stocked[3] = False
    said = ask(sight, skus=["P1", "nonsense", "P3", "P2"])
    assert said["items"] == [
        {"sku": "P1", "available": 0, "status": "off"},
        {"sku": "nonsense", "available": 0, "status": "unknown"},
        {"sku": "P3", "available": 0, "status": "unstocked"},
        {"sku": "P2", "available": 3},
    ]


def test_locations_with_stock_are_listed_on_demand() -> None:
    said = ask(small_shop(), skus=["P1", "P4"], locations=True)
    assert said["items"] == [
        {
            "sku": "P1",
            "available": 15,
            "locations": [{"location": "L10", "available": 8}, {"location": "L60", "available": 7}],
        },
        {"sku": "P4", "available": 0, "locations": []},
    ]


def test_the_nearest_locations_come_with_their_distance() -> None:
    near = {"latitude": 0.0, "longitude": 4.0, "limit": 1}
    said = ask(small_shop(), skus=["P1", "P2"], near=near)
    assert [item["locations"] for item in said["items"]] == [
        [{"location": "L60", "available": 7, "distance_km": 111.2}],
        [{"location": "L20", "available": 3, "distance_km": 333.6}],
    ]


def test_pools_of_one_location_are_taken_together() -> None:
    index = shop.index_of((4, 2, 20, 1, 3, 0, 1), (5, 2, 20, 2, 50, 0, 1), (6, 2, 30, 2, 1, 0, 1))
    sight = sight_of(index, pools=(1, 2))
    catalogue = sight.availability.catalogue(2, "deliver")
    places = places_with_stock(catalogue, np.array([2, 9, 2]))
    assert places.line_start.tolist() == [0, 2, 2, 4]
    assert places.rows.tolist() == [1, 2, 1, 2]
    assert places.available.tolist() == [53, 1, 53, 1]


@given(
    stock=st.dictionaries(st.integers(1, 60), st.integers(0, 5), min_size=1),
    longitude=st.floats(-20, 20),
    limit=st.integers(1, 7),
)
def test_the_nearest_are_those_found_by_measuring_every_location(
    stock: dict[int, int], longitude: float, limit: int
) -> None:
    index = shop.index_of(
        *((id_, 1 + id_ // 12, 10 + 10 * (id_ % 6), 1 + id_ % 12 // 6, qty, 0, 1)
          for id_, qty in stock.items())
    )  # fmt: skip
    sight = sight_of(index, pools=(1, 2))
    distances = distances_km(sight.availability.locations, 3.0, longitude)
    products = [1, 2, 3, 4, 5]
    catalogue = sight.availability.catalogue(2, "deliver")
    places = places_with_stock(catalogue, np.array(products), distances, limit)
    for line, product in enumerate(products):
        at_row: dict[int, int] = {}
        for id_, qty in stock.items():
            if 1 + id_ // 12 == product and qty:
                at_row[id_ % 6] = at_row.get(id_ % 6, 0) + qty
        expected = sorted(at_row, key=lambda row: (distances[row], row))[:limit]
        here = slice(places.line_start[line], places.line_start[line + 1])
        assert places.rows[here].tolist() == expected
        assert places.available[here].tolist() == [at_row[row] for row in expected]


def test_more_skus_than_may_be_asked_are_refused() -> None:
    assert len(ask(small_shop(), skus=["P1"] * MAX_SKUS)["items"]) == MAX_SKUS
    with pytest.raises(Refusal) as refusal:
        ask(small_shop(), skus=["P1"] * (MAX_SKUS + 1))
    assert refusal.value.code == "too_many_skus"


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        ask(small_shop(), channel="elsewhere", skus=[])
    assert refusal.value.code == "unknown_channel"


@pytest.mark.parametrize(
    "wrong",
    [
        {"near": {"latitude": 91, "longitude": 0}},
        {"near": {"latitude": 0, "longitude": 0, "limit": 0}},
        {"service": "teleport"},
        {"sku": "P1"},
    ],
)
def test_a_request_of_another_shape_is_no_request(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        ask(small_shop(), skus=[], **wrong)
