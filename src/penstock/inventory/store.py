"""Inventory's statements: locking positions and capacities, journal rows, reservations.

Owns the translation between rows and structs. Every function is one statement on a list.
Locks are taken in the order of DESIGN section 5 by the callers in `decide.py` and `counts.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray
from psycopg.errors import DivisionByZero

from penstock.db import Queries, Tx, uuid_array
from penstock.errors import Broken, invariant
from penstock.inventory.ledger import Entries, Ledger, Position
from penstock.inventory.model import Cause, Reservation, UseKey
from penstock.passes import Pass

SQL = Queries("penstock.inventory", "inventory.sql")
MAX_ENTRIES_PER_ROW = 5_000
MOST_QUEUED = 200  # movements: above, binary arrays are cheaper than a round trip saved
MAX_ROWS_PER_PASS = 1_000  # the block of journal ids that a pass row reserves

# On-hand movements that a count taken before them is added up with; as in `movements_since`.
_ADDED_AGAIN = (Cause.ADJUSTMENT, Cause.SHIPMENT, Cause.PICK, Cause.PUT_BACK)
CapacityKey = tuple[int, str, date]
_MISSING = "a locked position was missing or had another version"


def id_array(ids: Iterable[int]) -> NDArray[np.int32]:
    """Return ids sorted and without repeats, as the lock statements want them."""
    return np.array(sorted(set(ids)), dtype=np.int32)


async def lock_positions(tx: Tx, ids: NDArray[np.int32], first: bytes = b"") -> list[Position]:
    """Lock positions in id order; returns their values in the database. Runs `first` before."""
    if first and (len(ids) > MOST_QUEUED or len(ids) == 0):
        await tx.script(first.decode())
        first = b""
    if len(ids) == 0:
        return []
    if first:
        rows = await tx.fetch_after(first, SQL.lock_positions, (ids,))
        return [Position(*row) for row in rows]
    return [Position(*row) for row in await tx.fetch(SQL.lock_positions, (ids,))]


async def positions_with_anything_left(
    tx: Pass, product_ids: NDArray[np.int32], first: bytes
) -> list[int]:
    """Run `first`, then read, unlocked, which positions of the products may give something."""
    rows = await tx.fetch_after(first, SQL.positions_with_anything_left, (product_ids, tx.now))
    return [row[0] for row in rows]


async def lock_capacity(tx: Tx, keys: Iterable[CapacityKey]) -> dict[CapacityKey, int]:
    """Lock counted capacities in key order (made at 0 where missing); returns what is used."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    location_ids = np.array([key[0] for key in wanted], dtype=np.int32)
    params = (location_ids, [key[1] for key in wanted], [key[2] for key in wanted])
    rows = await tx.fetch(SQL.lock_capacity, params)
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def read_capacity(tx: Tx, days: Sequence[date]) -> dict[CapacityKey, int]:
    """Read what is counted on the days."""
    rows = await tx.fetch(SQL.capacity_used, (list(days),))
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def write_capacity(tx: Tx, moved: dict[CapacityKey, int]) -> None:
    """Add to locked capacities."""
    changes = sorted((key, orders) for key, orders in moved.items() if orders)
    if not changes:
        return
    await tx.execute(
        SQL.write_capacity,
        (
            np.array([key[0] for key, _ in changes], dtype=np.int32),
            [key[1] for key, _ in changes],
            [key[2] for key, _ in changes],
            np.array([orders for _, orders in changes], dtype=np.int32),
        ),
    )


