"""Shelves opened and closed: the lots of positions locked, read, and written with all that follows.

`open_shelves` locks positions and reads what they are made of; `close_shelves` settles and writes:
lots, their entries, pegs, what is blocked (a reservation each, journalled as `BLOCK`), and sheds
what was promised of it. The number of statements does not depend on how many positions there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np

from penstock import ids
from penstock.db import Queries, Tx, uuid_array
from penstock.events.stream import Change, append_changes
from penstock.inventory import store
from penstock.inventory.ledger import Ledger
from penstock.inventory.model import Cause
from penstock.inventory.shelves import CauseOf, Peg, Shelf, Stored, settle
from penstock.inventory.shortage import raise_shortages
from penstock.passes import Pass

SQL = Queries("penstock.inventory", "lots.sql")
_ENTRY_COLUMNS = (
    "pass_id, occurred_at, position_id, lot_id, area_id, qty_delta, cause_kind, cause_id, "
    "is_assumed"
)


class Opened(msgspec.Struct):
    """Locked positions and their shelves by id; `shipped` are units that left, by root."""

    ledger: Ledger
    shelves: dict[int, Shelf]
    shipped: Mapping[int, Mapping[str, int]] = {}


async def open_shelves(tx: Pass, position_ids: Sequence[int]) -> Opened:
    """Lock positions in id order, as the pass has left them, and read their lots and pegs."""
    await tx.write_queued()
    wanted = store.id_array(position_ids)
    ledger = Ledger(await store.lock_positions(tx, wanted))
    return Opened(ledger, await load_shelves(tx, list(ledger.positions), tx.now))


async def load_shelves(tx: Tx, position_ids: Sequence[int], now: datetime) -> dict[int, Shelf]:
    """Read the lots and pegs of positions, as of a day."""
    wanted = store.id_array(position_ids)
    shelves: dict[int, Shelf] = {}
    for position_id, on_hand, today, blocked in await tx.fetch(
        SQL.days_of_positions, (now, wanted)
    ):
        shelf = Shelf(position_id, on_hand, today)
        shelf.was_blocked = blocked
        shelves[position_id] = shelf
    for row in await tx.fetch(SQL.lots_of_positions, (wanted,)):
        position_id, lot_id, area_id, qty, lot, expires_on, area, kind, is_blocked = row
        stored = Stored(lot_id, area_id, qty, lot, expires_on, area, kind, qty, is_blocked)
        shelves[position_id].stored[lot_id, area_id] = stored
    for row in await tx.fetch(SQL.pegs_of_positions, (wanted,)):
        position_id, reservation_id, root_id, lot_id, qty, is_fixed, kept = row
        peg = Peg(reservation_id, root_id, lot_id, qty, is_fixed, kept, qty, is_fixed)
        shelves[position_id].pegs.append(peg)
    return shelves


async def close_shelves(tx: Pass, opened: Opened, causes: Mapping[int, CauseOf]) -> None:
    """Settle the shelves and write what has changed; `causes` say why, by position."""
    for position_id, shelf in opened.shelves.items():
        nobody = (Cause.BLOCK, ids.from_int(position_id))
        shipped = opened.shipped.get(position_id, {})
        settle(shelf, shipped, causes.get(position_id, nobody))
    every = list(opened.shelves.values())
    await _write_stock(tx, every)
    await _write_pegs(tx, every)
    _write_entries(tx, every)
    await _write_blocked(tx, opened.ledger, every)
    await _tell_lost(tx, opened)


async def _write_stock(tx: Pass, shelves: Sequence[Shelf]) -> None:
    rows = [
        (shelf.position_id, one.lot_id, one.area_id, one.qty, shelf.is_blocked(one))
        for shelf in shelves
        for one in shelf.stored.values()
        if one.qty != one.was_qty or (one.qty and shelf.is_blocked(one) != one.was_blocked)
    ]
    if rows:
        columns = np.array([row[:4] for row in rows], dtype=np.int32).T
        blocked = [row[4] for row in rows]
        await tx.execute(SQL.write_lot_stock, (*np.ascontiguousarray(columns), blocked))


async def _write_pegs(tx: Pass, shelves: Sequence[Shelf]) -> None:
    changed = [
        (shelf.position_id, peg)
        for shelf in shelves
        for peg in shelf.pegs
        if (peg.qty, peg.is_fixed) != (peg.was_qty, peg.was_fixed)
    ]
    if changed:
        await tx.execute(
            SQL.write_pegs,
            (
                uuid_array(peg.reservation_id for _, peg in changed),
                np.array([peg.lot_id for _, peg in changed], dtype=np.int32),
                np.array([position_id for position_id, _ in changed], dtype=np.int32),
                uuid_array(peg.root_id for _, peg in changed),
                np.array([peg.qty for _, peg in changed], dtype=np.int32),
                [peg.is_fixed for _, peg in changed],
                tx.now,
            ),
        )


def _write_entries(tx: Pass, shelves: Sequence[Shelf]) -> None:
    start = f"{tx.id}\t{tx.now.isoformat()}"
    lines = [
        f"{start}\t{shelf.position_id}\t{e.lot_id}\t{e.area_id}\t{e.qty_delta}\t"
        f"{int(e.cause[0])}\t{e.cause[1]}\t{'t' if e.is_assumed else 'f'}"
        for shelf in shelves
        for e in shelf.entries
    ]
    tx.copy_in("lot_entry", _ENTRY_COLUMNS, lines)


async def _write_blocked(tx: Pass, ledger: Ledger, shelves: Sequence[Shelf]) -> None:
    """Reserve what is blocked, give back what is not any more, and shed what was promised of it."""
    changed = [(shelf, shelf.blocked()) for shelf in shelves]
    changed = [(shelf, blocked) for shelf, blocked in changed if blocked != shelf.was_blocked]
    if not changed:
        return
    for shelf, blocked in changed:
        cause = (Cause.BLOCK, ids.from_int(shelf.position_id))
        ledger.move(shelf.position_id, 0, blocked - shelf.was_blocked, cause)
    await tx.execute(
        SQL.write_blocked,
        (
            np.array([shelf.position_id for shelf, _ in changed], dtype=np.int32),
            uuid_array(ids.new_id() for _ in changed),
            uuid_array(ids.from_int(shelf.position_id) for shelf, _ in changed),
            np.array([blocked for _, blocked in changed], dtype=np.int32),
        ),
    )
    entries = await store.write_ledger(tx, ledger)
    if entries is not None:
        tx.entries.append(entries)
    rose = {shelf.position_id for shelf, blocked in changed if blocked > shelf.was_blocked}
    short = [p for p in ledger.changed() if p.id in rose and p.reserved > max(p.on_hand, 0)]
    await raise_shortages(
        tx,
        np.array([p.id for p in short], dtype=np.int32),
        np.array([p.reserved - max(p.on_hand, 0) for p in short], dtype=np.int32),
        np.array([p.version for p in short], dtype=np.int32),
    )


async def _tell_lost(tx: Pass, opened: Opened) -> None:
    """Tell the stream of pegs that were taken away, since the lot is not there any more."""
    changes: list[Change] = []
    for position_id, shelf in opened.shelves.items():
        named = {one.lot_id: one.lot for one in shelf.stored.values()}
        root_id = ids.from_int(position_id)
        version = opened.ledger.positions[position_id].version
        for order_id, lot_id, qty in shelf.lost:
            payload = {"order_id": order_id, "lot": named.get(lot_id, ""), "qty": qty}
            name = "inventory.peg_lost"
            changes.append(Change("position", root_id, version, "position", root_id, name, payload))
    if changes:
        await append_changes(tx, changes)
