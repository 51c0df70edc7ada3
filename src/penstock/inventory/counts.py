"""Counts and adjustments: what stock sources say, against what Penstock knows.

A count carries the instant at which it was taken (DESIGN section 9): movements after it are added
again, an older count never overwrites a newer one, an unchanged one leaves its instant and writes
no position. `set_stock` locks and reads; `set_known_stock` trusts values known from an index and
leaves what it lost to a race to `set_stock` in a pass of its own, so that locks keep their order.
A count below what is reserved is accepted: the shortage is raised and sheds (`shortage.py`).
All columns are parallel numpy arrays; instants are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.errors import invariant
from penstock.inventory import store
from penstock.inventory.ledger import Entries, Ledger
from penstock.inventory.model import Adjustment, Cause
from penstock.inventory.shortage import raise_shortages
from penstock.passes import Pass

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = 1_000_000


class Outcome(IntEnum):
    """What became of one counted row."""

    CHANGED = 1
    UNCHANGED = 2
    OLDER = 3  # a newer count of the position is known
    SUPERSEDED = 4  # another row of the same list counts the same position
    LOST = 5  # not judged: unknown to the index, or lost to a race


class Counts(msgspec.Struct):
    """Counted rows as columns, with who counted them and the id of the feed or request."""

    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int16]
    on_hands: NDArray[np.int32]
    counted_us: NDArray[np.int64]
    source_id: int
    cause_id: str

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
    known = Known(locked[0], locked[1], locked[2], locked[3], locked[5])
    judged, targets = await _judge(tx, mine, known)
    same = np.flatnonzero(judged == Outcome.UNCHANGED)
    if len(same):
        await tx.execute(store.SQL.write_instants, (known.ids[same], mine.counted_us[same]))
    await _write(tx, mine, known, judged, targets)
    invariant(not np.any(judged == Outcome.LOST), "a locked position had another version")
    outcomes[newest] = judged
    return outcomes


async def set_known_stock(tx: Pass, counts: Counts, known: Known) -> NDArray[np.int8]:
    """As `set_stock`, with values known from an index: one update, nothing read or locked first.

    Rows without a known position, and rows whose position has moved since, come back as `LOST`
    and have to be given to `set_stock` in another pass.
    """
    outcomes = np.full(len(counts.product_ids), Outcome.SUPERSEDED, dtype=np.int8)
    newest = _newest_rows(counts)
    outcomes[newest] = Outcome.LOST
    newest = newest[known.ids[newest] > 0]
    if len(newest) == 0:
        return outcomes
    newest = newest[np.argsort(known.ids[newest])]
    mine, seen = counts.rows(newest), known.rows(newest)
    judged, targets = await _judge(tx, mine, seen)
    await tx.script("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
    await _write(tx, mine, seen, judged, targets)
    outcomes[newest] = judged
    return outcomes


def _newest_rows(counts: Counts) -> NDArray[np.int64]:
    """Return, per position, the place of the newest row (of equals the last), in list order."""
    place = np.arange(len(counts.product_ids))
    keys = (place, counts.counted_us, counts.pool_ids, counts.location_ids, counts.product_ids)
    order = np.lexsort(keys)
    columns = (counts.product_ids, counts.location_ids, counts.pool_ids)
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
    ids = await _find(tx, product_ids, location_ids, pool_ids)
    lacking = np.flatnonzero(ids == 0)
    if len(lacking):
        keys = (product_ids[lacking], location_ids[lacking], pool_ids[lacking])
        await tx.execute(store.SQL.make_positions, keys)
        ids[lacking] = await _find(tx, *keys)
    return ids


async def _find(tx: Pass, *keys: NDArray[np.int32] | NDArray[np.int16]) -> NDArray[np.int32]:
    rows = await tx.fetch(store.SQL.find_positions, keys)
    return np.array([row[0] for row in rows], dtype=np.int32)


async def _judge(
    tx: Pass, counts: Counts, known: Known
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Return outcome and target on hand per row; later movements are added to the count."""
    targets = counts.on_hands + await _moved_since(tx, counts, known)
    judged = np.where(targets == known.on_hands, Outcome.UNCHANGED, Outcome.CHANGED)
    judged = np.where(known.versions == 0, Outcome.CHANGED, judged)
    judged[counts.counted_us < known.counted_us] = Outcome.OLDER
    return judged.astype(np.int8), targets.astype(np.int32)


