"""What is made about real orders: their channel, and who their customers are and where they live.

Owns channels of orders, customers' tiers and destinations. Orders, times, SKUs, quantities, prices
and customer numbers are real. An invoice without a customer gets a guest of its own. Where a
customer really lives is not known (nor used, where the file names a country): a town is drawn by
population.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from penstock.demo.draw import between, draw, draws

WHOLESALE_QTY = 480  # units in an order
WHOLESALE_LINES = 200
_MARKETPLACE_SHARE = 0.35
_TIERS = ((0.05, "gold"), (0.20, "silver"))  # the share of customers that spend most
_STREETS = (
    "High Street",
    "Station Road",
    "Church Lane",
    "Mill Road",
    "Victoria Road",
    "Park Avenue",
    "The Green",
    "London Road",
    "Queen Street",
    "Chapel Hill",
)
# Degrees either side of a town's middle: about 6 km.
_JITTER_LATITUDE = 0.054
_JITTER_LONGITUDE = 0.088


def make_orders(lines: pl.DataFrame) -> pl.DataFrame:
    """Return an order per `order_ref` of cleaned lines, by time, with channel and customer."""
    orders = lines.group_by("order_ref", maintain_order=True).agg(
        pl.col("placed_at", "customer_ref").first(),
        qty=pl.col("qty").sum(),
        lines=pl.len(),
    )
    guest = pl.lit("guest-") + pl.col("order_ref")
    orders = orders.with_columns(customer_ref=pl.coalesce("customer_ref", guest))
    drawn = draws("channel", orders["customer_ref"])
    is_wholesale = (pl.col("qty") >= WHOLESALE_QTY) | (pl.col("lines") > WHOLESALE_LINES)
    return orders.with_columns(drawn=pl.Series(drawn)).select(
        "order_ref",
        pl.when(is_wholesale)
        .then(pl.lit("wholesale"))
        .when(pl.col("drawn") < _MARKETPLACE_SHARE)
        .then(pl.lit("marketplace"))
        .otherwise(pl.lit("own_site"))
        .alias("channel_ref"),
        "customer_ref",
        "placed_at",
    )


def make_customers(orders: pl.DataFrame, lines: pl.DataFrame, towns: pl.DataFrame) -> pl.DataFrame:
    """Return the customers of these orders by ref: tier from what they spent, a made address."""
    spent = (
        lines.join(orders.select("order_ref", ref="customer_ref"), on="order_ref")
        .group_by("ref")
        .agg(spent_minor=(pl.col("qty").cast(pl.Int64) * pl.col("unit_price_minor")).sum())
        .sort("spent_minor", "ref", descending=[True, False])
    )
    refs = spent["ref"].to_list()
    is_known = ~spent["ref"].str.starts_with("guest-")
    place = is_known.cast(pl.Int32).cum_sum() / max(1, int(is_known.sum()))
    shares = zip(place, is_known, strict=True)
    tiers = [_tier(share) if known else "standard" for share, known in shares]
    upto = np.cumsum(towns["population"].to_numpy()) / int(towns["population"].sum())
    homes = towns[np.searchsorted(upto, draws("town", refs), side="right")]
    return pl.DataFrame(
        {
            "ref": refs,
            "tier": tiers,
            "town": homes["name"],
            "address": [_address(ref) for ref in refs],
            "latitude": _around(homes["latitude"], "latitude", refs, _JITTER_LATITUDE),
            "longitude": _around(homes["longitude"], "longitude", refs, _JITTER_LONGITUDE),
        }
    ).sort("ref")


def _tier(share: float) -> str:
    return next((tier for upto, tier in _TIERS if share <= upto), "standard")


def _address(ref: str) -> str:
    street = _STREETS[int(draw("street", ref) * len(_STREETS))]
    return f"{between(1, 140, draw('house', ref))} {street}"


def _around(middle: pl.Series, axis: str, refs: list[str], reach: float) -> pl.Series:
    """Return coordinates near the middle: the sum of two draws, so that the centre is denser."""
    off = draws(f"{axis} 1", refs) + draws(f"{axis} 2", refs) - 1.0
    return (middle + pl.Series(off * reach)).round(4)
