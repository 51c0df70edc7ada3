"""The made network: 4 warehouses and 60 stores in real towns, what they cost and how much they do.

Owns locations, networks, channels, buffers and the carrier's rate card. Towns are real; opening
hours, capacities, costs and which town has a store are made. Nothing here depends on demand.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl

from penstock.demo.draw import between, draw

_TOWNS = Path(__file__).parent / "towns.csv"
WAREHOUSE_TOWNS = ("Daventry", "Warrington", "Swindon", "Livingston")
STORE_COUNT = 60
TIME_ZONE = "Europe/London"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_Hours = list[list[str]]
_SHIFTS: _Hours = [["06:00", "22:00"]]
_SHORT_SHIFT: _Hours = [["08:00", "16:00"]]
_SHOP: _Hours = [["09:00", "17:30"]]
_LATE: _Hours = [["09:00", "20:00"]]
_SUNDAY: _Hours = [["10:30", "16:30"]]
_LUNCH: _Hours = [["09:30", "13:00"], ["14:00", "17:30"]]

# Monday to Sunday; the number is how many stores in a hundred keep these hours.
_WAREHOUSE_HOURS: list[_Hours] = [*[_SHIFTS] * 5, _SHORT_SHIFT, _SHORT_SHIFT]
_STORE_HOURS: tuple[tuple[int, list[_Hours]], ...] = (
    (35, [*[_SHOP] * 6, _SUNDAY]),
    (25, [*[_SHOP] * 6, []]),
    (20, [_SHOP, _SHOP, _SHOP, _LATE, _LATE, _SHOP, _SUNDAY]),
    (12, [*[_LUNCH] * 6, []]),
    (8, [[], *[_SHOP] * 5, _SUNDAY]),
)
# town: orders a day, pence per parcel, minutes until it can leave
_WAREHOUSES: dict[str, tuple[int, int, int]] = {
    "Daventry": (110, 45, 60),
    "Warrington": (45, 55, 60),
    "Swindon": (40, 55, 90),
    "Livingston": (25, 70, 90),
}

_DISTANCE_KM_UPTO = (25, 75, 150, 300, 500, 1500)
_WEIGHT_G_UPTO = (500, 1000, 2000, 5000, 10000, 20000, 30000)
_BASE_MINOR = (245, 285, 335, 445, 620, 890, 1190)
_DISTANCE_FACTOR = (1.0, 1.08, 1.18, 1.35, 1.6, 2.1)
_PER_EXTRA_KG_MINOR = (14, 17, 21, 27, 36, 52)


def read_towns() -> pl.DataFrame:
    """Return the packaged towns: name, latitude, longitude, population."""
    return pl.read_csv(_TOWNS)


def make_locations(towns: pl.DataFrame) -> pl.DataFrame:
    """Return the locations: warehouses first, then stores by town."""
    rows = towns.rows(named=True)
    of_town = {row["name"]: row for row in rows}
    warehouses = [_warehouse(of_town[town]) for town in WAREHOUSE_TOWNS]
    stores = sorted((_store(row) for row in _store_towns(rows)), key=lambda row: row["ref"])
    return pl.DataFrame(
        [*warehouses, *stores],
        schema_overrides={
            "daily_capacity_orders": pl.Int32,
            "handling_cost_minor": pl.Int32,
            "handling_min": pl.Int32,
        },
    )


def make_networks() -> pl.DataFrame:
    """Return the networks by ref."""
    return pl.DataFrame({"ref": ["warehouses", "stores"]})


def make_network_locations(locations: pl.DataFrame) -> pl.DataFrame:
    """Return which locations belong to which network: each kind is one."""
    return locations.select(network_ref=pl.col("kind") + "s", location_ref="ref")


def make_channels() -> pl.DataFrame:
    """Return the channels, parents first. No networks named: those of the parent."""
    columns = ("ref", "parent_ref", "kind", "name", "currency", "networks")
    rows = [
        ("retailer", None, "retailer", "The sample retailer", "GBP", ["warehouses", "stores"]),
        ("own_site", "retailer", "site", "Own site", "GBP", []),
        ("marketplace", "retailer", "marketplace", "Marketplace", "GBP", []),
        ("wholesale", "retailer", "wholesale", "Wholesale", "GBP", ["warehouses"]),
    ]
    return pl.DataFrame(rows, schema=columns, orient="row")


def make_buffers(locations: pl.DataFrame, popular_skus: list[str]) -> pl.DataFrame:
    """Return the safety stocks. Null: whatever channel, SKU, location or kind of location.

    Wholesale must leave most behind: one of its orders would empty a shelf for a hundred others.
    """
    busiest = locations.filter(pl.col("kind") == "store").sort(
        "daily_capacity_orders", "ref", descending=[True, False]
    )["ref"][0]
    rows: list[tuple[str | None, str | None, str | None, str | None, int]] = [
        ("retailer", None, None, "store", 1),
        ("marketplace", None, None, "store", 2),
        ("marketplace", None, None, "warehouse", 2),
        ("wholesale", None, None, "warehouse", 84),
        ("retailer", None, busiest, None, 3),
    ]
    rows += [("marketplace", sku, None, "warehouse", 12) for sku in popular_skus[:10]]
    columns = {
        "channel_ref": pl.String,
        "sku": pl.String,
        "location_ref": pl.String,
        "location_kind": pl.String,
        "qty": pl.Int32,
    }
    return pl.DataFrame(rows, schema=columns, orient="row")


def make_rate_card() -> pl.DataFrame:
    """Return what a parcel costs: one row per distance band and weight band, both ascending."""
    rows = [
        (km, grams, round(base * factor / 5) * 5, extra)
        for km, factor, extra in zip(
            _DISTANCE_KM_UPTO, _DISTANCE_FACTOR, _PER_EXTRA_KG_MINOR, strict=True
        )
        for grams, base in zip(_WEIGHT_G_UPTO, _BASE_MINOR, strict=True)
    ]
    columns = ("distance_km_upto", "weight_g_upto", "amount_minor", "per_extra_kg_minor")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.Int32), orient="row")


def _store_towns(towns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Draw towns without replacement: twice as likely where four times as many people live."""
    free = [town for town in towns if town["name"] not in WAREHOUSE_TOWNS]

    def rank(town: dict[str, Any]) -> float:
        return -math.log(1.0 - draw("store", town["name"])) / math.sqrt(town["population"])

    return sorted(free, key=rank)[:STORE_COUNT]


