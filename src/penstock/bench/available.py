"""`bench availability`: twenty SKUs a request over HTTP, from memory, while stock is being loaded.

Three channels ask in turn, each with its networks and buffers; a writer changes stock at a bounded
rate meanwhile. It is held against a bare server that answers a constant of twenty items in the
same run, while stock is loaded as well, so that both share the machine alike. `per_core` figures
divide by the processor time of the API process, not by wall time, since the load generator,
PostgreSQL and the API share the machine.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import httpx
import msgspec
import numpy as np

from penstock.bench.load import Load, post, run_load
from penstock.bench.orders import failed
from penstock.bench.processes import Server, api_server, bare_server
from penstock.bench.report import Budget, Figure, Options, percentiles
from penstock.bench.retailer import Bench, Shop, judge, throw_away
from penstock.ids import new_id
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.passes import Pass, run_pass

POSITIONS = 1_000_000
LOCATIONS = 100
ON_HAND = 40
CLIENTS = 16
SECONDS = 8.0
WARM_UP_S = 2.0
SKUS = 20
REQUESTS = 3_000
NEAREST = 5
WRITES_PER_S = 10_000
ROWS_PER_WRITE = 1_000
SETTLE_TIMEOUT_S = 60.0

AVAILABILITY_BUDGETS = (
    Budget("requests_per_core_s", 15_000),
    Budget("ratio_to_bare", 0.5),
    Budget("p99_ms", 10, "most"),
    Budget("nearest_requests_per_core_s", 2_000),
    Budget("api_memory_mib", 400, "most"),
    Budget("index_load_s", 20, "most"),
    Budget("audit_breaches", 0, "most"),
)


async def bench_availability(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure availability over HTTP; returns the number of clients and the figures."""
    clients = options.clients or CLIENTS
    products = max((options.positions or POSITIONS) // LOCATIONS, SKUS)
    figures: dict[str, Figure] = {"positions": products * LOCATIONS}
    async with throw_away(conninfo, Shop(products, LOCATIONS, ON_HAND)) as bench:
        started = time.perf_counter()
        async with api_server(conninfo, bench.account) as server:
            figures["index_load_s"] = round(time.perf_counter() - started, 2)
            await _settle(server)
            figures |= await _measured(bench, server, options, clients)
            figures["api_memory_mib"] = round(server.memory_mib())
            body = await _one_answer(server, products)
            async with _loading(bench):
                figures |= await _bare(body, clients, float(figures["requests_per_core_s"]))
        figures |= await judge(bench)
    return clients, figures


async def _settle(server: Server) -> None:
    """Ask every channel once, and wait until the totals are built: then answers come quickly."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30.0, trust_env=False) as client:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        used_s = server.processor_s()
        while time.monotonic() < deadline:
            for channel in ("web", "market", "trade"):
                body = f'{{"channel":"{channel}","skus":["S1"]}}'
                await client.post("/v1/availability", content=body)
            await asyncio.sleep(0.3)
            used_s, before_s = server.processor_s(), used_s
            if used_s - before_s < 0.1:  # noqa: PLR2004 (seconds: it has nothing left to build)
                return


async def _one_answer(server: Server, products: int) -> bytes:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        content = _body(random.Random(0), products)  # noqa: S311 (made data)
        return (await client.post("/v1/availability", content=content)).content


def _body(draw: random.Random, products: int, near: str = "") -> bytes:
    channel = draw.choice(("web", "market", "trade"))
    skus = ",".join(f'"S{draw.randint(1, products)}"' for _ in range(SKUS))
    return f'{{"channel":"{channel}","skus":[{skus}]{near}}}'.encode()


def _requests(products: int, *, is_near: bool) -> list[bytes]:
    draw = random.Random(7)  # noqa: S311 (made data)
    bodies: list[bytes] = []
    for _ in range(REQUESTS):
        place = f'"latitude":{50 + draw.random() * 8:.3f},"longitude":{draw.random() * 6 - 5:.3f}'
        near = f',"near":{{{place},"limit":{NEAREST}}}' if is_near else ""
        bodies.append(post("/v1/availability", _body(draw, products, near)))
    return bodies


async def _measured(
    bench: Bench, server: Server, options: Options, clients: int
) -> dict[str, Figure]:
    seconds = options.seconds or SECONDS
    figures: dict[str, Figure] = {}
    for prefix, is_near in (("", False), ("nearest_", True)):
        requests = _requests(bench.shop.products, is_near=is_near)
        load = Load(
            port=server.port,
            clients=clients,
            seconds=seconds + WARM_UP_S,
            requests=requests,
            again=True,
        )
        async with _loading(bench) as written:
            before_s, started = server.processor_s(), time.perf_counter()
            answers = await run_load(load)
            wall_s = time.perf_counter() - started
            used_s = server.processor_s() - before_s
        counted = answers.after(WARM_UP_S)
        figures[f"{prefix}requests_per_s"] = round(answers.rate(counted), 1)
        figures[f"{prefix}requests_per_core_s"] = round(len(answers.status) / used_s, 1)
        figures |= percentiles(answers.taken_s[counted], prefix)
        figures[f"{prefix}failed"] = failed(answers)
        figures[f"{prefix}rows_loaded_per_s"] = round(written.rows / wall_s)
    return figures


class Written(msgspec.Struct):
    """How many rows a writer has written so far."""

    rows: int = 0


@asynccontextmanager
async def _loading(bench: Bench) -> AsyncGenerator[Written, None]:
    """Load stock for as long as the context lasts."""
    written = Written()
    writer = asyncio.create_task(write_stock(bench, written))
    try:
        yield written
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer


async def write_stock(bench: Bench, written: Written) -> None:
    """Change stock at a bounded rate until cancelled."""
    draw = np.random.default_rng(3)
    total = bench.shop.products * bench.shop.locations
    while True:
        started = time.perf_counter()
        places = np.sort(draw.choice(total, min(ROWS_PER_WRITE, total), replace=False))
        size = len(places)
        now = datetime.now(UTC)
        counts = Counts(
            (places // bench.shop.locations + 1).astype(np.int32),
            (places % bench.shop.locations + 1).astype(np.int32),
            np.ones(size, dtype=np.int16),
            draw.integers(0, 2 * ON_HAND, size).astype(np.int32),
            np.full(size, microseconds(now)),
            1,
            new_id(),
        )

        async def work(tx: Pass, counts: Counts = counts) -> None:
            await set_stock(tx, counts)

        await run_pass(bench.database, bench.schema, "feed", lambda now=now: now, work)
        written.rows += size
        rest_s = size / WRITES_PER_S - (time.perf_counter() - started)
        await asyncio.sleep(max(rest_s, 0))


async def _bare(body: bytes, clients: int, rate: float) -> dict[str, Figure]:
    request = post("/v1/availability", body)
    async with bare_server(body) as server:
        before_s = server.processor_s()
        answers = await run_load(
            Load(port=server.port, clients=clients, seconds=4.0, requests=[request], again=True)
        )
        used_s = server.processor_s() - before_s
    per_core = len(answers.status) / used_s
    bare = answers.rate(answers.after(1.0))
    return {
        "bare_requests_per_s": round(bare, 1),
        "bare_requests_per_core_s": round(per_core, 1),
        "ratio_to_bare": round(rate / per_core, 3),
    }
