"""Pick-up slots of orders: a choice holds its slot from when it is taken until it is cancelled.

Owns which slots the orders of a pass hold: what they want then is compared with what they held
before, so a slot is given back, or moved with the place or the hour, whatever rule has done that.
Slots are locked last, after positions and capacities, in order of their key.

Invariant (`penstock audit`): what is counted on a slot is how many choices hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from penstock.engine.context import Context
from penstock.errors import Refusal
from penstock.network.carriers import KnownLocation
from penstock.network.pickup_slots import SlotAsk, slot_end, take_slots
from penstock.orders.model import Choice, Order
from penstock.passes import Pass

Held = tuple[int, datetime]
_SERVICE = "collect"


class _Move(NamedTuple):
    """A choice that wants another slot than it holds."""

    context: Context
    choice: Choice
    wanted: Held | None


async def settle_slots(tx: Pass, contexts: Sequence[Context]) -> None:
    """Take and give back slots, so that each choice holds the one it wants.

    A context is refused with `slot_full`, `no_slots`, or `slot_too_early` (it ends before the
    order can be ready).
    """
    moves = [
        _Move(context, choice, wanted)
        for context in contexts
        if isinstance(context.root, Order) and context.refusal is None
        for choice in context.root.choices
        if (choice.slot_at is not None or choice.slot_held is not None)
        and (wanted := _wanted(choice)) != choice.slot_held
    ]
    if not moves:
        return
    locations = tx.knowledge.dates.locations
    back = [SlotAsk(locations[held[0]], _SERVICE, held[1], -1) for held in _given_back(moves)]
    taking = [one for one in moves if one.wanted is not None and _fits(one, locations, tx.now)]
    asks = [SlotAsk(locations[held[0]], _SERVICE, held[1]) for held in map(_held, taking)]
    results = await take_slots(tx, [*back, *asks])
    for move, result in zip(taking, results[len(back) :], strict=True):
        if isinstance(result, Refusal):
            move.context.fail(result)
    for move in moves:
        move.choice.slot_held = move.wanted


def _wanted(choice: Choice) -> Held | None:
    """Return which slot a choice wants: none once it is cancelled; what was collected keeps it."""
    location_id, slot_at = choice.pickup_location_id, choice.slot_at
    if location_id is None or slot_at is None or choice.progress == "cancelled":
        return None
    return location_id, slot_at.astimezone(UTC)


def _given_back(moves: Sequence[_Move]) -> list[Held]:
    return [one.choice.slot_held for one in moves if one.choice.slot_held is not None]


def _held(move: _Move) -> Held:
    return move.wanted or (0, datetime.max.replace(tzinfo=UTC))


def _fits(move: _Move, locations: dict[int, KnownLocation], now: datetime) -> bool:
    """Tell whether a choice is ready before its slot ends; fails its context otherwise."""
    location_id, slot_at = _held(move)
    end = slot_end(locations[location_id], _SERVICE, slot_at)
    if end is None:
        return True  # the slots say why not
    order: Order = move.context.root
    dues = [f.due for f in order.fulfilments if f.choice_id == move.choice.id and f.is_open()]
    ready = max([now, *(due.due_at for due in dues if due is not None)])
    if ready < end:
        return True
    sentence = "It cannot be ready before that slot ends: choose a later one."
    refusal = Refusal("slot_too_early", sentence, slot_at=slot_at, ready_at=ready)
    move.context.fail(refusal)
    return False
