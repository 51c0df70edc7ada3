"""The raw limit: the same rows as for real orders, written as fast as PostgreSQL takes them.

No engine, no sourcing, no HTTP, no checks: batches of 1,000 orders by COPY into the same tables,
indexes and constraints, one sorted UPDATE of positions and one journal row per 5,000 entries, one
durable commit per batch. What an order leaves (its claim, lines, reservations, fulfilment, four
events, trace, explanation) is copied from what a real order of the benchmark left, so that rows
are as wide as the real ones. The journal goes on where the positions' rows are, so that an account
with such orders passes the audit.

`write_past` makes history the same way: orders that have left, with the shipment in the journal,
two events more and no reservation.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.db import Database, copy_text, uuid_array
from penstock.ids import new_id
from penstock.passes import Pass, run_pass

BATCH = 1_000

_LOCK = b"""
SELECT id, product_id, location_id, on_hand, reserved, version, journal_id,
       coalesce((extract(epoch FROM counted_at) * 1000000)::bigint, 0)
FROM position WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""
_UPDATE = b"""
UPDATE position p SET on_hand = u.on_hand, reserved = u.reserved, version = u.version,
    journal_id = %s
FROM unnest(%s::int[], %s::int[], %s::int[], %s::int[]) AS u (id, on_hand, reserved, version)
WHERE p.id = u.id
"""
_JOURNAL = b"""
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::uuid[], %s, %s, %s, %s, %s, %s, %s, %s)
"""
_CLAIM = b"""
INSERT INTO order_ref (channel_id, ref, order_id, body_hash)
SELECT 1, * FROM unnest(%s::text[], %s::uuid[], %s::bytea[]) ON CONFLICT DO NOTHING
"""
_SAMPLE = b"""
SELECT (SELECT avg(length(detail::text))::int FROM trace),
       (SELECT avg(length(explanation::text))::int FROM sourcing_decision),
       (SELECT avg(length(destination::text))::int FROM choice),
       (SELECT avg(length(charges::text))::int FROM order_line)
"""


class Shape(msgspec.Struct):
    """How wide the documents of real orders are (characters), so that the limit writes the same."""

    trace: int
    explanation: int
    destination: int
    charges: int


class Stock(msgspec.Struct):
    """Positions to reserve from: ids, products and locations in parallel."""

    position_ids: list[int]
    product_ids: list[int]
    location_ids: list[int]


async def measure_shape(database: Database, schema: str) -> Shape:
    """Read how wide the documents are that real orders left in this account."""
    row = await database.run(schema, lambda tx: tx.fetch_one(_SAMPLE))
    return Shape(*(value or 100 for value in row or (None,) * 4))


async def run_limit(
    database: Database, schema: str, shape: Shape, stock: Stock, orders: int
) -> float:
    """Write so many orders of two lines; returns the rate in orders a second."""
    return await _write(database, schema, _Pattern(shape, stock), orders)


async def write_past(
    database: Database, schema: str, shape: Shape, stock: Stock, orders: int
) -> float:
    """Write so many orders of two lines that were shipped; returns the rate as `run_limit`."""
    return await _write(database, schema, _Pattern(shape, stock, is_past=True), orders)


class _Pattern(msgspec.Struct):
    """What orders look like: how wide, from which stock, shipped or open; their refs' beginning."""

    shape: Shape
    stock: Stock
    is_past: bool = False
    prefix: str = msgspec.field(default_factory=lambda: f"limit-{secrets.token_hex(4)}")


async def _write(database: Database, schema: str, pattern: _Pattern, orders: int) -> float:
    now = datetime.now(UTC)
    started = time.perf_counter()
    for first in range(0, orders, BATCH):
        numbers = range(first, min(first + BATCH, orders))
        await run_pass(database, schema, "limit", lambda: now, _batch(pattern, numbers))
    return orders / (time.perf_counter() - started)


