"""Shortages: a count or adjustment below what is reserved is the truth, so allocations go.

Owns who has to go: cart holds first, then the lowest priority, then the latest promise, then the
youngest. Nothing is unreserved here (an order's allocations are guarded by its root, and roots
are locked before positions): each order concerned gets the event `order.stock_lost` in the inbox,
and its workflow gives back and sources again. The stream gets `inventory.shortage`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock import ids
from penstock.engine.inbox import Event, post
from penstock.events.stream import Change, append_changes
from penstock.inventory import store
from penstock.inventory.model import ReservationKind
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
    rows = await tx.fetch(store.SQL.reservations_of_short_positions, (position_ids,))
    events: list[Event] = []
    for position_id, reservations in groupby(rows, key=lambda row: row[0]):
        events += _who_goes(list(reservations), lacking_of[position_id])
    await post(tx, events, tx.now)


def _shortage(position_id: int, lacking: int, version: int) -> Change:
    root_id = ids.from_int(position_id)
    payload = {"position_id": position_id, "lacking": lacking}
    return Change("position", root_id, version, "position", root_id, "inventory.shortage", payload)


def _who_goes(reservations: list[Any], lacking: int) -> list[Event]:
    events: list[Event] = []
    for position_id, reservation_id, qty, root_id, line_id, kind in reservations:
        if lacking <= 0:
            break
        lacking -= qty
        if kind != ReservationKind.ALLOCATION:
            continue
        payload = {
            "reservation_id": reservation_id,
            "position_id": position_id,
            "line_id": line_id,
            "qty": qty,
        }
        events.append(Event("order", root_id, "order", root_id, "order.stock_lost", payload))
    return events
