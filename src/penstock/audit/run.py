"""The audit: every invariant of an account checked, in bounded memory, while orders go on.

Knows the tables and what must be true of them, and shares no code with the rooms that write them.
What is read is read in pieces, each in a read-only snapshot of less than five seconds (see
`snapshots.py`); why a difference is a breach although others write is said in `stock.py`,
`forward.py` and `demand.py`. Memory: 20 bytes a position and a few pieces.

`audit` reads everything and writes nothing; `audit_fully` also keeps what it found; `audit_forward`
reads the journal from the checkpoint on and everything else whole. What the worker does all the
time is `background.py`'s.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from penstock.audit import findings, forward
from penstock.audit.controls import audit_controls
from penstock.audit.demand import audit_demand
from penstock.audit.findings import SQL, Finding, seen_by
from penstock.audit.forward import Known
from penstock.audit.limits import audit_limits
from penstock.audit.lots import audit_lots
from penstock.audit.report import MAX_EXAMPLES, Check, Report, empty_report
from penstock.audit.slots import audit_slots
from penstock.audit.snapshots import Piece, Progress
from penstock.audit.stock import StockAudit
from penstock.db import Database, Tx

POSITIONS_A_PIECE = 50_000


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
    await audit_limits(database, schema, report)
    await audit_slots(database, schema, report)
    await audit_lots(database, schema, report)
    report.breaches = sum(check.breaches for check in report.checks)
    report.duration_s = time.perf_counter() - started
    return report


def _silence(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


async def audit_fully(
    database: Database, schema: str, *, progress: Progress | None = None
) -> Report:
    """As `audit`, and keep what was found; what is not found any more is resolved."""
    started_at = datetime.now(UTC)
    report = await audit(database, schema, progress=progress)
    known = Known(
        (await database.run(schema, forward.checkpoint))[0],
        entries=report.figures.journal_entries,
        positions=report.figures.positions,
    )

    async def keep(tx: Tx) -> None:
        await _settle(tx, report.checks, journal=True)
        await write_run(tx, ("full", started_at), known, (known.number, report.figures.orders))

    await database.run(schema, keep)
    return report


async def _settle(tx: Tx, checks: list[Check], *, journal: bool) -> None:
    """Keep what checks of everything explained; where that is all of it, resolve the rest.

    Without the whole `journal` read, what was found in it stays.
    """
    for check in checks:
        seen = [seen_by(check.name, sentence) for sentence in check.examples]
        if check.breaches <= len(check.examples):
            keys = None if journal or check.name != "passes" else [findings.WHOLE]
            await findings.settle(tx, [check.name], keys, seen)
        else:
            await findings.note(tx, seen)


async def audit_forward(
    database: Database, schema: str, *, progress: Progress | None = None
) -> Report:
    """Read the journal on from the checkpoint, and check everything else whole.

    What is reported is what is open at the end: breaches found earlier stay until they are gone.
    """
    started, started_at = time.perf_counter(), datetime.now(UTC)
    tell = progress or _silence
    report = empty_report(schema)
    first, _ = await database.run(schema, forward.checkpoint)
    known = await _read_on(database, schema, Known(first), tell)
    await _every_position(database, schema, known, tell)
    await audit_demand(database, schema, report, tell)
    await audit_controls(database, schema, report)
    await audit_limits(database, schema, report)
    await audit_slots(database, schema, report)
    await audit_lots(database, schema, report)
    rest = [check for check in report.checks if check.name not in STOCK_CHECKS]

    async def keep(tx: Tx) -> list[Finding]:
        await _settle(tx, rest, journal=False)
        await write_run(tx, ("forward", started_at), known, (first, report.figures.orders))
        return await findings.open_findings(tx)

    _tell_open(report, await database.run(schema, keep), known)
    report.duration_s = time.perf_counter() - started
    return report


STOCK_CHECKS = ("reserved", "oversold", "journal", "positions")


async def _read_on(database: Database, schema: str, known: Known, tell: Progress) -> Known:
    piece = Piece(forward.PASSES_A_PIECE, forward.MOST_PASSES_A_PIECE)
    newest = await database.run(schema, forward.newest_number)
    while known.number < newest:
        step = await forward.read_step(database, schema, piece, known.number, roots=False)
        if step is None:
            return known
        known.number = await forward.write_step(database, schema, known.number, step)
        known.entries += step.entries
        tell("journal", known.entries, 0)
    return known


async def _every_position(database: Database, schema: str, known: Known, tell: Progress) -> None:
    first = 1
    while True:
        most = await database.run(schema, forward.newest_position)
        if first > most:
            return
        last = min(first + POSITIONS_A_PIECE - 1, most)
        await forward.compare(database, schema, known, range(first, last + 1))
        tell("positions", last, most)
        first = last + 1


def _tell_open(report: Report, found: list[Finding], known: Known) -> None:
    """Make the report one of what is open; what checks counted beyond their examples stays."""
    for check in report.checks:
        mine = [finding.sentence for finding in found if finding.check == check.name]
        check.breaches = max(check.breaches, len(mine))
        check.examples = mine[:MAX_EXAMPLES]
        if check.name in STOCK_CHECKS:
            check.examined = known.entries if check.name == "journal" else known.positions
    figures = report.figures
    figures.positions, figures.journal_entries = known.positions, known.entries
    figures.short_by_count = known.short_by_count
    figures.units_short_by_count = known.units_short_by_count
    report.breaches = sum(check.breaches for check in report.checks)


async def write_run(
    tx: Tx, what: tuple[str, datetime], known: Known, more: tuple[int, int]
) -> None:
    """Keep what a run of a kind, begun at an instant, has looked at.

    `more` are the number it began at and how many orders it looked at.
    """
    first, orders = more
    row = (*what, first, known.number, known.entries, known.positions, orders)
    await tx.execute(SQL.write_run, row)
    await tx.execute(SQL.count_run, (known.entries, known.positions))
    await tx.execute(SQL.forget_runs)
