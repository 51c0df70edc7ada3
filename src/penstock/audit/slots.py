"""The audit of pick-up slots: what is counted on each, against the choices that hold it.

Both are of one pass, hence of one instant in a snapshot: a difference is a breach while orders go
on. It is a part of the check `capacity`.
"""

from __future__ import annotations

from typing import Any

from penstock.audit.report import Report
from penstock.audit.snapshots import read
from penstock.db import Database, Queries, Tx

SQL = Queries("penstock.audit", "slots.sql")


async def audit_slots(database: Database, schema: str, report: Report) -> None:
    """Check that every slot is counted as often as it is held."""
    check = next(check for check in report.checks if check.name == "capacity")

    async def work(tx: Tx) -> tuple[list[str], int]:
        sentences = [row[0] for row in await tx.fetch(SQL.slots_that_do_not_count)]
        row: Any = await tx.fetch_one(SQL.counted_slots)
        return sentences, row[0]

    sentences, examined = await read(database, schema, work)
    check.examined += examined
    check.found(sentences)
