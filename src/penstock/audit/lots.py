"""The audit of lots against positions, their own entries, reservations and what is blocked.

All of it is written with the position locked, in one pass: a difference within a snapshot is a
breach while orders go on. An account that keeps no lots is asked one question.
"""

from __future__ import annotations

from typing import Any

from penstock.audit.report import Report
from penstock.audit.snapshots import read
from penstock.db import Database, Queries, Tx

SQL = Queries("penstock.audit", "lots.sql")
_CHECKS = (
    "lots_above_stock",
    "lots_against_their_entries",
    "pegs_above_lots",
    "pegs_astray",
    "blocked_not_kept",
)


async def audit_lots(database: Database, schema: str, report: Report) -> None:
    """Check that lots add up: to their positions, to their entries, and to what is kept of them."""
    check = next(check for check in report.checks if check.name == "lots")

    async def work(tx: Tx) -> tuple[list[str], int]:
        row: Any = await tx.fetch_one(SQL.lots_kept)
        if not any(row):
            return [], 0
        queries = [getattr(SQL, name) for name in _CHECKS]
        return [found[0] for query in queries for found in await tx.fetch(query)], row[0]

    sentences, check.examined = await read(database, schema, work)
    check.found(sentences)
