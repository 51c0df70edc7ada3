"""However stock comes in (pools, any order, nothing, large batches), plans take what is there."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sourcing.cases import KEY, NOW, PROFILE, Case, Rows, make_case
from tests.unit.sourcing.cases import held as held_of

from penstock.errors import Broken
from penstock.sourcing.explain import explain
from penstock.sourcing.model import Candidates, Demand, DemandLine, Explanation, Plan
from penstock.sourcing.source import source

Place = tuple[int, int, int]  # position id, location row, available


def rows_of(lines: list[list[Place]]) -> Rows:
    """Return stock by line as it stands."""
    flat = [place for line in lines for place in line]
    starts = np.cumsum([0, *map(len, lines)])
    columns = np.array(flat, dtype=np.int32).reshape(len(flat), 3).T
    return Rows(starts.astype(np.int32), *columns)


def plan_of(case: Case, lines: tuple[DemandLine, ...], stock: list[list[Place]]) -> Plan:
    """Source one demand from stock by line."""
    demand = msgspec.structs.replace(case.demands[0], lines=lines)
    candidates = msgspec.structs.replace(case.candidates([demand]), stock=rows_of(stock))
    (plan,) = source([demand], candidates, PROFILE, NOW)
    return plan


def test_pools_of_a_location_are_summed_and_taken_in_position_order() -> None:
    case = make_case(1, 1, 1, 2)
    stock = [[(9, 0, 2), (4, 0, 3), (6, 0, -5), (7, 1, 4)]]
    plan = plan_of(case, (DemandLine("a", 1, 5, 100),), stock)
    (shipment,) = plan.shipments
    assert shipment.location_id == 1
    assert shipment.parts[0].takes == ((4, 3), (9, 2))


def test_lines_of_one_product_share_pools_without_taking_a_unit_twice() -> None:
    case = make_case(1, 1, 1, 2)
    places: list[Place] = [(4, 0, 3), (9, 0, 2)]
    lines = (
        DemandLine("a", 1, 2, 100),
        DemandLine("b", 2, 1, 100),
        DemandLine("c", 1, 3, 100),
    )
    plan = plan_of(case, lines, [places, [(5, 0, 1)], places])
    (shipment,) = plan.shipments
    takes = {part.line_id: part.takes for part in shipment.parts}
    assert takes == {"a": ((4, 2),), "b": ((5, 1),), "c": ((4, 1), (9, 2))}
    assert shipment.weight_g == 600


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_the_order_that_stock_comes_in_makes_no_difference(seed: int) -> None:
    case = make_case(seed, 3, 3, 5)
    candidates = case.candidates()
    stock = candidates.stock
    shuffled = np.arange(len(stock.available))
    draw = np.random.default_rng(seed)
    for start, stop in zip(stock.line_start[:-1], stock.line_start[1:], strict=True):
        draw.shuffle(shuffled[start:stop])
    mixed = Rows(
        stock.line_start,
        stock.position_ids[shuffled],
        stock.location_rows[shuffled],
        stock.available[shuffled],
    )
    other = msgspec.structs.replace(candidates, stock=mixed)
    assert source(case.demands, other, PROFILE, NOW) == case.plans()


def test_a_batch_larger_than_a_chunk_gets_the_plans_of_its_demands_alone() -> None:
    case = make_case(7, 40, 2, 2000, share=0.02)
    plans = case.plans()
    for number in (0, 31, 32, 33, 39):
        assert plans[number] == case.plans([case.demands[number]])[0]


def test_no_demands_no_plans_and_no_stock_no_shipments() -> None:
    case = make_case(1, 1, 2, 3)
    assert source([], case.candidates([]), PROFILE, NOW) == []
    case.stock = {}
    (plan,) = case.plans()
    assert plan.shipments == ()
    assert dict(plan.unsourced) == {line.line_id: line.qty for line in case.demands[0].lines}


def test_a_line_that_wants_nothing_is_a_bug() -> None:
    case = make_case(1, 1, 1, 1)
    with pytest.raises(Broken):
        plan_of(case, (DemandLine("a", 1, 0, 100),), [[(1, 0, 3)]])


def explanation_of(case: Case, demand: Demand, candidates: Candidates) -> Explanation:
    (plan,) = source([demand], candidates, PROFILE, NOW)
    assert plan.explanation is not None
    return plan.explanation


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), lines=st.integers(1, 12))
def test_every_location_is_accounted_for_and_nobody_outscored_was_better(
    seed: int, lines: int
) -> None:
    case = make_case(seed, 2, lines, 8, share=0.4)
    for demand in case.demands:
        shown = explanation_of(case, demand, case.candidates([demand]))
        assert shown.locations == 8
        assert shown.considered + sum(shown.removed.values()) == 8
        held = {row for line in demand.lines for row in range(8) if held_of(case, line, row)}
        assert shown.without_stock == 8 - len(held)
        cost = {chosen.location_id: chosen.cost_minor for chosen in shown.chosen}
        assert len(shown.outscored) <= 5
        for other in shown.outscored:
            assert other.location_id not in cost
            assert other.cost_minor >= cost[other.instead_of]
            assert (other.lost_by == "cost") == (other.cost_minor > cost[other.instead_of])
        assert msgspec.json.decode(msgspec.json.encode(shown), type=Explanation) == shown


def test_each_reason_for_removal_is_counted_once() -> None:
    case = make_case(1, 1, 1, 7)
    lines = (DemandLine("a", 1, 1, 100),)
    demand = msgspec.structs.replace(
        case.demands[0], lines=lines, excluded_location_ids=frozenset({5, 1})
    )
    case.stock = {(1, 6): 1, (1, 5): 0}
    candidates = case.candidates([demand])
    candidates.serving[KEY] = np.array([False, False, False, True, True, True, True])
    candidates.removed_by[KEY] = np.array([1, 2, 3, 0, 0, 0, 0], dtype=np.uint8)
    candidates.capacity_left["deliver"] = np.array([9, 9, 9, 0, 9, 9, 9], dtype=np.int32)
    shown = explanation_of(case, demand, candidates)
    assert shown.removed == {
        "off": 1,
        "no capability": 1,
        "not in network": 1,
        "capacity full": 1,
        "excluded": 1,
    }
    assert shown.considered == 2
    assert shown.without_stock == 1


@pytest.mark.parametrize(
    ("changes", "why", "said"),
    [
        ({"ship_complete": True}, "ship complete", "all of it goes together or not at all"),
        ({"max_parcels": 1}, "maximum of parcels", "it would take more parcels than are wanted"),
    ],
)
def test_what_could_be_sent_but_may_not_is_told_apart(
    changes: dict[str, int | bool], why: str, said: str
) -> None:
    case = make_case(1, 1, 1, 2)
    lines = (DemandLine("a", 1, 2, 100), DemandLine("b", 2, 1, 100), DemandLine("c", 3, 1, 100))
    demand = msgspec.structs.replace(case.demands[0], lines=lines, **changes)
    case.stock = {(1, 0): 2, (2, 1): 1}
    shown = explanation_of(case, demand, case.candidates([demand]))
    reasons = {short.product_id: (short.why, short.seen) for short in shown.unsourced}
    assert reasons[3] == ("no stock anywhere it may come from", 0)
    assert (why, 1) == reasons[2]
    sentences = explain(shown, "GBP", str, {2: "MUG-02", 3: "MUG-03"})
    assert f"1 of MUG-02 is not sourced: {said} (1 was seen)." in sentences
    assert "1 of MUG-03 is not sourced: no stock anywhere it may come from." in sentences
