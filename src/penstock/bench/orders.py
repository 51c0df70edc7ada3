"""`bench orders`: whole orders over HTTP, and the raw limit they are held against.

An order of two lines is posted by each of 64 clients, one at a time; the answer is the decision:
sourced, allocated, its fulfilments made. Stock is ample, so that an order answered short while
units are left is a defect (`refused_while_left`). SKUs are asked for unevenly: place x of n with a
probability of 1/(2·√(x·n)). The raw limit program runs afterwards, on the same account.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from penstock.app import open_account
from penstock.bench.feed import feed, write_feed
from penstock.bench.limit import Stock, measure_shape, run_limit
from penstock.bench.load import Answers, Load, post, run_load
from penstock.bench.processes import Server, api_server
from penstock.bench.report import Budget, Figure, Options, percentiles
from penstock.bench.retailer import SQL, Bench, Shop, judge, throw_away

PRODUCTS = 1_000
LOCATIONS = 50
ON_HAND = 10_000
CLIENTS = 64
SECONDS = 10.0
WARM_UP_S = 2.0
ALONE_S = 3.0
MOST_PER_S = 6_000
LIMIT_ORDERS = 20_000
FEED_ROWS = 1_000_000
FED_S = 10.0
CREATED = 201

ORDERS_BUDGETS = (
    Budget("orders_per_s", 1_500),
    Budget("p95_ms", 80, "most"),
    Budget("alone_p50_ms", 10, "most"),
    Budget("ratio_to_limit", 0.5),
    Budget("fed_p95_ms", 160, "most"),
    Budget("oversold", 0, "most"),
    Budget("stranded", 0, "most"),
    Budget("refused_while_left", 0, "most"),
    Budget("audit_breaches", 0, "most"),
)


class Orders(msgspec.Struct):
    """Made orders as JSON, and the share of them that ask for the hottest SKU."""

    bodies: list[bytes]
    hottest_sku_share: float


def make_orders(prefix: str, count: int, products: int = PRODUCTS, lines: int = 2) -> Orders:
    """Make orders of so many lines with distinct SKUs, to places all over the island."""
    draw = random.Random(prefix)  # noqa: S311 (made data)
    asked: Counter[int] = Counter()
    bodies: list[bytes] = []
    for number in range(count):
        skus: set[int] = set()
        while len(skus) < lines:
            skus.add(int(products * draw.random() ** 2) + 1)
        asked.update(skus)
        parts = ",".join(f'{{"sku":"S{sku}","qty":1,"unit_price":"9.95"}}' for sku in sorted(skus))
        to = f'"latitude":{50 + draw.random() * 8:.4f},"longitude":{draw.random() * 6 - 5:.4f}'
        body = (
            f'{{"channel":"web","ref":"{prefix}-{number}","lines":[{parts}],'
            f'"destination":{{{to},"name":"A customer","address_lines":["1 High Street"],'
            f'"town":"Town","postcode":"TN1 1AA","country":"GB"}}}}'
        )
        bodies.append(body.encode())
    hottest = max(asked.values(), default=0) / max(count, 1)
    return Orders(bodies, round(hottest, 4))


async def bench_orders(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure orders over HTTP; returns the number of clients and the figures."""
    clients = options.clients or CLIENTS
    products = max((options.positions or 0) // LOCATIONS, PRODUCTS)
    if options.feed:
        products = max(products, FEED_ROWS // LOCATIONS)
    async with throw_away(conninfo, Shop(products, LOCATIONS, ON_HAND)) as bench:
        processes = (options.processes or (1,))[0]
        async with api_server(conninfo, bench.account, processes) as server:
            figures = await _over_http(server, clients, options)
            figures |= await _alone(server)
            if options.feed:
                figures |= await _while_fed(bench, server, clients)
            figures["api_memory_mib"] = round(server.memory_mib())
        figures |= await judge(bench)
        figures["refused_while_left"] = await not_allocated(bench)
        figures |= await _ratio(bench, float(figures["orders_per_s"]))
    return clients, figures


async def _over_http(server: Server, clients: int, options: Options) -> dict[str, Figure]:
    seconds = options.seconds or SECONDS
    total = options.orders or int((seconds + WARM_UP_S) * MOST_PER_S)
    orders = make_orders("many", total)
    requests = [post("/v1/orders", body) for body in orders.bodies]
    before = server.processor_s()
    answers = await run_load(
        Load(port=server.port, clients=clients, seconds=seconds + WARM_UP_S, requests=requests)
    )
    used_s = server.processor_s() - before
    counted = answers.after(WARM_UP_S) & (answers.status == CREATED)
    return {
        "orders_per_s": round(answers.rate(counted), 1),
        **percentiles(answers.taken_s[counted]),
        "failed": failed(answers),
        "api_processor_us_per_order": round(used_s / max(len(answers.status), 1) * 1e6),
        "hottest_sku_share": orders.hottest_sku_share,
    }


def failed(answers: Answers) -> int:
    """Return how many requests were not answered with success."""
    return int(np.count_nonzero((answers.status < 200) | (answers.status >= 300)))  # noqa: PLR2004


async def _alone(server: Server) -> dict[str, Figure]:
    orders = make_orders("alone", int(ALONE_S * 500))
    requests = [post("/v1/orders", body) for body in orders.bodies]
    answers = await run_load(Load(port=server.port, clients=1, seconds=ALONE_S, requests=requests))
    return percentiles(answers.taken_s, "alone_")


async def _while_fed(bench: Bench, server: Server, clients: int) -> dict[str, Figure]:
    """Post orders while a feed of a million rows, all changed, is taken in by this process."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        file = Path(folder) / "stock.parquet"
        write_feed(file, range(1, FEED_ROWS // LOCATIONS + 1), LOCATIONS, ON_HAND + 1)
        account = await open_account(bench.conninfo, bench.account)
        feeding = asyncio.create_task(feed(account, file))
        requests = [post("/v1/orders", body) for body in make_orders("fed", 60_000).bodies]
        load = Load(port=server.port, clients=clients, seconds=FED_S, requests=requests)
        answers = await run_load(load)
        summary = await feeding
        await account.close()
    counted = answers.after(1.0) & (answers.status == CREATED)
    figures = percentiles(answers.taken_s[counted], "fed_")
    figures["fed_orders_per_s"] = round(answers.rate(counted), 1)
    figures["fed_feed_rows_per_s"] = round(summary.rows_per_s)
    figures["fed_failed"] = failed(answers)
    return figures


async def not_allocated(bench: Bench) -> int:
    """Return how many orders have another status than `allocated`: stock was ample for all."""
    rows = await bench.database.run(bench.schema, lambda tx: tx.fetch(SQL.order_counts))
    return sum(count for status, count in rows if status != "allocated")


async def _ratio(bench: Bench, rate: float) -> dict[str, Figure]:
    limit = await raw_limit(bench)
    return {"limit_per_s": round(limit, 1), "ratio_to_limit": round(rate / limit, 3)}


async def raw_limit(bench: Bench, orders: int = LIMIT_ORDERS) -> float:
    """Run the raw limit program on an account that holds real orders; returns orders a second."""
    shape = await measure_shape(bench.database, bench.schema)
    rows = await bench.database.run(
        bench.schema, lambda tx: tx.fetch(SQL.positions_to_limit, (20_000,))
    )
    stock = Stock([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    await run_limit(bench.database, bench.schema, shape, stock, 2_000)
    return await run_limit(bench.database, bench.schema, shape, stock, orders)
