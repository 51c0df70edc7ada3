"""Plans against a brute force that knows nothing of subsets, masks or keys.

It tries every assignment of lines to locations (or to nobody), and for splits every distribution of
units; orders outcomes by units left out, cost, parcels and ranks, as `source` says it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sourcing.cases import NOW, PROFILE, RATE_CARD, Case, held, make_case

from penstock.sourcing.model import Demand, Plan, Profile, RateCard
from penstock.sourcing.source import source

seeds = st.integers(0, 10**9)
Outcome = tuple[int, int, int, int]  # units left out, cost, parcels, sum of ranks
# Two light parcels are cheaper than one heavy one: tempts to send two from the same location.
STEEP = RateCard(
    RATE_CARD.distance_km_upto,
    RATE_CARD.weight_g_upto,
    np.array([[50, 60, 2500, 9000]] * 4) + np.arange(4)[:, None] * 20,
    RATE_CARD.per_extra_kg_minor,
)


def ranks(case: Case) -> list[int]:
    """Return each row's place by ready time, then row."""
    ready = case.locations.ready_min.tolist()
    order = sorted(range(len(ready)), key=lambda row: (ready[row], row))
    return [order.index(row) for row in range(len(ready))]


def outcome(
    case: Case, demand: Demand, sent: dict[tuple[int, int], int], rate_card: RateCard
) -> Outcome:
    """Return how good it is to send so many units by line number and row."""
    distances = case.distances_km(demand)
    by_row: dict[int, int] = {}
    for (number, row), qty in sent.items():
        weight_g = qty * demand.lines[number].unit_weight_g
        by_row[row] = by_row.get(row, 0) + weight_g
    cost = 0
    for row, weight_g in by_row.items():
        band = min(int(np.searchsorted(rate_card.distance_km_upto, distances[row])), 3)
        cost += int(case.locations.handling_cost_minor[row])
        cost += int(rate_card.carriage(np.array(weight_g))[band])
    left_out = sum(line.qty for line in demand.lines) - sum(sent.values())
    rank = ranks(case)
    return left_out, cost, len(by_row), sum(rank[row] for row in by_row)


def whole_assignments(case: Case, demand: Demand) -> Iterator[dict[tuple[int, int], int]]:
    """Yield every way to send each line whole from one location, or not at all."""
    rows = range(len(case.locations.ids))
    choices = [
        [None, *(row for row in rows if held(case, line, row) >= line.qty)] for line in demand.lines
    ]
    for chosen in itertools.product(*choices):
        yield {
            (number, row): demand.lines[number].qty
            for number, row in enumerate(chosen)
            if row is not None
        }


def distributions(case: Case, demand: Demand) -> Iterator[dict[tuple[int, int], int]]:
    """Yield every way to send lines; those that somebody holds whole are not split."""
    rows = range(len(case.locations.ids))
    ways: list[list[dict[tuple[int, int], int]]] = []
    for number, line in enumerate(demand.lines):
        there = [held(case, line, row) for row in rows]
        if max(there) >= line.qty:
            ways.append([{(number, row): line.qty} for row in rows if there[row] >= line.qty])
            continue
        goal = min(line.qty, sum(there))
        spread = itertools.product(*(range(have + 1) for have in there))
        ways.append(
            [
                {(number, row): qty for row, qty in enumerate(some) if qty}
                for some in spread
                if sum(some) == goal
            ]
        )
    for combined in itertools.product(*ways):
        yield {key: qty for one in combined for key, qty in one.items()}


def got(case: Case, demand: Demand, plan: Plan) -> Outcome:
    """Return how good a plan is, from what it sends."""
    rank = ranks(case)
    return (
        sum(qty for _, qty in plan.unsourced),
        plan.cost_minor,
        len(plan.shipments),
        sum(rank[shipment.location_id - 1] for shipment in plan.shipments),
    )


def profile_with(rate_card: RateCard, exact: int = 10) -> Profile:
    return msgspec.structs.replace(PROFILE, rate_card=rate_card, search_lines_exact=exact)


def plans_of(case: Case, demands: list[Demand], profile: Profile) -> list[Plan]:
    return source(demands, case.candidates(demands), profile, NOW)


def without_partial_stock(case: Case) -> None:
    """Take away what would have to be split."""
    for demand in case.demands:
        for line in demand.lines:
            for row in range(len(case.locations.ids)):
                if held(case, line, row) < line.qty:
                    case.stock.pop((line.product_id, row), None)


