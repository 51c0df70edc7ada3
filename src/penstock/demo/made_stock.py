"""The made stock: how much of each SKU lies where before the first order comes.

Owns the spread. Supply is made from the demand of the orders it stands beside: most SKUs have a
little more than is wanted, some have nowhere near enough. Daventry keeps nearly the whole range,
the other warehouses the popular part of it; stores keep slices of what sells best, and a few SKUs
are in stores only. Wholesale is served by warehouses alone, so stores are given no share of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from penstock.demo.draw import between, draw

_SCARCE_SHARE = 0.03
_STORES_ONLY_SHARE = 0.03
_STORE_RANGE = 900  # SKUs by popularity that stores may keep
_STORE_PART = 0.30  # of what is wanted apart from wholesale
_MAX_STORES = 26
# warehouse: the part of the range it keeps, by popularity, and its weight in the spread
_RANGES = {
    "WH-DAVENTRY": (1.05, 6.0),
    "WH-WARRINGTON": (0.72, 1.3),
    "WH-SWINDON": (0.60, 1.1),
    "WH-LIVINGSTON": (0.40, 0.7),
}


def demand_of(orders: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Return per SKU: units wanted, of them not wholesale, and orders; the most ordered first."""
    is_retail = pl.col("channel_ref") != "wholesale"
    return (
        lines.join(orders.select("order_ref", "channel_ref"), on="order_ref")
        .group_by("sku")
        .agg(
            qty=pl.col("qty").sum().cast(pl.Int64),
            qty_retail=pl.col("qty").filter(is_retail).sum().cast(pl.Int64),
            orders=pl.col("order_ref").n_unique(),
        )
        .sort("orders", "sku", descending=[True, False])
    )


def make_stock(demand: pl.DataFrame, locations: pl.DataFrame) -> pl.DataFrame:
    """Return on-hand units per SKU and location, for `demand` as `demand_of` orders it."""
    stores = locations.filter(pl.col("kind") == "store")["ref"].to_list()
    rows: list[tuple[str, str, int]] = []
    for rank, (sku, qty, qty_retail, _orders) in enumerate(demand.iter_rows()):
        supply = qty * _supply_factor(sku)
        if _is_stores_only(sku, qty, qty_retail):
            rows += _in_stores(sku, supply, stores)
            continue
        in_stores = _STORE_PART * qty_retail * _supply_factor(sku) if rank < _STORE_RANGE else 0.0
        rows += _in_stores(sku, in_stores, stores)
        rows += _in_warehouses(sku, supply - in_stores, rank / len(demand))
    schema = {"sku": pl.String, "location_ref": pl.String, "on_hand": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("sku", "location_ref")


def _supply_factor(sku: str) -> float:
    drawn = draw("supply", sku)
    if drawn < _SCARCE_SHARE:
        return 0.25 + 0.5 * drawn / _SCARCE_SHARE
    return 1.0 + 0.4 * (drawn - _SCARCE_SHARE) / (1 - _SCARCE_SHARE)


def _is_stores_only(sku: str, qty: int, qty_retail: int) -> bool:
    return qty_retail > qty / 2 and draw("stores only", sku) < _STORES_ONLY_SHARE


def _in_warehouses(sku: str, supply: float, rank: float) -> Iterator[tuple[str, str, int]]:
    weights: dict[str, float] = {}
    for ref, (range_kept, weight) in _RANGES.items():
        # The edge of a range is no clean cut: the draw moves a SKU up or down the list.
        if rank + 0.2 * (draw(f"range {ref}", sku) - 0.5) < range_kept:
            weights[ref] = weight * (0.3 + 1.4 * draw(f"weight {ref}", sku))
    weights = weights or {"WH-DAVENTRY": 1.0}
    total = sum(weights.values())
    for ref, weight in weights.items():
        if (on_hand := round(supply * weight / total)) > 0:
            yield sku, ref, on_hand


def _in_stores(sku: str, supply: float, stores: list[str]) -> Iterator[tuple[str, str, int]]:
    count = min(between(4, _MAX_STORES, draw("stores", sku)), round(supply / 3))
    ranked = sorted(stores, key=lambda ref: draw(f"store {ref}", sku))[: max(count, 0)]
    weights = {ref: 0.2 + draw(f"slice {ref}", sku) for ref in ranked}
    total = sum(weights.values())
    for ref, weight in weights.items():
        if (on_hand := round(supply * weight / total)) > 0:
            yield sku, ref, on_hand
