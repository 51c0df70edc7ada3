"""Orders from a file: taken in and decided as if they had come over HTTP, a thousand at a time.

Owns the chunks; the next one is read and prepared while one is decided. A chunk is decided by
`rules.take` in a pass of its own; how far the file is, is noted by the next. A kill between the two
does nothing twice: an order is known by channel and ref, and taking it in again answers what it has
become.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from penstock.bulk.flat_orders import order_chunks, read_columns
from penstock.bulk.isolation import by_halves
from penstock.bulk.jobs import Job
from penstock.bulk.reading import read_ahead
from penstock.bulk.records import Chunk, Shape, fault_of_refusal, record_chunks, sliced
from penstock.bulk.run import Run
from penstock.errors import Refusal
from penstock.orders.intake import OrderInput
from penstock.passes import Pass
from penstock.rules.take import NewOrder, prepare, take

ORDERS_PER_PASS = 1_000
ORDERS_AT_A_TIME = 16


async def import_orders(run: Run) -> None:
    """Take in every order that is not done yet.

    Refuses with `missing_column`, `unknown_column` and what reading refuses.
    """
    taking: asyncio.Task[None] | None = None

    async def hand_on(chunk: Chunk[OrderInput]) -> None:
        nonlocal taking
        ready = await _prepared(run, chunk)
        if taking is not None:
            await taking
        taking = asyncio.create_task(by_halves(ready, partial(_take, run)))

    try:
        await read_ahead(_chunks(run), hand_on)
    except asyncio.CancelledError:
        if taking is not None:
            taking.cancel()
        raise
    finally:
        if taking is not None:
            await taking


async def _prepared(run: Run, chunk: Chunk[OrderInput]) -> Chunk[NewOrder]:
    """Prepare a chunk, a few orders at a time, whenever the one before it waits for PostgreSQL."""
    orders = [NewOrder(order, needs_answer=False) for order in chunk.values]
    for start in range(0, len(orders), ORDERS_AT_A_TIME):
        await asyncio.sleep(0)
        prepare(run.knowledge, orders[start : start + ORDERS_AT_A_TIME])
    return Chunk(orders, chunk.rows, chunk.faults, chunk.rows_done)


def _chunks(run: Run) -> Iterator[Chunk[OrderInput]]:
    done = run.job.rows_done
    if run.source.format == "jsonl":
        return record_chunks(run.source, Shape(OrderInput), done, ORDERS_PER_PASS)
    columns = read_columns(run.source)
    parts = order_chunks(run.source, columns, run.options.channel)
    return sliced(parts, done, ORDERS_PER_PASS)


async def _take(run: Run, chunk: Chunk[NewOrder]) -> None:
    results = await take(run.knowledge, chunk.values)
    faults = [
        fault_of_refusal(row, result)
        for row, result in zip(chunk.rows, results, strict=True)
        if isinstance(result, Refusal)
    ]

    async def note(tx: Pass) -> Job:
        return await run.advance(tx, chunk.rows_done, [*chunk.faults, *faults])

    run.committed(await run.knowledge.run_pass("import", note))
