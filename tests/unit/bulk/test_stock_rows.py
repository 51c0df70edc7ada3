"""Stock rows: ids and whole numbers, or a fault that says which field and why."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from penstock.bulk.blocks import Block
from penstock.bulk.model import Fault
from penstock.bulk.stock_rows import UNKNOWN, Refs, StockRows, read_counts, with_learnt
from penstock.errors import Refusal

HOUR_US = 3_600_000_000
REFS = Refs(
    {"A": 7, "B": 8}, {"L1": 1, "L2": 2}, {"default": 1, "used": 2}, 1, HOUR_US, 9 * HOUR_US
)


def counted(**columns: object) -> StockRows:
    frame = pl.DataFrame(columns, strict=False)
    return read_counts(Block(frame, 11, []), REFS)


def quantity(value: object) -> int | str:
    read = counted(sku=["A"], location=["L1"], on_hand=[value])
    return int(read.on_hands[0]) if len(read.rows) else read.faults[0].code


def test_refs_become_ids_and_rows_keep_their_numbers() -> None:
    read = counted(sku=["A", " B "], location=["L2", "L1"], on_hand=["5", "6"], pool=["used", None])
    assert read.rows.tolist() == [11, 12]
    assert read.product_ids.tolist() == [7, 8]
    assert read.location_ids.tolist() == [2, 1]
    assert read.pool_ids.tolist() == [2, 1]
    assert read.counted_us.tolist() == [HOUR_US, HOUR_US]
    assert (read.faults, read.last_row) == ([], 12)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", 5),
        (" -3 ", -3),
        ("3.0", 3),
        (4.0, 4),
        (-2_000_000_000, -2_000_000_000),
        ("2000000001", "quantity_out_of_range"),
        ("99999999999999999999", "quantity_out_of_range"),
        (3e12, "quantity_out_of_range"),
        ("3.5", "not_an_integer"),
        (2.5, "not_an_integer"),
        ("many", "not_an_integer"),
        ("nan", "not_an_integer"),
        (float("inf"), "not_an_integer"),
        ("", "missing_value"),
        (None, "missing_value"),
    ],
)
def test_a_quantity_is_a_whole_number_within_bounds(value: object, expected: int | str) -> None:
    assert quantity(value) == expected


def test_the_first_fault_of_a_row_is_told_and_a_blank_row_is_none() -> None:
    read = counted(
        sku=["A", None, "A", None], location=["L9", "L1", "L1", None], on_hand=["x", "1", "1", None]
    )
    assert [(fault.row, fault.field, fault.code) for fault in read.faults] == [
        (12, "sku", "missing_value"),
        (11, "location", "unknown_location"),
    ]
    assert read.rows.tolist() == [13]


def test_instants_need_a_time_zone_and_are_not_to_come() -> None:
    texts = ["1970-01-01T02:00:00Z", "1970-01-01 02:00:00", "1970-01-02T00:00:00+00:00", None, "x"]
    read = counted(sku=["A"] * 5, location=["L1"] * 5, on_hand=[1] * 5, counted_at=texts)
    assert read.counted_us.tolist() == [2 * HOUR_US, HOUR_US]
    assert [(fault.row, fault.code) for fault in read.faults] == [
        (12, "instant_unusable"),
        (13, "instant_unusable"),
        (15, "instant_unusable"),
    ]
    naive = pl.Series([0], dtype=pl.Datetime("us"))
    with pytest.raises(Refusal):
        counted(sku=["A"], location=["L1"], on_hand=[1], counted_at=naive)
    zoned = pl.Series([7_200_000], dtype=pl.Datetime("ms", "Europe/London"))
    read = counted(sku=["A"], location=["L1"], on_hand=[1], counted_at=zoned)
    assert read.counted_us.tolist() == [2 * HOUR_US]


def test_skus_nobody_knows_are_asked_for_once_and_then_are_faults() -> None:
    read = counted(sku=["C", "A", "D"], location=["L1"] * 3, on_hand=[1, 2, 3])
    assert read.lacking == {0: "C", 2: "D"}
    assert read.product_ids.tolist() == [UNKNOWN, 7, UNKNOWN]
    learnt = with_learnt(read, {"C": 9})
    assert (learnt.rows.tolist(), learnt.product_ids.tolist()) == ([11, 12], [9, 7])
    assert learnt.faults == [Fault(13, "sku", "There is no SKU 'D'.", "unknown_sku")]
    assert np.array_equal(learnt.on_hands, [1, 2])
