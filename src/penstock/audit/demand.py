"""The audit of orders, their lines, reservations and fulfilments, events, passes and capacity.

Each table is walked by its key in pieces; the queries of a walk look at one piece, in one short
snapshot, and return a sentence a breach. Whatever a query compares is written by one pass, hence
of one instant in that snapshot, so that a difference is a breach while orders go on. Only the
number of a pass comes later than the pass: those without one are given time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.audit.findings import Seen, seen_by
from penstock.audit.report import Check, Report
from penstock.audit.snapshots import SQL, Piece, Progress, read, read_piece
from penstock.db import Database, Row, Tx, uuid_array
from penstock.ids import NIL

ROWS_A_PIECE = 20_000
MOST_ROWS_A_PIECE = 100_000
MOST_ROOTS = 2_000
_RANGE = re.compile(rb"([\w.]+) > %s::uuid AND \1 <= %s::uuid")
NUMBER_AFTER_S = 5  # how old a pass may be without a number …
NUMBER_WAIT_S = 3  # … and how long the sequencer is given for those beyond
NUMBER_LOOK_S = 0.1


class Walk(msgspec.Struct, frozen=True):
    """A table walked by its key: from where, the query that steps, and (check, query) pairs."""

    name: str
    start: tuple[object, ...]
    step: str
    queries: tuple[tuple[str, str], ...]


WALKS = (
    Walk(
        "orders",
        (NIL,),
        "next_orders",
        (
            ("lines", "lines_that_do_not_add_up"),
            ("kits", "kits_that_do_not_add_up"),
            ("kits", "kits_torn_apart"),
            ("allocations", "lines_without_their_reservations"),
            ("fulfilments", "lines_without_their_fulfilments"),
            ("waiting", "orders_that_wait_for_nothing"),
            ("events", "orders_with_events_out_of_order"),
            ("references", "orders_without_their_ref"),
        ),
    ),
    Walk(
        "entities",
        (NIL,),
        "next_entities",
        (
            ("waiting", "entities_that_wait_for_nothing"),
            ("events", "entities_with_events_out_of_order"),
            ("references", "entities_astray"),
        ),
    ),
    Walk("refs", (0, ""), "next_order_refs", (("references", "refs_without_their_order"),)),
    Walk("lines", (NIL,), "next_lines", (("references", "lines_astray"),)),
    Walk("choices", (NIL,), "next_choices", (("references", "choices_astray"),)),
    Walk("reservations", (NIL,), "next_reservations", (("references", "reservations_astray"),)),
    Walk("fulfilments", (NIL,), "next_fulfilments", (("references", "fulfilments_astray"),)),
    Walk(
        "fulfilment lines",
        (NIL, NIL),
        "next_fulfilment_lines",
        (("references", "fulfilment_lines_astray"),),
    ),
    Walk(
        "events",
        (NIL, -1),
        "next_events",
        (("passes", "events_of_no_pass"), ("references", "events_of_no_order")),
    ),
    Walk("passes", (0,), "next_passes", (("passes", "gaps_between_passes"),)),
)


async def audit_demand(database: Database, schema: str, report: Report, progress: Progress) -> None:
    """Check everything but positions and their journal."""
    checks = {check.name: check for check in report.checks}
    for walk in WALKS:
        walked = await _walk(database, schema, walk, checks, progress)
        if walk.name == "orders":
            report.figures.orders = walked
    checks["passes"].found(await _unnumbered(database, schema))
    await audit_capacity(database, schema, report)


async def audit_capacity(database: Database, schema: str, report: Report) -> None:
    """Check that capacities used are the fulfilments counted on them, all in one reading."""
    check = next(check for check in report.checks if check.name == "capacity")
    check.found(await _sentences(database, schema, "capacity_that_does_not_count"))
    row: Any = await read(database, schema, lambda tx: tx.fetch_one(SQL.figures))
    check.examined, report.figures.dead_letters = row


async def audit_roots(database: Database, schema: str, roots: Sequence[str]) -> list[Seen]:
    """Check orders and other roots by id, at most `MOST_ROOTS`, in one snapshot.

    The same statements as a walk's, of these ids instead of a range of them.
    """

    async def work(tx: Tx) -> list[Seen]:
        ids = uuid_array(roots)
        return [
            seen_by(check, row[0])
            for walk in WALKS[:2]
            for check, query in walk.queries
            for row in await tx.fetch(
                _RANGE.sub(rb"\1 = ANY(%s::uuid[])", getattr(SQL, query)), (ids,)
            )
        ]

    return await read(database, schema, work)


async def _walk(
    database: Database, schema: str, walk: Walk, checks: dict[str, Check], progress: Progress
) -> int:
    """Run the queries of a walk over all its pieces; returns the number of rows walked."""
    piece = Piece(ROWS_A_PIECE, MOST_ROWS_A_PIECE)
    after = walk.start
    walked = 0

    async def work(tx: Tx, size: int) -> tuple[int, tuple[object, ...], list[list[str]]]:
        row = await tx.fetch_one(getattr(SQL, walk.step), (*after, size))
        if row is None:
            return 0, after, []
        found = [await _look(tx, query, after, row[1:]) for _, query in walk.queries]
        return row[0], row[1:], found

    while True:
        rows, after, found = await read_piece(database, schema, piece, work)
        if rows == 0:
            return walked
        walked += rows
        for (name, _), sentences in zip(walk.queries, found, strict=True):
            checks[name].examined += rows
            checks[name].found(sentences)
        progress(walk.name, walked, 0)


async def _look(
    tx: Tx, query: str, after: tuple[object, ...], last: tuple[object, ...]
) -> list[str]:
    text: bytes = getattr(SQL, query)
    if b"%(after)s" in text:
        rows = await tx.fetch(text, {"after": after[0], "last": last[0]})  # pyright: ignore[reportArgumentType] (a mapping is as good)
    else:
        rows = await tx.fetch(text, (*after, *last))
    return [row[0] for row in rows]


async def _sentences(database: Database, schema: str, query: str) -> list[str]:
    return await read(database, schema, lambda tx: _look(tx, query, (), ()))


async def _unnumbered(database: Database, schema: str) -> list[str]:
    """Name the passes that have no number after all, the sequencer having been given time."""
    rows: list[Row] = []
    for _ in range(int(NUMBER_WAIT_S / NUMBER_LOOK_S)):
        rows = await read(
            database, schema, lambda tx: tx.fetch(SQL.old_unnumbered_passes, (NUMBER_AFTER_S,))
        )
        if not rows:
            return []
        await asyncio.sleep(NUMBER_LOOK_S)
    return [row[0] for row in rows]
