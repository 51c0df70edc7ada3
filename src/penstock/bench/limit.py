"""The raw limit: the same rows as for real orders, written as fast as PostgreSQL takes them.

No engine, no sourcing, no HTTP, no checks: batches of 1,000 orders by COPY into the same tables,
indexes and constraints, one sorted UPDATE of positions and one journal row per 5,000 entries, one
durable commit per batch. What an order leaves (its claim, lines, reservations, fulfilment, four
events, trace, explanation) is copied from what a real order of the benchmark left, so that rows
are as wide as the real ones.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
import numpy as np

from penstock.db import Database, copy_text, uuid_array
from penstock.ids import new_id
from penstock.passes import Pass, run_pass

BATCH = 1_000
_ENTRIES_PER_ROW = 5_000

_LOCK = b"SELECT id FROM position WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
_UPDATE = b"""
UPDATE position p SET reserved = p.reserved + u.qty, version = p.version + u.entries,
    journal_id = u.journal_id
FROM unnest(%s::int[], %s::int[], %s::int[], %s::bigint[]) AS u (id, qty, entries, journal_id)
WHERE p.id = u.id RETURNING p.id, p.version, p.on_hand, p.reserved
"""
_JOURNAL = b"""
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::uuid[], %s, %s, %s, %s, %s, %s, %s, false)
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
    now = datetime.now(UTC)
    started = time.perf_counter()
    for first in range(0, orders, BATCH):
        await run_pass(database, schema, "limit", lambda: now, _batch(shape, stock, first))
    return orders / (time.perf_counter() - started)


def _batch(shape: Shape, stock: Stock, first: int) -> Callable[[Pass], Awaitable[None]]:
    async def work(tx: Pass) -> None:
        rows = _rows(tx, shape, stock, first)
        await tx.execute(_CLAIM, (rows.refs, uuid_array(rows.ids), rows.hashes))
        taken = np.array(rows.positions, dtype=np.int32)
        ids, counts = np.unique(taken, return_counts=True)
        await tx.fetch(_LOCK, (ids,))
        counts = counts.astype(np.int32)
        journal_ids = np.full(len(ids), tx.journal_base, dtype=np.int64)
        written = await tx.fetch(_UPDATE, (ids, counts, counts, journal_ids))
        await _write_journal(tx, rows, written)
        for table, (columns, lines) in rows.tables.items():
            tx.copy_in(table, columns, lines)

    return work


class _Rows(msgspec.Struct):
    refs: list[str]
    ids: list[str]
    hashes: list[bytes]
    positions: list[int]
    places: list[int]
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


def _rows(tx: Pass, shape: Shape, stock: Stock, first: int) -> _Rows:
    """Format the rows of a batch, as text for COPY."""
    rows = _Rows([], [], [], [], [], [], {t: (c, []) for t, c in _COLUMNS.items()})
    lines = {table: columns[1] for table, columns in rows.tables.items()}
    at = tx.now.isoformat()
    trace, explanation = _filler(shape.trace), _filler(shape.explanation)
    destination, charges = _filler(shape.destination), _filler(shape.charges)
    for number in range(first, first + BATCH):
        order_id, choice_id, fulfilment_id = new_id(), new_id(), new_id()
        ref = f"limit-{number}"
        rows.refs.append(ref)
        rows.ids.append(order_id)
        rows.hashes.append(order_id.encode()[:16])
        lines["orders"].append(
            f"{order_id}\t1\t{ref}\thome_delivery\t1\tallocated\tGBP\t{at}\t{at}\t4\t1\t1000\t{{}}"
        )
        lines["choice"].append(f"{choice_id}\t{order_id}\t1\tallocated\tdeliver\t{destination}\tf")
        location_id = 0
        for ordinal in (1, 2):
            place = (number * 2 + ordinal) % len(stock.position_ids)
            line_id, product_id = new_id(), stock.product_ids[place]
            location_id = stock.location_ids[place]
            rows.positions.append(stock.position_ids[place])
            rows.places.append(place)
            rows.causes.append(order_id)
            lines["order_line"].append(
                f"{line_id}\t{order_id}\t{choice_id}\t{ordinal}\t{ordinal}\t{product_id}\tSKU"
                f"\tallocated\t1\t1\t0\t0\t0\tt\t500\t{charges}"
            )
            lines["reservation"].append(
                f"{new_id()}\t{stock.position_ids[place]}\t1\t2\t0\t{order_id}\t{line_id}"
                f"\t{fulfilment_id}"
            )
            lines["fulfilment_line"].append(
                f"{fulfilment_id}\t{order_id}\t{line_id}\t{product_id}\t1\t0"
            )
        lines["fulfilment"].append(
            f"{fulfilment_id}\t{order_id}\torder\t{choice_id}\t1\tawaiting_pick\tdeliver"
            f"\t{location_id}\t500\t100000\t1000\t{at}\t{at}"
        )
        for seq, name in enumerate(_EVENTS, start=1):
            lines["event"].append(
                f"{tx.id}\t{tx.next_event_ordinal()}\t{at}\torder\t{order_id}\t{seq}\torder"
                f"\t{order_id}\t{name}\t{{}}"
            )
        lines["trace"].append(f"{tx.id}\t{order_id}\torder.created\t{trace}")
        lines["sourcing_decision"].append(f"{tx.id}\t{order_id}\t{choice_id}\t{explanation}")
    return rows


def _filler(length: int) -> str:
    """Return a JSON document of about so many characters."""
    return copy_text('{"filler": "' + "x" * max(length - 14, 0) + '"}')


async def _write_journal(tx: Pass, rows: _Rows, written: list[tuple[int, ...]]) -> None:
    finals = {row[0]: row for row in written}
    total = len(rows.positions)
    ids = np.array(rows.positions, dtype=np.int32)
    ones = np.ones(total, dtype=np.int32)
    versions = np.array([finals[i][1] for i in rows.positions], dtype=np.int32)
    on_hands = np.array([finals[i][2] for i in rows.positions], dtype=np.int32)
    reserveds = np.array([finals[i][3] for i in rows.positions], dtype=np.int32)
    for ordinal, start in enumerate(range(0, total, _ENTRIES_PER_ROW)):
        part = slice(start, start + _ENTRIES_PER_ROW)
        size = len(ids[part])
        await tx.execute(
            _JOURNAL,
            (
                tx.journal_base + ordinal,
                tx.id,
                tx.now,
                ids[part],
                ids[part],
                ids[part],
                np.ones(size, dtype=np.int16),
                np.full(size, 3, dtype=np.int16),
                uuid_array(rows.causes[part]),
                ones[part] * 0,
                ones[part],
                on_hands[part],
                reserveds[part],
                versions[part],
                np.zeros(size, dtype=np.int64),
                np.zeros(size, dtype=np.int64),
            ),
        )
