"""Cleaning of the raw *Online Retail II* sheet: from invoice lines to the order lines of a shop.

Owns what counts as an order line: an ordinary invoice (cancellations begin with C, ledger
adjustments with A), a product's code (postage, fees, vouchers, samples, tests and the like are
none), a positive quantity and at least a penny. Invoice times are the shop's clock, so London's.

Lines of one invoice with the same SKU and price are one line: a SKU rung up twice was sold twice,
so their quantities add up, exact duplicates included, and the invoice's total stays what it was.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from penstock.errors import Refusal

RAW_COLUMNS = (
    "Invoice",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "Price",
    "Customer ID",
)
# Five digits and up to two letters; DCGS and SP are codes of products of the web shop.
PRODUCT_SKU = r"^([0-9]{5}[A-Z]{0,2}|DCGS[0-9A-Z]+|SP[0-9]{4})$"
ORDER_INVOICE = r"^[0-9]+$"


def read_raw(path: Path) -> pl.DataFrame:
    """Read the raw sheet from a Parquet file.

    Refuses `sample_unreadable` if it is no Parquet file, `sample_columns_missing` if it is another.
    """
    try:
        raw = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Refusal("sample_unreadable", f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in RAW_COLUMNS if name not in raw.columns]
    if missing:
        names = ", ".join(missing)
        raise Refusal("sample_columns_missing", f"{path} has no column {names}.", columns=missing)
    return raw


def clean_lines(raw: pl.DataFrame) -> pl.DataFrame:
    """Return order lines, by time and then as invoiced.

    Columns: order_ref, line_no (1, 2, … per order), sku, name, qty, unit_price_minor (pence),
    placed_at (UTC, the invoice's first minute), customer_ref (null: not known).
    """
    kept = _sold(_typed(raw))
    order = pl.col("order_ref")
    lines = kept.group_by("order_ref", "sku", "unit_price_minor", maintain_order=True).agg(
        pl.col("qty").sum(), pl.col("placed_at", "customer_ref").first()
    )
    return (
        lines.join(_names(kept), on="sku", how="left")
        .with_columns(placed_at=pl.col("placed_at").min().over("order_ref"))
        .sort("placed_at", "order_ref", maintain_order=True)
        .with_columns(line_no=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(order))
        .select(
            "order_ref",
            "line_no",
            "sku",
            "name",
            pl.col("qty", "unit_price_minor").cast(pl.Int32),
            "placed_at",
            "customer_ref",
        )
    )


def _typed(raw: pl.DataFrame) -> pl.DataFrame:
    at = pl.col("InvoiceDate")
    if raw.schema["InvoiceDate"] == pl.String:
        at = at.str.to_datetime("%Y-%m-%d %H:%M:%S")
    local = at.cast(pl.Datetime("us")).dt.replace_time_zone("Europe/London", ambiguous="earliest")
    return raw.select(
        order_ref=pl.col("Invoice").cast(pl.String).str.strip_chars(),
        sku=pl.col("StockCode").cast(pl.String).str.strip_chars().str.to_uppercase(),
        name=pl.col("Description").str.replace_all(r"\s+", " ").str.strip_chars(),
        qty=pl.col("Quantity").cast(pl.Int64),
        unit_price_minor=(pl.col("Price") * 100).round().cast(pl.Int64),
        placed_at=local.dt.convert_time_zone("UTC"),
        customer_ref=pl.col("Customer ID").cast(pl.Int64).cast(pl.String),
    )


def _sold(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.filter(
        pl.col("order_ref").str.contains(ORDER_INVOICE),
        pl.col("sku").str.contains(PRODUCT_SKU),
        pl.col("qty") > 0,
        pl.col("unit_price_minor") > 0,
    )


def _names(kept: pl.DataFrame) -> pl.DataFrame:
    """Return each SKU's most frequent description; its code where none was ever given."""
    named = (
        kept.filter(pl.col("name").str.len_chars() > 0)
        .group_by("sku", "name")
        .len()
        .sort(["sku", "len", "name"], descending=[False, True, False])
        .unique("sku", keep="first", maintain_order=True)
        .select("sku", "name")
    )
    every = kept.select("sku").unique()
    return every.join(named, on="sku", how="left").with_columns(name=pl.coalesce("name", "sku"))
