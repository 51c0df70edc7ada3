"""What is held already: reservations of a cart that the same demand, or an order's, takes over.

Owns the hand-over without a gap. Held units stay reserved until the very ask that holds them is
admitted, so no other ask of the pass can take them; what it takes where it held counts as there.
The row of a hold becomes the row of what took its place, and the journal sees only what differs.

Invariant: under the positions' locks a held row is there or it is not, whoever ends expired holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np

from penstock.db import Queries, Tx, uuid_array
from penstock.inventory import counting
from penstock.inventory.ledger import Ledger
from penstock.inventory.model import Ask, Cause, Reservation, ReservationKind
from penstock.sourcing.model import Demand, Held

SQL = Queries("penstock.inventory", "held.sql")


def held_of(asks: Iterable[Ask]) -> list[Held]:
    """Return every reservation that asks take over."""
    return [one for ask in asks if ask.demand is not None for one in ask.demand.held]


async def without_ended(tx: Tx, asks: Sequence[Ask]) -> Sequence[Ask]:
    """Return the asks without held reservations that have ended; their positions are locked."""
    held = held_of(asks)
    if not held:
        return asks
    rows = await tx.fetch(SQL.reservations_there, (uuid_array(h.reservation_id for h in held),))
    there: dict[str, int] = {row[0]: row[1] for row in rows}
    if all(there.get(one.reservation_id) == one.qty for one in held):
        return asks
    return [_without_ended(ask, there) for ask in asks]


def _without_ended(ask: Ask, there: dict[str, int]) -> Ask:
    if ask.demand is None or not ask.demand.held:
        return ask
    held = tuple(
        msgspec.structs.replace(one, qty=there[one.reservation_id])
        for one in ask.demand.held
        if one.reservation_id in there
    )
    return msgspec.structs.replace(ask, demand=msgspec.structs.replace(ask.demand, held=held))


def held_at(demand: Demand) -> dict[int, int]:
    """Return what a demand has held, by position."""
    found: dict[int, int] = {}
    for one in demand.held:
        found[one.position_id] = found.get(one.position_id, 0) + one.qty
    return found


def taken_at(reservations: Iterable[Reservation]) -> dict[int, int]:
    """Return what reservations keep, by position."""
    found: dict[int, int] = {}
    for one in reservations:
        found[one.position_id] = found.get(one.position_id, 0) + one.qty
    return found


def hand_over(ledger: Ledger, ask: Ask, taken: dict[int, int], cause: tuple[Cause, str]) -> None:
    """Give back what an admitted ask held: what it took there anew cancels out in the journal."""
    if ask.demand is None:
        return
    back = [(one.position_id, one.qty, one.counted_by) for one in ask.demand.held]
    counting.give_back(ledger, [one for one in back if one[2]])
    for position_id, qty in held_at(ask.demand).items():
        kept = min(qty, taken.get(position_id, 0))
        if kept:
            ledger.move(position_id, 0, -kept, cause)
        if qty > kept:
            ledger.move(position_id, 0, kept - qty, (Cause.UNRESERVE, ask.root_id))


async def write_over(
    tx: Tx, taken: Sequence[tuple[Ask, Sequence[Reservation]]]
) -> list[Reservation]:
    """Turn held rows into the reservations that take their place; returns those without a row.

    A hold that nothing takes the place of is ended. Each of `taken` is an admitted ask that held
    something, with its new reservations.
    """
    rest: list[Reservation] = []
    turned: list[Reservation] = []
    ended: list[str] = []
    for ask, reservations in taken:
        rows: dict[int, list[str]] = {}
        for one in ask.demand.held if ask.demand is not None else ():
            rows.setdefault(one.position_id, []).append(one.reservation_id)
        for reservation in reservations:
            free = rows.get(reservation.position_id)
            if free:
                reservation.id = free.pop()
                turned.append(reservation)
            else:
                rest.append(reservation)
        ended += [row for free in rows.values() for row in free]
    if turned:
        await tx.execute(SQL.turn_reservations, _columns(turned))
    if ended:
        await tx.execute(SQL.end_reservations, (uuid_array(ended),))
    return rest


def _columns(turned: Sequence[Reservation]) -> tuple[object, ...]:
    return (
        uuid_array(r.id for r in turned),
        np.array([r.qty for r in turned], dtype=np.int32),
        np.array([r.kind for r in turned], dtype=np.int16),
        np.array([r.priority for r in turned], dtype=np.int16),
        uuid_array(r.root_id for r in turned),
        uuid_array(r.demand_id for r in turned),
        [r.fulfilment_id for r in turned],
        [r.promised_at for r in turned],
        [r.expires_at for r in turned],
        ["{" + ",".join(map(str, r.counted_by)) + "}" for r in turned],
    )


class Hold(msgspec.Struct, gc=False):
    """Units that a cart holds at a position, for one of its lines."""

    id: str
    root_id: str
    line_id: str
    position_id: int
    product_id: int
    location_id: int
    qty: int
    counted_by: Sequence[int] = ()

    def taken_over(self) -> Held:
        """Return it as a demand takes it over."""
        place = self.position_id, self.product_id, self.location_id
        return Held(self.id, *place, self.qty, tuple(self.counted_by))

    def given_back(self) -> Reservation:
        """Return it as an ask gives it back."""
        kind = ReservationKind.CART_HOLD
        return Reservation(
            self.position_id,
            self.qty,
            kind,
            self.root_id,
            self.line_id,
            id=self.id,
            counted_by=self.counted_by,
        )


async def holds_of_carts(tx: Tx, cart_ids: Sequence[str], now: datetime) -> list[Hold]:
    """Read what carts hold, that which is over at an instant left out."""
    rows = await tx.fetch(SQL.holds_of_carts, (uuid_array(cart_ids), now))
    holds = [Hold(*row[:7]) for row in rows]
    for hold, row in zip(holds, rows, strict=True):
        hold.counted_by = () if row[7] is None else tuple(map(int, row[7]))
    return holds
