"""Pruning: what nobody needs any more is taken out, so many rows at a time.

Owns what may go: traces, jobs that are over, dead letters and unhandled events that somebody has
dealt with, stock jobs that have ended with the results of their rows. Orders, entities, their
events, stock and its journal stay. Each chunk is a transaction of its own, so that nothing waits.
"""

from __future__ import annotations

from datetime import datetime

from penstock.db import Queries, Tx

SQL = Queries("penstock.rules", "pruning.sql")
# What it is called, how many are old enough, and the statement that takes a chunk out.
KINDS = {
    "traces": (SQL.count_traces, SQL.prune_traces),
    "jobs": (SQL.count_jobs, SQL.prune_jobs),
    "dead letters": (SQL.count_dead_letters, SQL.prune_dead_letters),
    "unhandled events": (SQL.count_unhandled, SQL.prune_unhandled),
    "stock jobs": (SQL.count_stock_jobs, SQL.prune_stock_jobs),
}


async def count_old(tx: Tx, before: datetime) -> dict[str, int]:
    """Return how many of each kind are older than an instant."""
    found: dict[str, int] = {}
    for kind, (count, _) in KINDS.items():
        row = await tx.fetch_one(count, (before,))
        found[kind] = int(row[0]) if row else 0
    return found


async def prune(tx: Tx, kind: str, before: datetime) -> int:
    """Take out up to 10,000 of a kind that are older; returns how many: 0 is the end."""
    cursor = await tx.connection.execute(KINDS[kind][1], (before,))
    return int(cursor.rowcount)
