"""Deciding: one helper locks a pass's positions, admits every ask in memory, and writes once.

The only place where stock is given, taken back or shipped. Order (DESIGN section 5): positions by
id, then counted capacities by key, then what caps and ring-fences count (`counting.py`), then
limits (`limits.py`). A proposal may be late, so a loser, or one proposed short, is planned again
with every position of its products that has anything left, locked: at most `MAX_ROUNDS` rounds from
a savepoint, the last of them wide for everyone. So nothing is oversold, and nobody is answered
short while a unit is left. Gives back before it takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from functools import partial

import msgspec

from penstock.db import Tx
from penstock.errors import invariant
from penstock.ids import new_id
from penstock.inventory import counting, store
from penstock.inventory.held import (
    hand_over,
    held_at,
    held_of,
    taken_at,
    without_ended,
    write_over,
)
from penstock.inventory.ledger import Ledger
from penstock.inventory.limits import Book, lock_limits, write_limits
from penstock.inventory.model import (
    Answer,
    Ask,
    Cause,
    Reservation,
    ReservationKind,
    Terms,
)
from penstock.passes import Pass
from penstock.sourcing.model import Demand, Plan

MAX_ROUNDS = 3
_BEGIN = b"SAVEPOINT decide"
_BACK = b"ROLLBACK TO SAVEPOINT decide"


class _Round(msgspec.Struct):
    """One attempt: the ledger, what is wide in it, answers by ask, and who has to try wider.

    `asks` are those of the pass, without what they held and has ended.
    """

    ledger: Ledger
    wide: set[int]
    answers: list[Answer]
    losers: list[int]
    asks: Sequence[Ask]
    now: datetime
    book: Book | None = None


async def decide(tx: Pass, asks: Sequence[Ask], terms: Terms) -> list[Answer]:
    """Decide all asks of a pass together and write stock, reservations, capacities and journal.

    Returns one answer per ask, in order. Must be called at most once in a pass, since positions
    are locked in one sorted statement. Appends the journal entries to `tx.entries`.
    """
    wide = counting.fenced_products(asks, terms)
    for number in range(1, MAX_ROUNDS + 1):
        if number == MAX_ROUNDS:
            wide = {product for ask in asks for product in _products(ask)}
        attempt = await _attempt(tx, asks, terms, wide, _BEGIN if number == 1 else _BACK)
        if not attempt.losers:
            await _write(tx, attempt)
            terms.counted(attempt.ledger.capacity_used)
            if attempt.ledger.uses:
                tx.on_commit.append(partial(terms.used, attempt.ledger.uses))
            return attempt.answers
        wide |= {product for place in attempt.losers for product in _products(asks[place])}
    invariant(condition=False, message="a demand lost while everything it may take was locked")
    return []


def _products(ask: Ask) -> set[int]:
    if ask.demand is None:
        return set()
    return ask.demand.product_ids()


async def _attempt(
    tx: Pass, asks: Sequence[Ask], terms: Terms, wide: set[int], first: bytes
) -> _Round:
    ids = [r.position_id for ask in asks for r in (*ask.release, *ask.ship)]
    ids += [take[0] for ask in asks for take in _takes(ask.plan)]
    ids += [one.position_id for one in held_of(asks)]
    if wide:  # the round before gives up its locks, and what it has ended counts again
        ids += await store.positions_with_anything_left(tx, store.id_array(wide), first)
        first = b""
    ledger = Ledger(await store.lock_positions(tx, store.id_array(ids), first))
    expired = await _end_expired_holds(tx, ledger) if wide else []
    asks = await without_ended(tx, asks)
    ledger.capacity_used = await store.lock_capacity(tx, _capacity_keys(asks, ledger, terms, wide))
    keys = counting.keys_of(asks, ledger, terms, wide)
    ledger.uses = await store.lock_uses(tx, keys | counting.keys_back(ledger, expired))
    counting.give_back(ledger, expired)
    book = await lock_limits(tx, asks)
    answers = await _give_back(tx, asks, ledger)
    attempt = _Round(ledger, wide, answers, [], asks, tx.now, book)
    _admit_all(attempt, asks, terms)
    return attempt


def _takes(plan: Plan | None) -> list[tuple[int, int]]:
    if plan is None:
        return []
    return [take for shipment in plan.shipments for part in shipment.parts for take in part.takes]


async def _end_expired_holds(tx: Pass, ledger: Ledger) -> list[counting.Back]:
    """End holds on what is locked; returns what is to be given back to caps and ring-fences."""
    locked = store.id_array(ledger.positions)
    back: list[counting.Back] = []
    for position_id, qty, root_id, counted_by in await store.end_expired_holds(tx, locked):
        ledger.move(position_id, 0, -qty, (Cause.EXPIRY, root_id))
        if counted_by:
            back.append((position_id, qty, counted_by))
    return back


def _capacity_keys(
    asks: Sequence[Ask], ledger: Ledger, terms: Terms, wide: set[int]
) -> set[store.CapacityKey]:
    keys: set[store.CapacityKey] = {key for ask in asks for key in ask.capacity_back}
    wide_locations = {p.location_id for p in ledger.positions.values() if p.product_id in wide}
    for ask in asks:
        if ask.demand is None:
            continue
        locations = {shipment.location_id for shipment in ask.plan.shipments} if ask.plan else set()
        if wide and _products(ask) & wide:
            locations |= wide_locations
        for location_id in locations:
            if terms.capacity_limit(location_id, ask.demand.service) >= 0:
                day = terms.working_day(location_id, ask.demand.service)
                keys.add((location_id, ask.demand.service, day))
    return keys


async def _give_back(tx: Pass, asks: Sequence[Ask], ledger: Ledger) -> list[Answer]:
    """Unreserve and ship; only what is really there moves, so that nothing moves twice."""
    parts = [r for ask in asks for r in (*ask.release, *ask.ship)]
    ended = await store.take_from_reservations(tx, parts)
    answers: list[Answer] = []
    for ask in asks:
        released = [r for r in ask.release if r.id in ended]
        shipped = [r for r in ask.ship if r.id in ended]
        for reservation in released:
            cause = (ask.release_cause, ask.root_id)
            ledger.move(reservation.position_id, 0, -reservation.qty, cause)
            counting.unreserve(ledger, reservation)
        for reservation in shipped:
            cause = (Cause.SHIPMENT, ask.root_id)
            ledger.move(reservation.position_id, -reservation.qty, -reservation.qty, cause)
            counting.ship(ledger, reservation)
        for key in ask.capacity_back:
            ledger.take_capacity(key, -1)
        answers.append(Answer(released=released, shipped=shipped))
    return answers


def _admit_all(attempt: _Round, asks: Sequence[Ask], terms: Terms) -> None:
    """Admit in arrival order; then plan the losers again, until each has its last word."""
    pending: list[int] = []
    for place, ask in enumerate(asks):
        if ask.demand is None or ask.plan is None:
            continue
        is_short = bool(ask.plan.unsourced) and ask.may_replan
        if is_short or not _admit(attempt, place, ask, terms):
            pending.append(place)
    attempt.losers = [place for place in pending if not _products(asks[place]) <= attempt.wide]
    if not attempt.losers:
        _plan_again(attempt, asks, [place for place in pending if asks[place].may_replan], terms)


def _plan_again(attempt: _Round, asks: Sequence[Ask], pending: list[int], terms: Terms) -> None:
    while pending:
        demands = [demand for place in pending if (demand := asks[place].demand) is not None]
        plans = terms.replan(demands, attempt.ledger)
        again: list[int] = []
        for place, plan in zip(pending, plans, strict=True):
            ask = msgspec.structs.replace(asks[place], plan=plan)
            if not _admit(attempt, place, ask, terms):
                again.append(place)
        invariant(len(again) < len(pending), "a plan made from locked values was not admitted")
        pending = again


def _admit(attempt: _Round, place: int, ask: Ask, terms: Terms) -> bool:
    """Take a whole plan or nothing: stock first, then capacity. What is over a limit is refused."""
    plan, demand, ledger = ask.plan, ask.demand, attempt.ledger
    invariant(plan is not None and demand is not None, "an ask without a plan was to be admitted")
    if plan is None or demand is None:
        return False
    if _is_refused(attempt, attempt.answers[place], ask, terms):
        return True
    if not _is_there(ledger, plan, demand, terms):
        return False
    days = _capacity_days(ledger, plan, demand.service, terms)
    if days is None:
        return False
    _take(attempt, place, (ask, days), terms)
    return True


def _is_there(ledger: Ledger, plan: Plan, demand: Demand, terms: Terms) -> bool:
    """Tell whether positions, caps and ring-fences leave a plan what it takes; held units do."""
    wanted: dict[int, int] = {}
    for position_id, qty in _takes(plan):
        wanted[position_id] = wanted.get(position_id, 0) + qty
    for position_id, qty in held_at(demand).items():
        if position_id in wanted:
            wanted[position_id] -= min(qty, wanted[position_id])
    for position_id, qty in wanted.items():
        position = ledger.positions.get(position_id)
        if position is None:
            return False
        if qty and counting.free(position, demand.channel_id, terms) < qty:
            return False
    return terms.counting is None or counting.fits(ledger, demand, wanted, terms)


def _is_refused(attempt: _Round, answer: Answer, ask: Ask, terms: Terms) -> bool:
    """Answer what gets nothing whatever is tried: over a limit, or short where all is wanted."""
    if attempt.book is not None:
        answer.refusal = attempt.book.refusal(ask, attempt.now)
    if answer.refusal is None and ask.all_or_nothing and ask.plan and ask.plan.unsourced:
        answer.lacking = _lacking(attempt, ask, terms) or ask.plan.unsourced
    return answer.refusal is not None or bool(answer.lacking)


def _lacking(attempt: _Round, ask: Ask, terms: Terms) -> Sequence[tuple[str, int]]:
    """Return what would be lacking if as much were taken as there is."""
    if ask.demand is None:
        return ()
    loose = msgspec.structs.replace(ask.demand, ship_complete=False)
    return terms.replan([loose], attempt.ledger)[0].unsourced


def _capacity_days(
    ledger: Ledger, plan: Plan, service: str, terms: Terms
) -> list[date | None] | None:
    """Return the counted day of each shipment (None: not counted), or None if one is full."""
    days: list[date | None] = []
    for shipment in plan.shipments:
        limit = terms.capacity_limit(shipment.location_id, service)
        if limit < 0:
            days.append(None)
            continue
        day = terms.working_day(shipment.location_id, service)
        used = ledger.capacity_used.get((shipment.location_id, service, day))
        if used is None or used >= limit:
            return None
        days.append(day)
    return days


def _take(attempt: _Round, place: int, taken: tuple[Ask, list[date | None]], terms: Terms) -> None:
    ask, days = taken
    plan, demand, ledger = ask.plan, ask.demand, attempt.ledger
    if plan is None or demand is None:
        return
    is_hold = ask.kind == ReservationKind.CART_HOLD
    cause = (Cause.CART_HOLD if is_hold else Cause.ALLOCATION, ask.root_id)
    reservations: list[Reservation] = []
    fulfilment_ids: list[str] = []
    for shipment, day in zip(plan.shipments, days, strict=True):
        fulfilment_id = new_id()
        fulfilment_ids.append(fulfilment_id)
        if day is not None and not is_hold:
            ledger.take_capacity((shipment.location_id, demand.service, day), 1)
        for part in shipment.parts:
            for position_id, qty in part.takes:
                ledger.move(position_id, 0, qty, cause)
                one = _reservation(ask, position_id, qty, part.line_id, fulfilment_id)
                if terms.counting is not None:
                    one.counted_by = counting.count(ledger, demand, one, terms)
                reservations.append(one)
    if demand.held:
        hand_over(ledger, ask, taken_at(reservations), cause)
    if attempt.book is not None:
        attempt.book.count(ask, reservations, attempt.now)
    answer = attempt.answers[place]
    answer.plan = plan
    answer.reservations = reservations
    answer.fulfilment_ids = fulfilment_ids
    answer.capacity_days = [None] * len(days) if is_hold else days


def _reservation(
    ask: Ask, position_id: int, qty: int, line_id: str, fulfilment_id: str
) -> Reservation:
    is_hold = ask.kind == ReservationKind.CART_HOLD
    return Reservation(
        position_id=position_id,
        qty=qty,
        kind=int(ask.kind),
        root_id=ask.root_id,
        demand_id=line_id,
        fulfilment_id=None if is_hold else fulfilment_id,
        priority=ask.priority,
        promised_at=ask.promised_at,
        expires_at=ask.expires_at,
    )


async def _write(tx: Pass, attempt: _Round) -> None:
    await store.write_capacity(tx, attempt.ledger.capacity_moved)
    await store.write_uses(tx, attempt.ledger.use_moves)
    entries = await store.write_ledger(tx, attempt.ledger)
    if entries is not None:
        tx.entries.append(entries)
    await store.insert_reservations(tx, await _without_rows(tx, attempt))
    await write_limits(tx, attempt.book)


async def _without_rows(tx: Pass, attempt: _Round) -> list[Reservation]:
    """Return the new reservations that need a row: others get that of what was held."""
    pairs = list(zip(attempt.asks, attempt.answers, strict=True))
    over = [
        (ask, answer.reservations)
        for ask, answer in pairs
        if ask.demand is not None and ask.demand.held and answer.plan is not None
    ]
    if not over:
        return [r for _, answer in pairs for r in answer.reservations]
    roots = {id(reservations) for _, reservations in over}
    rest = [r for _, a in pairs if id(a.reservations) not in roots for r in a.reservations]
    return rest + await write_over(tx, over)


def holds_have_expired(now: datetime) -> Callable[[Tx], Awaitable[bool]]:
    """Return a plain read that tells whether any hold has expired: no pass for nothing."""

    async def read(tx: Tx) -> bool:
        return bool(await tx.fetch(store.SQL.expired_holds, (now, 1)))

    return read


async def expire_holds(tx: Pass, limit: int) -> int:
    """End up to `limit` expired holds, oldest first; returns how many it found.

    Nobody's root is locked: a hold that expires is ended under its position's lock alone.
    """
    rows = await tx.fetch(store.SQL.expired_holds, (tx.now, limit))
    if not rows:
        return 0
    ledger = Ledger(await store.lock_positions(tx, store.id_array(row[1] for row in rows)))
    back: list[counting.Back] = []
    for position_id, qty, root_id, counted_by in await store.end_holds(tx, [r[0] for r in rows]):
        ledger.move(position_id, 0, -qty, (Cause.EXPIRY, root_id))
        if counted_by:
            back.append((position_id, qty, counted_by))
    await counting.give_back_alone(tx, ledger, back)
    entries = await store.write_ledger(tx, ledger)
    if entries is not None:
        tx.entries.append(entries)
    return len(rows)
