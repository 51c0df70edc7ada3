"""Shortages: a count or adjustment below what is reserved is the truth, so reservations go.

Owns who has to go: cart holds first, then the lowest priority, then the latest promise, then the
youngest. A cart hold ends here and now, whole, under its position's lock. An allocation is not
touched (it is guarded by its order's root, and roots are locked before positions): each order
concerned gets the event `order.stock_lost` in the inbox, and its workflow gives back and sources
again. The stream gets `inventory.shortage`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from penstock import ids
from penstock.engine.inbox import Event, post
from penstock.errors import invariant
from penstock.events.stream import Change, append_changes
from penstock.inventory import counting, store
from penstock.inventory.ledger import Ledger
from penstock.inventory.model import Cause, Reservation, ReservationKind
from penstock.passes import Pass


async def raise_shortages(
    tx: Pass,
    position_ids: NDArray[np.int32],
    lacking: NDArray[np.int32],
    versions: NDArray[np.int32],
) -> None:
    """Tell the stream of locked positions that lack stock, and those orders that lose theirs."""
    if len(position_ids) == 0:
        return
    changes = [
        _shortage(*row)
        for row in zip(position_ids.tolist(), lacking.tolist(), versions.tolist(), strict=True)
    ]
    await append_changes(tx, changes)
    lacking_of = dict(zip(position_ids.tolist(), lacking.tolist(), strict=True))
    reservations = await store.reservations_of_short_positions(tx, position_ids)
    going: list[Reservation] = []
    for position_id, candidates in groupby(reservations, key=lambda one: one.position_id):
        going += _who_goes(candidates, lacking_of[position_id])
    await _end_holds(tx, [one for one in going if one.kind == ReservationKind.CART_HOLD])
    lost = [_stock_lost(one) for one in going if one.kind == ReservationKind.ALLOCATION]
    await post(tx, lost, tx.now)


def _shortage(position_id: int, lacking: int, version: int) -> Change:
    root_id = ids.from_int(position_id)
    payload = {"position_id": position_id, "lacking": lacking}
    return Change("position", root_id, version, "position", root_id, "inventory.shortage", payload)


def _stock_lost(one: Reservation) -> Event:
    payload = {
        "reservation_id": one.id,
        "position_id": one.position_id,
        "line_id": one.demand_id,
        "qty": one.qty,
    }
    return Event("order", one.root_id, "order", one.root_id, "order.stock_lost", payload)


def _who_goes(candidates: Iterable[Reservation], lacking: int) -> list[Reservation]:
    """Return the first of the candidates, as many as cover what is lacking."""
    going: list[Reservation] = []
    for reservation in candidates:
        if lacking <= 0:
            break
        lacking -= reservation.qty
        going.append(reservation)
    return going


async def _end_holds(tx: Pass, holds: Sequence[Reservation]) -> None:
    """End cart holds on positions that are locked; journal entries say `SHED` and whose."""
    if not holds:
        return
    await tx.write_queued()  # the positions are read again, and must be as the pass has left them
    locked = await store.lock_positions(tx, store.id_array(one.position_id for one in holds))
    ledger = Ledger(locked)
    ended = await store.take_from_reservations(tx, holds)
    invariant(len(ended) == len(holds), "a hold on a locked position was gone")
    for one in holds:
        ledger.move(one.position_id, 0, -one.qty, (Cause.SHED, one.root_id))
    await counting.give_back_alone(
        tx, ledger, [(h.position_id, h.qty, h.counted_by) for h in holds]
    )
    entries = await store.write_ledger(tx, ledger)
    if entries is not None:
        tx.entries.append(entries)
