"""`bench promise`: what a cart of five lines would get, over HTTP, from a thousand locations.

Carts name made products and destinations; two carrier services serve by distance, every location
has hours. Nothing is written meanwhile: a promise is answered from memory.
"""

from __future__ import annotations

import random

from penstock.bench.load import Load, post, run_load
from penstock.bench.orders import failed
from penstock.bench.processes import api_server
from penstock.bench.report import Budget, Figure, Options, percentiles
from penstock.bench.retailer import Shop, judge, throw_away
from penstock.db import Queries, Tx
from penstock.network.carriers import upsert_carriers
from penstock.network.hours import WEEKDAYS
from penstock.network.lanes import Band, CarrierInput, ServiceInput
from penstock.records import insist

SQL = Queries("penstock.bench", "bench.sql")
PRODUCTS = 200
LOCATIONS = 1_000
ON_HAND = 3
LINES = 5
MOST = 4
CLIENTS = 4
SECONDS = 8.0
WARM_UP_S = 2.0
REQUESTS = 2_000
WEEK: dict[str, list[str]] = {day: ["17:00"] for day in WEEKDAYS[:6]}

PROMISE_BUDGETS = (Budget("p99_ms", 25, "most"), Budget("audit_breaches", 0, "most"))


async def bench_promise(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure promises over HTTP; returns the number of clients and the figures."""
    clients = options.clients or CLIENTS
    async with throw_away(conninfo, Shop(PRODUCTS, LOCATIONS, ON_HAND)) as bench:
        await bench.database.run(bench.schema, _make_dates)
        async with api_server(conninfo, bench.account) as server:
            load = Load(
                port=server.port,
                clients=clients,
                seconds=(options.seconds or SECONDS) + WARM_UP_S,
                requests=_requests(),
                again=True,
            )
            before_s = server.processor_s()
            answers = await run_load(load)
            used_s = server.processor_s() - before_s
        counted = answers.after(WARM_UP_S)
        figures: dict[str, Figure] = {
            "requests_per_s": round(answers.rate(counted), 1),
            "requests_per_core_s": round(len(answers.status) / used_s, 1),
            **percentiles(answers.taken_s[counted], ""),
            "locations": LOCATIONS,
            "lines": LINES,
            "failed": failed(answers),
            **await judge(bench),
        }
    return clients, figures


async def _make_dates(tx: Tx) -> None:
    """Give the carrier's services their distances, and every location hours."""
    services = [
        ServiceInput("standard", WEEK, transit_days=[Band(300, 2), Band(20_000, 3)]),
        ServiceInput("express", WEEK, transit_days=[Band(20_000, 1)]),
    ]
    insist(await upsert_carriers(tx, [CarrierInput("post", services)]))
    await tx.execute(SQL.give_hours)


def _requests() -> list[bytes]:
    draw = random.Random(5)  # noqa: S311 (made data)
    bodies: list[bytes] = []
    for _ in range(REQUESTS):
        skus = draw.sample(range(1, PRODUCTS + 1), LINES)
        lines = ",".join(f'{{"sku":"S{sku}","qty":{draw.randint(1, MOST)}}}' for sku in skus)
        place = f'"latitude":{50 + draw.random() * 8:.3f},"longitude":{draw.random() * 6 - 5:.3f}'
        body = f'{{"channel":"web","lines":[{lines}],"destination":{{{place},"country":"GB"}}}}'
        bodies.append(post("/v1/promises", body.encode()))
    return bodies
