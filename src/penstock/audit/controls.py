"""The audit of what caps and ring-fences have counted, against the reservations that name them.

Both are of one pass, hence of one instant in a snapshot: a difference is a breach while orders go
on. What was shipped is counted for good and has no reservation left to be held against.
"""

from __future__ import annotations

from typing import Any

from penstock.audit.report import Report
from penstock.audit.snapshots import read
from penstock.db import Database, Queries, Tx

SQL = Queries("penstock.audit", "controls.sql")


async def audit_controls(database: Database, schema: str, report: Report) -> None:
    """Check that every count of a cap or ring-fence adds up."""
    check = next(check for check in report.checks if check.name == "controls")

    async def work(tx: Tx) -> tuple[list[str], int]:
        sentences = [row[0] for row in await tx.fetch(SQL.counts_that_do_not_add_up)]
        row: Any = await tx.fetch_one(SQL.counted_controls)
        return sentences, row[0]

    sentences, check.examined = await read(database, schema, work)
    check.found(sentences)
