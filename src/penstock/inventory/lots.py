"""Lots under positions: counted, changed, moved, suggested, pegged and fixed; all verbs on lists.

Owns tables `lot_tracked`, `lot`, `lot_stock`, `lot_peg`, `lot_entry`. Lots are kept of products
that say so (`track_products`); a pass that moves no such product has no statement more than before.
A position's row is the mutex of its lots, which are read and written with it locked. What they mean
is in `shelves.py`. Whoever moves a position of such a product, `settle_lots` lets its lots follow
in the same pass: `rules/knowledge.py` calls it at the end of each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock import ids
from penstock.db import Queries, Tx, uuid_array
from penstock.errors import Refusal
from penstock.inventory import shelves, store
from penstock.inventory.counts import (
    Counts,
    Outcome,
    adjust_stock,
    find_or_make_positions,
    set_stock,
)
from penstock.inventory.model import RETAIL_POOL_ID, Adjustment, Cause
from penstock.inventory.opened import close_shelves, load_shelves, open_shelves
from penstock.inventory.shelves import CauseOf, Pick, Shelf, Stored
from penstock.passes import Pass

SQL = Queries("penstock.inventory", "lots.sql")
_BAR_PASSES = "LOCK TABLE pass IN SHARE MODE"  # cannot be prepared, as named queries are
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LotQty(msgspec.Struct, frozen=True, gc=False):
    """A quantity, or a change, of a lot in an area (0: in none).

    Without `expires_on` or `supplier` what is known of the lot stays.
    """

    lot: str
    qty: int
    expires_on: date | None = None
    supplier: str = ""
    area_id: int = 0
    area_kind: str = "pick"


class PositionLots(msgspec.Struct, frozen=True, gc=False):
    """What is said of one position by lot; `qty_unknown` are units of no known lot."""

    product_id: int
    location_id: int
    lots: Sequence[LotQty]
    qty_unknown: int = 0
    pool_id: int = RETAIL_POOL_ID

    def total(self) -> int:
        """Return the sum over its lots, known or not."""
        return self.qty_unknown + sum(one.qty for one in self.lots)


class LotCounts(msgspec.Struct, frozen=True):
    """Positions counted by lot, with the instant of each (µs since 1970), and who counted."""

    positions: Sequence[PositionLots]
    counted_us: Sequence[int]
    source_id: int
    cause_id: str


class LotMove(msgspec.Struct, frozen=True, gc=False):
    """A quantity of a lot that goes from an area of a position to another (0: none)."""

    position_id: int
    lot: str
    qty: int
    from_area_id: int
    to_area_id: int
    to_area_kind: str = "pick"


class Want(msgspec.Struct, frozen=True, gc=False):
    """A quantity of a position for which lots are to be suggested."""

    position_id: int
    qty: int
    min_remaining_days: int = 0
    reservation_id: str | None = None


class PegAsk(msgspec.Struct, frozen=True, gc=False):
    """Lots to keep for a reservation: named with quantities, or as `suggest` has them."""

    reservation_id: str
    lots: Sequence[tuple[str, int]] = ()
    min_remaining_days: int = 0


async def track_products(tx: Tx, product_ids: Iterable[int]) -> list[int]:
    """Begin to keep lots of products; returns those of which none were kept.

    Has to run in a transaction of its own that is no pass: it waits until no pass is open, so that
    none moves such a position without its lots.
    """
    await tx.script(_BAR_PASSES)
    rows = await tx.fetch(SQL.track_products, (store.id_array(product_ids),))
    if rows:
        await tx.execute(SQL.bump_lots)
    return sorted(row[0] for row in rows)


async def load_tracked(tx: Tx) -> NDArray[np.int32]:
    """Read the products of which lots are kept, by id."""
    row = await tx.fetch_one(SQL.tracked_products)
    return np.array(row[0] if row else [], dtype=np.int32)


def lots_not_tracked(sku: str) -> Refusal:
    """Return the refusal of a lot of a product that keeps none."""
    sentence = f"No lots are kept of {sku!r}: begin with `penstock lot track {sku}`."
    return Refusal("lots_not_tracked", sentence, sku=sku, field="sku")


async def _insist_tracked(tx: Tx, positions: Sequence[PositionLots]) -> None:
    product_ids = store.id_array(one.product_id for one in positions)
    kept = {row[0] for row in await tx.fetch(SQL.tracked_of, (product_ids,))}
    for product_id in product_ids.tolist():
        if product_id not in kept:
            raise lots_not_tracked(f"product {product_id}")


async def set_lots(tx: Pass, counts: LotCounts) -> NDArray[np.int8]:
    """Count positions by lot: their sums go through `set_stock`; returns an `Outcome` each.

    A lot that a position's count does not name is not there any more. What has left of a lot after
    the instant of the count is taken off again. An older count changes no lot. Refuses with
    `lots_not_tracked`.
    """
    await _insist_tracked(tx, counts.positions)
    columns = _counts(counts)
    outcomes = await set_stock(tx, columns)
    taken = np.flatnonzero((outcomes == Outcome.CHANGED) | (outcomes == Outcome.UNCHANGED))
    if len(taken) == 0:
        return outcomes
    mine = columns.rows(taken)
    keys = (mine.product_ids, mine.location_ids, mine.pool_ids)
    position_ids = (await find_or_make_positions(tx, *keys)).tolist()
    positions = [counts.positions[place] for place in taken.tolist()]
    lot_ids = await _put_lots(tx, positions)
    opened = await open_shelves(tx, position_ids)
    later = await _moves_since(tx, dict(zip(position_ids, mine.counted_us.tolist(), strict=True)))
    cause = (Cause.COUNT, counts.cause_id)
    for position_id, one in zip(position_ids, positions, strict=True):
        shelf = opened.shelves[position_id]
        counted = _by_key(one, lot_ids, shelf)
        for key, qty_delta in later.get(position_id, {}).items():
            counted[key] = counted.get(key, 0) + qty_delta
        shelves.set_lots(shelf, counted, cause)
    await close_shelves(tx, opened, dict.fromkeys(position_ids, cause))
    return outcomes


def _counts(counts: LotCounts) -> Counts:
    positions = counts.positions
    return Counts(
        product_ids=np.array([one.product_id for one in positions], dtype=np.int32),
        location_ids=np.array([one.location_id for one in positions], dtype=np.int32),
        pool_ids=np.array([one.pool_id for one in positions], dtype=np.int16),
        on_hands=np.array([one.total() for one in positions], dtype=np.int32),
        counted_us=np.array(counts.counted_us, dtype=np.int64),
        source_id=counts.source_id,
        cause_id=counts.cause_id,
    )


_Lots = Mapping[tuple[int, str], tuple[int, date | None]]  # id and expiry by product and ref


async def _put_lots(tx: Pass, positions: Sequence[PositionLots]) -> _Lots:
    """Make or change the lots that are named; of two that name one the later stands."""
    named: dict[tuple[int, str], tuple[date | None, str]] = {}
    for one in positions:
        for lot in one.lots:
            before = named.get((one.product_id, lot.lot), (None, ""))
            said = (lot.expires_on or before[0], lot.supplier or before[1])
            named[one.product_id, lot.lot] = said
    if not named:
        return {}
    columns = (
        np.array([key[0] for key in named], dtype=np.int32),
        [key[1] for key in named],
        [said[0] for said in named.values()],
        [said[1] for said in named.values()],
    )
    rows = await tx.fetch(SQL.put_lots, columns)
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def _by_key(one: PositionLots, lot_ids: _Lots, shelf: Shelf) -> dict[tuple[int, int], int]:
    """Return the quantities by lot and area, and make room for them on the shelf."""
    found: dict[tuple[int, int], int] = {}
    for lot in one.lots:
        lot_id, expires_on = lot_ids[one.product_id, lot.lot]
        key = (lot_id, lot.area_id)
        found[key] = found.get(key, 0) + lot.qty
        new = Stored(*key, 0, lot.lot, expires_on, area_kind=lot.area_kind)
        shelf.stored.setdefault(key, new)
    return found


async def _moves_since(
    tx: Pass, counted_us: Mapping[int, int]
) -> dict[int, dict[tuple[int, int], int]]:
    since = _EPOCH + timedelta(microseconds=min(counted_us.values()))
    rows = await tx.fetch(SQL.lot_moves_since, (store.id_array(counted_us), since))
    moved: dict[int, dict[tuple[int, int], int]] = {}
    for position_id, lot_id, area_id, qty_delta, occurred_us in rows:
        if occurred_us > counted_us[position_id]:
            of_position = moved.setdefault(position_id, {})
            key = (lot_id, area_id)
            of_position[key] = of_position.get(key, 0) + qty_delta
    return moved


async def change_lots(tx: Pass, changes: Sequence[PositionLots], cause_id: str) -> None:
    """Change positions by deltas of their lots, now: what was received, found or thrown away.

    The sums go through `adjust_stock`. A lot does not fall below 0: what it lacks is taken of the
    others. The caller makes it idempotent by a key. Refuses with `lots_not_tracked`.
    """
    if not changes:
        return
    await _insist_tracked(tx, changes)
    adjustments = [
        Adjustment(one.product_id, one.location_id, one.total(), tx.now, one.pool_id)
        for one in changes
    ]
    first = len(tx.entries)
    await adjust_stock(tx, adjustments, cause_id)
    moved = {
        int(n) for part in tx.entries[first:] for n in part.position_ids[part.on_hand_deltas != 0]
    }
    position_ids = await _ids_of(tx, changes)
    lot_ids = await _put_lots(tx, changes)
    opened = await open_shelves(tx, position_ids)
    cause = (Cause.ADJUSTMENT, cause_id)
    for position_id, one in zip(position_ids, changes, strict=True):
        shelf = opened.shelves[position_id]
        if position_id not in moved and one.total():
            continue  # a count told of a later instant: it has it in
        for key, qty_delta in _by_key(one, lot_ids, shelf).items():
            shelf.change(key, max(qty_delta, -shelf.stored[key].qty), (cause, False))
    await close_shelves(tx, opened, dict.fromkeys(position_ids, cause))


async def find_positions(tx: Tx, keys: Sequence[tuple[int, int, int]]) -> list[int]:
    """Return the ids of positions by product, location and pool; 0 where there is none."""
    columns = np.array(keys, dtype=np.int32).reshape(len(keys), 3).T
    pools = columns[2].astype(np.int16)
    places = (np.ascontiguousarray(columns[0]), np.ascontiguousarray(columns[1]))
    row = await tx.fetch_one(store.SQL.find_positions, (*places, pools))
    return [] if row is None or row[0] is None else row[0].tolist()


async def _ids_of(tx: Pass, positions: Sequence[PositionLots]) -> list[int]:
    found = await find_or_make_positions(
        tx,
        np.array([one.product_id for one in positions], dtype=np.int32),
        np.array([one.location_id for one in positions], dtype=np.int32),
        np.array([one.pool_id for one in positions], dtype=np.int16),
    )
    ids_found: list[int] = found.tolist()
    return ids_found


async def move_lots(tx: Pass, moves: Sequence[LotMove]) -> list[Refusal | None]:
    """Move lots between areas of their positions; None for what moved, else `lot_unavailable`.

    Into a blocked area, units are kept from everybody; what has been promised of them is shed.
    """
    opened = await open_shelves(tx, [move.position_id for move in moves])
    cause = (Cause.REASSIGN, ids.new_id())
    results = [_move(opened.shelves.get(move.position_id), move, cause) for move in moves]
    await close_shelves(tx, opened, {move.position_id: cause for move in moves})
    return results


def _move(shelf: Shelf | None, move: LotMove, cause: CauseOf) -> Refusal | None:
    at = [
        one
        for one in (shelf.stored.values() if shelf is not None else ())
        if one.lot == move.lot and one.area_id == move.from_area_id
    ]
    there = at[0].qty if at else 0
    if shelf is None or move.qty > there:
        sentence = f"{there} of lot {move.lot!r} are there, not {move.qty}."
        return Refusal("lot_unavailable", sentence, lot=move.lot, qty=there, field="qty")
    one = at[0]
    to = (one.lot_id, move.to_area_id)
    new = Stored(*to, 0, one.lot, one.expires_on, area_kind=move.to_area_kind)
    shelf.stored.setdefault(to, new)
    shelf.change((one.lot_id, one.area_id), -move.qty, (cause, False))
    shelf.change(to, move.qty, (cause, False))
    return None


async def suggest_lots(tx: Tx, wants: Sequence[Want], now: datetime) -> list[list[Pick]]:
    """Suggest lots for quantities of positions, each want by itself; a plain read.

    First expired first; expired, blocked and pegged units are left out. Picks that sum up to less
    than was wanted say that the rest can only be of no known lot.
    """
    found = await load_shelves(tx, [want.position_id for want in wants], now)
    return [
        shelves.suggest(shelf, want.qty, want.min_remaining_days, want.reservation_id)
        if (shelf := found.get(want.position_id)) is not None
        else []
        for want in wants
    ]


async def peg_lots(tx: Pass, asks: Sequence[PegAsk]) -> list[list[Pick] | Refusal]:
    """Keep lots early for reservations, in place of what was pegged for them before.

    All of a reservation's quantity or nothing, if the ask names no lots. Refusals:
    `unknown_reservation`, `lot_unavailable`.
    """
    return await _peg_or_fix(tx, asks, is_fixed=False)


async def fix_lots(tx: Pass, asks: Sequence[PegAsk]) -> list[list[Pick] | Refusal]:
    """Say which lots were picked for reservations; they leave with the shipment, in its pass.

    Takes the place of pegs and of what was fixed before. An ask that names no lots fixes what
    `suggest` has. Refusals: `unknown_reservation`, `lot_unavailable`.
    """
    return await _peg_or_fix(tx, asks, is_fixed=True)


async def _peg_or_fix(
    tx: Pass, asks: Sequence[PegAsk], *, is_fixed: bool
) -> list[list[Pick] | Refusal]:
    key = uuid_array(sorted({ask.reservation_id for ask in asks}))
    before = await tx.fetch(SQL.reservations_by_id, (key,))
    opened = await open_shelves(tx, [row[1] for row in before])
    live = {row[0]: row for row in await tx.fetch(SQL.reservations_by_id, (key,))}
    results: list[list[Pick] | Refusal] = []
    for ask in asks:
        row = live.get(ask.reservation_id)
        if row is None:
            sentence = "This stock is reserved no more."
            results.append(Refusal("unknown_reservation", sentence, id=ask.reservation_id))
            continue
        shelf = opened.shelves[row[1]]
        wanted = shelves.Wanted(ask.lots, ask.min_remaining_days, is_fixed)
        results.append(shelves.keep(shelf, (row[0], row[3], row[2]), wanted))
    await close_shelves(tx, opened, {})
    return results


def lots_have_expired(now: datetime) -> Callable[[Tx], Awaitable[bool]]:
    """Return a plain read that tells whether the expiry of any lot is to be obeyed."""

    async def read(tx: Tx) -> bool:
        return bool(await tx.fetch(SQL.positions_out_of_date, (now, 1)))

    return read


async def block_expired(tx: Pass, limit: int) -> int:
    """Keep what has expired from everybody, for up to `limit` positions; returns how many."""
    rows = await tx.fetch(SQL.positions_out_of_date, (tx.now, limit))
    if rows:
        opened = await open_shelves(tx, [row[0] for row in rows])
        await close_shelves(tx, opened, {})
    return len(rows)


async def settle_lots(tx: Pass, tracked: NDArray[np.int32]) -> None:
    """Let lots follow what the pass has moved of products of which lots are kept."""
    shipped: dict[int, dict[str, int]] = {}
    causes: dict[int, CauseOf] = {}
    for part in tx.entries:
        for place in np.flatnonzero(np.isin(part.product_ids, tracked)).tolist():
            position_id = int(part.position_ids[place])
            cause = (Cause(int(part.cause_kinds[place])), part.cause_ids[place])
            causes[position_id] = cause
            if cause[0] == Cause.SHIPMENT:
                of_position = shipped.setdefault(position_id, {})
                left = of_position.get(cause[1], 0)
                of_position[cause[1]] = left - int(part.on_hand_deltas[place])
    if causes:
        opened = await open_shelves(tx, list(causes))
        opened.shipped = shipped
        await close_shelves(tx, opened, causes)