def _batch(pattern: _Pattern, numbers: range) -> Callable[[Pass], Awaitable[None]]:
    async def work(tx: Pass) -> None:
        rows = _rows(tx, pattern, numbers)
        await tx.execute(_CLAIM, (rows.refs, uuid_array(rows.ids), rows.hashes))
        await _move_stock(tx, rows, is_past=pattern.is_past)
        for table, (columns, lines) in rows.tables.items():
            if lines:
                tx.copy_in(table, columns, lines)

    return work


class _Rows(msgspec.Struct):
    refs: list[str]
    ids: list[str]
    hashes: list[bytes]
    positions: list[int]
    causes: list[str]
    tables: dict[str, tuple[str, list[str]]]


_COLUMNS = {
    "orders": "id, channel_id, ref, type, workflow_id, status, currency, placed_at, created_at, "
    "seq, version, total_minor, attributes",
    "choice": "id, order_id, ordinal, status, service, destination, ship_complete",
    "order_line": "id, order_id, choice_id, ordinal, ref, product_id, sku, status, qty, "
    "qty_allocated, qty_unsourced, qty_shipped, qty_cancelled, is_stocked, amount_minor, charges",
    "reservation": "id, position_id, qty, kind, priority, root_id, demand_id, fulfilment_id",
    "fulfilment": "id, root_id, demand_kind, choice_id, ordinal, status, service, origin_id, "
    "cost_minor, distance_m, weight_g, released_at, created_at",
    "fulfilment_line": "fulfilment_id, root_id, line_id, product_id, qty, qty_picked",
    "event": "pass_id, ordinal, occurred_at, root_kind, root_id, seq, entity, entity_id, name, "
    "payload",
    "trace": "pass_id, root_id, event, detail",
    "sourcing_decision": "pass_id, order_id, choice_id, explanation",
}
_EVENTS = ("order.created", "fulfilment.created", "fulfilment.released", "order.allocated")
_PAST_EVENTS = (*_EVENTS, "fulfilment.shipped", "order.shipped")


def _rows(tx: Pass, pattern: _Pattern, numbers: range) -> _Rows:
    """Format the rows of a batch, as text for COPY."""
    rows = _Rows([], [], [], [], [], {t: (c, []) for t, c in _COLUMNS.items()})
    lines = {table: columns[1] for table, columns in rows.tables.items()}
    at, shape = tx.now.isoformat(), pattern.shape
    trace, explanation, destination = map(
        _filler, (shape.trace, shape.explanation, shape.destination)
    )
    status = "shipped" if pattern.is_past else "allocated"
    work = "shipped" if pattern.is_past else "awaiting_pick"
    events = _PAST_EVENTS if pattern.is_past else _EVENTS
    for number in numbers:
        order_id, choice_id, fulfilment_id = new_id(), new_id(), new_id()
        ref = f"{pattern.prefix}-{number}"
        rows.refs.append(ref)
        rows.ids.append(order_id)
        rows.hashes.append(order_id.encode()[:16])
        lines["orders"].append(
            f"{order_id}\t1\t{ref}\thome_delivery\t1\t{status}\tGBP\t{at}\t{at}"
            f"\t{len(events)}\t1\t1000\t{{}}"
        )
        lines["choice"].append(f"{choice_id}\t{order_id}\t1\t{status}\tdeliver\t{destination}\tf")
        location_id = _add_lines(rows, pattern, number, (order_id, choice_id, fulfilment_id))
        lines["fulfilment"].append(
            f"{fulfilment_id}\t{order_id}\torder\t{choice_id}\t1\t{work}\tdeliver"
            f"\t{location_id}\t500\t100000\t1000\t{at}\t{at}"
        )
        for seq, name in enumerate(events, start=1):
            lines["event"].append(
                f"{tx.id}\t{tx.next_event_ordinal()}\t{at}\torder\t{order_id}\t{seq}\torder"
                f"\t{order_id}\t{name}\t{{}}"
            )
        lines["trace"].append(f"{tx.id}\t{order_id}\torder.created\t{trace}")
        lines["sourcing_decision"].append(f"{tx.id}\t{order_id}\t{choice_id}\t{explanation}")
    return rows


