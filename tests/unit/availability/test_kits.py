"""Kits: what may be promised of them is what a slow model works out, place by place."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop
from tests.unit.availability.test_views import ask, sight_of

from penstock.availability.controls import Rule
from penstock.availability.views import Sight

LOCATIONS = range(10, 70, 10)
STOCK = st.dictionaries(
    st.tuples(st.integers(1, 3), st.sampled_from(LOCATIONS), st.integers(1, 2)),
    st.tuples(st.integers(0, 9), st.integers(0, 3)),
    max_size=30,
)
PARTS = st.dictionaries(st.integers(1, 3), st.integers(1, 4), min_size=1, max_size=3)


def kits_of(sight: Sight) -> dict[int, shop.Kit]:
    assert isinstance(sight.products, shop.Products)
    return sight.products.kits


@given(STOCK, PARTS, st.sampled_from(["whole", "apart"]), st.integers(0, 2))
def test_what_may_be_promised_of_a_kit_is_what_a_slow_model_says(
    stock: dict[tuple[int, int, int], tuple[int, int]],
    parts: dict[int, int],
    kind: str,
    buffer: int,
) -> None:
    entries = [
        (number, *place, *qtys, 1) for number, (place, qtys) in enumerate(stock.items(), start=1)
    ]
    sight = sight_of(shop.index_of(*entries), Rule(product_id=1, qty=buffer))
    kits_of(sight)[5] = shop.Kit(list(parts.items()), kind == "apart")
    there = {
        (product, location): max(0, hand - reserved - (buffer if product == 1 else 0))
        for (product, location, pool), (hand, reserved) in stock.items()
        if pool == 1
    }
    whole = {
        location: min(there.get((product, location), 0) // per for product, per in parts.items())
        for location in LOCATIONS
    }
    pooled = min(
        sum(there.get((product, location), 0) for location in LOCATIONS) // per
        for product, per in parts.items()
    )
    expected = {
        "sku": "P5",
        "available": pooled if kind == "apart" else sum(whole.values()),
        "kit": kind,
    }
    places = [{"location": f"L{n}", "available": qty} for n, qty in whole.items() if qty]
    for _ in range(2):
        assert ask(sight, skus=["P5"])["items"] == [expected]
        said = ask(sight, skus=["P2", "P5"], locations=True)["items"][1]
        assert said == {**expected, "locations": places}
        near = {"latitude": 0, "longitude": 5, "limit": 2}
        nearest = ask(sight, skus=["P5"], near=near)["items"][0].get("locations", [])
        assert [one["location"] for one in nearest] == [
            one["location"] for one in reversed(places)
        ][:2]
        asyncio.run(sight.availability.settle())


def test_a_kit_is_off_while_a_component_is() -> None:
    sight = sight_of(shop.index_of((1, 1, 10, 1, 9, 0, 1), (2, 2, 10, 1, 9, 0, 1)))
    kits_of(sight)[5] = shop.Kit([(1, 1), (2, 3)])
    assert ask(sight, skus=["P5"])["items"][0]["available"] == 3
    sight.products.is_on[2] = False
    (item,) = ask(sight, skus=["P5"])["items"]
    assert (item["available"], item["status"]) == (0, "off")
    sight.products.is_on[2], sight.products.is_stocked[2] = True, False
    assert ask(sight, skus=["P5"])["items"][0]["available"] == 9, "what needs no stock abounds"
