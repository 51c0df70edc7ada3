"""The floor's arithmetic: money adds up, ids order, distances are right."""

import itertools
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import geo, ids, money
from penstock.db import copy_text
from penstock.errors import Broken, Refusal, invariant
from penstock.quantity import MAX_QTY, check_qty


@given(
    amount=st.integers(-(10**12), 10**12),
    cuts=st.lists(st.integers(0, 1000), max_size=8),
    total=st.integers(1, 1000),
)
def test_shares_of_an_amount_add_up_to_it(amount: int, cuts: list[int], total: int) -> None:
    bounds = sorted({0, total, *(cut for cut in cuts if cut < total)})
    shares = [
        money.share_minor(amount, start, stop, total) for start, stop in itertools.pairwise(bounds)
    ]
    assert sum(shares) == amount


@given(amount=st.integers(0, 10**9), qty=st.integers(1, 500))
def test_shares_of_equal_quantities_differ_by_a_minor_unit_at_most(amount: int, qty: int) -> None:
    shares = [money.share_minor(amount, unit, unit + 1, qty) for unit in range(qty)]
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("price", "per", "qty", "expected"),
    [("2.10", 1, 3, 630), ("0.005", 1, 1, 1), ("1.00", 3, 1, 33), ("19.99", 100, 250, 4998)],
)
def test_a_price_per_quantity_is_rounded_half_up(
    price: str, per: int, qty: int, expected: int
) -> None:
    assert money.price_for(Decimal(price), per, qty, "GBP") == expected


def test_a_price_has_as_many_decimals_as_its_currency() -> None:
    prices = {"JPY": 1_200, "GBP": 120_000, "KWD": 1_200_000}
    for currency, minor in prices.items():
        assert money.price_for(Decimal(1200), 1, 1, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (600, "GBP", "6.00 GBP"),
        (5, "EUR", "0.05 EUR"),
        (-123_456, "GBP", "-1,234.56 GBP"),
        (600, "JPY", "600 JPY"),
        (1_005, "KWD", "1.005 KWD"),
    ],
)
def test_an_amount_is_written_with_the_decimals_of_its_currency(
    amount: int, currency: str, expected: str
) -> None:
    assert money.written(amount, currency) == expected


@pytest.mark.parametrize("code", ["gbp", "GB", "GBPX", "", "G8P"])
def test_what_is_no_currency_code_is_refused(code: str) -> None:
    with pytest.raises(Refusal) as caught:
        money.check_currency(code)
    assert caught.value.code == "invalid_currency"


@pytest.mark.parametrize("qty", [0, -1, MAX_QTY + 1])
def test_a_quantity_out_of_range_is_refused_by_field(qty: int) -> None:
    with pytest.raises(Refusal) as caught:
        check_qty(qty, least=1, field="qty")
    assert caught.value.data["field"] == "qty"


def test_ids_are_made_in_order_and_small_integers_map_both_ways() -> None:
    made = [ids.new_id() for _ in range(100)]
    assert len(set(made)) == 100
    assert made == sorted(made)
    assert ids.to_int(ids.from_int(70_000)) == 70_000
    with pytest.raises(Refusal):
        ids.parse_id("not-an-id")


def test_great_circle_distances_are_those_of_known_pairs() -> None:
    london, edinburgh, sydney = (51.5074, -0.1278), (55.9533, -3.1883), (-33.8688, 151.2093)
    points = geo.unit_vectors(*np.array([london, edinburgh, sydney]).T)
    cosines = points @ points.T
    distances = geo.distances_km(cosines)
    assert distances[0, 1] == pytest.approx(534, abs=3)
    assert distances[0, 2] == pytest.approx(16_994, abs=30)
    assert distances[0, 0] == pytest.approx(0, abs=0.2)
    assert geo.cosines_upto(np.array([distances[0, 1]]))[0] == pytest.approx(cosines[0, 1])


@given(st.text())
def test_copy_text_leaves_no_separator_in_a_field(text: str) -> None:
    escaped = copy_text(text)
    assert not set(escaped) & {"\t", "\n", "\r"}


def test_an_invariant_that_does_not_hold_is_broken() -> None:
    with pytest.raises(Broken):
        invariant(condition=False, message="it does not")
