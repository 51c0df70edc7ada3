"""A small shop that stories, engine tests and the simulator share, driven in this process.

Eight stores on a line, `L1` at the customers' door in Bath and each next one a hundred kilometres
further, so that the nearest with stock is the cheapest. Products `P1` to `P60`, and `WRAP`, which
needs no stock. Channels `web` and `market`. Stock is what a test counts in. An opened account is
what a process holds: a test that wants two processes opens two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import psycopg
from psycopg import AsyncConnection

from penstock.access.accounts import create_account, drop_account, schema_of
from penstock.app import Account, open_account
from penstock.audit.run import audit
from penstock.clock import Clock
from penstock.db import Database
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.network.profiles import put_profile
from penstock.orders.intake import DestinationInput, LineInput, OrderInput
from penstock.rules.take import NewOrder, RootEvent
from penstock.rules.work import run_due

PATIENCE_S = 30.0
LOCATIONS = 8
BATH = DestinationInput(51.38, -2.36, town="Bath", country="GB")
SEED = f"""
INSERT INTO product_catalogue (ref) VALUES ('main');
INSERT INTO product (id, catalogue_id, ref, weight_g)
    SELECT n, 1, 'P' || n, 400 FROM generate_series(1, 60) AS n;
INSERT INTO product (id, catalogue_id, ref, is_stocked) VALUES (61, 1, 'WRAP', false);
ALTER TABLE product ALTER COLUMN id RESTART WITH 62;
INSERT INTO channel (id, ref, kind, currency, catalogue_id)
    VALUES (1, 'web', 'site', 'GBP', 1), (2, 'market', 'marketplace', 'GBP', 1);
INSERT INTO location (id, ref, kind, latitude, longitude, time_zone)
    SELECT n, 'L' || n, 'store', 51.38 + 0.9 * (n - 1), -2.36, 'Europe/London'
    FROM generate_series(1, {LOCATIONS}) AS n;
UPDATE revision SET value = value + 1;
"""
PROFILE = {
    "distance_km_upto": [50.0 + 100.0 * n for n in range(LOCATIONS)],
    "weight_g_upto": [1_000_000],
    "amount_minor": [[300 + 100 * n] for n in range(LOCATIONS)],
    "per_extra_kg_minor": [100] * LOCATIONS,
}


class Shop(msgspec.Struct, frozen=True):
    """A shop's account: where it is, and plain SQL on it."""

    conninfo: str
    name: str

    @property
    def schema(self) -> str:
        return schema_of(self.name)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Run statements in the account's schema; returns the last one's rows, if it has some."""
        with psycopg.connect(self.conninfo, options=f"-c search_path={self.schema}") as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str) -> Any:
        """Return the one value of a query."""
        return self.sql(query)[0][0]


@contextmanager
def shop(conninfo: str, name: str, more: str = "") -> Generator[Shop]:
    """Lend a fresh shop (`more` is SQL run on it), dropped afterwards."""
    drop_account(conninfo, name)
    try:
        yield make_shop(conninfo, name, more)
    finally:
        drop_account(conninfo, name)


def make_shop(conninfo: str, name: str, more: str = "") -> Shop:
    """Make a shop's account (`more` is SQL run on it)."""
    create_account(conninfo, name)
    made = Shop(conninfo, name)
    made.sql(SEED + more)
    asyncio.run(_put_profile(made))
    return made


async def _put_profile(lent: Shop) -> None:
    database = Database(lent.conninfo, size=1)
    await database.open()
    await database.run(lent.schema, lambda tx: put_profile(tx, "default", PROFILE))
    await database.close()


@asynccontextmanager
async def opened(lent: Shop, clock: Clock | None = None) -> AsyncGenerator[Account]:
    """Open the account as one more process would, and close it afterwards."""
    account = await open_account(lent.conninfo, lent.name, clock)
    try:
        yield account
    finally:
        await account.close()


def order(ref: str, *lines: tuple[str, int], **more: Any) -> OrderInput:
    """Return an order of (SKU, quantity) lines, delivered to Bath unless `more` says otherwise."""
    asked = [LineInput(sku=sku, qty=qty) for sku, qty in lines]
    fields: dict[str, Any] = {"channel": "web", "lines": asked, "destination": BATH, **more}
    return OrderInput(ref=ref, **fields)


async def count(
    account: Account, *rows: tuple[str, str, int], at: datetime | None = None
) -> list[int]:
    """Count stock as (SKU, location, on hand); returns the outcomes."""
    counted_us = microseconds(at or account.knowledge.clock.now())
    counts = Counts(
        np.array([account.knowledge.product_id(1, row[0]) for row in rows], dtype=np.int32),
        np.array([account.knowledge.location_id(row[1]) for row in rows], dtype=np.int32),
        np.ones(len(rows), dtype=np.int16),
        np.array([row[2] for row in rows], dtype=np.int32),
        np.full(len(rows), counted_us, dtype=np.int64),
        1,
        new_id(),
    )
    outcomes = await account.knowledge.run_pass("stock", lambda tx: set_stock(tx, counts))
    return outcomes.tolist()


