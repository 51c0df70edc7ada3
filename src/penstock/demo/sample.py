"""The sample retailer as plain frames: the packaged sample, or the whole raw file.

Owns the struct that the demo's loader reads and how it comes about: real order lines
(`penstock.demo.clean`) plus what is made around them by seeded makers (`made_network`,
`made_demand`, `made_stock`, `weights`). Writes nothing and knows no database.

Invariants: every ref names a row of its frame; refs are unique; SKUs are upper case; quantities
and prices are positive; amounts are pence (GBP); `placed_at` is UTC.
"""

from pathlib import Path

import msgspec
import polars as pl

from penstock.demo.clean import clean_lines, read_raw
from penstock.demo.made_demand import make_customers, make_orders
from penstock.demo.made_network import (
    make_buffers,
    make_channels,
    make_locations,
    make_network_locations,
    make_networks,
    make_rate_card,
    read_towns,
)
from penstock.demo.made_stock import demand_of, make_stock
from penstock.demo.weights import weight_g
from penstock.errors import Refusal

PACKAGED = Path(__file__).parent / "data"


class Sample(msgspec.Struct, frozen=True):
    """A retailer to load, frame by frame in this order: a frame refers only to those before it."""

    # sku, name, weight_g, price_minor: the price most often charged
    products: pl.DataFrame
    # ref, kind: warehouse or store, name, town, latitude, longitude in degrees, time_zone,
    # opening_hours: JSON text as in table `location`, local, all seven days, `[]` is closed,
    # daily_capacity_orders, handling_cost_minor: per fulfilment, handling_min
    locations: pl.DataFrame
    # ref
    networks: pl.DataFrame
    # network_ref, location_ref
    network_locations: pl.DataFrame
    # ref, parent_ref (null: the root), kind, name, currency, networks (list of refs; empty: those
    # of the parent); parents first
    channels: pl.DataFrame
    # channel_ref, sku, location_ref, location_kind (each null: whichever), qty; table `control`
    buffers: pl.DataFrame
    # ref, tier: standard, silver or gold, town, address: house and street, latitude, longitude
    customers: pl.DataFrame
    # sku, location_ref, on_hand: before the first order
    stock: pl.DataFrame
    # distance_km_upto, weight_g_upto, amount_minor, per_extra_kg_minor (of the distance band, above
    # its last weight band): every pair of bands, ascending by distance and then weight, so that
    # `amount_minor` reshapes to (distances, weights)
    rate_card: pl.DataFrame
    # order_ref, channel_ref, customer_ref (their address is the destination), placed_at; by time
    orders: pl.DataFrame
    # order_ref, line_no (from 1), sku, qty, unit_price_minor; in the order of `orders`
    order_lines: pl.DataFrame


def load_sample(path: Path | None = None) -> Sample:
    """Read the packaged sample, or one that `make_sample` wrote into the folder `path`.

    Refuses `sample_unreadable` if a file is missing or no Parquet.
    """
    folder = path or PACKAGED
    return Sample(**{name: _read(folder / f"{name}.parquet") for name in Sample.__struct_fields__})


def full_sample(parquet_path: Path) -> Sample:
    """Make the same retailer for the whole raw file, with all its orders. Takes some seconds.

    Refuses `sample_unreadable` and `sample_columns_missing`.
    """
    return sample_of(clean_lines(read_raw(parquet_path)))


def sample_of(lines: pl.DataFrame) -> Sample:
    """Make a retailer around cleaned lines (columns as `clean_lines` gives them)."""
    towns = read_towns()
    locations = make_locations(towns)
    orders = make_orders(lines)
    demand = demand_of(orders, lines)
    return Sample(
        products=_products(lines),
        locations=locations,
        networks=make_networks(),
        network_locations=make_network_locations(locations),
        channels=make_channels(),
        buffers=make_buffers(locations, demand["sku"].head(10).to_list()),
        customers=make_customers(orders, lines, towns),
        stock=make_stock(demand, locations),
        rate_card=make_rate_card(),
        orders=orders,
        order_lines=lines.select("order_ref", "line_no", "sku", "qty", "unit_price_minor"),
    )


def _products(lines: pl.DataFrame) -> pl.DataFrame:
    often = (
        lines.group_by("sku", "name", "unit_price_minor")
        .len()
        .sort(["sku", "len", "unit_price_minor"], descending=[False, True, False])
        .unique("sku", keep="first", maintain_order=True)
    )
    described = often.select("sku", "name", "unit_price_minor")
    weights = [weight_g(*row) for row in described.iter_rows()]
    return often.select(
        "sku",
        "name",
        pl.Series("weight_g", weights, dtype=pl.Int32),
        price_minor="unit_price_minor",
    )


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Refusal("sample_unreadable", f"{path} cannot be read as Parquet: {error}") from error
