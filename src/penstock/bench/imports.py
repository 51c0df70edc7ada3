"""`bench import` and `bench limit`: orders from a JSON Lines file, against the raw limit.

The file goes through `bulk` as `penstock import orders` takes it, in this process and in batches
of 1,000. The raw limit program runs afterwards, on the same account.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import msgspec

from penstock.app import Account, open_account
from penstock.bench.orders import (
    LOCATIONS,
    ON_HAND,
    PRODUCTS,
    make_orders,
    not_allocated,
    raw_limit,
)
from penstock.bench.report import Budget, Figure, Options
from penstock.bench.retailer import Shop, judge, throw_away
from penstock.bulk.imports import import_file
from penstock.orders.intake import OrderInput
from penstock.rules.take import NewOrder

ORDERS = 25_000
BATCH = 1_000
WARM_UP_ORDERS = 3_000

IMPORT_BUDGETS = (
    Budget("orders_per_s", 2_500),
    Budget("ratio_to_limit", 0.65),
    Budget("oversold", 0, "most"),
    Budget("stranded", 0, "most"),
    Budget("refused_while_left", 0, "most"),
    Budget("audit_breaches", 0, "most"),
)
_decoder = msgspec.json.Decoder(OrderInput)


async def bench_import(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure the import of orders; returns the number of clients (1) and the figures."""
    total = options.orders or ORDERS
    async with throw_away(conninfo, Shop(PRODUCTS, LOCATIONS, ON_HAND)) as bench:
        orders = make_orders("file", WARM_UP_ORDERS + total)
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            account = await open_account(conninfo, bench.account)
            try:
                figures = await _import(account, folder, orders.bodies)
            finally:
                await account.close()
        figures["hottest_sku_share"] = orders.hottest_sku_share
        figures |= await judge(bench)
        figures["refused_while_left"] = await not_allocated(bench)
        limit = await raw_limit(bench)
        figures["limit_per_s"] = round(limit, 1)
        figures["ratio_to_limit"] = round(float(figures["orders_per_s"]) / limit, 3)
    return 1, figures


async def bench_limit(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure the raw limit alone, on an account with a thousand real orders as the pattern."""
    async with throw_away(conninfo, Shop(PRODUCTS, LOCATIONS, ON_HAND)) as bench:
        account = await open_account(conninfo, bench.account)
        try:
            bodies = make_orders("pattern", BATCH).bodies
            await account.grouping.submit([NewOrder(_decoder.decode(body)) for body in bodies])
        finally:
            await account.close()
        limit = await raw_limit(bench, options.orders or ORDERS)
    return 1, {"limit_per_s": round(limit, 1), "orders_per_s": round(limit, 1)}


async def _import(account: Account, folder: str, bodies: list[bytes]) -> dict[str, Figure]:
    """Import a small file to warm up, then the others; returns the rate."""
    parts = {"warm": bodies[:WARM_UP_ORDERS], "orders": bodies[WARM_UP_ORDERS:]}
    figures: dict[str, Figure] = {}
    for name, part in parts.items():
        file = Path(folder) / f"{name}.jsonl"
        file.write_bytes(b"\n".join(part) + b"\n")
        started = time.perf_counter()
        summary = await import_file(account, "orders", file)
        seconds = time.perf_counter() - started
        figures = {
            "orders_per_s": round(len(part) / seconds, 1),
            "rows_failed": summary.rows_failed,
        }
    return figures
