"""The audit of carts and limits: holds of live carts, and lines that count for what they are.

Walked in pieces as in `demand.py`; what a query compares is written by one pass. A limit that was
made stricter breaks nothing that was had before: only what counts since is added up.
"""

from __future__ import annotations

from penstock.audit.report import Report
from penstock.audit.snapshots import Piece, read, read_piece
from penstock.db import Database, Queries, Tx
from penstock.ids import NIL

SQL = Queries("penstock.audit", "limits.sql")
ROWS_A_PIECE = 20_000
MOST_ROWS_A_PIECE = 100_000
_WALKS = (
    ("limits", "next_entries", "entries_astray"),
    ("carts", "next_holds", "holds_astray"),
)


async def audit_limits(database: Database, schema: str, report: Report) -> None:
    """Check what counts under limits, and what carts hold."""
    checks = {check.name: check for check in report.checks}
    queries = SQL.texts()
    for name, step, query in _WALKS:
        await _walk(database, schema, report, (name, queries[step], queries[query]))

    async def exceeded(tx: Tx) -> list[str]:
        return [row[0] for row in await tx.fetch(SQL.limits_exceeded)]

    checks["limits"].found(await read(database, schema, exceeded))


async def _walk(
    database: Database, schema: str, report: Report, walk: tuple[str, bytes, bytes]
) -> None:
    name, step, query = walk
    check = next(one for one in report.checks if one.name == name)
    piece = Piece(ROWS_A_PIECE, MOST_ROWS_A_PIECE)
    after = NIL

    async def work(tx: Tx, size: int) -> tuple[int, str, list[str]]:
        row = await tx.fetch_one(step, (after, size))
        if row is None:
            return 0, after, []
        found = await tx.fetch(query, (after, row[1]))
        return row[0], row[1], [one[0] for one in found]

    while True:
        rows, after, sentences = await read_piece(database, schema, piece, work)
        if rows == 0:
            return
        check.examined += rows
        check.found(sentences)
