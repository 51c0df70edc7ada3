"""Counting on caps and ring-fences inside a decision: which rows are locked, what fits, what moves.

A cap bounds what its channel takes. A ring-fence keeps units for some demands: they count on it,
others have to leave what is still kept. What is kept is judged against every locked position where
the ring-fence holds, so the products of one that spans locations are decided with everything they
have locked (`fenced_products`).

Invariant: `reserved` of a count is the sum of live reservations that name its control; whatever
ends, shrinks or ships a reservation moves it in the same pass, once. Only `give_back_alone` does
I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from penstock.inventory import store
from penstock.inventory.ledger import Ledger, Position
from penstock.inventory.model import Ask, Counted, Reservation, Terms, UseKey
from penstock.passes import Pass
from penstock.sourcing.model import Demand

Back = tuple[int, int, Sequence[int]]  # position id, quantity, controls that count it


def fenced_products(asks: Sequence[Ask], terms: Terms) -> set[int]:
    """Return the products of which a demand has to leave units somewhere among many locations."""
    if terms.counting is None:
        return set()
    return {
        product_id
        for ask in asks
        for product_id, counted in _concerning(ask, terms)
        if any(_bounds(one) and _spans(one) for one in counted)
    }


def _concerning(ask: Ask, terms: Terms) -> Iterable[tuple[int, Sequence[Counted]]]:
    demand = ask.demand
    if demand is None or terms.counting is None:
        return
    for product_id in sorted(demand.product_ids()):
        counted = terms.counting(demand, product_id)
        if counted:
            yield product_id, counted


def _bounds(one: Counted) -> bool:
    return one.is_fence and not one.is_entitled


def _spans(one: Counted) -> bool:
    is_one_place = one.location_ids is not None and len(one.location_ids) == 1
    return not (one.per_location or is_one_place)


def keys_of(asks: Sequence[Ask], ledger: Ledger, terms: Terms, wide: set[int]) -> set[UseKey]:
    """Return the counts that a decision reads or moves: of what it takes, and of what goes back."""
    keys = keys_back(
        ledger,
        [
            (r.position_id, r.qty, r.counted_by)
            for ask in asks
            for r in (*ask.release, *ask.ship, *(ask.demand.held if ask.demand else ()))
            if r.counted_by
        ],
    )
    if terms.counting is None:
        return keys
    for ask in asks:
        for product_id, counted in _concerning(ask, terms):
            locations = _locations(ask, ledger, product_id, is_wide=product_id in wide)
            for one in counted:
                at = (n for n in locations if one.holds_at(n)) if one.per_location else (0,)
                keys |= {one.key(product_id, location_id) for location_id in at}
    return keys


def _locations(ask: Ask, ledger: Ledger, product_id: int, *, is_wide: bool) -> set[int]:
    if is_wide:
        return {p.location_id for p in ledger.positions.values() if p.product_id == product_id}
    return {shipment.location_id for shipment in ask.plan.shipments} if ask.plan else set()


def keys_back(ledger: Ledger, back: Iterable[Back]) -> set[UseKey]:
    """Return the counts of what goes back."""
    return {key for position_id, _, marks in back for key in _keys(ledger, position_id, marks)}


def _keys(ledger: Ledger, position_id: int, marks: Sequence[int]) -> list[UseKey]:
    position = ledger.positions[position_id]
    return [(abs(n), position.product_id, position.location_id if n < 0 else 0) for n in marks]


def give_back(ledger: Ledger, back: Iterable[Back]) -> None:
    """Give units back to what counted them."""
    for position_id, qty, marks in back:
        for key in _keys(ledger, position_id, marks):
            ledger.take_use(key, -qty)


async def give_back_alone(tx: Pass, ledger: Ledger, back: Sequence[Back]) -> None:
    """Lock, move and write the counts of reservations that ended outside a decision."""
    ledger.uses = await store.lock_uses(tx, keys_back(ledger, back))
    give_back(ledger, back)
    await store.write_uses(tx, ledger.use_moves)


def unreserve(ledger: Ledger, reservation: Reservation) -> None:
    """Give a reservation's units back to what counted them."""
    if reservation.counted_by:
        give_back(ledger, [(reservation.position_id, reservation.qty, reservation.counted_by)])


def ship(ledger: Ledger, reservation: Reservation) -> None:
    """Keep a shipped reservation's units counted, for good."""
    for key in _keys(ledger, reservation.position_id, reservation.counted_by):
        ledger.take_use(key, -reservation.qty, reservation.qty)


def free(position: Position, channel_id: int, terms: Terms) -> int:
    """Return what a channel may take of a locked position, its floor left."""
    floor = terms.floor(channel_id, position.product_id, position.location_id, position.on_hand)
    return position.on_hand - position.reserved - floor


def fits(ledger: Ledger, demand: Demand, wanted: Mapping[int, int], terms: Terms) -> bool:
    """Tell whether caps and ring-fences leave a demand what it wants (quantities by position)."""
    by_product: dict[int, dict[int, int]] = {}
    for position_id, qty in wanted.items():
        position = ledger.positions[position_id]
        at = by_product.setdefault(position.product_id, {})
        at[position.location_id] = at.get(position.location_id, 0) + qty
    return all(
        _fits_product(ledger, demand, (product_id, at), terms)
        for product_id, at in by_product.items()
    )


def _fits_product(
    ledger: Ledger, demand: Demand, wanted: tuple[int, Mapping[int, int]], terms: Terms
) -> bool:
    product_id, at = wanted
    counted = terms.counting(demand, product_id) if terms.counting is not None else ()
    for one in counted:
        if one.is_entitled:
            continue
        within = {n: qty for n, qty in at.items() if one.holds_at(n)}
        if not within:
            continue
        there = _there(ledger, demand, product_id, terms) if one.is_fence else {}
        groups = [{n: qty} for n, qty in within.items()] if one.per_location else [within]
        for group in groups:
            used = ledger.uses.get(one.key(product_id, next(iter(group))), 0)
            scope = group if one.per_location else (n for n in there if one.holds_at(n))
            seen = sum(there.get(n, 0) for n in scope)
            if sum(group.values()) > one.left(used, seen):
                return False
    return True


def _there(ledger: Ledger, demand: Demand, product_id: int, terms: Terms) -> dict[int, int]:
    """Return what the demand could take of a product by location, were nothing kept for others."""
    there: dict[int, int] = {}
    for position in ledger.positions.values():
        if position.product_id == product_id and terms.sells(position.pool_id):
            qty = max(free(position, demand.channel_id, terms), 0)
            there[position.location_id] = there.get(position.location_id, 0) + qty
    return there


def count(
    ledger: Ledger, demand: Demand, reservation: Reservation, terms: Terms
) -> tuple[int, ...]:
    """Count a reservation; returns the marks of the controls that do (see `Reservation`)."""
    if terms.counting is None:
        return ()
    position = ledger.positions[reservation.position_id]
    marks: list[int] = []
    for one in terms.counting(demand, position.product_id):
        counts = one.is_entitled or not one.is_fence
        if counts and one.holds_at(position.location_id):
            key = one.key(position.product_id, position.location_id)
            ledger.take_use(key, reservation.qty)
            marks.append(-one.control_id if one.per_location else one.control_id)
    return tuple(marks)
