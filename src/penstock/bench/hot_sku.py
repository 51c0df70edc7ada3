"""`bench hot-sku`: 64 clients on one SKU, with 1, 2 and 4 processes, cancellations, expiring holds.

Each number of processes has an account of its own and two phases over HTTP. *Ample*: single units
of the hot SKU, spread over a few locations, and there is enough: this gives the rate. *Scarce*:
another SKU with few units that run out, while a share of what was allocated is cancelled and cart
holds are placed and expire: this is where a unit might be lost or sold twice. A worker in this
process ends what expires. `judge_short.py` says how a wrong refusal is recognised.

At the end, when nothing is in flight, one more order asks for every unit that is free: it has to
be allocated whole, or units are stranded. Units reserved without a live reservation are, too.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from penstock.app import Account, open_account, run_worker
from penstock.bench.judge_short import Hold, refused_while_left
from penstock.bench.load import Answers, Load, post, run_load
from penstock.bench.orders import failed
from penstock.bench.processes import Server, api_server
from penstock.bench.report import Budget, Figure, Options, percentiles
from penstock.bench.retailer import SQL, Bench, Shop, judge, throw_away
from penstock.ids import new_id
from penstock.inventory.commands import ReserveRequest, reserve
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.inventory.model import Reservation
from penstock.orders.intake import DestinationInput, LineInput, OrderInput
from penstock.passes import Pass, run_pass
from penstock.rules.take import NewOrder

CLIENTS = 64
PROCESSES = (1, 2, 4)
SECONDS = 5.0
SCARCE_S = 4.0
WARM_UP_S = 2.0
LOCATIONS = 4
ON_HAND = 1_000_000
SCARCE_UNITS = 600  # over all locations
CANCEL_SHARE = 0.3
MOST_PER_S = 6_000
HOLD_EVERY_S = 0.05
HOLD_S = 0.3
HOLD_QTY = 3
HOT, SCARCE = 1, 2  # product ids; the SKUs are S1 and S2
SETTLE_S = 30.0
CREATED = 201

HOT_BUDGETS = (
    Budget("allocations_per_s", 1_500),
    *(Budget(f"allocations_per_s_{n}", 1_500) for n in PROCESSES),
    Budget("oversold", 0, "most"),
    Budget("stranded", 0, "most"),
    Budget("refused_while_left", 0, "most"),
    Budget("audit_breaches", 0, "most"),
)


async def bench_hot_sku(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure one hot SKU; `allocations_per_s` is the lowest of all numbers of processes."""
    clients = options.clients or CLIENTS
    figures: dict[str, Figure] = {"hottest_sku_share": 1.0}
    totals = dict.fromkeys(("oversold", "stranded", "refused_while_left", "audit_breaches"), 0)
    counts = options.processes or PROCESSES
    rates: list[float] = []
    for processes in counts:
        async with throw_away(conninfo, Shop(2, LOCATIONS, ON_HAND)) as bench:
            found = await _with_processes(bench, processes, clients, options)
        rates.append(float(found["allocations_per_s"]))
        for name in totals:
            totals[name] += int(found.pop(name))
        figures |= {f"{name}_{processes}": value for name, value in found.items()}
    worst = counts[rates.index(min(rates))]
    for name in ("allocations_per_s", "p50_ms", "p95_ms", "p99_ms"):
        figures[name] = figures[f"{name}_{worst}"]
    return clients, {**figures, **totals}


async def _with_processes(
    bench: Bench, processes: int, clients: int, options: Options
) -> dict[str, Figure]:
    await _make_scarce(bench)
    account = await open_account(bench.conninfo, bench.account)
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(account, stop))
    try:
        async with api_server(bench.conninfo, bench.account, processes) as server:
            figures = await _ample(server, clients, options)
            answers, holds = await _scarce(bench, account, server, clients)
        figures |= await _settle(bench, account)
    finally:
        stop.set()
        await worker
        await account.close()
    figures["scarce_answers"] = len(answers.status)
    figures["scarce_cancelled"] = int((answers.request < 0).sum())
    figures["holds"] = len(holds)
    figures["failed"] = int(figures["failed"]) + failed(answers)
    short = await refused_while_left(bench, SCARCE, answers, holds, is_alone=processes == 1)
    figures["answered_short"] = short.answered_short
    figures["refused_while_left"] = short.refused_while_left
    left = figures.pop("left")
    figures |= await judge(bench)
    figures["stranded"] = int(figures["stranded"]) + int(left)
    return figures


