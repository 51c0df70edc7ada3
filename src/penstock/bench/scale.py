"""`bench scale`: what an order costs in a large account, against the same order in an empty one.

Two accounts of one server: a small shop (1,000 products at 50 locations, nothing sold yet), and one
with `positions` positions at the same 50 locations and `orders` past orders, shipped, written by
the raw-limit program. Each is served by one API process, and the same load goes to one and the
other in turn, for three rounds: 64 clients over HTTP, then one client alone. Orders ask for the
same 1,000 SKUs in both, so that sourcing has the same work and what differs is the size around it.
Figures are medians of the rounds; taking turns keeps other work on the machine out of the ratio.
At last one load asks the large account for all of its SKUs: that touches pages nobody has touched
for long, so that `spread_…` is told beside the ratio and is not part of it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from statistics import median

import msgspec
import numpy as np

from penstock.bench.limit import Shape, Stock, measure_shape, write_past
from penstock.bench.load import Load, post, run_load
from penstock.bench.orders import (
    CLIENTS,
    CREATED,
    LOCATIONS,
    ON_HAND,
    PRODUCTS,
    make_orders,
)
from penstock.bench.processes import Server, api_server
from penstock.bench.report import Budget, Figure, Options
from penstock.bench.retailer import SQL, Bench, Shop, judge, throw_away

POSITIONS = 10_000_000
PAST_ORDERS = 1_000_000
ROUNDS = 3
SECONDS = 6.0
ORDERS_PER_S = 1_000  # so that a round takes about so long
ALONE_PER_S = 50
WARM_UP = 1 / 3  # of a round
MOST_SECONDS = 120.0
SPREAD = 200_000  # positions that past orders took from
_GROWN = ("orders", "choice", "order_line", "fulfilment", "fulfilment_line", "event", "order_ref")
_TABLES = (*_GROWN, "trace", "sourcing_decision", "journal", "position")

SCALE_BUDGETS = (
    Budget("ratio_cost", 1.3, "most"),
    Budget("ratio_cost_processor", 1.3, "most"),
    Budget("ratio_cost_alone", 1.3, "most"),
    Budget("oversold", 0, "most"),
    Budget("stranded", 0, "most"),
    Budget("refused_while_left", 0, "most"),
    Budget("audit_breaches", 0, "most"),
)


class _Cost(msgspec.Struct):
    """What orders of one load cost: wall and processor µs an order, and the p50 (ms)."""

    wall_us: float
    processor_us: float
    p50_ms: float
    failed: int


async def bench_scale(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure orders in an empty and in a large account; returns the clients and the figures."""
    clients = options.clients or CLIENTS
    products = max((options.positions or POSITIONS) // LOCATIONS, PRODUCTS)
    past = options.orders or PAST_ORDERS
    seconds = options.seconds or SECONDS
    warm_up_orders = int(seconds * ORDERS_PER_S * WARM_UP)
    async with AsyncExitStack() as stack:
        accounts: dict[str, Bench] = {}
        servers: dict[str, Server] = {}
        for name, many in (("empty", PRODUCTS), ("large", products)):
            shop = Shop(many, LOCATIONS, ON_HAND)
            bench = accounts[name] = await stack.enter_async_context(throw_away(conninfo, shop))
            if name == "large":
                shape = await measure_shape(accounts["empty"].database, accounts["empty"].schema)
                await _make_history(bench, shape, past)
            server = api_server(conninfo, bench.account)
            servers[name] = await stack.enter_async_context(server)
            await _load(servers[name], "warm", warm_up_orders, clients)
        figures: dict[str, Figure] = {"positions": products * LOCATIONS, "past_orders": past}
        figures |= await _rounds(servers, clients, seconds)
        figures |= await _spread(
            servers["large"], (products, int(seconds * ORDERS_PER_S)), clients, figures
        )
        for name, server in servers.items():
            figures[f"{name}_api_memory_mib"] = round(server.memory_mib())
        figures |= await _judged(accounts)
    return clients, figures


async def _make_history(bench: Bench, shape: Shape, orders: int) -> None:
    """Write past orders, and clean up as autovacuum has done in an account of that age."""
    rows = await bench.database.run(
        bench.schema, lambda tx: tx.fetch(SQL.positions_to_limit, (SPREAD,))
    )
    stock = Stock([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    await write_past(bench.database, bench.schema, shape, stock, orders)
    async with bench.database.connection() as connection:
        for table in _TABLES:
            await connection.execute(f"VACUUM ANALYZE {bench.schema}.{table}".encode())
        await connection.execute(b"CHECKPOINT")


async def _rounds(servers: dict[str, Server], clients: int, seconds: float) -> dict[str, Figure]:
    """Load the accounts in turn; returns medians of each, and large against empty."""
    many: dict[str, list[_Cost]] = {name: [] for name in servers}
    alone: dict[str, list[_Cost]] = {name: [] for name in servers}
    orders, orders_alone = int(seconds * ORDERS_PER_S), int(seconds * ALONE_PER_S)
    for turn in range(ROUNDS):
        in_turn = list(servers.items())[:: -1 if turn % 2 else 1]
        for name, server in in_turn:
            many[name].append(await _load(server, f"many-{turn}", orders, clients))
        for name, server in in_turn:
            alone[name].append(await _load(server, f"alone-{turn}", orders_alone, 1))
    figures: dict[str, Figure] = {}
    wall_us = {name: median(c.wall_us for c in costs) for name, costs in many.items()}
    processor_us = {name: median(c.processor_us for c in costs) for name, costs in many.items()}
    alone_us = {name: median(c.wall_us for c in costs) for name, costs in alone.items()}
    for name in servers:
        figures[f"{name}_wall_us_per_order"] = round(wall_us[name])
        figures[f"{name}_processor_us_per_order"] = round(processor_us[name])
        figures[f"{name}_p50_ms"] = round(median(c.p50_ms for c in many[name]), 2)
        figures[f"{name}_alone_p50_ms"] = round(median(c.p50_ms for c in alone[name]), 2)
    figures["ratio_cost"] = round(wall_us["large"] / wall_us["empty"], 3)
    figures["ratio_cost_processor"] = round(processor_us["large"] / processor_us["empty"], 3)
    figures["ratio_cost_alone"] = round(alone_us["large"] / alone_us["empty"], 3)
    figures["failed"] = sum(c.failed for costs in (*many.values(), *alone.values()) for c in costs)
    return figures


async def _spread(
    server: Server, sizes: tuple[int, int], clients: int, figures: dict[str, Figure]
) -> dict[str, Figure]:
    """Return what orders for all SKUs of the large account cost, against the empty one's.

    `sizes` are how many SKUs there are and how many orders to post.
    """
    products, count = sizes
    orders = make_orders("spread", count, products).bodies
    cost = await _post(server, orders, clients)
    return {
        "spread_wall_us_per_order": round(cost.wall_us),
        "spread_processor_us_per_order": round(cost.processor_us),
        "spread_ratio_cost": round(cost.wall_us / float(figures["empty_wall_us_per_order"]), 3),
        "spread_failed": cost.failed,
    }


async def _load(server: Server, prefix: str, orders: int, clients: int) -> _Cost:
    """Post so many orders for the small shop's SKUs; the same prefix makes the same orders."""
    return await _post(server, make_orders(prefix, orders).bodies, clients)


async def _post(server: Server, bodies: list[bytes], clients: int) -> _Cost:
    """Post orders to the last of them; returns what they cost."""
    requests = [post("/v1/orders", body) for body in bodies]
    load = Load(port=server.port, clients=clients, seconds=MOST_SECONDS, requests=requests)
    before_s = server.processor_s()
    answers = await run_load(load)
    used_s = server.processor_s() - before_s
    done = answers.status == CREATED
    taken = max(int(done.sum()), 1)
    span_s = float((answers.sent_at + answers.taken_s).max() - answers.sent_at.min())
    return _Cost(
        wall_us=span_s / taken * 1e6,
        processor_us=used_s / taken * 1e6,
        p50_ms=float(np.median(answers.taken_s)) * 1000,
        failed=len(bodies) - int(done.sum()),
    )


async def _judged(accounts: dict[str, Bench]) -> dict[str, Figure]:
    """Return what is wrong in either account, summed."""
    sums: dict[str, int] = {"refused_while_left": 0}
    for bench in accounts.values():
        for name, value in (await judge(bench)).items():
            sums[name] = sums.get(name, 0) + int(value)
        rows = await bench.database.run(bench.schema, lambda tx: tx.fetch(SQL.order_counts))
        others = (count for status, count in rows if status not in {"allocated", "shipped"})
        sums["refused_while_left"] += sum(others)
    return dict(sums)
