"""The audit of positions against their journal and their reservations, while orders go on.

The journal is read forward once, up to a cut: the passes that one first snapshot saw (by number,
and those not numbered yet by id). Every entry is added to `Chains` exactly once. Then positions
are read in pieces; the snapshot of each also reads the journal of the passes it sees beyond the
cut, which moves the cut, and the reservations of the piece. So all three are of one instant, what
commits late is not missed (numbers are given after commit; ids of journal rows say nothing
about the order of commits), and a difference is a breach without being looked at again.
Breaches found are explained at the end by a second reading of the journal for those positions.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.audit.chains import (
    CAUSES,
    Chains,
    Entries,
    Floors,
    Positions,
    explain,
    joined,
    lacking,
)
from penstock.audit.report import MAX_EXAMPLES, Check, Report
from penstock.audit.snapshots import SQL, Piece, Progress, read, read_piece
from penstock.db import Database, Row, Tx, uuid_array
from penstock.errors import Refusal

POSITIONS_A_PIECE = 200_000
PASSES_A_PIECE = 100
MAX_ROWS_A_PIECE = 20_000
ENTRIES_A_PIECE = 500_000


class Cut(msgspec.Struct):
    """The passes whose journal has been added: numbered up to `number`, and some without."""

    number: int
    unnumbered: set[str]


class Piecewise(msgspec.Struct):
    """One piece of positions, all of one snapshot; `tail` is the journal beyond the cut."""

    cut: Cut
    max_position_id: int
    tail: list[Row]
    positions: Positions | None
    kept: NDArray[np.int64]  # sum of live reservations, by position id less the piece's first
    stray: list[str]  # positions naming what does not exist


class StockAudit:
    """One run over the stock of an account."""

    def __init__(self, database: Database, schema: str, report: Report, progress: Progress) -> None:
        self._database = database
        self._schema = schema
        self._report = report
        self._checks = {check.name: check for check in report.checks}
        self._progress = progress
        self._chains = Chains()
        self._floors: list[Floors] = []
        self._journal_from: object = None
        self._cut = Cut(-1, set())
        self._broken: list[Positions] = []
        self._oversold: list[tuple[Positions, int]] = []

    async def run(self) -> None:
        """Check positions, their journal and their reservations."""
        max_id = await self._read_journal()
        await self._catch_up()
        await self._compare(max_id)
        if self._journal_from != await read(self._database, self._schema, _journal_from):
            sentence = "The journal was pruned while it was read: audit again."
            raise Refusal("audit_overtaken", sentence)
        self._check("positions").found(self._chains.strangers)
        await self._explain()
        report = self._report
        report.figures.positions = self._check("reserved").examined
        report.figures.journal_entries = self._chains.entry_count
        self._check("journal").examined = self._chains.entry_count

    def _check(self, name: str) -> Check:
        return self._checks[name]

    async def _read_journal(self) -> int:
        self._cut, max_id, max_journal_id = await read(self._database, self._schema, _first_cut)
        self._chains.grow(max_id)
        await self._read_floors()
        piece = Piece(100, MAX_ROWS_A_PIECE)
        last_id = 0
        while True:
            rows = await read_piece(
                self._database,
                self._schema,
                piece,
                lambda tx, size, last_id=last_id: tx.fetch(SQL.journal_page, (last_id, size)),
            )
            if not rows:
                return max_id
            entries = _entries([row[3:] for row in rows if self._is_in_cut(row)])
            if entries is not None:
                self._chains.add(entries)
                piece.size = min(piece.size, _rows_for(len(entries.position_ids), len(rows)))
            self._orphans(rows)
            last_id = rows[-1][3]
            self._progress("journal", min(last_id, max_journal_id), max_journal_id)

    async def _read_floors(self) -> None:
        """Read where journals begin that do not begin with nothing."""
        self._journal_from = await read(self._database, self._schema, _journal_from)
        piece, last_id = Piece(POSITIONS_A_PIECE, POSITIONS_A_PIECE), 0

        async def work(tx: Tx, size: int) -> Row | None:
            return await tx.fetch_one(SQL.floors, (last_id, size))

        while True:
            row = await read_piece(self._database, self._schema, piece, work)
            if row is None or row[0] is None:
                return
            floors = Floors(*row)
            self._chains.grow(int(floors.ids[-1]))
            self._chains.begin(floors)
            self._floors.append(floors)
            last_id = int(floors.ids[-1])

    def _is_in_cut(self, row: Row) -> bool:
        pass_id, exists, number = row[:3]
        if not exists or pass_id in self._cut.unnumbered:
            return True
        return number is not None and number <= self._cut.number

    def _orphans(self, rows: list[Row]) -> None:
        check = self._check("passes")
        check.found(
            [
                f"Journal row {row[3]} says it was written by pass {row[0]}, which does not exist."
                for row in rows
                if not row[1]
            ]
        )

    async def _catch_up(self) -> None:
        """Add what was written during the first reading, some passes at a time."""
        while True:
            first = self._cut.number
            numbers, rows = await read(
                self._database, self._schema, lambda tx, first=first: _numbered(tx, first)
            )
            if not numbers:
                return
            self._add([row for row in rows if row[0] not in self._cut.unnumbered])
            self._cut = Cut(max(numbers.values()), self._cut.unnumbered - set(numbers))

    def _add(self, rows: list[Row]) -> None:
        entries = _entries([row[1:] for row in rows])
        if entries is not None:
            self._chains.add(entries)

    async def _compare(self, max_id: int) -> None:
        piece = Piece(POSITIONS_A_PIECE, POSITIONS_A_PIECE)
        first_id = 1
        known = {kind: np.empty(0, dtype=np.int32) for kind in ("product", "location", "pool")}
        while first_id <= max_id:

            async def work(tx: Tx, size: int, first_id: int = first_id) -> tuple[int, Piecewise]:
                last_id = first_id + size - 1
                return last_id, await _read_positions(tx, (first_id, last_id), self._cut, known)

            last_id, found = await read_piece(self._database, self._schema, piece, work)
            self._cut, max_id = found.cut, found.max_position_id
            self._chains.grow(max_id)
            self._add(found.tail)
            self._judge(found, first_id, min(last_id, max_id))
            first_id = last_id + 1
            self._progress("positions", min(last_id, max_id), max_id)

    def _judge(self, found: Piecewise, first_id: int, last_id: int) -> None:
        positions = found.positions
        check = self._check("positions")
        check.found(found.stray)
        if positions is None:
            positions = no_positions()
        there = len(positions.ids)
        check.examined += there
        strangers = self._chains.missing(first_id, positions.ids, last_id)
        check.found([f"The journal moves position {n}, which does not exist." for n in strangers])
        self._judge_reserved(positions, found.kept[positions.ids - first_id])
        broken = self._chains.broken(positions)
        self._check("journal").breaches += int(broken.sum())
        room = MAX_EXAMPLES - sum(len(p.ids) for p in self._broken)
        self._broken.append(positions.rows(np.flatnonzero(broken)[:room]))
        self._judge_promises(positions)

    def _judge_reserved(self, positions: Positions, kept: NDArray[np.int64]) -> None:
        check = self._check("reserved")
        check.examined += len(positions.ids)
        check.found(
            [
                f"{_name(positions, place)} has {positions.reserveds[place]} reserved, but its "
                f"live reservations keep {kept[place]}."
                for place in np.flatnonzero(positions.reserveds != kept).tolist()
            ]
        )

    def _judge_promises(self, positions: Positions) -> None:
        """Tell what we oversold from what a count or an adjustment took away."""
        check = self._check("oversold")
        check.examined += len(positions.ids)
        lack = lacking(positions.on_hands, positions.reserveds)
        versions = self._chains.oversold_by(positions)
        ours = (lack > 0) & (versions != 0)
        short = (lack > 0) & ~ours
        self._report.figures.short_by_count += int(short.sum())
        self._report.figures.units_short_by_count += int(lack[short].sum())
        check.breaches += int(ours.sum())
        for place in np.flatnonzero(ours)[: MAX_EXAMPLES - len(self._oversold)].tolist():
            row = positions.rows(np.array([place]))
            self._oversold.append((row, int(versions[place])))

    async def _explain(self) -> None:
        ids = [int(n) for positions in self._broken for n in positions.ids]
        ids += [int(row.ids[0]) for row, _ in self._oversold]
        if not ids:
            return
        asked = np.array(sorted(set(ids)), dtype=np.int32)
        entries, floors = self._from_floors(await self._entries_of(asked), asked)
        self._check("journal").examples += [
            explain(positions, place, entries, floors.get(int(positions.ids[place]), 0))
            for positions in self._broken
            for place in range(len(positions.ids))
        ]
        self._check("oversold").examples += [
            _explain_oversold(row, version, entries) for row, version in self._oversold
        ]

    def _from_floors(
        self, entries: Entries, asked: NDArray[np.int32]
    ) -> tuple[Entries, dict[int, int]]:
        """Return entries after where journals begin, one for that, and the versions of these."""
        parts = [entries]
        versions: dict[int, int] = {}
        for floors in self._floors:
            mine = floors.as_entries().rows(np.isin(floors.ids, asked))
            versions |= zip(mine.position_ids.tolist(), mine.versions.tolist(), strict=True)
            parts.append(mine)
        begins = [versions.get(n, 0) for n in entries.position_ids.tolist()]
        parts[0] = entries.rows(entries.versions > np.array(begins, dtype=np.int32))
        columns = zip(*(msgspec.structs.astuple(part) for part in parts), strict=True)
        return Entries(*(np.concatenate(column) for column in columns)), versions

    async def _entries_of(self, ids: NDArray[np.int32]) -> Entries:
        found: list[Row] = []
        piece = Piece(500, MAX_ROWS_A_PIECE)
        last_id = 0

        async def work(tx: Tx, size: int) -> tuple[int, list[Row]]:
            end = await tx.fetch_one(SQL.journal_page_end, (last_id, size))
            if end is None or end[0] is None:
                return 0, []
            return end[0], await tx.fetch(SQL.journal_of_positions, (last_id, end[0], ids))

        while True:
            end_id, rows = await read_piece(self._database, self._schema, piece, work)
            if end_id == 0:
                return _single_entries(found)
            found += rows
            last_id = end_id


async def _journal_from(tx: Tx) -> object:
    row = await tx.fetch_one(SQL.journal_from)
    return row and row[0]


async def _first_cut(tx: Tx) -> tuple[Cut, int, int]:
    number, max_id, max_journal_id = await _head(tx)
    return Cut(number, await _unnumbered(tx)), max_id, max_journal_id


async def _head(tx: Tx) -> tuple[int, int, int]:
    row: Any = await tx.fetch_one(SQL.head)
    return row[0], row[1], row[2]


async def _unnumbered(tx: Tx) -> set[str]:
    return {row[0] for row in await tx.fetch(SQL.unnumbered_passes)}


async def _numbered(tx: Tx, first: int) -> tuple[dict[str, int], list[Row]]:
    rows = await tx.fetch(SQL.passes_numbered, (first, first + PASSES_A_PIECE))
    numbers = {row[0]: row[1] for row in rows}
    return numbers, await tx.fetch(SQL.journal_of_passes, (uuid_array(numbers),))


async def _read_positions(
    tx: Tx, between: tuple[int, int], cut: Cut, known: dict[str, NDArray[np.int32]]
) -> Piecewise:
    number, max_id, _ = await _head(tx)
    unnumbered = await _unnumbered(tx)
    newly = {row[0] for row in await tx.fetch(SQL.passes_numbered, (cut.number, number))}
    beyond = (newly | unnumbered) - cut.unnumbered
    tail = await tx.fetch(SQL.journal_of_passes, (uuid_array(beyond),)) if beyond else []
    row: Any = await tx.fetch_one(SQL.positions, between)
    positions = None if row[0] is None else Positions(*row)
    kept = np.zeros(between[1] - between[0] + 1, dtype=np.int64)
    sums: Any = await tx.fetch_one(SQL.reserved_by_position, between)
    if sums[0] is not None:
        kept[sums[0] - between[0]] = sums[1]
    strays = [] if positions is None else await stray(tx, positions, known)
    return Piecewise(Cut(number, unnumbered), max_id, tail, positions, kept, strays)


async def stray(tx: Tx, positions: Positions, known: dict[str, NDArray[np.int32]]) -> list[str]:
    """Name the positions whose product, location or pool does not exist; adds to what is known."""
    found: list[str] = []
    for kind, ids in (
        ("product", positions.product_ids),
        ("location", positions.location_ids),
        ("pool", positions.pool_ids.astype(np.int32)),
    ):
        asked = np.setdiff1d(ids, known[kind])
        query = {"product": SQL.products, "location": SQL.locations, "pool": SQL.pools}[kind]
        row: Any = await tx.fetch_one(query, (asked,))
        known[kind] = np.union1d(known[kind], row[0])
        lost = np.setdiff1d(asked, row[0])
        if len(lost):
            found += [
                f"Position {positions.ids[place]} names {kind} {ids[place]}, which does not exist."
                for place in np.flatnonzero(np.isin(ids, lost)).tolist()
            ]
    return found


def _entries(rows: list[Row]) -> Entries | None:
    if not rows:
        return None
    return joined([row[1:] for row in rows], [row[0] for row in rows])


def _single_entries(rows: list[Row]) -> Entries:
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(Entries.__struct_fields__))
    return Entries(*table.T)  # pyright: ignore[reportArgumentType] (64 bits hold what 32 did)


def no_positions() -> Positions:
    """Return no rows."""
    i32, i16 = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int16)
    i64 = np.empty(0, dtype=np.int64)
    return Positions(i32, i32, i32, i16, i32, i32, i32, i64)


def _rows_for(entries: int, rows: int) -> int:
    """Return how many journal rows hold about as many entries as a piece should."""
    return max(ENTRIES_A_PIECE * rows // max(entries, 1), 20)


def _name(positions: Positions, place: int) -> str:
    return (
        f"Position {positions.ids[place]} (product {positions.product_ids[place]}, "
        f"location {positions.location_ids[place]})"
    )


def _explain_oversold(row: Positions, version: int, entries: Entries) -> str:
    says = f"{_name(row, 0)} has {row.reserveds[0]} reserved and {row.on_hands[0]} on hand"
    is_it = (entries.position_ids == row.ids[0]) & (entries.versions == version)
    if not is_it.any():
        return f"{says}, and no count explains it."
    place = int(np.flatnonzero(is_it)[0])
    kind = int(entries.cause_kinds[place])
    return (
        f"{says}. Version {version} of its journal ({CAUSES.get(kind, f'cause {kind}')}) took "
        f"more than was there: {entries.reserveds[place]} reserved of {entries.on_hands[place]}."
    )
