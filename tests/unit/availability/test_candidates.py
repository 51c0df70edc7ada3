"""What sourcing may choose from: the same from the index as from locked rows."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability.candidates import (
    LockedRows,
    Stock,
    Terms,
    locked_rows,
    stock_of,
    wanted_by,
)
from penstock.availability.controls import Controls
from penstock.availability.index import Index
from penstock.availability.rule import Rule
from penstock.inventory.ledger import Position
from penstock.sourcing.model import Demand, DemandLine

LOCATIONS = shop.locations(6)
CONTROLS = Controls(
    [Rule(qty=1), Rule(channel_id=2, product_id=2, qty=3)], [1], shop.Channels(), LOCATIONS
)
TERMS = Terms(CONTROLS, CONTROLS.at(datetime(2026, 3, 1, 12, tzinfo=UTC)))


def lines_of(stock: Stock) -> list[list[tuple[int, int, int]]]:
    columns = (stock.position_ids, stock.location_rows, stock.available)
    flat = list(zip(*(column.tolist() for column in columns), strict=True))
    bounds = stock.line_start.tolist()
    return [flat[a:b] for a, b in itertools.pairwise(bounds)]


def gather(
    source: Index | LockedRows, *wanted: tuple[int, int]
) -> list[list[tuple[int, int, int]]]:
    demands = [
        Demand("d", (DemandLine("l", product_id, 1, 0),), 0.0, 0.0, "deliver", channel_id)
        for product_id, channel_id in wanted
    ]
    return lines_of(stock_of(source, wanted_by(demands), TERMS, LOCATIONS.row_of))


def test_a_line_s_candidates_are_what_its_channel_may_take_of_pools_for_sale() -> None:
    index = shop.index_of(
        (1, 2, 30, 1, 5, 0, 1),
        (2, 2, 10, 1, 4, 2, 1),
        (3, 2, 20, 2, 9, 0, 1),  # not for sale
        (4, 2, 70, 1, 9, 0, 1),  # a location nobody knows yet
        (5, 3, 10, 1, 1, 0, 1),  # the floor is all there is
    )
    index.map.merge()
    assert gather(index, (2, 1), (3, 1), (2, 2), (9, 1)) == [
        [(2, 0, 1), (1, 2, 4)],
        [],
        [(1, 2, 2)],
        [],
    ]


@given(
    stock=st.dictionaries(
        st.integers(1, 70), st.tuples(st.integers(-2, 9), st.integers(0, 4)), max_size=30
    ),
    wanted=st.lists(st.tuples(st.integers(-1, 8), st.integers(1, 3)), max_size=8),
)
def test_locked_rows_give_the_same_candidates_as_the_index(
    stock: dict[int, tuple[int, int]], wanted: list[tuple[int, int]]
) -> None:
    entries = [
        (id_, 1 + id_ // 14, 10 + 10 * (id_ % 7), 1 + id_ % 14 // 7, hand, reserved)
        for id_, (hand, reserved) in stock.items()
    ]
    index = Index()
    index.apply(shop.rows(*((*entry, 1) for entry in entries)))
    index.map.merge()
    locked = locked_rows(Position(*entry, 1, 0, 0) for entry in entries)
    assert gather(index, *wanted) == gather(locked, *wanted)