def answered(result: bytes | Refusal) -> Any:
    """Return the document of a result; a refusal fails the test."""
    assert isinstance(result, bytes), result.as_document()
    return msgspec.json.decode(result)


async def place(account: Account, *orders: OrderInput, wait: bool = True) -> list[Any]:
    """Place orders in one group; returns their documents."""
    items = [NewOrder(one, wait=wait) for one in orders]
    return [answered(result) for result in await account.grouping.submit(items)]


def event_for(
    order_id: str, name: str, payload: dict[str, Any], key: str | None = None
) -> RootEvent:
    """Return an event for an order, or for the fulfilment that `fulfilment_id` names."""
    event = RootEvent(order_id, name, payload, key)
    if name.startswith("fulfilment."):
        event.entity, event.entity_id = "fulfilment", payload["fulfilment_id"]
    return event


async def tell(
    account: Account, order_id: str, name: str, key: str | None = None, **payload: Any
) -> Any:
    """Send an event to an order, or its fulfilment in the payload; returns document or refusal."""
    (result,) = await account.grouping.submit([event_for(order_id, name, payload, key)])
    return result if isinstance(result, Refusal) else answered(result)


async def work(account: Account) -> int:
    """Run what is due as a worker does, until nothing is; returns how many events that were."""
    done = 0
    async with await AsyncConnection.connect(account.conninfo) as connection:
        deadline = time.monotonic() + PATIENCE_S
        while events := await run_due(account.knowledge, connection.info.backend_pid):
            done += events
            assert time.monotonic() < deadline, "the worker never comes to an end"
    return done


async def until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds; fails with `what` after a bounded time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


def until_true(condition: Callable[[], bool], what: str) -> None:
    """Wait as `until` does, where nothing runs in this process's loop."""
    asyncio.run(until(condition, what))


async def assert_clean(lent: Shop, account: Account) -> None:
    """Wait until every pass is numbered, then audit: no breach, each explained if there is one."""
    await assert_numbered(lent)
    report = await audit(account.database, lent.schema)
    examples = [sentence for check in report.checks for sentence in check.examples]
    assert report.breaches == 0, "\n".join(examples[:20])


async def assert_index_equals_database(lent: Shop, account: Account) -> None:
    """Wait until the index follows the newest pass, then compare every position."""
    await assert_numbered(lent)
    newest = lent.value("SELECT coalesce(max(number), 0) FROM pass")
    await asyncio.wait_for(account.follower.reached(newest), PATIENCE_S)
    assert positions_in_index(account) == positions_in_database(lent)


async def assert_numbered(lent: Shop) -> None:
    unnumbered = "SELECT count(*) FROM pass WHERE number IS NULL"
    await until(lambda: lent.value(unnumbered) == 0, "passes stay without a number")


def positions_in_index(account: Account) -> list[tuple[int, ...]]:
    index = account.knowledge.index
    size = index.size
    ids = np.flatnonzero((index.product[:size] > 0) & (index.version[:size] > 0))
    columns = (index.product, index.location, index.on_hand, index.reserved, index.version)
    return list(zip(ids.tolist(), *(column[ids].tolist() for column in columns), strict=True))


def positions_in_database(lent: Shop) -> list[tuple[int, ...]]:
    query = "SELECT id, product_id, location_id, on_hand, reserved, version FROM position"
    return lent.sql(f"{query} WHERE version > 0 ORDER BY id")


def stock_of(lent: Shop, sku: str) -> dict[str, tuple[int, int]]:
    """Return (on hand, reserved) of a SKU by location."""
    rows = lent.sql(
        "SELECT l.ref, p.on_hand, p.reserved FROM position p JOIN location l ON l.id = "
        f"p.location_id JOIN product o ON o.id = p.product_id WHERE o.ref = '{sku}' ORDER BY 1"
    )
    return {ref: (on_hand, reserved) for ref, on_hand, reserved in rows}


def locations_of(document: Any, *statuses: str) -> list[str]:
    """Return the locations of an order's fulfilments, those of some statuses if any are named."""
    found = [f for f in document["fulfilments"] if not statuses or f["status"] in statuses]
    return sorted(f["location"] for f in found)


def counters(document: Any, place: int = 0) -> tuple[int, int, int, int]:
    """Return allocated, unsourced, shipped and cancelled of the n-th line."""
    lines: Sequence[Any] = [line for choice in document["choices"] for line in choice["lines"]]
    names = ("qty_allocated", "qty_unsourced", "qty_shipped", "qty_cancelled")
    allocated, unsourced, shipped, cancelled = (lines[place][name] for name in names)
    return allocated, unsourced, shipped, cancelled