def _warehouse(town: dict[str, Any]) -> dict[str, Any]:
    capacity, cost, minutes = _WAREHOUSES[town["name"]]
    return _location("warehouse", town, _WAREHOUSE_HOURS, (capacity, cost, minutes))


def _store(town: dict[str, Any]) -> dict[str, Any]:
    name = town["name"]
    size = min(1.0, math.sqrt(town["population"] / 500_000))
    capacity = 2 + between(0, 6 * size, draw("capacity", name))
    cost = 10 * between(11, 24, draw("handling cost", name))
    minutes = 30 * between(4, 10, draw("handling minutes", name))
    return _location("store", town, _store_hours(name), (capacity, cost, minutes))


def _store_hours(name: str) -> list[_Hours]:
    drawn, upto = draw("hours", name) * 100, 0
    for share, hours in _STORE_HOURS:
        upto += share
        if drawn < upto:
            return hours
    return _STORE_HOURS[0][1]


def _location(
    kind: str, town: dict[str, Any], hours: list[_Hours], figures: tuple[int, int, int]
) -> dict[str, Any]:
    name = town["name"]
    slug = name.upper().replace("'", "").replace(" ", "-")
    return {
        "ref": f"{'WH' if kind == 'warehouse' else 'ST'}-{slug}",
        "kind": kind,
        "name": f"{name} {kind}",
        "town": name,
        "latitude": town["latitude"],
        "longitude": town["longitude"],
        "time_zone": TIME_ZONE,
        "opening_hours": json.dumps(dict(zip(_DAYS, hours, strict=True)), separators=(",", ":")),
        "daily_capacity_orders": figures[0],
        "handling_cost_minor": figures[1],
        "handling_min": figures[2],
    }