@settings(max_examples=80, deadline=None)
@given(
    seed=seeds,
    lines=st.integers(1, 4),
    locations=st.integers(1, 5),
    most=st.one_of(st.none(), st.integers(0, 3)),
    rate_card=st.sampled_from([RATE_CARD, STEEP]),
)
def test_units_cost_parcels_and_ranks_equal_brute_force(
    seed: int, lines: int, locations: int, most: int | None, rate_card: RateCard
) -> None:
    case = make_case(seed, 2, lines, locations)
    without_partial_stock(case)
    demands = [msgspec.structs.replace(demand, max_parcels=most) for demand in case.demands]
    plans = plans_of(case, demands, profile_with(rate_card))
    for demand, plan in zip(demands, plans, strict=True):
        allowed = (
            outcome(case, demand, sent, rate_card)
            for sent in whole_assignments(case, demand)
            if most is None or len({row for _, row in sent}) <= most
        )
        assert got(case, demand, plan) == min(allowed)


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_ties_in_cost_go_to_fewer_parcels_then_the_lowest_ranks(seed: int) -> None:
    case = make_case(seed, 1, 3, 5)
    case.locations = msgspec.structs.replace(
        case.locations,
        unit_xyz=np.repeat(case.locations.unit_xyz[:1], 5, axis=0),
        handling_cost_minor=np.zeros(5, dtype=np.int64),
        ready_min=case.locations.ready_min // 200,
    )
    without_partial_stock(case)
    (demand,) = case.demands
    free = RateCard(
        RATE_CARD.distance_km_upto,
        RATE_CARD.weight_g_upto,
        np.zeros((4, 4), dtype=np.int64),
        np.zeros(4, dtype=np.int64),
    )
    (plan,) = plans_of(case, [demand], profile_with(free))
    expected = min(outcome(case, demand, sent, free) for sent in whole_assignments(case, demand))
    assert got(case, demand, plan) == expected


def scarce_case(seed: int, lines: int, locations: int) -> Case:
    """Make a case whose first line nobody holds whole."""
    case = make_case(seed, 1, lines, locations, share=0.9)
    draw = np.random.default_rng(seed)
    (demand,) = case.demands
    first = msgspec.structs.replace(demand.lines[0], qty=int(draw.integers(3, 7)))
    case.demands = [msgspec.structs.replace(demand, lines=(first, *demand.lines[1:]))]
    for row in range(locations):
        case.stock[(first.product_id, row)] = int(draw.integers(0, first.qty))
    return case


def test_splits_send_all_there_is_and_cost_within_one_percent_of_every_distribution() -> None:
    best = spent = 0
    for seed in range(60):
        case = scarce_case(seed, 1 + seed % 3, 4)
        (demand,) = case.demands
        (plan,) = plans_of(case, [demand], PROFILE)
        expected = min(
            outcome(case, demand, sent, RATE_CARD) for sent in distributions(case, demand)
        )
        found = got(case, demand, plan)
        assert found[0] == expected[0]
        assert found[1] >= expected[1]
        best, spent = best + expected[1], spent + found[1]
    assert spent <= best * 1.01


@settings(max_examples=40, deadline=None)
@given(seed=seeds, most=st.integers(1, 2))
def test_a_split_keeps_the_bound_on_parcels(seed: int, most: int) -> None:
    case = scarce_case(seed, 3, 4)
    demand = msgspec.structs.replace(case.demands[0], max_parcels=most)
    (plan,) = plans_of(case, [demand], PROFILE)
    assert len(plan.shipments) <= most
    every = min(outcome(case, demand, sent, RATE_CARD)[0] for sent in distributions(case, demand))
    assert got(case, demand, plan)[0] >= every


@pytest.mark.parametrize(("rate_card", "gap"), [(RATE_CARD, 0.01), (STEEP, 0.06)])
def test_search_stays_near_the_optimum_in_sum(rate_card: RateCard, gap: float) -> None:
    exact = searched = 0
    for seed in range(15):
        case = make_case(seed, 4, 9, 12, share=0.6)
        without_partial_stock(case)
        best = plans_of(case, case.demands, profile_with(rate_card))
        found = plans_of(case, case.demands, profile_with(rate_card, exact=0))
        for demand, one, other in zip(case.demands, best, found, strict=True):
            assert got(case, demand, one) <= got(case, demand, other)
            assert one.unsourced == other.unsourced
            exact, searched = exact + one.cost_minor, searched + other.cost_minor
    assert searched <= exact * (1 + gap)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, most=st.sampled_from([None, 2, 3]))
def test_no_location_sends_twice_even_where_two_parcels_are_cheaper_than_one(
    seed: int, most: int | None
) -> None:
    case = make_case(seed, 1, 3, 7, share=0.95)
    without_partial_stock(case)
    near = np.array([0, 5, 10, 15, 20, 25, 30])
    case.locations = msgspec.structs.replace(case.locations, handling_cost_minor=near)
    lines = tuple(
        msgspec.structs.replace(line, unit_weight_g=1800 // line.qty)
        for line in case.demands[0].lines
    )
    demand = msgspec.structs.replace(case.demands[0], lines=lines, max_parcels=most)
    (plan,) = plans_of(case, [demand], profile_with(STEEP))
    expected = min(
        outcome(case, demand, sent, STEEP)
        for sent in whole_assignments(case, demand)
        if most is None or len({row for _, row in sent}) <= most
    )
    assert got(case, demand, plan) == expected
    assert len({shipment.location_id for shipment in plan.shipments}) == len(plan.shipments)
