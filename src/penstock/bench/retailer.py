"""The throw-away account of a benchmark: a made retailer, its stock, and how it is judged.

Owns what benchmarks share: three channels, two networks, buffers, a rate card, so many products at
so many locations, filled by SQL with the journal that goes with it, so that the audit is clean. The
account is dropped at the end, whatever happens.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from penstock.access.accounts import create_account, drop_account, schema_of
from penstock.access.channels import ChannelInput, upsert_channels
from penstock.audit.run import audit
from penstock.bench.report import Figure
from penstock.db import Database, Queries, Tx
from penstock.events.partitions import make_partitions
from penstock.ids import new_id
from penstock.network.profiles import ProfileDocument, put_profile

SQL = Queries("penstock.bench", "bench.sql")
POSITIONS_PER_PASS = 500_000
RATE_CARD = ProfileDocument(
    distance_km_upto=[50, 150, 300, 99_999],
    weight_g_upto=[1_000, 2_000, 5_000, 10_000],
    amount_minor=[
        [300, 350, 450, 600],
        [320, 380, 500, 700],
        [350, 420, 560, 800],
        [400, 500, 650, 900],
    ],
    per_extra_kg_minor=[50, 60, 70, 80],
)
_CHANNELS = (("web", "site"), ("market", "marketplace"), ("trade", "wholesale"))


class Shop(msgspec.Struct, frozen=True):
    """How large the made retailer is: so many products, each on hand at every location."""

    products: int
    locations: int
    on_hand: int


class Bench(msgspec.Struct):
    """A benchmark's account: where it is, its pool, and how large it was made."""

    conninfo: str
    account: str
    schema: str
    database: Database
    shop: Shop


@asynccontextmanager
async def throw_away(conninfo: str, shop: Shop) -> AsyncGenerator[Bench, None]:
    """Make an account with a random name and fill it; it is dropped at the end."""
    account = f"bench_{secrets.token_hex(6)}"
    create_account(conninfo, account)
    database = Database(conninfo, size=4)
    try:
        await database.open()
        bench = Bench(conninfo, account, schema_of(account), database, shop)
        await database.run(bench.schema, lambda tx: make_partitions(tx, datetime.now(UTC).date()))
        await database.run(bench.schema, lambda tx: _make_retailer(tx, shop))
        await _fill(bench)
        yield bench
    finally:
        await database.close()
        drop_account(conninfo, account)


async def _make_retailer(tx: Tx, shop: Shop) -> None:
    await tx.execute(SQL.make_catalogue)
    await upsert_channels(
        tx,
        [
            ChannelInput(ref, kind=kind, currency="GBP", product_catalogue="main")
            for ref, kind in _CHANNELS
        ],
    )
    await tx.execute(SQL.make_products, (shop.products,))
    await tx.execute(SQL.make_locations, (shop.locations,))
    for name in ("make_networks", "make_network_locations", "make_channel_networks"):
        await tx.execute(SQL.texts()[name])
    await tx.execute(SQL.make_controls)
    await put_profile(tx, "default", msgspec.to_builtins(RATE_CARD))
    await tx.execute(SQL.bump_revisions)


async def _fill(bench: Bench) -> None:
    total = bench.shop.products * bench.shop.locations
    for first in range(1, total + 1, POSITIONS_PER_PASS):
        last = min(first + POSITIONS_PER_PASS - 1, total)

        async def work(tx: Tx, block: tuple[int, int] = (first, last)) -> None:
            await _fill_block(tx, bench, *block)

        await bench.database.run(bench.schema, work)
    await bench.database.run(bench.schema, lambda tx: tx.execute(SQL.restart_position_ids))
    async with bench.database.connection() as connection:
        for table in ("position", "journal", "product", "location"):
            await connection.execute(f"VACUUM ANALYZE {bench.schema}.{table}".encode())
        await connection.execute(b"CHECKPOINT")


async def _fill_block(tx: Tx, bench: Bench, first: int, last: int) -> None:
    pass_id = new_id()
    row = await tx.fetch_one(SQL.make_pass, (pass_id,))
    block = {
        "pass_id": pass_id,
        "journal_base": row[0] if row else 0,
        "locations": bench.shop.locations,
        "on_hand": bench.shop.on_hand,
        "first": first,
        "last": last,
        "now": datetime.now(UTC),
    }
    cursor = tx.connection.cursor()
    await cursor.execute(SQL.fill_positions, block)
    await cursor.execute(SQL.fill_journal, block)


async def judge(bench: Bench) -> dict[str, Figure]:
    """Return oversold units, stranded units, and the breaches of an audit.

    Stranded is what positions have reserved and no live reservation explains.
    """
    row = await bench.database.run(bench.schema, lambda tx: tx.fetch_one(SQL.stock_sums))
    _, _, oversold, stranded = row or (0, 0, 0, 0)
    report = await audit(bench.database, bench.schema)
    return {
        "oversold": int(oversold),
        "stranded": int(stranded),
        "audit_breaches": report.breaches,
    }
