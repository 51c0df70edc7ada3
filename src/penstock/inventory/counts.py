"""Counts and adjustments: what stock sources say, against what Penstock knows.

A count carries the instant at which it was taken (DESIGN section 9): movements after it are added
again, an older count never overwrites a newer one, an unchanged one leaves its instant and writes
no position. `set_stock` locks and reads; `set_known_stock` trusts values known from an index, makes
what is known to have no position, and leaves what it lost to a race to `set_stock` in a pass of its
own, so that locks keep their order (positions are made before any is locked).
A count below what is reserved is accepted: the shortage is raised and sheds (`shortage.py`).
All columns are parallel numpy arrays; instants are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.db import Tx
from penstock.errors import invariant
from penstock.ids import new_id
from penstock.inventory import store
from penstock.inventory.ledger import Entries, Ledger
from penstock.inventory.model import Adjustment, Cause
from penstock.inventory.shortage import raise_shortages
from penstock.passes import Pass

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = 1_000_000
_MOST = np.iinfo(np.int32).max
_RETURNS_OLD_VALUES = 180_000  # PostgreSQL 18


class Outcome(IntEnum):
    """What became of one counted row."""

    CHANGED = 1
    UNCHANGED = 2
    OLDER = 3  # a newer count of the position is known
    SUPERSEDED = 4  # another row of the same list counts the same position
    LOST = 5  # not judged: lost to a race
    TOO_FAR = 6  # so far from what was there that a journal entry cannot hold the change


class Counts(msgspec.Struct):
    """Counted rows as columns, with who counted them and the id of the feed or request.

    `adding` returns what is to be added to each row to make it on hand: of a source that counts
    net, what it has acknowledged. It is given rows and positions, ids sorted.
    """

    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int16]
    on_hands: NDArray[np.int32]
    counted_us: NDArray[np.int64]
    source_id: int
    cause_id: str
    adding: Callable[[Tx, Counts, Known], Awaitable[NDArray[np.int64]]] | None = None

    def rows(self, places: NDArray[np.int64]) -> Counts:
        """Return the rows at the places."""
        return Counts(
            self.product_ids[places],
            self.location_ids[places],
            self.pool_ids[places],
            self.on_hands[places],
            self.counted_us[places],
            self.source_id,
            self.cause_id,
            self.adding,
        )


class Known(msgspec.Struct):
    """What is known of the counted positions, row by row; id 0 where no position is known."""

    ids: NDArray[np.int32]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    versions: NDArray[np.int32]
    counted_us: NDArray[np.int64]

    def rows(self, places: NDArray[np.int64]) -> Known:
        """Return the rows at the places."""
        return Known(
            self.ids[places],
            self.on_hands[places],
            self.reserveds[places],
            self.versions[places],
            self.counted_us[places],
        )


def microseconds(instant: datetime) -> int:
    """Return an instant as microseconds since 1970."""
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * _MICROSECOND + delta.microseconds


async def set_stock(tx: Pass, counts: Counts) -> NDArray[np.int8]:
    """Set counted stock, making positions where there are none; returns an `Outcome` per row.

    Locks the positions in id order. Raises shortages. Appends journal entries to `tx.entries`.
    """
    outcomes = np.full(len(counts.product_ids), Outcome.SUPERSEDED, dtype=np.int8)
    if len(outcomes) == 0:
        return outcomes
    newest = _newest_rows(counts)
    mine = counts.rows(newest)
    ids = await find_or_make_positions(tx, mine.product_ids, mine.location_ids, mine.pool_ids)
    by_id = np.argsort(ids)
    newest, mine, ids = newest[by_id], mine.rows(by_id), ids[by_id]
    locked = await tx.fetch_one(store.SQL.lock_positions_columns, (ids,))
    invariant(locked is not None and len(locked[0]) == len(ids), "a position vanished")
    if locked is None:
        return outcomes
    counted_us = np.maximum(locked[5], _noted_us(tx, locked[0]))
    known = Known(locked[0], locked[1], locked[2], locked[3], counted_us)
    judged, targets = await judge_counts(tx, mine, known)
    same = np.flatnonzero(judged == Outcome.UNCHANGED)
    if len(same):
        await tx.execute(store.SQL.write_instants, (known.ids[same], mine.counted_us[same]))
    journal = _Journal(tx, counts.cause_id)
    await _write(tx, mine, known, (judged, targets), journal)
    await journal.write()
    invariant(not np.any(judged == Outcome.LOST), "a locked position had another version")
    outcomes[newest] = judged
    return outcomes


async def set_known_stock(tx: Pass, counts: Counts, known: Known) -> NDArray[np.int8]:
    """As `set_stock`, with values known from an index: one update, nothing read or locked first.

    Rows whose position has moved since, or is there against expectation, come back as `LOST` and
    have to be given to `set_stock` in another pass.
    """
    outcomes = np.full(len(counts.product_ids), Outcome.SUPERSEDED, dtype=np.int8)
    newest = _newest_rows(counts)
    journal = _Journal(tx, counts.cause_id)
    new = newest[known.ids[newest] <= 0]
    if len(new):
        outcomes[new] = await _make_counted(tx, counts.rows(new), journal)
    newest = newest[known.ids[newest] > 0]
    if len(newest):
        newest = newest[np.argsort(known.ids[newest])]
        mine, seen = counts.rows(newest), known.rows(newest)
        judged, targets = await judge_counts(tx, mine, seen)
        await tx.script("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        await _write(tx, mine, seen, (judged, targets), journal)
        outcomes[newest] = judged
    await journal.write()
    return outcomes


def _newest_rows(counts: Counts) -> NDArray[np.int64]:
    columns = (counts.product_ids, counts.location_ids, counts.pool_ids)
    return newest_rows(columns, counts.counted_us)


def newest_rows(
    columns: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16]],
    counted_us: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return, per position, the place of the newest row (of equals the last), in list order.

    `columns` are product, location and pool.
    """
    place = np.arange(len(counted_us))
    order = np.lexsort((place, counted_us, *reversed(columns)))
    differs = np.zeros(max(len(order) - 1, 0), dtype=bool)
    for column in columns:
        differs |= column[order][1:] != column[order][:-1]
    is_last = np.append(differs, True) if len(order) else differs
    return np.sort(order[is_last])


