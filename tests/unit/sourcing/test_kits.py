"""Kits in sourcing: whole from a location each, and never more of a position than there is."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sourcing.cases import KEY, NOW, PROFILE, Case

from penstock.geo import unit_vectors
from penstock.sourcing.kits import Propose, ShelfStock, Shelves, source_kits, whole_kits
from penstock.sourcing.model import Demand, DemandLine, KitParts, Locations, Plan
from penstock.sourcing.source import source

ROWS = 4
PRODUCTS = (1, 2, 3)
PLACES = Locations(
    np.arange(1, ROWS + 1, dtype=np.int32),
    unit_vectors(np.array([50.0, 52.0, 54.0, 56.0]), np.zeros(ROWS)),
    np.zeros(ROWS, dtype=np.int64),
    np.zeros(ROWS, dtype=np.int32),
)
ROW_OF = np.arange(-1, ROWS, dtype=np.int32)
STOCK = st.dictionaries(
    st.tuples(st.sampled_from(PRODUCTS), st.integers(0, ROWS - 1), st.integers(0, 1)),
    st.integers(1, 6),
    max_size=20,
)
PARTS = st.dictionaries(st.sampled_from(PRODUCTS), st.integers(1, 2), min_size=1, max_size=3)
KITS = st.lists(st.tuples(PARTS, st.integers(1, 3)), min_size=1, max_size=2)
LINES = st.lists(st.tuples(st.sampled_from(PRODUCTS), st.integers(1, 3)), max_size=2)


def shelves_of(stock: dict[tuple[int, int, int], int]) -> Shelves:
    shelves: Shelves = {product_id: {} for product_id in PRODUCTS}
    for (product_id, row, pool), qty in stock.items():
        shelves[product_id][row, product_id * 100 + row * 10 + pool] = qty
    return shelves


def demand_of(
    kits: list[tuple[dict[int, int], int]], lines: list[tuple[int, int]], **more: object
) -> Demand:
    wanted = [DemandLine(f"k{n}", 50 + n, qty, 100) for n, (_, qty) in enumerate(kits)]
    wanted += [DemandLine(f"l{n}", product, qty, 100) for n, (product, qty) in enumerate(lines)]
    parts = [
        KitParts(
            f"k{n}",
            tuple((f"k{n}-{product}", product, per) for product, per in kit.items()),
            (100,) * len(kit),
        )
        for n, (kit, _) in enumerate(kits)
    ]
    demand = Demand("d", tuple(wanted), 51.0, 0.0, "deliver", 1, kits=tuple(parts))
    return msgspec.structs.replace(demand, **more)


def propose(demand: Demand, stock: ShelfStock) -> Plan:
    candidates = Case([], {}, PLACES).candidates([])
    candidates = msgspec.structs.replace(candidates, stock=stock)
    candidates.serving[KEY] = np.ones(ROWS, dtype=bool)
    return source([demand], candidates, PROFILE, NOW)[0]


def planned(demand: Demand, shelves: Shelves, how: Propose = propose) -> Plan:
    return source_kits(demand, shelves, ROW_OF, (how, PROFILE))


@given(STOCK, KITS, LINES, st.sampled_from([None, 1, 2]), st.sampled_from(["complete", "any"]))
def test_a_plan_takes_whole_kits_of_a_location_and_no_more_than_there_is(
    stock: dict[tuple[int, int, int], int],
    kits: list[tuple[dict[int, int], int]],
    lines: list[tuple[int, int]],
    most: int | None,
    wish: str,
) -> None:
    shelves = shelves_of(stock)
    demand = demand_of(kits, lines, max_parcels=most, ship_complete=wish == "complete")
    plan = planned(demand, shelves)
    left = {place: qty for shelf in shelves.values() for (_, place), qty in shelf.items()}
    got: dict[str, int] = {}
    assert len({one.location_id for one in plan.shipments}) == len(plan.shipments)
    assert most is None or len(plan.shipments) <= most
    for shipment in plan.shipments:
        here: dict[str, int] = {}
        for part in shipment.parts:
            assert part.qty == sum(qty for _, qty in part.takes)
            assert part.line_id not in here, "a line has one part in a shipment"
            here[part.line_id] = part.qty
            for position_id, qty in part.takes:
                assert position_id % 100 // 10 == shipment.location_id - 1
                left[position_id] -= qty
        for kit in demand.kits:
            made = {here.get(line_id, 0) / per for line_id, _, per in kit.parts}
            assert len(made) == 1, "a kit ships whole"
            (number,) = made
            assert number == int(number)
            got[kit.line_id] = got.get(kit.line_id, 0) + int(number)
        for line in demand.lines:
            if line.line_id in here:
                got[line.line_id] = got.get(line.line_id, 0) + here[line.line_id]
        assert shipment.weight_g == sum(100 * part.qty for part in shipment.parts)
    assert min(left.values(), default=0) >= 0
    lacking = {n.line_id: n.qty - got.get(n.line_id, 0) for n in demand.lines}
    assert dict(plan.unsourced) == {line_id: qty for line_id, qty in lacking.items() if qty}
    assert not (wish == "complete" and plan.shipments and plan.unsourced)
    assert plan.explanation is not None
    assert plan.cost_minor == sum(one.cost_minor for one in plan.shipments)


@given(STOCK, PARTS, LINES)
def test_one_kit_and_lines_that_share_its_components_get_all_there_is(
    stock: dict[tuple[int, int, int], int], kit: dict[int, int], lines: list[tuple[int, int]]
) -> None:
    shelves = shelves_of(stock)
    demand = demand_of([(kit, 1)], lines)
    wanted = dict(kit)
    for product, qty in lines:
        wanted[product] = wanted.get(product, 0) + qty
    enough = all(sum(shelves[product].values()) >= qty for product, qty in wanted.items())
    plan = planned(demand, shelves)
    if whole_kits(demand.kits[0], shelves) and enough:
        assert not plan.unsourced


@given(STOCK, PARTS, st.integers(1, 9))
def test_of_one_kit_as_many_are_planned_as_the_locations_hold_whole(
    stock: dict[tuple[int, int, int], int], kit: dict[int, int], qty: int
) -> None:
    shelves = shelves_of(stock)
    demand = demand_of([(kit, qty)], [])
    there = sum(whole_kits(demand.kits[0], shelves).values())
    lacking = dict(planned(demand, shelves).unsourced).get("k0", 0)
    assert lacking == max(0, qty - there)
