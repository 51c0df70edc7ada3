"""Partitions by month of the high-volume history: journal, events, traces, sourcing decisions.

Owns making them ahead, beside a default one that takes whatever falls outside. Pruning drops
whole partitions and comes with its own command. What has to be unique is never partitioned.
"""

from __future__ import annotations

from datetime import date

from penstock.db import Tx

TABLES = ("journal", "event", "trace", "sourcing_decision")
MONTHS_AHEAD = 2


async def make_partitions(tx: Tx, today: date) -> None:
    """Make the partitions of this month and the next ones where they are missing."""
    month = today.replace(day=1)
    for _ in range(MONTHS_AHEAD + 1):
        after = _next_month(month)
        for table in TABLES:
            name = f"{table}_{month:%Y_%m}"
            if not await tx.fetch(b"SELECT 1 FROM pg_class WHERE oid = to_regclass(%s)", (name,)):
                await tx.script(
                    f"CREATE TABLE {name} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{month}') TO ('{after}')"
                )
        month = after


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