async def _make_scarce(bench: Bench) -> None:
    """Count the scarce SKU: so many units in all."""
    now = datetime.now(UTC)
    counts = Counts(
        np.full(LOCATIONS, SCARCE, dtype=np.int32),
        np.arange(1, LOCATIONS + 1, dtype=np.int32),
        np.ones(LOCATIONS, dtype=np.int16),
        np.full(LOCATIONS, SCARCE_UNITS // LOCATIONS, dtype=np.int32),
        np.full(LOCATIONS, microseconds(now)),
        1,
        new_id(),
    )
    await run_pass(
        bench.database, bench.schema, "feed", lambda: now, lambda tx: set_stock(tx, counts)
    )


def _orders(prefix: str, sku: int, count: int) -> list[bytes]:
    return [
        post(
            "/v1/orders",
            f'{{"channel":"web","ref":"{prefix}-{number}","lines":[{{"sku":"S{sku}","qty":1}}],'
            f'"destination":{{"latitude":51.5,"longitude":-0.1}}}}'.encode(),
        )
        for number in range(count)
    ]


async def _ample(server: Server, clients: int, options: Options) -> dict[str, Figure]:
    seconds = (options.seconds or SECONDS) + WARM_UP_S
    requests = _orders("ample", HOT, options.orders or int(seconds * MOST_PER_S))
    answers = await run_load(
        Load(
            port=server.port,
            clients=clients,
            seconds=seconds,
            requests=requests,
            cancel_share=CANCEL_SHARE / 3,
        )
    )
    counted = answers.after(WARM_UP_S) & (answers.status == CREATED) & (answers.request >= 0)
    figures = percentiles(answers.taken_s[counted])
    figures["allocations_per_s"] = round(answers.rate(counted), 1)
    figures["failed"] = failed(answers)
    return figures


async def _scarce(
    bench: Bench, account: Account, server: Server, clients: int
) -> tuple[Answers, list[Hold]]:
    holds: list[Hold] = []
    holder = asyncio.create_task(_place_holds(bench, account, holds))
    answers = await run_load(
        Load(
            port=server.port,
            clients=clients,
            seconds=SCARCE_S,
            requests=_orders("scarce", SCARCE, int(SCARCE_S * MOST_PER_S)),
            cancel_share=CANCEL_SHARE,
            keeps="all",
        )
    )
    holder.cancel()
    with suppress(asyncio.CancelledError):
        await holder
    return answers, holds


async def _place_holds(bench: Bench, account: Account, holds: list[Hold]) -> None:
    """Place cart holds on the scarce SKU, again and again; nobody turns them into orders."""
    positions = await bench.database.run(
        bench.schema, lambda tx: tx.fetch(SQL.hot_positions, (SCARCE,))
    )
    while True:
        placed: list[Hold] = []

        async def work(tx: Pass, placed: list[Hold] = placed) -> None:
            placed.clear()
            expires_at = tx.now + timedelta(seconds=HOLD_S)
            requests = [
                ReserveRequest(
                    root_id=new_id(),
                    demand_id=new_id(),
                    position_id=row[0],
                    product_id=SCARCE,
                    location_id=row[1],
                    channel_id=1,
                    qty=HOLD_QTY,
                    expires_at=expires_at,
                )
                for row in positions
            ]
            found = await reserve(tx, requests, account.knowledge.terms(tx.now))
            placed += [
                Hold(r.root_id, r.position_id, expires_at.timestamp())
                for r in found
                if isinstance(r, Reservation)
            ]

        started = time.perf_counter()
        await account.knowledge.run_pass("hold", work)
        holds += placed
        await asyncio.sleep(max(HOLD_EVERY_S - (time.perf_counter() - started), 0))


class _Free(msgspec.Struct):
    units: int
    holds: int


async def _free(bench: Bench) -> _Free:
    row = await bench.database.run(bench.schema, lambda tx: tx.fetch_one(SQL.free_units, (SCARCE,)))
    return _Free(*row) if row else _Free(0, 0)


async def _settle(bench: Bench, account: Account) -> dict[str, Figure]:
    """Wait until no hold is left, then ask for all that is free; returns what was not had."""
    deadline = time.monotonic() + SETTLE_S
    free = await _free(bench)
    while free.holds and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        free = await _free(bench)
    if not free.units:
        return {"left": free.holds}
    order = OrderInput(
        channel="web",
        ref="the-rest",
        lines=[LineInput(sku=f"S{SCARCE}", qty=free.units)],
        destination=DestinationInput(51.5, -0.1),
    )
    await account.grouping.submit([NewOrder(order)])
    return {"left": free.holds + (await _free(bench)).units}
