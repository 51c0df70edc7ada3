"""`bench hold`: carts over HTTP: plenty of stock, a drop that runs out, into orders, and expiry.

*Ample*: baskets of two lines, 64 clients, 1,000 products at 50 locations: this gives the rate.
*Orders*: a third of those carts become orders, each of just what it held. *Drop*: one SKU with few
units that many more want; at the end every unit has to be held, or somebody was refused while one
was left. *Expiry*: to a clock that is hours ahead all carts are over, and are ended as workers do.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from penstock.app import open_account
from penstock.bench.load import Answers, Load, post, run_load
from penstock.bench.orders import failed
from penstock.bench.processes import Server, api_server
from penstock.bench.report import Budget, Figure, Options, percentiles
from penstock.bench.retailer import SQL, Bench, Shop, judge, throw_away
from penstock.ids import new_id
from penstock.inventory.counts import Counts, microseconds, set_stock
from penstock.passes import run_pass
from penstock.rules.expiry import end_what_is_over

CLIENTS = 64
PRODUCTS, LOCATIONS, ON_HAND = 1_000, 50, 1_000_000
DROP = PRODUCTS  # product id; the SKU is S1000, and no other basket has it
DROP_LOCATIONS = 4
DROP_UNITS = 600
DROP_WANTED = 3_000
SECONDS = 8.0
WARM_UP_S = 2.0
MOST_PER_S = 4_000
ORDER_SHARE = 3  # one of so many
CREATED, CONFLICT = 201, 409
AHEAD = timedelta(hours=2)
_TO = '"destination":{"latitude":51.5,"longitude":-0.1}'

HOLD_BUDGETS = (
    Budget("holds_per_s", 1_500),
    Budget("expired_per_s", 10_000),
    Budget("oversold", 0, "most"),
    Budget("stranded", 0, "most"),
    Budget("refused_while_left", 0, "most"),
    Budget("audit_breaches", 0, "most"),
)


class _Ahead:
    """The machine's clock, and so much later."""

    def now(self) -> datetime:
        """Return the instant."""
        return datetime.now(UTC) + AHEAD


class _Basket(msgspec.Struct):
    ref: str
    lines: str


async def bench_hold(conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure carts; returns the number of clients and the figures."""
    clients = options.clients or CLIENTS
    processes = (options.processes or (1,))[0]
    async with throw_away(conninfo, Shop(PRODUCTS, LOCATIONS, ON_HAND)) as bench:
        await _make_scarce(bench)
        async with api_server(conninfo, bench.account, processes) as server:
            figures, held = await _ample(server, clients, options)
            figures |= await _into_orders(server, clients, held[::ORDER_SHARE])
            figures |= await _drop(bench, server, clients)
        before = await judge(bench)
        figures |= await _expire(bench)
        after = await judge(bench)
        figures |= {name: int(before[name]) + int(after[name]) for name in before}
    return clients, figures


async def _make_scarce(bench: Bench) -> None:
    """Count the SKU of the drop: so many units at a few locations, and none elsewhere."""
    now = datetime.now(UTC)
    on_hands = np.zeros(LOCATIONS, dtype=np.int32)
    on_hands[:DROP_LOCATIONS] = DROP_UNITS // DROP_LOCATIONS
    counts = Counts(
        np.full(LOCATIONS, DROP, dtype=np.int32),
        np.arange(1, LOCATIONS + 1, dtype=np.int32),
        np.ones(LOCATIONS, dtype=np.int16),
        on_hands,
        np.full(LOCATIONS, microseconds(now)),
        1,
        new_id(),
    )
    await run_pass(
        bench.database, bench.schema, "feed", lambda: now, lambda tx: set_stock(tx, counts)
    )


def _baskets(count: int) -> list[_Basket]:
    draw = random.Random(1)  # noqa: S311 (made data)
    baskets: list[_Basket] = []
    for number in range(count):
        skus = {int((PRODUCTS - 1) * draw.random() ** 2) + 1 for _ in range(2)}
        lines = ",".join(f'{{"sku":"S{sku}","qty":1}}' for sku in sorted(skus))
        baskets.append(_Basket(f"cart-{number}", lines))
    return baskets


def _holds(baskets: list[_Basket]) -> list[bytes]:
    return [
        post("/v1/carts", f'{{"channel":"web","ref":"{b.ref}","lines":[{b.lines}],{_TO}}}'.encode())
        for b in baskets
    ]


async def _ample(
    server: Server, clients: int, options: Options
) -> tuple[dict[str, Figure], list[_Basket]]:
    """Hold baskets while there is plenty; returns the figures and the baskets that are held."""
    seconds = (options.seconds or SECONDS) + WARM_UP_S
    baskets = _baskets(options.orders or int(seconds * MOST_PER_S))
    answers = await _run(server, clients, seconds, _holds(baskets))
    counted = answers.after(WARM_UP_S) & (answers.status == CREATED)
    figures = percentiles(answers.taken_s[counted])
    figures["holds_per_s"] = round(answers.rate(counted), 1)
    figures["failed"] = failed(answers)
    held = sorted(answers.request[answers.status == CREATED].tolist())
    return figures, [baskets[place] for place in held]


async def _into_orders(server: Server, clients: int, held: list[_Basket]) -> dict[str, Figure]:
    requests = [
        post(
            "/v1/orders",
            f'{{"channel":"web","ref":"of-{b.ref}","cart":"{b.ref}",'
            f'"lines":[{b.lines}],{_TO}}}'.encode(),
        )
        for b in held
    ]
    answers = await _run(server, clients, 60.0, requests)
    counted = answers.status == CREATED
    figures = percentiles(answers.taken_s[counted], "order_")
    figures["orders_from_carts_per_s"] = round(answers.rate(counted), 1)
    figures["orders_failed"] = failed(answers)
    return figures


async def _drop(bench: Bench, server: Server, clients: int) -> dict[str, Figure]:
    baskets = [_Basket(f"drop-{n}", f'{{"sku":"S{DROP}","qty":1}}') for n in range(DROP_WANTED)]
    answers = await _run(server, clients, 60.0, _holds(baskets))
    won = int((answers.status == CREATED).sum())
    row = await bench.database.run(bench.schema, lambda tx: tx.fetch_one(SQL.free_units, (DROP,)))
    left = row[0] if row else 0
    wrong = int(((answers.status != CREATED) & (answers.status != CONFLICT)).sum())
    return {
        "drop_requests_per_s": round(answers.rate(answers.status > 0), 1),
        "drop_held": won,
        "drop_failed": wrong,
        "refused_while_left": int(left),
        "hottest_sku_share": 1.0,
    }


async def _run(server: Server, clients: int, seconds: float, requests: list[bytes]) -> Answers:
    return await run_load(
        Load(port=server.port, clients=clients, seconds=seconds, requests=requests)
    )


async def _expire(bench: Bench) -> dict[str, Figure]:
    """End every hold there is, as a worker does; returns how many that were a second."""
    account = await open_account(bench.conninfo, bench.account, _Ahead())
    try:
        started = time.perf_counter()
        ended = await end_what_is_over(account.knowledge)
        taken_s = time.perf_counter() - started
    finally:
        await account.close()
    return {"expired": ended, "expired_per_s": round(ended / taken_s, 1)}
