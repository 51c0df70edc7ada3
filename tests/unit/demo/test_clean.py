"""Cleaning of the raw sheet, rule by rule, on rows made by hand."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.demo.clean import RAW_COLUMNS, clean_lines, read_raw
from penstock.errors import Refusal

Row = tuple[str, str, str | None, int, str, float, float | None]
SUMMER = "2010-07-05 09:30:00"
WINTER = "2010-12-06 09:30:00"


def row(
    *,
    invoice: str = "500001",
    code: str = "85048",
    name: str | None = "GLASS BALL",
    qty: int = 2,
    at: str = WINTER,
    price: float = 6.95,
    customer: float | None = 13085.0,
) -> Row:
    return (invoice, code, name, qty, at, price, customer)


def cleaned(*rows: Row) -> pl.DataFrame:
    text = ("Invoice", "StockCode", "Description", "InvoiceDate")
    schema: pl.Schema = pl.Schema(
        (name, pl.String if name in text else pl.Int64 if name == "Quantity" else pl.Float64)
        for name in RAW_COLUMNS
    )
    return clean_lines(pl.DataFrame(list(rows), schema=schema, orient="row"))


def test_an_ordinary_line_is_kept_with_pence_and_a_number_in_its_order() -> None:
    assert cleaned(row()).rows() == [
        (
            "500001",
            1,
            "85048",
            "GLASS BALL",
            2,
            695,
            datetime(2010, 12, 6, 9, 30, tzinfo=UTC),
            "13085",
        )
    ]


@pytest.mark.parametrize("invoice", ["C500001", "A500001"])
def test_a_cancellation_or_adjustment_is_no_order(invoice: str) -> None:
    assert cleaned(row(invoice=invoice)).is_empty()


@pytest.mark.parametrize(
    "code",
    [
        *("POST", "DOT", "M", "m", "D", "S", "B", "C2", "C3", "CRUK", "BANK CHARGES", "AMAZONFEE"),
        *("ADJUST", "ADJUST2", "gift_0001_30", "GIFT", "TEST001", "PADS"),
    ],
)
def test_a_service_code_is_no_product(code: str) -> None:
    assert cleaned(row(code=code)).is_empty()


@pytest.mark.parametrize("code", ["85048", "79323P", "15056BL", "DCGS0058", "DCGSSBOY", "SP1002"])
def test_a_product_s_code_is_kept(code: str) -> None:
    assert cleaned(row(code=code))["sku"].to_list() == [code]


def test_a_return_and_a_line_without_a_price_are_left_out() -> None:
    assert cleaned(row(qty=-2), row(qty=0), row(price=0.0), row(price=0.001)).is_empty()


def test_a_code_in_lower_case_or_with_blanks_is_the_same_sku() -> None:
    lines = cleaned(row(code="79323p", qty=1), row(code=" 79323P ", qty=4))
    assert lines.select("sku", "qty").rows() == [("79323P", 5)]


def test_a_blank_description_takes_the_one_the_sku_has_most_often() -> None:
    lines = cleaned(
        row(invoice="500001", name=None),
        row(invoice="500002", name="GLASS  BALL "),
        row(invoice="500003", name="GLASS BALL"),
        row(invoice="500004", name="BALL, BROKEN?"),
        row(invoice="500005", name=" "),
    )
    assert lines["name"].unique().to_list() == ["GLASS BALL"]


def test_a_sku_never_described_is_called_by_its_code() -> None:
    assert cleaned(row(name=None))["name"].to_list() == ["85048"]


def test_a_sku_rung_up_twice_at_one_price_is_one_line_and_at_two_prices_two() -> None:
    lines = cleaned(row(qty=2), row(code="10002", qty=1), row(qty=2), row(qty=3, price=5.0))
    assert lines.select("line_no", "sku", "qty", "unit_price_minor").rows() == [
        (1, "85048", 4, 695),
        (2, "10002", 1, 695),
        (3, "85048", 3, 500),
    ]


def test_an_invoice_over_two_minutes_is_placed_at_the_first() -> None:
    lines = cleaned(row(at="2010-12-06 09:31:00"), row(code="10002", at=WINTER))
    assert lines["placed_at"].unique().to_list() == [datetime(2010, 12, 6, 9, 30, tzinfo=UTC)]


def test_a_summer_morning_in_london_is_an_hour_earlier_in_utc() -> None:
    assert cleaned(row(at=SUMMER))["placed_at"].to_list() == [
        datetime(2010, 7, 5, 8, 30, tzinfo=UTC)
    ]


def test_an_unknown_customer_stays_unknown() -> None:
    assert cleaned(row(customer=None))["customer_ref"].to_list() == [None]


@given(
    st.lists(
        st.tuples(st.sampled_from(["10002", "10080", "M"]), st.integers(-5, 9), st.integers(0, 3))
    )
)
def test_what_an_invoice_sold_is_neither_more_nor_less_after_merging(
    rung_up: list[tuple[str, int, int]],
) -> None:
    lines = cleaned(*(row(code=c, qty=q, price=p / 100) for c, q, p in rung_up))
    sold = sum(q * p for c, q, p in rung_up if c != "M" and q > 0)
    assert sum(q * p for q, p in lines.select("qty", "unit_price_minor").iter_rows()) == sold


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    path.write_text("Invoice,StockCode\n")
    with pytest.raises(Refusal) as refused:
        read_raw(path)
    assert refused.value.code == "sample_unreadable"


def test_another_parquet_file_is_refused_naming_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    pl.DataFrame({"Invoice": ["1"], "Price": [1.0]}).write_parquet(path)
    with pytest.raises(Refusal) as refused:
        read_raw(path)
    assert refused.value.code == "sample_columns_missing"
    assert refused.value.data["columns"] == [
        c for c in RAW_COLUMNS if c not in {"Invoice", "Price"}
    ]
