"""Caps and ring-fences in answers: totals, places, and why; what is offered is what is judged."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability.atp import Availability, Guest
from penstock.availability.controls import Controls
from penstock.availability.explain import explain
from penstock.availability.limits import Places, Uses, limits_of, trimmed
from penstock.availability.nearest import places_with_stock
from penstock.availability.rule import Rule
from penstock.clock import ManualClock
from penstock.inventory.model import Counted

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOCATIONS = shop.locations(4)  # 10, 20 and 40 are stores, 30 a warehouse
LOCATIONS.networks = {1: {10, 20}}
GOLD = Guest(2, "gold")
STOCK = ((1, 1, 10, 1, 9, 0, 1), (2, 1, 20, 1, 6, 0, 1), (3, 1, 30, 1, 5, 0, 1))
OTHER = ((4, 2, 10, 1, 50, 10, 1),)


def open_shop(uses: Uses, *rules: Rule) -> Availability:
    controls = Controls(rules, [1], shop.Channels(), LOCATIONS, {"tools": np.array([2])})
    opened = Availability(
        ManualClock(NOON), shop.index_of(*STOCK, *OTHER), LOCATIONS, controls, uses
    )
    opened.catalogue(2, "deliver")
    asyncio.run(opened.settle())
    return opened


def total(opened: Availability, product_id: int, guest: Guest | None = None) -> int:
    catalogue = opened.catalogue(guest.channel_id if guest else 2, "deliver")
    return int(catalogue.totals_of(np.array([product_id]), guest)[0])


def at(opened: Availability, product_id: int, guest: Guest | None = None) -> list[int]:
    catalogue = opened.catalogue(2, "deliver")
    places = places_with_stock(catalogue, np.array([product_id]), guest=guest)
    return places.available.tolist()


def test_a_cap_bounds_totals_and_places_less_what_is_used() -> None:
    uses = Uses()
    opened = open_shop(uses, Rule(id=1, ref="few", kind="cap", channel_id=2, qty=8))
    assert [total(opened, 1), total(opened, 2), at(opened, 1)] == [8, 8, [8, 6, 5]]
    assert total(opened, 1, Guest(3)) == 20
    uses.update({(1, 1, 0): 5})
    assert [total(opened, 1), total(opened, 2), at(opened, 1)] == [3, 8, [3, 3, 3]]
    uses.replace({})
    assert total(opened, 1) == 8


def test_a_cap_of_a_category_concerns_its_products_only() -> None:
    opened = open_shop(Uses(), Rule(id=1, kind="cap", category="tools", qty=8))
    assert [total(opened, 1), total(opened, 2), total(opened, 9)] == [20, 8, 0]


def test_a_cap_per_location_bounds_each() -> None:
    uses = Uses()
    cap = Rule(id=1, ref="each", kind="cap", per_location=True, location_kind="store", qty=4)
    opened = open_shop(uses, cap)
    assert [total(opened, 1), at(opened, 1)] == [13, [4, 4, 5]]
    uses.update({(1, 1, 20): 3})
    assert [total(opened, 1), at(opened, 1)] == [10, [4, 1, 5]]


def test_what_is_kept_is_seen_by_those_it_is_kept_for_alone() -> None:
    uses = Uses()
    fence = Rule(id=1, kind="ring_fence", product_id=1, qty=12, kept_tiers=("gold",))
    opened = open_shop(uses, fence)
    assert [total(opened, 1), total(opened, 1, GOLD)] == [8, 20]
    assert [at(opened, 1), at(opened, 1, GOLD)] == [[8, 6, 5], [9, 6, 5]]
    assert [total(opened, 2), total(opened, 2, GOLD)] == [40, 40]
    uses.update({(1, 1, 0): 10})
    assert total(opened, 1) == 18


def test_a_fence_of_a_network_leaves_the_rest_of_the_locations_alone() -> None:
    fence = Rule(id=1, kind="ring_fence", product_id=1, qty=14, network_id=1, kept_channels=(3,))
    opened = open_shop(Uses(), fence)
    assert [total(opened, 1), at(opened, 1)] == [6, [1, 1, 5]]
    assert total(opened, 1, Guest(3)) == 20


def test_the_answer_says_which_controls_lowered_it_and_by_how_much() -> None:
    opened = open_shop(
        Uses(),
        Rule(ref="all", qty=2),
        Rule(ref="share", percent_bp=3_333, group="more", combine="sum"),
        Rule(ref="no store 20", kind="exclusion", location_id=20),
        Rule(id=1, ref="few", kind="cap", qty=3),
    )
    told = explain(opened, opened.catalogue(2, "deliver"), 1)
    assert (told.free, told.available) == (20, 3)
    by = {one.control: one.by for one in told.lowered}
    # 9 keeps 2 and ceil(2.9997), 5 keeps 2 and ceil(1.6665), 6 keeps everything.
    assert by == {"all": 4, "share": 5, "no store 20": 6, "few": 2}
    assert told.free - sum(by.values()) == told.available
    first = told.locations[0]
    assert (first.location, first.free, first.available) == ("L10", 9, 3)
    assert {one.control: one.by for one in first.lowered} == {"all": 2, "share": 3, "few": 1}


RULES = st.builds(
    Rule,
    id=st.integers(1, 3),
    ref=st.sampled_from("abcdef"),
    kind=st.sampled_from(["buffer", "safety_stock", "cap", "ring_fence", "exclusion"]),
    qty=st.integers(0, 12),
    percent_bp=st.sampled_from([0, 0, 2_500]),
    product_id=st.sampled_from([None, 1]),
    location_id=st.sampled_from([None, None, None, 20]),
    network_id=st.sampled_from([None, None, 1]),
    location_kind=st.sampled_from([None, None, "store"]),
    per_location=st.booleans(),
    kept_tiers=st.just(("gold",)),
    group=st.just("default"),
)


@given(rules=st.lists(RULES, max_size=5, unique_by=lambda rule: rule.id), gold=st.booleans())
def test_what_is_explained_adds_up_to_what_is_answered(rules: list[Rule], *, gold: bool) -> None:
    opened = open_shop(Uses(), *rules)
    guest = GOLD if gold else None
    told = explain(opened, opened.catalogue(2, "deliver"), 1, guest)
    assert told.available == total(opened, 1, guest)
    assert told.free - sum(one.by for one in told.lowered) == told.available
    for place in told.locations:
        assert place.free - sum(one.by for one in place.lowered) == place.available
    seen = [place.available for place in told.locations if place.available]
    assert seen == at(opened, 1, guest)


COUNTED = st.builds(
    Counted,
    control_id=st.integers(1, 4),
    ref=st.just(""),
    qty=st.integers(0, 20),
    is_fence=st.booleans(),
    per_location=st.booleans(),
    location_ids=st.sampled_from([None, frozenset({10}), frozenset({10, 20}), frozenset({30})]),
)


@given(
    units=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    counted=st.lists(COUNTED, max_size=4),
    serves=st.lists(st.booleans(), min_size=4, max_size=4),
    wanted=st.integers(1, 40),
)
def test_what_is_trimmed_is_within_every_limit_and_never_more_than_there_is(
    units: list[int], counted: list[Counted], serves: list[bool], wanted: int
) -> None:
    ids = LOCATIONS.location_ids
    places = Places(ids, np.array(units), np.array(serves), np.arange(4.0))
    limits = limits_of(counted, 1, places, lambda key: key[0] % 3)
    left = trimmed(places, limits, wanted)
    assert (left <= places.units).all()
    assert not left[~places.may_serve].any()
    for limit in limits:
        assert min(int(left[limit.at].sum()), wanted) <= max(limit.left, 0)
