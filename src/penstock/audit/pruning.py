"""Pruning the journal: a baseline per position first, then whole months go (DESIGN section 5).

What positions were where the kept journal begins is read from the rows that will go, and written
before any of them does, so that a prune that is killed leaves an account that audits clean, and is
done again from the start. Only what the audit has added up may go, and nothing while a journal is
found broken: that would do away with the evidence. Months are pruned whole.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.audit.chains import ADJUSTMENT, BLOCK, COUNT, Entries, lacking
from penstock.audit.fold import States, on_top
from penstock.audit.forward import (
    KEPT_JOURNAL,
    entries_of,
    newest_position,
    states_of,
    write_baselines,
)
from penstock.audit.run import audit_forward
from penstock.audit.snapshots import Piece, Progress, read_piece
from penstock.db import Database, Queries, Row, Tx
from penstock.errors import Refusal
from penstock.events.partitions import drop_partitions

SQL = Queries("penstock.audit", "pruning.sql")
ROWS_A_PIECE = 200
MOST_ROWS_A_PIECE = 2_000
FLOORS_A_PIECE = 20_000


class Pruned(msgspec.Struct, frozen=True):
    """What pruning did: since when the journal is kept, baselines written, rows and months gone."""

    since: datetime
    baselines: int
    rows: int
    months: list[str]


class Latest:
    """The last entry of each position in the rows read, whatever the order they are read in."""

    def __init__(self, most: int) -> None:
        self._versions = np.zeros(most + 1, dtype=np.int32)
        self._on_hands = np.zeros(most + 1, dtype=np.int32)
        self._reserveds = np.zeros(most + 1, dtype=np.int32)
        self._journal_ids = np.zeros(most + 1, dtype=np.int64)
        self._last_clear = np.zeros(most + 1, dtype=np.int32)  # last version that lacked nothing
        self._last_ours = np.zeros(most + 1, dtype=np.int32)  # last at which we took too much

    def add(self, entries: Entries) -> None:
        """Take entries, in any order."""
        entries = entries.rows(entries.position_ids < len(self._versions))
        own = entries.rows(np.lexsort((entries.versions, entries.position_ids)))
        lack = lacking(own.on_hands, own.reserveds)
        lacked = lacking(
            own.on_hands.astype(np.int64) - own.on_hand_deltas,
            own.reserveds.astype(np.int64) - own.reserved_deltas,
        )
        is_ours = (lack > lacked) & ~np.isin(own.cause_kinds, (COUNT, ADJUSTMENT, BLOCK))
        np.maximum.at(self._last_clear, own.position_ids[lack == 0], own.versions[lack == 0])
        np.maximum.at(self._last_ours, own.position_ids[is_ours], own.versions[is_ours])
        is_last = np.append(own.position_ids[1:] != own.position_ids[:-1], True)
        ends = own.rows(np.flatnonzero(is_last))
        ends = ends.rows(ends.versions > self._versions[ends.position_ids])
        ids = ends.position_ids
        self._versions[ids], self._journal_ids[ids] = ends.versions, ends.journal_ids
        self._on_hands[ids], self._reserveds[ids] = ends.on_hands, ends.reserveds

    def ids(self) -> NDArray[np.int32]:
        """Return the positions that have an entry."""
        return np.flatnonzero(self._versions > 0).astype(np.int32)

    def after(self, floors: States) -> States:
        """Return what positions are after the rows, on top of where their journals began."""
        ids = floors.ids
        clear, ours = self._last_clear[ids], self._last_ours[ids]
        causes = np.where(ours > clear, ours, np.where(clear > 0, 0, floors.lack_causes))
        found = States(
            ids,
            self._versions[ids],
            self._on_hands[ids],
            self._reserveds[ids],
            self._journal_ids[ids],
            causes.astype(np.int32),
        )
        return on_top(floors, found.rows(found.versions > floors.versions))


def month_of(before: datetime) -> datetime:
    """Return the beginning of the month that an instant is in: what pruning goes by."""
    day = before.astimezone(UTC).date().replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


async def count_journal(tx: Tx, before: datetime) -> int:
    """Return how many journal rows pruning to the month of an instant would take out."""
    row = await tx.fetch_one(SQL.count_old_rows, (month_of(before),))
    return int(row[0]) if row else 0


async def prune_journal(
    database: Database, schema: str, before: datetime, tell: Progress
) -> Pruned:
    """Take journal rows out that were recorded before the month of an instant.

    The audit is brought up to date first. Refusals: `journal_not_clean` where a journal is found
    broken, `journal_not_numbered` where a pass of then has no number yet.
    """
    since = month_of(before)
    await audit_forward(database, schema, progress=tell)
    await database.run(schema, lambda tx: _refuse_unfit(tx, since))
    latest = await _read_old(database, schema, since, tell)
    ids = latest.ids()
    for start in range(0, len(ids), FLOORS_A_PIECE):
        part = ids[start : start + FLOORS_A_PIECE]
        await database.run(schema, lambda tx, part=part: _write_floors(tx, latest, part))
        tell("baselines", start + len(part), len(ids))
    rows = await database.run(schema, lambda tx: count_journal(tx, since))
    months = await database.run(schema, lambda tx: _drop(tx, since))
    while await database.run(schema, lambda tx: tx.execute(SQL.delete_old_rows, (since,))):
        pass
    return Pruned(since, len(ids), rows, months)


async def _write_floors(tx: Tx, latest: Latest, ids: NDArray[np.int32]) -> None:
    floors = await states_of(tx, ids, KEPT_JOURNAL)
    await write_baselines(tx, KEPT_JOURNAL, latest.after(floors))


async def _refuse_unfit(tx: Tx, since: datetime) -> None:
    row: Row = await tx.fetch_one(SQL.broken_journals) or (0,)
    if row[0]:
        raise Refusal(
            "journal_not_clean",
            f"{row[0]} findings say that a journal is broken: repair them first "
            "(`penstock audit repairs`); pruning would do away with the evidence.",
        )
    row = await tx.fetch_one(SQL.old_passes, (since,)) or (0,)
    if row[0]:
        raise Refusal("journal_not_numbered", "Old passes have no number yet: let a worker run.")


async def _drop(tx: Tx, since: datetime) -> list[str]:
    await tx.script("SET LOCAL lock_timeout = '500ms'")  # others wait as long behind it
    await tx.execute(SQL.set_journal_from, (since,))
    await tx.execute(SQL.delete_old_marks, (since,))
    return await drop_partitions(tx, "journal", date(since.year, since.month, 1))


async def _read_old(database: Database, schema: str, since: datetime, tell: Progress) -> Latest:
    """Read the rows that will go, and what positions were before them."""
    latest = Latest(await database.run(schema, newest_position))
    piece, last_id, done = Piece(ROWS_A_PIECE, MOST_ROWS_A_PIECE), 0, 0

    async def work(tx: Tx, size: int) -> list[Row]:
        return await tx.fetch(SQL.old_rows, (since, last_id, size))

    while rows := await read_piece(database, schema, piece, work):
        latest.add(entries_of(rows))
        last_id, done = rows[-1][0], done + len(rows)
        tell("old journal", done, 0)
    return latest
