"""`bench stock`: a feed of a million rows from a Parquet file, and how fresh availability is.

The file goes through `bulk` as `penstock import stock` takes it: first every row has another
quantity than is known, then the same file again, which changes nothing but instants. Freshness is
measured afterwards, while a writer keeps changing stock: from the return of a commit here until an
API process, with an index of its own, answers it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from penstock.app import open_account
from penstock.bench.available import Written, write_stock
from penstock.bench.feed import feed, write_feed
from penstock.bench.processes import api_server
from penstock.bench.report import Budget, Figure, Options
from penstock.bench.retailer import Bench, Shop, judge, throw_away
from penstock.ids import new_id
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.passes import Pass, run_pass

ROWS = 1_000_000
LOCATIONS = 100
ON_HAND = 40
PROBES = 150
PROBE_EVERY_S = 0.04
PROBE_TIMEOUT_S = 10.0

STOCK_BUDGETS = (
    Budget("rows_per_s", 120_000),
    Budget("unchanged_rows_per_s", 400_000),
    Budget("freshness_p99_ms", 250, "most"),
    Budget("oversold", 0, "most"),
    Budget("stranded", 0, "most"),
    Budget("audit_breaches", 0, "most"),
)


async def bench_stock(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure a stock feed and freshness; returns the number of clients (1) and the figures."""
    products = max((options.positions or ROWS) // LOCATIONS, 2) + 1
    figures: dict[str, Figure] = {"rows": (products - 1) * LOCATIONS}
    async with throw_away(conninfo, Shop(products, LOCATIONS, ON_HAND)) as bench:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            file = Path(folder) / "stock.parquet"
            write_feed(file, range(2, products + 1), LOCATIONS, ON_HAND + 1)
            account = await open_account(conninfo, bench.account)
            try:
                for name in ("rows_per_s", "unchanged_rows_per_s"):
                    started = time.perf_counter()
                    summary = await feed(account, file)
                    seconds = time.perf_counter() - started
                    figures[name] = round(int(figures["rows"]) / seconds)
                    figures[name.replace("rows_per_s", "rows_failed")] = summary.rows_failed
            finally:
                await account.close()
        figures |= await _freshness(bench)
        figures |= await judge(bench)
    return 1, figures


# ── freshness ────────────────────────────────────────────────────────────────────────────────────


async def _freshness(bench: Bench) -> dict[str, Figure]:
    writer = asyncio.create_task(write_stock(bench, Written()))
    try:
        async with (
            api_server(bench.conninfo, bench.account) as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        ):
            taken = [await _probe(bench, client, number) for number in range(PROBES)]
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
    p50, p99 = np.percentile(taken, (50, 99)) * 1000
    return {"freshness_p50_ms": round(float(p50), 1), "freshness_p99_ms": round(float(p99), 1)}


async def _probe(bench: Bench, client: httpx.AsyncClient, number: int) -> float:
    """Count one position; returns the seconds until another process says so."""
    now = datetime.now(UTC)
    on_hand = 1_000 + number
    counts = Counts(
        np.array([1], dtype=np.int32),
        np.array([1], dtype=np.int32),
        np.array([1], dtype=np.int16),
        np.array([on_hand], dtype=np.int32),
        np.array([microseconds(now)]),
        1,
        new_id(),
    )

    async def work(tx: Pass) -> None:
        await set_stock(tx, counts)

    await run_pass(bench.database, bench.schema, "probe", lambda: now, work)
    committed = time.perf_counter()
    wanted = f'"location":"L1","available":{on_hand}}}'.encode()
    query = {"channel": "web", "sku": "S1", "locations": "true"}
    while time.perf_counter() - committed < PROBE_TIMEOUT_S:
        answer = await client.get("/v1/availability", params=query)
        if wanted in answer.content:
            break
        await asyncio.sleep(0.001)
    taken = time.perf_counter() - committed
    await asyncio.sleep(PROBE_EVERY_S)
    return taken