async def find_or_make_positions(
    tx: Pass,
    product_ids: NDArray[np.int32],
    location_ids: NDArray[np.int32],
    pool_ids: NDArray[np.int16],
) -> NDArray[np.int32]:
    """Return the position ids of the keys, making empty positions where there are none."""
    ids = await find_positions(tx, product_ids, location_ids, pool_ids)
    lacking = np.flatnonzero(ids == 0)
    if len(lacking):
        keys = (product_ids[lacking], location_ids[lacking], pool_ids[lacking])
        await tx.execute(store.SQL.make_positions, keys)
        ids[lacking] = await find_positions(tx, *keys)
    return ids


async def find_positions(
    tx: Tx,
    product_ids: NDArray[np.int32],
    location_ids: NDArray[np.int32],
    pool_ids: NDArray[np.int16],
) -> NDArray[np.int32]:
    """Return the position ids of the keys, 0 where there is none."""
    if len(product_ids) == 0:
        return np.zeros(0, dtype=np.int32)
    row = await tx.fetch_one(store.SQL.find_positions, (product_ids, location_ids, pool_ids))
    invariant(row is not None, "an aggregate has one row")
    return row[0] if row else np.zeros(0, dtype=np.int32)


def _noted_us(tx: Pass, ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the instants of unchanged counts that this process knows of; 0 where it knows none.

    An unchanged count of a feed leaves its instant in a note, not in the position.
    """
    if tx.knowledge is None:
        return np.zeros(len(ids), dtype=np.int64)
    return noted_in(tx.knowledge.index.counted_at, ids)


def noted_in(counted_at: NDArray[np.int64], ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return what an index's column of instants says of positions; 0 where it does not reach."""
    noted = np.zeros(len(ids), dtype=np.int64)
    inside = np.flatnonzero(ids < len(counted_at))
    noted[inside] = counted_at[ids[inside]]
    return noted


async def judge_counts(
    tx: Tx, counts: Counts, known: Known
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Return outcome and target on hand per row, the ids of `known` sorted; writes nothing.

    Movements after a count are added to it.
    """
    targets = counts.on_hands + await _moved_since(tx, counts, known)
    if counts.adding is not None:
        targets += await counts.adding(tx, counts, known)
    judged = np.where(targets == known.on_hands, Outcome.UNCHANGED, Outcome.CHANGED)
    judged = np.where(known.versions == 0, Outcome.CHANGED, judged)
    judged[(np.abs(targets) > _MOST) | (np.abs(targets - known.on_hands) > _MOST)] = Outcome.TOO_FAR
    judged[counts.counted_us < known.counted_us] = Outcome.OLDER
    return judged.astype(np.int8), targets.astype(np.int32)


async def _moved_since(tx: Tx, counts: Counts, known: Known) -> NDArray[np.int64]:
    """Return per row the on-hand movements after its count (shipments and adjustments).

    The ids of `known` come sorted.
    """
    moved = np.zeros(len(known.ids), dtype=np.int64)
    since = _EPOCH + np.timedelta64(int(counts.counted_us.min()), "us").astype(object)
    columns = await tx.fetch_one(store.SQL.movements_since, (known.ids, since))
    if columns is None or columns[0] is None:
        return moved
    position_ids, deltas, occurred_us = columns
    places = np.searchsorted(known.ids, position_ids)
    is_later = occurred_us > counts.counted_us[places]
    np.add.at(moved, places[is_later], deltas[is_later])
    return moved


async def _write(
    tx: Pass,
    counts: Counts,
    known: Known,
    verdict: tuple[NDArray[np.int8], NDArray[np.int32]],
    journal: _Journal,
) -> None:
    """Write changed positions, note unchanged ones; marks races as `LOST` in the verdict."""
    judged, targets = verdict
    same = np.flatnonzero(judged == Outcome.UNCHANGED)
    if len(same):
        note = (tx.id, counts.source_id, known.ids[same], counts.counted_us[same])
        await tx.execute(store.SQL.write_count_note, note)
    changed = np.flatnonzero(judged == Outcome.CHANGED)
    if len(changed) == 0:
        return
    journal_ids = journal.ids_of_next(len(changed))
    returns_old = tx.connection.info.server_version >= _RETURNS_OLD_VALUES
    row = await tx.fetch_one(
        store.SQL.write_counts if returns_old else store.SQL.write_counts_before_18,
        (
            known.ids[changed],
            known.versions[changed],
            targets[changed],
            journal_ids,
            np.full(len(changed), counts.source_id, dtype=np.int16),
            counts.counted_us[changed],
        ),
    )
    written_ids, previous_ids = row if row and row[0] is not None else ([], [])
    place_of = np.searchsorted(known.ids[changed], written_ids)
    is_written = np.zeros(len(changed), dtype=bool)
    is_written[place_of] = True
    judged[changed[~is_written]] = Outcome.LOST
    previous = np.zeros(len(changed), dtype=np.int64)
    previous[place_of] = previous_ids
    written = changed[is_written]
    entries = _entries(counts.rows(written), known.rows(written), targets[written])
    entries.previous_ids = previous[is_written]
    journal.add(entries, journal_ids[is_written])


async def _make_counted(tx: Pass, counts: Counts, journal: _Journal) -> NDArray[np.int8]:
    """Make positions with their first count; what is there against expectation is `LOST`."""
    total = len(counts.product_ids)
    order = np.lexsort((counts.pool_ids, counts.location_ids, counts.product_ids))
    mine = counts.rows(order)
    row = await tx.fetch_one(store.SQL.next_position_ids, (total,))
    ids: NDArray[np.int32] = np.zeros(0, dtype=np.int32) if row is None else row[0]
    journal_ids = journal.ids_of_next(total)
    keys = (ids, mine.product_ids, mine.location_ids, mine.pool_ids)
    sources = np.full(total, mine.source_id, dtype=np.int16)
    made = await tx.fetch_one(
        store.SQL.make_counted_positions,
        (*keys, sources, mine.on_hands, journal_ids, mine.counted_us),
    )
    outcomes = np.full(total, Outcome.LOST, dtype=np.int8)
    if made is not None and made[0] is not None:
        places = np.searchsorted(ids, made[0])
        outcomes[order[places]] = Outcome.CHANGED
        zeros = np.zeros(len(places), dtype=np.int32)
        known = Known(ids[places], zeros, zeros, zeros, zeros.astype(np.int64))
        part = mine.rows(places)
        journal.add(_entries(part, known, part.on_hands), journal_ids[places])
    return outcomes


def _entries(counts: Counts, known: Known, targets: NDArray[np.int32]) -> Entries:
    total = len(targets)
    return Entries(
        position_ids=known.ids,
        product_ids=counts.product_ids,
        location_ids=counts.location_ids,
        pool_ids=counts.pool_ids,
        cause_kinds=np.full(total, Cause.COUNT, dtype=np.int16),
        cause_ids=[counts.cause_id] * total,
        on_hand_deltas=(targets - known.on_hands).astype(np.int32),
        reserved_deltas=np.zeros(total, dtype=np.int32),
        on_hands=targets,
        reserveds=known.reserveds,
        versions=(known.versions + 1).astype(np.int32),
        previous_ids=np.zeros(total, dtype=np.int64),
        counted_ats=counts.counted_us,
    )


class _Journal:
    """The journal rows of one list of counts: their ids are given first, the rows written last."""

    def __init__(self, tx: Pass, cause_id: str) -> None:
        self._tx = tx
        self._cause_id = cause_id
        self._rows = 0
        self._parts: list[tuple[int, Entries]] = []

    def ids_of_next(self, total: int) -> NDArray[np.int64]:
        """Return the journal row of each of the next entries."""
        most = store.MAX_ENTRIES_PER_ROW
        first = self._tx.journal_base + self._rows
        self._rows += -(-total // most)
        invariant(self._rows <= store.MAX_ROWS_PER_PASS, "too many counts in one pass")
        return first + np.arange(total, dtype=np.int64) // most

    def add(self, entries: Entries, journal_ids: NDArray[np.int64]) -> None:
        """Keep entries for the rows whose ids they were given, in order."""
        starts = np.flatnonzero(np.diff(journal_ids, prepend=-1))
        for start, stop in pairwise([*starts.tolist(), len(journal_ids)]):
            self._parts.append((int(journal_ids[start]), entries.slice(start, stop)))

    async def write(self) -> None:
        """Write the rows and raise the shortages that they tell of."""
        for journal_id, part in self._parts:
            await self._write_row(journal_id, part)
        self._tx.journal_base += self._rows
        for _, part in self._parts:
            self._tx.entries.append(part)
            lacking = part.reserveds - np.maximum(part.on_hands, 0)
            short = np.flatnonzero(lacking > 0)
            await raise_shortages(
                self._tx, part.position_ids[short], lacking[short], part.versions[short]
            )

    async def _write_row(self, journal_id: int, part: Entries) -> None:
        await self._tx.execute(
            store.SQL.write_count_journal,
            (
                *(journal_id, self._tx.id, self._tx.now),
                *(part.position_ids, part.product_ids, part.location_ids, part.pool_ids),
                *(int(Cause.COUNT), self._cause_id, part.on_hand_deltas),
                *(part.on_hands, part.reserveds, part.versions),
                *(part.previous_ids, part.counted_ats, len(part.position_ids)),
            ),
        )


async def adjust_stock(tx: Pass, adjustments: Sequence[Adjustment], cause_id: str) -> None:
    """Change positions by deltas; one from before the last count is journalled with delta 0.

    The journal keeps when each occurred, so that a count taken after it but told later does not
    add it again. The caller makes it idempotent by a key. Raises shortages. Negative results are
    kept. Changes of one instant have one cause id: the first instant's is `cause_id`.
    """
    if not adjustments:
        return
    products = np.array([a.product_id for a in adjustments], dtype=np.int32)
    locations = np.array([a.location_id for a in adjustments], dtype=np.int32)
    pools = np.array([a.pool_id for a in adjustments], dtype=np.int16)
    ids = await find_or_make_positions(tx, products, locations, pools)
    ledger = Ledger(await store.lock_positions(tx, store.id_array(ids.tolist())))
    noted = dict(zip(ids.tolist(), _noted_us(tx, ids).tolist(), strict=True))
    causes: dict[int, str] = {}
    for position_id, adjustment in zip(ids.tolist(), adjustments, strict=True):
        counted_us = max(ledger.positions[position_id].counted_us, noted[position_id])
        occurred_us = microseconds(adjustment.occurred_at)
        cause_of = causes.setdefault(occurred_us, new_id() if causes else cause_id)
        cause = (Cause.ADJUSTMENT, cause_of)
        ledger.note(position_id, cause)
        if occurred_us > counted_us:
            ledger.move(position_id, adjustment.delta, 0, cause)
    instants = {cause_of: occurred_us for occurred_us, cause_of in causes.items()}
    entries = await store.write_ledger(tx, ledger, instants)
    if entries is not None:
        tx.entries.append(entries)
    short = [p for p in ledger.changed() if p.reserved > max(p.on_hand, 0)]
    await raise_shortages(
        tx,
        np.array([p.id for p in short], dtype=np.int32),
        np.array([p.reserved - max(p.on_hand, 0) for p in short], dtype=np.int32),
        np.array([p.version for p in short], dtype=np.int32),
    )
