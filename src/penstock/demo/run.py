"""The demo's work: the sample retailer loaded, its orders taken in and routed as they were placed.

Owns the order of things, the clock that follows `placed_at`, and how far a run has come: a run
that was killed goes on where it stopped, and one after the last order does nothing. That is told
by the orders themselves; the notes in `bulk_job` say only which sample it is and how long it took.

Capacities count by working day: a chunk of orders is of one day by the shop's clock, and is
decided at the instant of its last order.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from penstock.access.accounts import schema_of
from penstock.app import Account, open_account
from penstock.clock import ManualClock
from penstock.db import Database, Queries, Tx
from penstock.demo.load import load_retailer
from penstock.demo.made_network import TIME_ZONE
from penstock.demo.sample import PACKAGED, Sample, full_sample, load_sample
from penstock.errors import Broken, Refusal
from penstock.ids import new_id
from penstock.orders.intake import DestinationInput, LineInput, OrderInput
from penstock.rules.take import NewOrder, take

SQL = Queries("penstock.demo", "demo.sql")
MAX_CHUNK = 25
RETAILER, ORDERS, AUDIT = "demo.retailer", "demo.orders", "demo.audit"
Tell = Callable[[str, int, int], None]


class Source(msgspec.Struct, frozen=True):
    """Where the sample comes from: a name for people, a hash that tells it from others."""

    name: str
    digest: bytes
    full: Path | None = None

    def read(self) -> Sample:
        """Read the packaged sample, or make the whole retailer from the raw file."""
        return load_sample() if self.full is None else full_sample(self.full)


def source_of(full: Path | None = None) -> Source:
    """Return the packaged sample, or a raw file's; refuses with `sample_unreadable`."""
    files = sorted(PACKAGED.glob("*.parquet")) if full is None else [full]
    digest = hashlib.blake2b(digest_size=16)
    try:
        for file in files:
            digest.update(file.read_bytes())
    except OSError as error:
        sentence = f"{error.filename} cannot be read: {error.strerror}."
        raise Refusal("sample_unreadable", sentence) from error
    name = "the packaged sample" if full is None else full.name
    return Source(name, digest.digest(), full)


class Verdict(msgspec.Struct, frozen=True):
    """What the last audit after taking in orders said: invariants checked, breaches, when."""

    checks: int
    breaches: int
    audited_at: datetime


class Progress(msgspec.Struct, frozen=True):
    """How far an account's demo has come: orders of its sample, taken in, seconds they took."""

    digest: bytes
    sample_name: str
    is_loaded: bool
    orders: int
    orders_taken: int
    worked_s: float
    verdict: Verdict | None


async def run_demo(
    conninfo: str, name: str, source: Source, tell: Tell, limit: int | None = None
) -> bool:
    """Load the retailer and take in its orders, all or the first `limit`; only what lacks.

    Returns whether anything lacked. Refuses with `demo_of_another_sample` and `account_in_use`.
    """
    progress = await _begin(conninfo, name, source)
    wanted = progress.orders if limit is None else min(limit, progress.orders)
    if progress.is_loaded and progress.orders_taken >= wanted:
        return False
    tell("reading the sample", 0, 1)
    sample = source.read()
    tell("reading the sample", 1, 1)
    clock = ManualClock(_first_instant(sample))
    account = await open_account(conninfo, name, clock)
    try:
        if not progress.is_loaded:
            await load_retailer(account, sample, tell)
            await account.database.run(account.schema, partial(_finish_retailer, sample=sample))
        orders = sample.orders if limit is None else sample.orders.head(limit)
        await _take_orders(account, clock, sample, orders, tell)
        return True
    finally:
        await account.close()


async def progress_of(tx: Tx) -> Progress | None:
    """Read how far the account's demo has come; None if it was never begun."""
    jobs = {row[0]: row for row in await tx.fetch(SQL.jobs)}
    if jobs.keys() != {RETAILER, ORDERS, AUDIT}:
        return None
    _, name, digest, orders, _, loaded_at, _ = jobs[RETAILER]
    _, _, _, checks, breaches, audited_at, _ = jobs[AUDIT]
    return Progress(
        digest=bytes(digest),
        sample_name=name,
        is_loaded=loaded_at is not None,
        orders=orders,
        orders_taken=jobs[ORDERS][3],
        worked_s=jobs[ORDERS][6] or 0.0,
        verdict=Verdict(checks, breaches, audited_at) if audited_at else None,
    )


async def note_audit(tx: Tx, checks: int, breaches: int) -> None:
    """Note what an audit said, for the summary of a run that takes in nothing."""
    await tx.execute(SQL.note_audit, (checks, breaches))


