"""Sourcing finds the optimum, keeps its bounds, and says why."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sourcing.cases import (
    KEY,
    NOW,
    PROFILE,
    Case,
    brute_force,
    cost_of,
    held,
    make_case,
)

from penstock.sourcing.explain import explain
from penstock.sourcing.model import Demand, DemandLine, Plan
from penstock.sourcing.source import source

seeds = st.integers(0, 10**9)


def check_plan(case: Case, demand: Demand, plan: Plan) -> None:
    """Check that a plan takes only what is there, and tells of every unit that it does not send."""
    taken: dict[int, int] = {}
    sent: dict[str, int] = {line.line_id: 0 for line in demand.lines}
    size = len(case.locations.ids)
    for shipment in plan.shipments:
        assert shipment.cost_minor == shipment.handling_minor + shipment.carriage_minor
        assert [leg.from_location_id for leg in shipment.legs] == [shipment.location_id]
        for part in shipment.parts:
            assert part.location_id == shipment.location_id
            assert sum(qty for _, qty in part.takes) == part.qty
            sent[part.line_id] += part.qty
            for position_id, qty in part.takes:
                assert position_id % size == shipment.location_id - 1
                taken[position_id] = taken.get(position_id, 0) + qty
    for position_id, qty in taken.items():
        assert qty <= case.stock[(position_id // size, position_id % size)]
    unsourced = dict(plan.unsourced)
    for line in demand.lines:
        assert sent[line.line_id] + unsourced.get(line.line_id, 0) == line.qty
    assert len({shipment.location_id for shipment in plan.shipments}) == len(plan.shipments)
    assert plan.cost_minor == sum(shipment.cost_minor for shipment in plan.shipments)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, lines=st.integers(1, 4), locations=st.integers(1, 5))
def test_cost_and_parcels_equal_brute_force(seed: int, lines: int, locations: int) -> None:
    case = make_case(seed, 4, lines, locations)
    for demand, plan in zip(case.demands, case.plans(), strict=True):
        check_plan(case, demand, plan)
        best = brute_force(case, demand)
        if best is not None:
            assert plan.unsourced == ()
            assert (plan.cost_minor, len(plan.shipments)) == best


@settings(max_examples=40, deadline=None)
@given(seed=seeds, most=st.integers(1, 3))
def test_a_bound_on_parcels_is_kept_at_least_cost(seed: int, most: int) -> None:
    case = make_case(seed, 2, 3, 4, share=0.8)
    bounded = [msgspec.structs.replace(demand, max_parcels=most) for demand in case.demands]
    for demand, plan in zip(bounded, case.plans(bounded), strict=True):
        assert len(plan.shipments) <= most
        best = brute_force(case, demand, most)
        if best is not None:
            check_plan(case, demand, plan)
            assert (plan.unsourced, plan.cost_minor) == ((), best[0])


@settings(max_examples=40, deadline=None)
@given(seed=seeds, lines=st.integers(1, 12))
def test_a_plan_is_the_same_alone_or_in_any_batch(seed: int, lines: int) -> None:
    case = make_case(seed, 5, lines, 6)
    together = case.plans()
    backwards = case.plans(case.demands[::-1])[::-1]
    for demand, plan, other in zip(case.demands, together, backwards, strict=True):
        assert plan == other
        assert plan == case.plans([demand])[0]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, lines=st.integers(1, 14), locations=st.integers(1, 8))
def test_whatever_can_be_sourced_is_sourced(seed: int, lines: int, locations: int) -> None:
    case = make_case(seed, 2, lines, locations, share=0.4)
    for demand, plan in zip(case.demands, case.plans(), strict=True):
        check_plan(case, demand, plan)
        short = dict(plan.unsourced)
        for line in demand.lines:
            there = sum(max(held(case, line, row), 0) for row in range(locations))
            assert short.get(line.line_id, 0) == max(line.qty - there, 0)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_search_is_never_worse_than_the_best_single_location(seed: int) -> None:
    case = make_case(seed, 2, 14, 8, share=0.95)
    for demand, plan in zip(case.demands, case.plans(), strict=True):
        check_plan(case, demand, plan)
        assert plan.explanation is not None
        distances = case.distances_km(demand)
        for row in range(8):
            if all(held(case, line, row) >= line.qty for line in demand.lines):
                assert plan.cost_minor <= cost_of(case, demand, [row] * 14, distances)


def test_search_stays_within_five_percent_of_the_exact_optimum_on_average() -> None:
    exact, searched = 0, 0
    bounded = msgspec.structs.replace(PROFILE, search_lines_exact=0)
    for seed in range(20):
        case = make_case(seed, 5, 8, 10, share=0.8)
        exact += sum(plan.cost_minor for plan in case.plans())
        found = source(case.demands, case.candidates(), bounded, NOW)
        searched += sum(plan.cost_minor for plan in found)
    assert exact <= searched <= exact * 1.05


def test_a_line_is_split_where_no_single_location_has_enough() -> None:
    case = make_case(1, 1, 1, 3)
    line = DemandLine("a", 1, 7, 100)
    demand = msgspec.structs.replace(case.demands[0], lines=(line,))
    case.stock = {(1, 0): 4, (1, 1): 3, (1, 2): 1}
    (plan,) = case.plans([demand])
    check_plan(case, demand, plan)
    assert plan.unsourced == ()
    assert len(plan.shipments) == 2


def test_ship_complete_takes_everything_or_nothing() -> None:
    case = make_case(1, 1, 2, 2)
    lines = (DemandLine("a", 1, 1, 100), DemandLine("b", 2, 1, 100))
    demand = msgspec.structs.replace(case.demands[0], lines=lines, ship_complete=True)
    case.stock = {(1, 0): 5}
    (plan,) = case.plans([demand])
    assert plan.shipments == ()
    assert dict(plan.unsourced) == {"a": 1, "b": 1}
    case.stock[(2, 1)] = 1
    (plan,) = case.plans([demand])
    assert plan.unsourced == ()


def test_two_lines_of_one_product_share_its_stock() -> None:
    case = make_case(1, 1, 2, 2)
    lines = (DemandLine("a", 1, 3, 100), DemandLine("b", 1, 3, 100))
    demand = msgspec.structs.replace(case.demands[0], lines=lines)
    case.stock = {(1, 0): 3, (1, 1): 2}
    (plan,) = case.plans([demand])
    check_plan(case, demand, plan)
    assert dict(plan.unsourced) == {"b": 1}


def test_excluded_and_pinned_locations_are_honoured() -> None:
    case = make_case(1, 1, 1, 3)
    demand = msgspec.structs.replace(case.demands[0], lines=(DemandLine("a", 1, 1, 100),))
    case.stock = {(1, row): 5 for row in range(3)}
    (free,) = case.plans([demand])
    first = free.shipments[0].location_id
    without = msgspec.structs.replace(demand, excluded_location_ids=frozenset({first}))
    pinned = msgspec.structs.replace(demand, pinned_location_id=3)
    (other,), (third,) = case.plans([without]), case.plans([pinned])
    assert other.shipments[0].location_id != first
    assert third.shipments[0].location_id == 3


def test_a_full_location_and_one_that_does_not_serve_are_left_out_and_counted() -> None:
    case = make_case(1, 1, 1, 3)
    demand = msgspec.structs.replace(case.demands[0], lines=(DemandLine("a", 1, 1, 100),))
    case.stock = {(1, row): 5 for row in range(3)}
    candidates = case.candidates([demand])
    candidates.serving[KEY] = np.array([True, True, False])
    candidates.removed_by[KEY] = np.array([0, 0, 1], dtype=np.uint8)
    candidates.capacity_left["deliver"] = np.array([0, 4, 4], dtype=np.int32)
    (plan,) = source([demand], candidates, PROFILE, NOW)
    assert plan.shipments[0].location_id == 2
    assert plan.explanation is not None
    assert plan.explanation.removed == {"off": 1, "capacity full": 1}


def test_equal_costs_go_to_the_earlier_location_then_to_the_lower_id() -> None:
    case = make_case(1, 1, 1, 3)
    same = np.repeat(case.locations.unit_xyz[:1], 3, axis=0)
    handling = np.zeros(3, dtype=np.int64)
    demand = msgspec.structs.replace(case.demands[0], lines=(DemandLine("a", 1, 1, 100),))
    case.stock = {(1, row): 5 for row in range(3)}
    for ready, expected in (([60, 30, 30], 2), ([30, 30, 30], 1)):
        case.locations = msgspec.structs.replace(
            case.locations,
            unit_xyz=same,
            handling_cost_minor=handling,
            ready_min=np.array(ready, dtype=np.int32),
        )
        (plan,) = case.plans([demand])
        assert plan.shipments[0].location_id == expected


@pytest.mark.parametrize("stock", [{}, {(1, 0): 1}])
def test_an_explanation_says_in_words_why_lines_are_short(
    stock: dict[tuple[int, int], int],
) -> None:
    case = make_case(1, 1, 1, 2)
    demand = msgspec.structs.replace(case.demands[0], lines=(DemandLine("a", 1, 3, 100),))
    case.stock = stock
    (plan,) = case.plans([demand])
    assert plan.explanation is not None
    names = {1: "York", 2: "Leeds"}
    text = " ".join(explain(plan.explanation, "GBP", names.__getitem__, {1: "MUG-01"}))
    assert "MUG-01" in text
    assert ("York" in text) == bool(stock)