async def _moved_since(tx: Pass, counts: Counts, known: Known) -> NDArray[np.int32]:
    """Return per row the on-hand movements after its count (shipments and adjustments)."""
    moved = np.zeros(len(known.ids), dtype=np.int32)
    since = _EPOCH + np.timedelta64(int(counts.counted_us.min()), "us").astype(object)
    rows = await tx.fetch(store.SQL.movements_since, (since, known.ids))
    places = {int(position_id): place for place, position_id in enumerate(known.ids)}
    for occurred_at, position_id, delta in rows:
        place = places[position_id]
        if microseconds(occurred_at) > counts.counted_us[place]:
            moved[place] += delta
    return moved


async def _write(
    tx: Pass,
    counts: Counts,
    known: Known,
    judged: NDArray[np.int8],
    targets: NDArray[np.int32],
) -> None:
    """Write changed positions and their journal, note unchanged ones; marks races as `LOST`."""
    same = np.flatnonzero(judged == Outcome.UNCHANGED)
    if len(same):
        note = (tx.id, counts.source_id, known.ids[same], counts.counted_us[same])
        await tx.execute(store.SQL.write_count_note, note)
    changed = np.flatnonzero(judged == Outcome.CHANGED)
    if len(changed) == 0:
        return
    journal_ids = tx.journal_base + np.arange(len(changed)) // store.MAX_ENTRIES_PER_ROW
    row = await tx.fetch_one(
        store.SQL.write_counts,
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
    if is_written.any():
        written = changed[is_written]
        entries = _entries(counts.rows(written), known.rows(written), targets[written])
        entries.previous_ids = previous[is_written]
        await _write_journal(tx, entries, journal_ids[is_written])


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


async def _write_journal(tx: Pass, entries: Entries, journal_ids: NDArray[np.int64]) -> None:
    for journal_id in np.unique(journal_ids):
        places = np.flatnonzero(journal_ids == journal_id)
        part = entries.slice(int(places[0]), int(places[-1]) + 1)
        await store.write_journal_row(tx, int(journal_id), part)
    tx.entries.append(entries)
    lacking = entries.reserveds - np.maximum(entries.on_hands, 0)
    short = np.flatnonzero(lacking > 0)
    await raise_shortages(tx, entries.position_ids[short], lacking[short], entries.versions[short])


async def adjust_stock(tx: Pass, adjustments: Sequence[Adjustment], cause_id: str) -> None:
    """Change positions by deltas; one from before the last count is journalled with delta 0.

    The caller makes it idempotent by a key. Raises shortages. Negative results are kept.
    """
    if not adjustments:
        return
    products = np.array([a.product_id for a in adjustments], dtype=np.int32)
    locations = np.array([a.location_id for a in adjustments], dtype=np.int32)
    pools = np.array([a.pool_id for a in adjustments], dtype=np.int16)
    ids = await find_or_make_positions(tx, products, locations, pools)
    ledger = Ledger(await store.lock_positions(tx, store.id_array(ids.tolist())))
    cause = (Cause.ADJUSTMENT, cause_id)
    for position_id, adjustment in zip(ids.tolist(), adjustments, strict=True):
        counted_us = ledger.positions[position_id].counted_us
        ledger.note(position_id, cause)
        if microseconds(adjustment.occurred_at) > counted_us:
            ledger.move(position_id, adjustment.delta, 0, cause)
    entries = await store.write_ledger(tx, ledger)
    if entries is not None:
        tx.entries.append(entries)
    short = [p for p in ledger.changed() if p.reserved > max(p.on_hand, 0)]
    await raise_shortages(
        tx,
        np.array([p.id for p in short], dtype=np.int32),
        np.array([p.reserved - max(p.on_hand, 0) for p in short], dtype=np.int32),
        np.array([p.version for p in short], dtype=np.int32),
    )