async def _begin(conninfo: str, name: str, source: Source) -> Progress:
    """Note that the demo is begun, unless it is, and return how far it has come."""

    async def work(tx: Tx) -> Progress:
        progress = await progress_of(tx)
        if progress is None:
            await _refuse_foreign(tx, name)
            for kind in (RETAILER, ORDERS, AUDIT):
                await tx.execute(SQL.begin_job, (new_id(), kind, source.name, source.digest))
            progress = await progress_of(tx)
        if progress is None:
            raise Broken("the demo's notes were written and are not there")
        if progress.digest != source.digest:
            raise Refusal(
                "demo_of_another_sample",
                f"Account {name} holds the demo of {progress.sample_name}, not of {source.name}: "
                "begin anew with `penstock demo --reset`.",
            )
        return progress

    database = Database(conninfo, size=1)
    await database.open()
    try:
        return await database.run(schema_of(name), work)
    finally:
        await database.close()


async def _refuse_foreign(tx: Tx, name: str) -> None:
    row = await tx.fetch_one(SQL.is_foreign)
    if row is not None and row[0]:
        raise Refusal(
            "account_in_use",
            f"Account {name} holds something else than the demo. `penstock demo --reset` drops it "
            "and begins anew.",
            account=name,
        )


async def _finish_retailer(tx: Tx, sample: Sample) -> None:
    await tx.execute(SQL.finish_retailer, (len(sample.orders),))


def _first_instant(sample: Sample) -> datetime:
    """Return the midnight before the first order."""
    first: Any = sample.orders["placed_at"].min()
    return first.replace(hour=0, minute=0, second=0, microsecond=0)


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


async def _take_orders(
    account: Account, clock: ManualClock, sample: Sample, orders: pl.DataFrame, tell: Tell
) -> None:
    """Take in the orders that are not there yet, by day, and note how far that is."""
    taken = await _taken_refs(account, orders)
    lacking = orders.filter(~pl.col("order_ref").is_in(taken))
    done, total = len(taken), len(orders)
    tell("routing orders", done, total)
    for chunk in chunks_of(lacking):
        inputs = order_inputs(sample, chunk)
        started = time.perf_counter()
        clock.advance_to(chunk["placed_at"][-1])
        for answer in await take(account.knowledge, [NewOrder(order) for order in inputs]):
            if isinstance(answer, Refusal):
                raise Broken(f"an order of the sample was refused: {answer.message}")
        done += len(chunk)
        worked_s = time.perf_counter() - started
        await account.database.run(
            account.schema, partial(_note_orders, done=done, worked_s=worked_s)
        )
        tell("routing orders", done, total)


async def _note_orders(tx: Tx, done: int, worked_s: float) -> None:
    await tx.execute(SQL.note_orders, (done, worked_s))


async def _taken_refs(account: Account, orders: pl.DataFrame) -> list[str]:
    params = (orders["channel_ref"].unique().to_list(), orders["order_ref"].to_list())

    async def work(tx: Tx) -> list[str]:
        return [row[0] for row in await tx.fetch(SQL.taken_refs, params)]

    return await account.database.run(account.schema, work)


def chunks_of(orders: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut orders, by time, into chunks of one local day and at most `MAX_CHUNK` each."""
    day = pl.col("placed_at").dt.convert_time_zone(TIME_ZONE).dt.date()
    for of_day in orders.with_columns(day=day).partition_by("day", maintain_order=True):
        yield from of_day.iter_slices(MAX_CHUNK)


def order_inputs(sample: Sample, orders: pl.DataFrame) -> list[OrderInput]:
    """Return the orders as a client would send them: lines, customer, address."""
    refs = orders["order_ref"]
    mine = sample.order_lines.filter(pl.col("order_ref").is_in(refs.implode()))
    lines: dict[str, list[LineInput]] = {ref: [] for ref in refs}
    for ref, line_no, sku, qty, price_minor in mine.iter_rows():
        price = Decimal(price_minor).scaleb(-2)
        lines[ref].append(LineInput(sku=sku, qty=qty, unit_price=price, ref=str(line_no)))
    customers = sample.customers.filter(pl.col("ref").is_in(orders["customer_ref"].implode()))
    homes = {row["ref"]: row for row in customers.iter_rows(named=True)}
    return [
        OrderInput(
            channel=row["channel_ref"],
            ref=row["order_ref"],
            customer=row["customer_ref"],
            placed_at=row["placed_at"],
            destination=_destination(homes[row["customer_ref"]]),
            lines=lines[row["order_ref"]],
        )
        for row in orders.iter_rows(named=True)
    ]


def _destination(home: Mapping[str, Any]) -> DestinationInput:
    return DestinationInput(
        latitude=home["latitude"],
        longitude=home["longitude"],
        name=f"Customer {home['ref']}",
        address_lines=[home["address"]],
        town=home["town"],
        country="GB",
    )
