"""Loading the sample retailer into an account, through the verbs that any retailer is loaded with.

Owns the translation of the sample's frames into those verbs' records, and their order: channels,
catalogue, locations and networks, rate card, buffers and customers in one transaction, then stock
in passes. Everything may be loaded again: a record that is there is not written twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import polars as pl

from penstock.access.channels import ChannelInput, upsert_channels
from penstock.app import Account
from penstock.availability.commands import put_controls
from penstock.availability.control_input import ControlInput
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.customers.commands import upsert_customers
from penstock.customers.model import CustomerInput
from penstock.db import Tx
from penstock.demo.sample import Sample
from penstock.errors import invariant
from penstock.ids import new_id
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.inventory.model import DEFAULT_SOURCE_ID, RETAIL_POOL_ID
from penstock.network.commands import set_channel_networks, upsert_locations, upsert_networks
from penstock.network.model import ChannelNetworksInput, LocationInput, NetworkInput
from penstock.network.profiles import ProfileDocument, put_profile
from penstock.passes import Pass
from penstock.records import insist

CATALOGUE = "retailer"
PROFILE = "cheapest"
STOCK_CHUNK = 5_000
Tell = Callable[[str, int, int], None]


async def load_retailer(account: Account, sample: Sample, tell: Tell) -> None:
    """Load everything but the orders; the stock is counted at the clock's instant."""
    tell("loading the retailer", 0, 1)
    await account.database.run(account.schema, partial(_load_master_data, sample=sample))
    tell("loading the retailer", 1, 1)
    cause_id = new_id()
    total = len(sample.stock)
    tell("counting stock", 0, total)
    for start in range(0, total, STOCK_CHUNK):
        chunk = sample.stock.slice(start, STOCK_CHUNK)
        work = partial(_count, account=account, stock=chunk, cause_id=cause_id)
        await account.knowledge.run_pass("stock", work)
        tell("counting stock", start + len(chunk), total)


async def _load_master_data(tx: Tx, sample: Sample) -> None:
    insist(await upsert_channels(tx, channel_inputs(sample)))
    outcomes = await upsert_products(tx, CATALOGUE, product_inputs(sample))
    refused = [outcome.refusal for outcome in outcomes if outcome.refusal]
    invariant(not refused, f"a product of the sample was refused: {refused[:1]}")
    results = await upsert_locations(tx, location_inputs(sample))
    refused = [result for result in results if not isinstance(result, str)]
    invariant(not refused, f"a location of the sample was refused: {refused[:1]}")
    insist(await upsert_networks(tx, network_inputs(sample)))
    channels = sample.channels.select("ref", "networks").iter_rows()
    named = [ChannelNetworksInput(ref, networks) for ref, networks in channels if networks]
    refused = [one for one in await set_channel_networks(tx, named) if not isinstance(one, str)]
    invariant(not refused, f"a channel's networks were refused: {refused[:1]}")
    await put_profile(tx, PROFILE, msgspec.to_builtins(profile_document(sample)))
    insist(await put_controls(tx, buffer_inputs(sample)))
    insist(await upsert_customers(tx, customer_inputs(sample)))


async def _count(tx: Pass, account: Account, stock: pl.DataFrame, cause_id: str) -> None:
    knowledge = account.knowledge
    catalogue_id = knowledge.channels.catalogue_id(knowledge.channel_id(CATALOGUE))
    products = await knowledge.products.resolve(tx, catalogue_id, stock["sku"].to_list())
    invariant(-1 not in products, "a product of the sample is not in its catalogue")
    locations = [knowledge.location_id(ref) for ref in stock["location_ref"]]
    counts = Counts(
        product_ids=np.array(products, dtype=np.int32),
        location_ids=np.array(locations, dtype=np.int32),
        pool_ids=np.full(len(stock), RETAIL_POOL_ID, dtype=np.int16),
        on_hands=stock["on_hand"].to_numpy().astype(np.int32),
        counted_us=np.full(len(stock), microseconds(tx.now), dtype=np.int64),
        source_id=DEFAULT_SOURCE_ID,
        cause_id=cause_id,
    )
    await set_stock(tx, counts)


# ── frames to records ────────────────────────────────────────────────────────────────────────────


def channel_inputs(sample: Sample) -> list[ChannelInput]:
    """Return the channels; the root sells the catalogue, and those below it inherit that."""
    return [
        ChannelInput(
            ref=row["ref"],
            parent=row["parent_ref"],
            kind=row["kind"],
            name=row["name"],
            currency=row["currency"],
            product_catalogue=None if row["parent_ref"] else CATALOGUE,
        )
        for row in sample.channels.iter_rows(named=True)
    ]


def product_inputs(sample: Sample) -> list[ProductInput]:
    """Return the products."""
    columns = sample.products.select("sku", "name", "weight_g", "price_minor")
    return [
        ProductInput(ref=sku, name=name, weight_g=weight_g, price_minor=price_minor)
        for sku, name, weight_g, price_minor in columns.iter_rows()
    ]


def location_inputs(sample: Sample) -> list[LocationInput]:
    """Return warehouses and stores; the daily capacity is of orders to deliver."""
    return [_location(row) for row in sample.locations.iter_rows(named=True)]


def _location(row: dict[str, Any]) -> LocationInput:
    return LocationInput(
        ref=row["ref"],
        kind=row["kind"],
        name=row["name"],
        address={"town": row["town"], "country": "GB"},
        latitude=row["latitude"],
        longitude=row["longitude"],
        time_zone=row["time_zone"],
        opening_hours=msgspec.json.decode(row["opening_hours"]),
        handling_cost_minor=row["handling_cost_minor"],
        handling_min=row["handling_min"],
        daily_capacity={"deliver": row["daily_capacity_orders"]},
    )


def network_inputs(sample: Sample) -> list[NetworkInput]:
    """Return the networks with the refs of their locations."""
    members = sample.network_locations.group_by("network_ref").agg("location_ref")
    refs = dict(members.iter_rows())
    return [NetworkInput(ref, refs.get(ref, [])) for ref in sample.networks["ref"]]


def profile_document(sample: Sample) -> ProfileDocument:
    """Return the rate card: its rows, ascending by distance and weight, folded into a matrix."""
    card = sample.rate_card
    distances = card["distance_km_upto"].unique(maintain_order=True)
    weights = card["weight_g_upto"].unique(maintain_order=True)
    amounts = card["amount_minor"].to_numpy().reshape(len(distances), len(weights))
    per_extra_kg = card.group_by("distance_km_upto", maintain_order=True).first()
    return ProfileDocument(
        distance_km_upto=[float(km) for km in distances],
        weight_g_upto=weights.to_list(),
        amount_minor=amounts.tolist(),
        per_extra_kg_minor=per_extra_kg["per_extra_kg_minor"].to_list(),
    )


def buffer_inputs(sample: Sample) -> list[ControlInput]:
    """Return the safety stocks."""
    columns = sample.buffers.select("qty", "channel_ref", "sku", "location_ref", "location_kind")
    return [ControlInput(*row) for row in columns.iter_rows()]


def customer_inputs(sample: Sample) -> list[CustomerInput]:
    """Return the customers with their addresses."""
    return [
        CustomerInput(
            ref=row["ref"],
            tier=row["tier"],
            name=f"Customer {row['ref']}",
            address={
                "address_lines": [row["address"]],
                "town": row["town"],
                "country": "GB",
                "latitude": row["latitude"],
                "longitude": row["longitude"],
            },
        )
        for row in sample.customers.iter_rows(named=True)
    ]
