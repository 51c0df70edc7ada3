"""What can be a product."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.catalogue.model import ProductInput, check_product, is_gtin
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