async def lock_uses(tx: Tx, keys: Iterable[UseKey]) -> dict[UseKey, int]:
    """Lock counts of caps and ring-fences in key order (made at 0); returns what is used."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    columns = np.array(wanted, dtype=np.int32).T
    rows = await tx.fetch(SQL.lock_uses, tuple(np.ascontiguousarray(columns)))
    return {(row[0], row[1], row[2]): row[3] for row in rows}


async def write_uses(tx: Tx, moved: Mapping[UseKey, Sequence[int]]) -> None:
    """Add to locked counts of caps and ring-fences."""
    changes = sorted((*key, *move) for key, move in moved.items() if any(move))
    if changes:
        columns = np.array(changes, dtype=np.int32).T
        await tx.execute(SQL.write_uses, tuple(np.ascontiguousarray(columns)))


Instants = Mapping[str, int]


async def write_ledger(
    tx: Pass, ledger: Ledger, occurred_us: Instants | None = None
) -> Entries | None:
    """Write every movement of the ledger: positions, then journal rows. Returns the entries.

    A few movements are written with what the pass ends with (`Tx.queue`), many are begun here
    (`Tx.start`): `Tx.write_queued` is when they are there. The journal rows used are
    taken off the pass's block, so that a pass may write more than one ledger.
    `occurred_us` says by cause id when it happened (microseconds since 1970), if not now.
    """
    entries = ledger.close(tx.journal_base, MAX_ENTRIES_PER_ROW)
    if entries is None:
        return None
    base = tx.journal_base
    tx.journal_base += -(-len(entries.position_ids) // MAX_ENTRIES_PER_ROW)
    changed = ledger.changed()
    first = ledger.first_versions
    columns = np.array(
        [(p.id, first[p.id], p.on_hand, p.reserved, p.version) for p in changed], dtype=np.int32
    )
    params = (
        *np.ascontiguousarray(columns.T),
        np.array([p.journal_id for p in changed], dtype=np.int64),
        len(changed),
    )
    if len(entries.position_ids) <= MOST_QUEUED:
        tx.queue(SQL.write_positions, params, _MISSING)
        tx.queue(SQL.write_journal, _journal_row(tx, base, entries, occurred_us))
        return entries
    tx.start(_write_many(tx, params, (base, entries, occurred_us)))
    await asyncio.sleep(0)  # PostgreSQL begins
    return entries


async def _write_many(
    tx: Pass, positions: Sequence[object], journal: tuple[int, Entries, Instants | None]
) -> None:
    try:
        await tx.execute(SQL.write_positions, positions)
    except DivisionByZero as error:
        raise Broken(_MISSING) from error
    await write_journal(tx, *journal)


async def write_journal(
    tx: Pass, base: int, entries: Entries, occurred_us: Instants | None = None
) -> None:
    """Append the entries as journal rows of at most `MAX_ENTRIES_PER_ROW`, from id `base` on."""
    total = len(entries.position_ids)
    invariant(total <= MAX_ENTRIES_PER_ROW * MAX_ROWS_PER_PASS, "too many movements in one pass")
    for ordinal, start in enumerate(range(0, total, MAX_ENTRIES_PER_ROW)):
        part = entries.slice(start, start + MAX_ENTRIES_PER_ROW)
        await write_journal_row(tx, base + ordinal, part, occurred_us)


async def write_journal_row(
    tx: Pass, journal_id: int, part: Entries, occurred_us: Instants | None = None
) -> None:
    """Append one journal row; its id has to be of the block that the pass row reserved."""
    await tx.execute(SQL.write_journal, _journal_row(tx, journal_id, part, occurred_us))


def _journal_row(
    tx: Pass, journal_id: int, part: Entries, occurred_us: Instants | None
) -> tuple[object, ...]:
    invariant(len(part.position_ids) <= MAX_ENTRIES_PER_ROW, "a journal row is too long")
    instants = None if occurred_us is None else [occurred_us[one] for one in part.cause_ids]
    moved = part.on_hand_deltas != 0
    adds_again = np.isin(part.cause_kinds, _ADDED_AGAIN)
    return (
        journal_id,
        tx.id,
        tx.now,
        part.position_ids,
        part.product_ids,
        part.location_ids,
        part.pool_ids,
        part.cause_kinds,
        uuid_array(part.cause_ids),
        part.on_hand_deltas,
        part.reserved_deltas,
        part.on_hands,
        part.reserveds,
        part.versions,
        part.previous_ids,
        part.counted_ats,
        bool(np.any(moved & adds_again)),
        None if instants is None else np.array(instants, dtype=np.int64),
    )


_NULL = "\\N"
_RESERVATION_COLUMNS = (
    "id, position_id, qty, kind, priority, root_id, demand_id, fulfilment_id, promised_at, "
    "expires_at, counted_by"
)


async def insert_reservations(tx: Tx, reservations: Sequence[Reservation]) -> None:
    """Write new reservations by COPY."""
    tx.copy_in("reservation", _RESERVATION_COLUMNS, [_line(r) for r in reservations])


def _line(r: Reservation) -> str:
    promised_at = r.promised_at.isoformat() if r.promised_at else _NULL
    expires_at = r.expires_at.isoformat() if r.expires_at else _NULL
    return (
        f"{r.id}\t{r.position_id}\t{r.qty}\t{r.kind}\t{r.priority}\t{r.root_id}\t{r.demand_id}\t"
        f"{r.fulfilment_id or _NULL}\t{promised_at}\t{expires_at}\t{_int_array(r.counted_by)}"
    )


def _int_array(numbers: Sequence[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}" if numbers else _NULL


async def take_from_reservations(tx: Tx, parts: Sequence[Reservation]) -> set[str]:
    """End reservations, or shrink them where `qty` is less than they hold; returns those there."""
    if not parts:
        return set()
    whole = {row[0] for row in await tx.fetch(SQL.delete_reservations, _keys(parts))}
    rest = [part for part in parts if part.id not in whole]
    if not rest:
        return whole
    return whole | {row[0] for row in await tx.fetch(SQL.shrink_reservations, _keys(rest))}


def _keys(parts: Sequence[Reservation]) -> tuple[str, NDArray[np.int32]]:
    return uuid_array(r.id for r in parts), np.array([r.qty for r in parts], dtype=np.int32)


async def end_expired_holds(
    tx: Pass, position_ids: NDArray[np.int32]
) -> list[tuple[int, int, str, Sequence[int]]]:
    """End expired holds on locked positions.

    Returns position id, quantity, root id and the controls that count it, of each.
    """
    rows = await tx.fetch(SQL.end_expired_holds, (position_ids, tx.now))
    return [(row[0], row[1], row[2], _ints(row[3])) for row in rows]


def _ints(array: Iterable[int] | None) -> tuple[int, ...]:
    return () if array is None else tuple(map(int, array))


async def end_holds(tx: Pass, ids: Sequence[str]) -> list[tuple[int, int, str, Sequence[int]]]:
    """End those holds that have expired, on locked positions; returns as `end_expired_holds`."""
    rows = await tx.fetch(SQL.end_holds, (uuid_array(ids), tx.now))
    return [(row[0], row[1], row[2], _ints(row[3])) for row in rows]


async def reservations_of_short_positions(
    tx: Tx, position_ids: NDArray[np.int32]
) -> list[Reservation]:
    """Read what may be shed of locked positions: by position, first to go first."""
    rows = await tx.fetch(SQL.reservations_of_short_positions, (position_ids,))
    return [
        Reservation(
            id=row[0],
            position_id=row[1],
            qty=row[2],
            kind=row[3],
            root_id=row[4],
            demand_id=row[5],
            counted_by=_ints(row[6]),
        )
        for row in rows
    ]


async def reservations_of_roots(tx: Tx, root_ids: Sequence[str]) -> list[Reservation]:
    """Read the live reservations of locked roots."""
    rows = await tx.fetch(SQL.reservations_of_roots, (uuid_array(root_ids),))
    return [
        Reservation(
            id=row[0],
            position_id=row[1],
            qty=row[2],
            kind=row[3],
            root_id=row[4],
            demand_id=row[5],
            fulfilment_id=row[6],
            priority=row[7],
            promised_at=row[8],
            expires_at=row[9],
            counted_by=_ints(row[10]),
        )
        for row in rows
    ]
