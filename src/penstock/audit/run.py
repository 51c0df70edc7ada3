"""`audit`: every invariant of an account checked, in bounded memory, while orders go on.

Knows the tables and what must be true of them, and shares no code with the rooms that write them.
What is read is read in pieces, each in a read-only snapshot of less than five seconds (see
`snapshots.py`); why a difference is a breach although others write is said in `stock.py` and
`demand.py`. Memory: 20 bytes a position and a few pieces. Nothing is written.
"""

from __future__ import annotations

import time

from penstock.audit.controls import audit_controls
from penstock.audit.demand import audit_demand
from penstock.audit.lots import audit_lots
from penstock.audit.report import Report, empty_report
from penstock.audit.snapshots import Progress
from penstock.audit.stock import StockAudit
from penstock.db import Database


async def audit(database: Database, schema: str, *, progress: Progress | None = None) -> Report:
    """Check all invariants of the account in `schema`; `progress` hears (stage, done, total).

    A total of 0 is not known. Raises `Broken` where a piece cannot be read in its time.
    """
    started = time.perf_counter()
    report = empty_report(schema)
    tell = progress or _silence
    await StockAudit(database, schema, report, tell).run()
    await audit_demand(database, schema, report, tell)
    await audit_controls(database, schema, report)
    await audit_lots(database, schema, report)
    report.breaches = sum(check.breaches for check in report.checks)
    report.duration_s = time.perf_counter() - started
    return report


def _silence(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