def _add_lines(rows: _Rows, pattern: _Pattern, number: int, ids: tuple[str, str, str]) -> int:
    """Add an order's two lines with what hangs on them; returns a location they come from."""
    order_id, choice_id, fulfilment_id = ids
    stock, charges = pattern.stock, _filler(pattern.shape.charges)
    state = "shipped\t1\t0\t0\t1\t0" if pattern.is_past else "allocated\t1\t1\t0\t0\t0"
    location_id = 0
    for ordinal in (1, 2):
        place = (number * 2 + ordinal) % len(stock.position_ids)
        line_id, product_id = new_id(), stock.product_ids[place]
        location_id = stock.location_ids[place]
        rows.positions.append(stock.position_ids[place])
        rows.causes.append(order_id)
        rows.tables["order_line"][1].append(
            f"{line_id}\t{order_id}\t{choice_id}\t{ordinal}\t{ordinal}\t{product_id}\tSKU"
            f"\t{state}\tt\t500\t{charges}"
        )
        if not pattern.is_past:
            rows.tables["reservation"][1].append(
                f"{new_id()}\t{stock.position_ids[place]}\t1\t2\t0\t{order_id}\t{line_id}"
                f"\t{fulfilment_id}"
            )
        rows.tables["fulfilment_line"][1].append(
            f"{fulfilment_id}\t{order_id}\t{line_id}\t{product_id}\t1\t{int(pattern.is_past)}"
        )
    return location_id


def _filler(length: int) -> str:
    """Return a JSON document of about so many characters."""
    return copy_text('{"filler": "' + "x" * max(length - 14, 0) + '"}')


_ALLOCATION = (3, 0, 1)  # cause, on hand, reserved
_SHIPMENT = (6, -1, -1)


async def _move_stock(tx: Pass, rows: _Rows, *, is_past: bool) -> None:
    """Lock the positions, journal a unit for each line, and write the sums."""
    taken = np.array(rows.positions, dtype=np.int32)
    ids, places, counts = np.unique(taken, return_inverse=True, return_counts=True)
    held = np.array(await tx.fetch(_LOCK, (ids,)), dtype=np.int64)
    nth = _nth_of_its_kind(places, counts)
    values, previous_ids = held[:, 3:6], held[:, 6]
    journal_id = tx.journal_base
    steps = (_ALLOCATION, _SHIPMENT) if is_past else (_ALLOCATION,)
    for journal_id, (cause, *deltas) in enumerate(steps, start=tx.journal_base):
        step = np.array([*deltas, 1], dtype=np.int64)
        after = (values[places] + nth[:, None] * step).astype(np.int32)
        previous = np.where(nth == 1, previous_ids[places], journal_id)
        await tx.execute(
            _JOURNAL,
            (
                *(journal_id, tx.id, tx.now, taken),
                *(held[places, 1].astype(np.int32), held[places, 2].astype(np.int32)),
                *(np.ones(len(taken), np.int16), np.full(len(taken), cause, np.int16)),
                uuid_array(rows.causes),
                *(np.full(len(taken), delta, np.int32) for delta in deltas),
                *(np.ascontiguousarray(after[:, column]) for column in range(3)),
                *(previous, held[places, 7], deltas[0] != 0),
            ),
        )
        values = values + counts[:, None] * step
        previous_ids = np.full(len(ids), journal_id, dtype=np.int64)
    sums = (np.ascontiguousarray(values[:, n]).astype(np.int32) for n in range(3))
    await tx.execute(_UPDATE, (journal_id, ids, *sums))


def _nth_of_its_kind(places: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each entry how many of its position came up to it, itself counted."""
    nth = np.empty(len(places), dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    nth[np.argsort(places, kind="stable")] = np.arange(1, len(places) + 1) - starts
    return nth
