"""What can be a product."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.catalogue.model import (
    ComponentInput,
    PriceInput,
    ProductInput,
    check_product,
    is_gtin,
    price_at,
)
from penstock.errors import Refusal

# GS1 General Specifications: the figures are its own examples and a known book's.
VALID = ["4006381333931", "96385074", "036000291452", "10012345678902", "9780201379624"]


@pytest.mark.parametrize("gtin", VALID)
def test_a_gtin_with_its_check_digit_is_one(gtin: str) -> None:
    assert is_gtin(gtin)


@given(st.sampled_from(VALID), st.integers(0, 7), st.integers(1, 9))
def test_a_gtin_with_one_wrong_digit_is_none(gtin: str, place: int, by: int) -> None:
    wrong = str((int(gtin[place]) + by) % 10)
    assert not is_gtin(gtin[:place] + wrong + gtin[place + 1 :])


@pytest.mark.parametrize("text", ["", "0", "400638133393", "٤٠٠٦٣٨١٣", "4006381 33931"])
def test_what_is_no_row_of_so_many_digits_is_no_gtin(text: str) -> None:
    assert not is_gtin(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ref", ""),
        ("ref", "x" * 101),
        ("kind", "castle"),
        ("weight_g", -1),
        ("weight_g", 100_000_001),
        ("price_minor", -1),
        ("price_minor", 2**62),
        ("gtin", "4006381333932"),
        ("height_mm", -1),
        ("tax_class", ""),
        ("parent_ref", "A"),
        ("components", [ComponentInput("B")]),
    ],
)
def test_a_product_is_refused_by_the_field_that_is_wrong(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"ref": "A", field: value}
    with pytest.raises(Refusal) as caught:
        check_product(ProductInput(**fields))
    assert caught.value.code == "invalid_product"
    assert caught.value.data["field"] == field


def test_a_product_needs_no_more_than_a_ref() -> None:
    check_product(ProductInput("x" * 100))


MAY, JUNE = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("price", "field"),
    [
        (PriceInput("EURO", Decimal(1)), "prices[0].currency"),
        (PriceInput("JPY", Decimal("1.5")), "prices[0].unit_price"),
        (PriceInput("GBP", Decimal(-1)), "prices[0].unit_price"),
        (PriceInput("GBP", Decimal(1), qty_from=0), "prices[0].qty_from"),
        (PriceInput("GBP", Decimal(1), valid_from=JUNE, valid_until=MAY), "prices[0].valid_until"),
        (PriceInput("GBP", Decimal(1), valid_from=datetime(2026, 5, 1)), "prices[0].valid_from"),  # noqa: DTZ001 (that is what is wrong)
    ],
)
def test_a_price_is_refused_by_its_field(price: PriceInput, field: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_product(ProductInput("A", prices=[price]))
    assert caught.value.data["field"] == field


def test_a_price_for_many_may_have_more_decimals_than_its_currency() -> None:
    check_product(ProductInput("A", prices=[PriceInput("JPY", Decimal("1.5"), per_qty=100)]))


def test_the_price_that_counts_is_valid_then_from_the_largest_quantity_then_the_newest() -> None:
    prices = [
        PriceInput("GBP", Decimal(10)),
        PriceInput("GBP", Decimal(9), valid_from=MAY),
        PriceInput("GBP", Decimal(8), qty_from=10, valid_until=JUNE),
        PriceInput("EUR", Decimal(12)),
        PriceInput("GBP", Decimal(5), type="sale"),
    ]

    def price(qty: int, at: datetime) -> Decimal | None:
        found = price_at(prices, "list", "GBP", qty, at)
        return found and found.unit_price

    before = datetime(2026, 4, 1, tzinfo=UTC)
    assert [price(1, before), price(1, MAY), price(10, MAY), price(10, JUNE)] == [10, 9, 8, 9]
    assert price_at(prices, "sale", "EUR", 1, MAY) is None
