"""Partitions by month of the high-volume history: journal, events, traces, sourcing decisions.

Owns making them ahead, beside a default one that takes whatever falls outside: a month whose first
rows are in the default partition already stays there. Pruning drops whole partitions, by its own
command (`audit/pruning.py` for the journal). What has to be unique is never partitioned.
"""

from __future__ import annotations

import re
from datetime import date

from penstock.db import Tx

TABLES = ("journal", "event", "trace", "sourcing_decision")
MONTHS_AHEAD = 2
_LOCK = 8_307_411_905_118_002  # serialises those who make partitions
_TAKEN = {
    table: f"SELECT 1 FROM {table}_default "  # noqa: S608 (our own names)
    "WHERE recorded_at >= %s AND recorded_at < %s LIMIT 1".encode()
    for table in TABLES
}
_MONTH = re.compile(r"[a-z_]+_\d{4}_\d{2}")
_PARTITIONS = b"""
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass(%s) ORDER BY 1
"""
_IS_THERE = b"SELECT 1 FROM pg_class WHERE oid = to_regclass(%s)"


async def make_partitions(tx: Tx, today: date) -> None:
    """Make the partitions of this month and the next ones where they are missing."""
    months = [today.replace(day=1)]
    for _ in range(MONTHS_AHEAD):
        months.append(_next_month(months[-1]))
    wanted = [(table, month) for month in months for table in TABLES]
    missing = [one for one in wanted if not await tx.fetch(_IS_THERE, (_name(*one),))]
    if not missing:
        return
    await tx.fetch(b"SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    for table, month in missing:
        bounds = (month, _next_month(month))
        is_there = await tx.fetch(_IS_THERE, (_name(table, month),))
        if not is_there and not await tx.fetch(_TAKEN[table], bounds):
            await tx.script(
                f"CREATE TABLE {_name(table, month)} PARTITION OF {table} "
                f"FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
            )


async def drop_partitions(tx: Tx, table: str, before: date) -> list[str]:
    """Drop the partitions of a table whose months are over before a day; returns their names.

    Waits for who reads or writes the table, and lets nobody else at it meanwhile: a moment.
    """
    names = [row[0] for row in await tx.fetch(_PARTITIONS, (table,))]
    over = [name for name in names if name < _name(table, before.replace(day=1))]
    over = [name for name in over if _MONTH.fullmatch(name)]
    for name in over:
        await tx.script(f"DROP TABLE {name}")
    return over


def _name(table: str, month: date) -> str:
    return f"{table}_{month:%Y_%m}"


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
