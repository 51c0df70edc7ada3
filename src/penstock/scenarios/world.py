"""The throw-away account of a scenario: made, given what it starts with, opened, dropped.

Owns what is made where a scenario leaves it out: channel `web`, catalogue `main`, a plain rate
card, and every location and SKU that stock names.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import numpy as np
import psycopg

from penstock.access.accounts import create_account, drop_account, schema_of
from penstock.access.channels import ChannelInput, upsert_channels
from penstock.app import Account, open_account
from penstock.audit.report import Report
from penstock.audit.run import audit
from penstock.availability.commands import put_controls
from penstock.availability.thresholds import put_thresholds
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.clock import ManualClock
from penstock.customers.commands import upsert_customers
from penstock.db import Database, Tx
from penstock.engine.workflows import put_workflow
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.inventory.model import DEFAULT_SOURCE_ID, RETAIL_POOL_ID
from penstock.network.commands import upsert_locations, upsert_networks
from penstock.network.model import LocationInput
from penstock.network.profiles import ProfileInput, upsert_profiles
from penstock.passes import Pass
from penstock.records import Result, insist
from penstock.scenarios.document import Given, Read, Scenario, StockGiven, instant_of

CATALOGUE = "main"
WEIGHT_G = 500
LONDON = (51.5, -0.12)
NORTHWARDS = 0.5  # degrees of latitude from one made location to the next
RATES = ProfileInput(
    ref="default",
    distance_km_upto=[50, 150, 300, 20_000],
    weight_g_upto=[1_000, 5_000, 20_000],
    amount_minor=[[300, 400, 700], [350, 450, 800], [400, 500, 900], [600, 800, 1_200]],
    per_extra_kg_minor=[50, 60, 70, 90],
)


class World(msgspec.Struct):
    """A scenario's account, opened at its clock; `pid` is of the worker's connection."""

    account: Account
    clock: ManualClock
    pid: int

    async def audit(self) -> Report:
        """Check every invariant of the account."""
        database = Database(self.account.conninfo, size=1)
        await database.open()
        try:
            return await audit(database, self.account.schema)
        finally:
            await database.close()


@asynccontextmanager
async def world(conninfo: str, read: Read, scenario: Scenario) -> AsyncGenerator[World]:
    """Lend a scenario's account; it is dropped afterwards, whatever happens."""
    name = f"scenario_{secrets.token_hex(5)}"
    given = with_what_is_named(read.file.given, scenario)
    create_account(conninfo, name)
    try:
        database = Database(conninfo, size=1)
        await database.open()
        try:
            await database.run(schema_of(name), partial(_load, given=given))
        finally:
            await database.close()
        clock = ManualClock(instant_of(read.file.now))
        account = await open_account(conninfo, name, clock)
        try:
            await _put_workflows(account, read)
            await count(account, given.stock)
            async with await psycopg.AsyncConnection.connect(conninfo) as connection:
                yield World(account, clock, connection.info.backend_pid)
        finally:
            await account.close()
    finally:
        drop_account(conninfo, name)


async def _put_workflows(account: Account, read: Read) -> None:
    vocabulary = account.knowledge.vocabulary
    for name, text in zip(read.file.workflows, read.workflows, strict=True):
        work = partial(put_workflow, text=text, vocabulary=vocabulary)
        try:
            await account.database.run(account.schema, work)
        except Refusal as refusal:
            sentence = f"{read.path}: workflow {name}: {refusal.message}"
            raise Refusal(refusal.code, sentence, **refusal.data) from None


def with_what_is_named(given: Given, scenario: Scenario) -> Given:
    """Return what is given with what it, or a step's count, names and nobody has made."""
    counted = [*given.stock, *(row for step in scenario.steps for row in step.stock or ())]
    channels = given.channels or [ChannelInput("web", currency="GBP")]
    tops = [one for one in channels if one.parent is None and one.product_catalogue is None]
    for one in tops:
        one.product_catalogue = CATALOGUE
    made = {one.ref for one in given.locations}
    named = dict.fromkeys(row.location for row in counted)
    locations = [
        LocationInput(ref, "store", LONDON[0] + NORTHWARDS * place, LONDON[1])
        for place, ref in enumerate(one for one in named if one not in made)
    ]
    known = {one.ref for one in given.products}
    skus = dict.fromkeys([row.sku for row in counted] + _ordered(scenario))
    products = [ProductInput(sku, weight_g=WEIGHT_G) for sku in skus if sku not in known]
    return msgspec.structs.replace(
        given,
        channels=channels,
        locations=[*given.locations, *locations],
        products=[*given.products, *products],
        profiles=given.profiles or [RATES],
    )


def _ordered(scenario: Scenario) -> list[str]:
    lines = [line for step in scenario.steps if step.order for line in step.order.get("lines", [])]
    return [str(line["sku"]) for line in lines if isinstance(line, dict) and "sku" in line]


async def _load(tx: Tx, given: Given) -> None:
    insist(await upsert_channels(tx, given.channels))
    outcomes = await upsert_products(tx, CATALOGUE, given.products)
    insist([outcome.refusal or outcome.status for outcome in outcomes])
    insist(await upsert_locations(tx, given.locations))
    insist(await upsert_networks(tx, given.networks))
    insist(await upsert_profiles(tx, given.profiles))
    insist(await put_controls(tx, given.controls))
    insist(await put_thresholds(tx, given.thresholds))
    insist(await upsert_customers(tx, given.customers))


async def count(account: Account, rows: Sequence[StockGiven]) -> None:
    """Count stock in, at the clock's instant; refuses `unknown_sku`, `unknown_location`."""
    if not rows:
        return
    knowledge = account.knowledge
    catalogue_id = knowledge.channels.catalogue_id(min(knowledge.channels.refs))

    async def work(tx: Pass) -> None:
        products = await knowledge.products.resolve(tx, catalogue_id, [row.sku for row in rows])
        results: list[Result] = [
            _unknown(row.sku) if product < 0 else "known"
            for row, product in zip(rows, products, strict=True)
        ]
        insist(results)
        locations = [knowledge.location_id(row.location) for row in rows]
        counts = Counts(
            product_ids=np.array(products, dtype=np.int32),
            location_ids=np.array(locations, dtype=np.int32),
            pool_ids=np.full(len(rows), RETAIL_POOL_ID, dtype=np.int16),
            on_hands=np.array([row.on_hand for row in rows], dtype=np.int32),
            counted_us=np.full(len(rows), microseconds(tx.now), dtype=np.int64),
            source_id=DEFAULT_SOURCE_ID,
            cause_id=new_id(),
        )
        await set_stock(tx, counts)

    await knowledge.run_pass("stock", work)


def _unknown(sku: str) -> Refusal:
    return Refusal("unknown_sku", f"There is no SKU {sku!r}.", sku=sku)
