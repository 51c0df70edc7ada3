"""Levels by scope, states in two bits, and what a record of a threshold may say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability.shop import locations

from penstock.availability.states import AT_RISK, BLOCK, IN_STOCK, OUT_OF_STOCK, grown, packed_with
from penstock.availability.states import unpack as unpacked
from penstock.availability.threshold_input import ThresholdInput, check_threshold, ref_of, watch_of
from penstock.availability.thresholds import Stored, Thresholds, entered
from penstock.errors import Refusal


@given(st.dictionaries(st.integers(0, 3 * BLOCK - 1), st.integers(0, 3), max_size=50))
def test_states_survive_being_stored(told: dict[int, int]) -> None:
    column = grown(np.zeros(0, dtype=np.uint8), 3 * BLOCK - 1)
    ids = np.array(list(told), dtype=np.int32)
    states = np.array(list(told.values()), dtype=np.uint8)
    blocks, packed = packed_with(column, ids, states)
    assert not column.any()
    column[ids] = states
    assert sorted({int(one) // BLOCK for one in told}) == blocks
    for block, body in zip(blocks, packed, strict=True):
        assert len(body) == BLOCK // 4
        assert (unpacked(body) == column[block * BLOCK : (block + 1) * BLOCK]).all()


def test_a_column_grows_and_keeps_what_it_held() -> None:
    column = grown(np.zeros(0, dtype=np.uint8), 5)
    column[5] = AT_RISK
    longer = grown(column, 10 * BLOCK)
    assert len(longer) % BLOCK == 0
    assert longer[5] == AT_RISK
    assert grown(longer, 7) is longer


def test_the_narrowest_threshold_holds() -> None:
    rows = [
        Stored("", "position", None, None, None, None, 2, 0),
        Stored("", "position", None, None, "mugs", None, 4, 0),
        Stored("", "position", None, 1, None, None, 6, 0),
        Stored("", "position", None, 1, None, 20, 8, 7),
        Stored("", "aggregate", 9, None, None, None, 99, 0),
    ]
    found = Thresholds(rows, locations(3), {"mugs": np.array([1, 2])})
    assert found.watches == [("aggregate", 9), ("position", 0)]
    levels = found.levels("position", 0)
    products = np.array([1, 1, 1, 2, 2, 3, 3, 3])
    places = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    available = np.array([8, 7, 6, 4, 5, 2, 3, 0])
    assert levels.states(products, places, available).tolist() == [
        *(AT_RISK, OUT_OF_STOCK, AT_RISK, AT_RISK),
        *(IN_STOCK, AT_RISK, IN_STOCK, OUT_OF_STOCK),
    ]


def test_what_is_new_comes_in_as_it_is() -> None:
    states = np.array([0, 0, AT_RISK], dtype=np.uint8)
    came = entered(states, np.array([3, 0, 0]))
    assert came.tolist() == [IN_STOCK, OUT_OF_STOCK, AT_RISK]


@pytest.mark.parametrize(
    ("field", "threshold"),
    [
        ("at_risk", ThresholdInput(at_risk=1, out_of_stock=2)),
        ("channel", ThresholdInput(at_risk=1, watch="base")),
        ("channel", ThresholdInput(at_risk=1, watch="position", channel="web")),
        ("location", ThresholdInput(at_risk=1, channel="web", location="L1")),
        ("category", ThresholdInput(at_risk=1, sku="P1", category="mugs")),
        ("category", ThresholdInput(at_risk=1, category="")),
        ("ref", ThresholdInput(at_risk=1, ref="")),
        ("at_risk", ThresholdInput(at_risk=-1)),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(field: str, threshold: ThresholdInput) -> None:
    with pytest.raises(Refusal) as refused:
        check_threshold(threshold)
    assert refused.value.data["field"] == field


def test_a_threshold_says_what_it_watches_and_is_named_after_it() -> None:
    assert watch_of(ThresholdInput(at_risk=1)) == "position"
    assert watch_of(ThresholdInput(at_risk=1, channel="web")) == "aggregate"
    assert (
        ref_of(ThresholdInput(at_risk=1, channel="web", sku="P1")) == "aggregate channel=web sku=P1"
    )
    assert ref_of(ThresholdInput(at_risk=1, ref="few")) == "few"
