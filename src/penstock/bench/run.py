"""The benchmarks by name: what there is, running one, showing it.

Owns the table of benchmarks, and reading their options. Each runs on a throw-away account of the
server it is given, with durability as it is shipped, and is over in about a minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import uvloop

from penstock.bench.available import AVAILABILITY_BUDGETS, bench_availability
from penstock.bench.engine import ENGINE_BUDGETS, bench_engine
from penstock.bench.holds import HOLD_BUDGETS, bench_hold
from penstock.bench.hot_sku import HOT_BUDGETS, bench_hot_sku
from penstock.bench.imports import IMPORT_BUDGETS, bench_import, bench_limit
from penstock.bench.machine import look_at_machine
from penstock.bench.orders import ORDERS_BUDGETS, bench_orders
from penstock.bench.promise import PROMISE_BUDGETS, bench_promise
from penstock.bench.report import Budget, Figure, Options, Result
from penstock.bench.scale import SCALE_BUDGETS, bench_scale
from penstock.bench.sourcing import SOURCING_BUDGETS, bench_sourcing
from penstock.bench.stock import STOCK_BUDGETS, bench_stock
from penstock.errors import Refusal


class Benchmark(msgspec.Struct, frozen=True):
    """What a benchmark measures, in a sentence; how it runs; what it is held against."""

    does: str
    run: Callable[[str, Options], Awaitable[tuple[int, dict[str, Figure]]]]
    budgets: Sequence[Budget] = ()


NAMES: dict[str, Benchmark] = {
    "orders": Benchmark(
        "Orders over HTTP: 64 clients, 2 lines, 1,000 products, 50 locations; and the raw limit.",
        bench_orders,
        ORDERS_BUDGETS,
    ),
    "import": Benchmark(
        "Orders from a file, in batches of 1,000; and the raw limit.", bench_import, IMPORT_BUDGETS
    ),
    "limit": Benchmark("The raw limit: the same rows, with nothing decided.", bench_limit),
    "availability": Benchmark(
        "Availability of 20 SKUs a request over HTTP, while stock is being loaded.",
        bench_availability,
        AVAILABILITY_BUDGETS,
    ),
    "stock": Benchmark(
        "A stock feed of a million rows from a file, changed and unchanged; and its freshness.",
        bench_stock,
        STOCK_BUDGETS,
    ),
    "scale": Benchmark(
        "An order in an account of 10 million positions and a million past orders, against one in "
        "an empty account.",
        bench_scale,
        SCALE_BUDGETS,
    ),
    "engine": Benchmark(
        "Workflows: events a second, how late timers are, what rulesets and traces cost.",
        bench_engine,
        ENGINE_BUDGETS,
    ),
    "hot-sku": Benchmark(
        "One SKU, 64 clients, 1, 2 and 4 processes, with cancellations and expiring holds.",
        bench_hot_sku,
        HOT_BUDGETS,
    ),
    "promise": Benchmark(
        "What a cart of 5 lines would get, from 1,000 locations, over HTTP.",
        bench_promise,
        PROMISE_BUDGETS,
    ),
    "hold": Benchmark(
        "Carts over HTTP: baskets of 2 lines held by 64 clients, into orders, a drop, and expiry.",
        bench_hold,
        HOLD_BUDGETS,
    ),
    "sourcing": Benchmark(
        "Choosing locations alone: 5 lines, 1,000 locations.", bench_sourcing, SOURCING_BUDGETS
    ),
}


def look_up(name: str) -> Benchmark:
    """Return a benchmark by name; refuses with `unknown_benchmark`."""
    if name not in NAMES:
        known = ", ".join(NAMES)
        raise Refusal("unknown_benchmark", f"There is no benchmark {name!r}; there are: {known}.")
    return NAMES[name]


def run(name: str, conninfo: str, options: Options | None = None) -> Result:
    """Run a benchmark on the server; refuses with `unknown_benchmark` and `not_durable`."""
    benchmark = look_up(name)
    machine = look_at_machine(conninfo)
    clients, figures = uvloop.run(_awaited(benchmark.run(conninfo, options or Options())))
    return Result(name, benchmark.does, machine, clients, figures, benchmark.budgets)


async def _awaited(
    work: Awaitable[tuple[int, dict[str, Figure]]],
) -> tuple[int, dict[str, Figure]]:
    return await work
