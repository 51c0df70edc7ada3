"""The audit that goes on where it was: the journal forward from the checkpoint, piece by piece.

Passes are followed by number. The entries of a piece are added up on top of what their positions
were at the checkpoint (`fold.py`); what they are now, marks for walks into the past, what was found
wrong and the new checkpoint are written in one transaction, so that a run that is killed is gone
on with where it was, and of two at once each goes on where the other has come. Positions are then
held against that: each piece in one snapshot with the journal it sees beyond the checkpoint, so
that a difference is a breach although others write. Reads by its own statements; shares no code
with the rooms that write what it judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.audit import findings
from penstock.audit.chains import Entries, Positions, joined, lacking
from penstock.audit.findings import SQL, Seen
from penstock.audit.fold import Fault, Folded, States, fold, nothing, on_top
from penstock.audit.snapshots import Piece, read, read_piece
from penstock.audit.stock import no_positions, stray
from penstock.db import Database, Row, Tx, uuid_array

PASSES_A_PIECE = 200
MOST_PASSES_A_PIECE = 5_000
KEPT_JOURNAL, CHECKPOINT = 1, 2  # kinds of baselines
CLAIM_S = 120.0
_US = 1_000_000


class Step(msgspec.Struct):
    """What one piece of the journal has told: passes up to `number`, and whom they moved."""

    number: int
    folded: Folded
    entries: int
    marks: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]
    roots: list[str]


class Known(msgspec.Struct):
    """What a run has learnt: how far it is, which positions and roots it has to look at."""

    number: int
    entries: int = 0
    positions: int = 0
    touched: set[int] = msgspec.field(default_factory=set[int])
    roots: set[str] = msgspec.field(default_factory=set[str])
    short_by_count: int = 0
    units_short_by_count: int = 0
    stray: dict[str, NDArray[np.int32]] = msgspec.field(
        default_factory=lambda: {
            kind: np.empty(0, dtype=np.int32) for kind in ("product", "location", "pool")
        }
    )


async def checkpoint(tx: Tx) -> tuple[int, int]:
    """Return the number up to which the journal is added up, and where positions go on."""
    row: Any = await tx.fetch_one(SQL.checkpoint)
    return row[0], row[1]


async def newest_number(tx: Tx) -> int:
    """Return the largest number of a pass."""
    row: Any = await tx.fetch_one(SQL.newest_number)
    return row[0]


async def newest_position(tx: Tx) -> int:
    """Return the largest id of a position."""
    row: Any = await tx.fetch_one(SQL.newest_position)
    return row[0]


async def read_step(
    database: Database, schema: str, piece: Piece, number: int, *, roots: bool
) -> Step | None:
    """Read and add up the next passes after a number; None where there is none."""

    async def work(tx: Tx, size: int) -> Step | None:
        passes = await tx.fetch(SQL.passes_after, (number, size))
        if not passes:
            return None
        ids = uuid_array(row[0] for row in passes)
        moved = [row[0] for row in await tx.fetch(SQL.roots_of_passes, (ids,))] if roots else []
        rows = await tx.fetch(SQL.rows_of_passes, (ids,))
        entries = entries_of(rows)
        touched = np.unique(entries.position_ids)
        before = await states_of(tx, touched)
        folded = fold(before, entries)
        marks = _marks(folded, entries, rows)
        return Step(passes[-1][1], folded, len(entries.position_ids), marks, moved)

    return await read_piece(database, schema, piece, work)


def entries_of(rows: Sequence[Row]) -> Entries:
    """Return the entries of journal rows as `rows_of_passes` reads them."""
    if not rows:
        i16, i32 = np.empty(0, dtype=np.int16), np.empty(0, dtype=np.int32)
        i64 = np.empty(0, dtype=np.int64)
        return Entries(i64, i32, i16, i32, i32, i32, i32, i32, i64)
    return joined([row[1:9] for row in rows], [row[0] for row in rows])


def _marks(
    folded: Folded, entries: Entries, rows: Sequence[Row]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    recorded = {row[0]: int(row[9].timestamp() * _US) for row in rows}
    places = folded.marks
    journal_ids = entries.journal_ids[places]
    recorded_us = np.array([recorded[n] for n in journal_ids.tolist()], dtype=np.int64)
    return entries.position_ids[places], entries.versions[places], journal_ids, recorded_us


async def states_of(tx: Tx, ids: NDArray[np.int32], kind: int = CHECKPOINT) -> States:
    """Return what positions (sorted ids) were at the checkpoint."""
    row: Any = await tx.fetch_one(SQL.baselines, (kind, ids))
    states = nothing(ids)
    return states if row[0] is None else on_top(states, States(*row))


async def write_step(database: Database, schema: str, number: int, step: Step) -> int:
    """Write what a step has come to; returns the checkpoint, which another audit may have moved.

    Then nothing is written: what that one has added up is kept.
    """

    async def work(tx: Tx) -> int:
        if await tx.execute(SQL.advance, (step.number, number)) != 1:
            return (await checkpoint(tx))[0]
        await write_baselines(tx, CHECKPOINT, step.folded.states)
        if len(step.marks[0]):
            await tx.execute(SQL.write_marks, step.marks)
        await findings.note(tx, [_broken_chain(fault) for fault in step.folded.faults])
        return step.number

    return await database.run(schema, work)


async def write_baselines(tx: Tx, kind: int, states: States) -> None:
    """Write baselines of a kind."""
    if len(states.ids):
        columns = (states.ids, states.versions, states.on_hands, states.reserveds)
        await tx.execute(
            SQL.write_baselines, (kind, *columns, states.journal_ids, states.lack_causes)
        )


def _broken_chain(fault: Fault) -> Seen:
    subject = f"Position {fault.position_id}, version {fault.version}"
    sentence = f"Position {fault.position_id}: {fault.sentence}."
    return Seen("journal", subject, f"chain:{fault.position_id}", sentence)


async def compare(database: Database, schema: str, known: Known, ids: Iterable[int]) -> list[Seen]:
    """Look at positions in one snapshot; returns what is wrong, and settles their findings."""
    wanted = np.array(sorted(set(ids)), dtype=np.int32)
    if len(wanted) == 0:
        return []

    async def look(tx: Tx) -> tuple[Positions, States, NDArray[np.int64], list[str]]:
        states = await states_now(tx, known.number, wanted)
        row: Any = await tx.fetch_one(SQL.positions_by_id, (wanted,))
        positions = no_positions() if row[0] is None else Positions(*row)
        kept = np.zeros(len(wanted), dtype=np.int64)
        sums: Any = await tx.fetch_one(SQL.reserved_by_id, (wanted,))
        if sums[0] is not None:
            kept[np.searchsorted(wanted, sums[0])] = sums[1]
        return positions, states, kept, await stray(tx, positions, known.stray)

    positions, states, kept, strays = await read(database, schema, look)
    places = np.searchsorted(wanted, positions.ids)
    seen = [
        *_missing(states, places),
        *_judge(positions, states.rows(places), kept[places]),
        *(
            Seen("positions", findings.subject_of(text), f"position:{_id_in(text)}", text)
            for text in strays
        ),
    ]
    _count_short(known, positions, states.rows(places))
    known.positions += len(wanted)
    keys = [f"position:{n}" for n in wanted.tolist()]
    checks = ("positions", "journal", "reserved", "oversold")
    await database.run(schema, lambda tx: findings.settle(tx, checks, keys, seen))
    return seen


async def states_now(tx: Tx, number: int, wanted: NDArray[np.int32]) -> States:
    """Return what positions are by the journal that a snapshot sees."""
    beyond = uuid_array(row[0] for row in await tx.fetch(SQL.passes_beyond, (number,)))
    entries = entries_of(await tx.fetch(SQL.rows_of_passes, (beyond,)))
    own = entries.rows(np.isin(entries.position_ids, wanted))
    return fold(await states_of(tx, wanted), own).states


def _id_in(text: str) -> str:
    return text.split(" ", 2)[1]


def _missing(states: States, there: NDArray[np.int64]) -> list[Seen]:
    is_gone = states.versions > 0
    is_gone[there] = False
    return [
        Seen(
            "positions",
            f"Position {n}",
            f"position:{n}",
            f"The journal moves position {n}, which does not exist.",
        )
        for n in states.ids[is_gone].tolist()
    ]


def _judge(positions: Positions, states: States, kept: NDArray[np.int64]) -> list[Seen]:
    differs = (
        (positions.versions != states.versions)
        | (positions.on_hands != states.on_hands)
        | (positions.reserveds != states.reserveds)
        | (positions.journal_ids != states.journal_ids)
    )
    lack = lacking(positions.on_hands, positions.reserveds)
    found = [_row_differs(positions, states, n) for n in np.flatnonzero(differs).tolist()]
    for n in np.flatnonzero(positions.reserveds != kept).tolist():
        says = f"has {positions.reserveds[n]} reserved, but its live reservations keep {kept[n]}."
        found.append(_seen("reserved", positions, n, says))
    for n in np.flatnonzero((lack > 0) & (states.lack_causes > 0)).tolist():
        says = (
            f"has {positions.reserveds[n]} reserved and {positions.on_hands[n]} on hand. Version "
            f"{states.lack_causes[n]} of its journal took more than was there."
        )
        found.append(_seen("oversold", positions, n, says))
    return found


def _row_differs(positions: Positions, states: States, n: int) -> Seen:
    faults: list[str] = []
    for name, added, value in (
        ("on hand", states.on_hands[n], positions.on_hands[n]),
        ("reserved", states.reserveds[n], positions.reserveds[n]),
    ):
        if added != value:
            faults.append(f"its journal adds up to {added} {name}, the row says {value}")
    if positions.versions[n] != states.versions[n]:
        at = f"it is at version {positions.versions[n]}"
        faults.append(f"{at}, but its journal ends at version {states.versions[n]}")
    elif positions.journal_ids[n] != states.journal_ids[n]:
        named = f"it names {positions.journal_ids[n]} as its last journal row"
        faults.append(f"{named}, which is {states.journal_ids[n]}")
    return _seen("journal", positions, n, f": {'; '.join(faults)}.")


def _seen(check: str, positions: Positions, n: int, says: str) -> Seen:
    position_id = int(positions.ids[n])
    where = f"(product {positions.product_ids[n]}, location {positions.location_ids[n]})"
    gap = "" if says.startswith(":") else " "
    sentence = f"Position {position_id} {where}{gap}{says}"
    return Seen(check, f"Position {position_id}", f"position:{position_id}", sentence)


def _count_short(known: Known, positions: Positions, states: States) -> None:
    lack = lacking(positions.on_hands, positions.reserveds)
    short = (lack > 0) & (states.lack_causes == 0)
    known.short_by_count += int(short.sum())
    known.units_short_by_count += int(lack[short].sum())
