"""The lots of locked positions, in memory: first expired first out, pegs, what is blocked.

Pure. A position is reserved as a whole; its lots say which units these are. `on_hand` may exceed
the sum of the lots: the rest is of no known lot. What is expired or lies in a blocked area is
counted in `blocked`, which the position's stock is reserved for, so that nobody is promised it.

Invariants, which `settle` restores after whatever moved a position: the lots sum up to at most what
is on hand; the pegs of a lot to at most what is usable of it; those of a reservation to at most its
quantity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import msgspec

from penstock.errors import Refusal, invariant
from penstock.inventory.model import Cause

BLOCKED_KINDS = frozenset({"quarantine", "returns"})
_AREA_ORDER = {"pick": 0, "bulk": 1, "receiving": 2}
CauseOf = tuple[Cause, str]


class Stored(msgspec.Struct, gc=False):
    """A quantity of a lot in an area (0: none) of a position. `was_qty` is what is stored of it."""

    lot_id: int
    area_id: int
    qty: int
    lot: str
    expires_on: date | None = None
    area: str = ""
    area_kind: str = "pick"
    was_qty: int = 0
    was_blocked: bool = False


class Peg(msgspec.Struct, gc=False):
    """Units of a lot for a reservation, of which `kept` is left (0: it has ended)."""

    reservation_id: str
    root_id: str
    lot_id: int
    qty: int
    is_fixed: bool
    kept: int
    was_qty: int = 0
    was_fixed: bool = False


class Pick(msgspec.Struct, frozen=True, gc=False):
    """So many units of a lot from an area."""

    lot_id: int
    lot: str
    qty: int
    expires_on: date | None
    area_id: int
    area: str


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A change of a lot's quantity; `is_assumed`: nobody said that it was this lot."""

    lot_id: int
    area_id: int
    qty_delta: int
    cause: CauseOf
    is_assumed: bool = False


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """Lots to keep: named with quantities, or suggested ones that are good for some days."""

    lots: Sequence[tuple[str, int]] = ()
    min_remaining_days: int = 0
    is_fixed: bool = False


Reserved = tuple[str, str, int]  # a reservation's id, root and quantity


class Shelf:
    """One position's lots and pegs on the location's `today`, moved on in memory."""

    def __init__(self, position_id: int, on_hand: int, today: date) -> None:
        self.position_id = position_id
        self.on_hand = on_hand
        self.today = today
        self.stored: dict[tuple[int, int], Stored] = {}
        self.pegs: list[Peg] = []
        self.entries: list[Entry] = []
        self.was_blocked = 0
        self.lost: list[tuple[str, int, int]] = []  # root, lot, units of pegs that were taken away

    def is_blocked(self, one: Stored) -> bool:
        """Tell whether nobody may be promised it: it is expired, or in a blocked area."""
        is_expired = one.expires_on is not None and one.expires_on < self.today
        return is_expired or one.area_kind in BLOCKED_KINDS

    def usable(self) -> list[Stored]:
        """Return what may be picked, in the order in which it should be: first expired first."""
        good = (one for one in self.stored.values() if one.qty > 0 and not self.is_blocked(one))
        return sorted(good, key=_first_expired)

    def blocked(self) -> int:
        """Return how many units are expired or in a blocked area."""
        return sum(one.qty for one in self.stored.values() if self.is_blocked(one))

    def in_lots(self) -> int:
        """Return how many units are of a known lot."""
        return sum(one.qty for one in self.stored.values())

    def free_of_lots(self, but_for: str | None = None) -> dict[int, int]:
        """Return what is usable and not pegged by lot, the pegs of one reservation left out."""
        free: dict[int, int] = {}
        for one in self.usable():
            free[one.lot_id] = free.get(one.lot_id, 0) + one.qty
        for peg in self.pegs:
            if peg.reservation_id != but_for:
                free[peg.lot_id] = free.get(peg.lot_id, 0) - peg.qty
        return free

    def change(self, key: tuple[int, int], qty_delta: int, why: tuple[CauseOf, bool]) -> None:
        """Change a lot in an area by units; `why` is the cause, and whether it is assumed."""
        if qty_delta:
            one = self.stored[key]
            one.qty += qty_delta
            invariant(one.qty >= 0, f"position {self.position_id}: a lot below 0")
            self.entries.append(Entry(*key, qty_delta, *why))

    def peg(self, reservation: Reserved, lot_id: int, qty: int, *, fix: bool) -> None:
        """Keep units of a lot for a reservation (its id, root and quantity); adds to its peg."""
        reservation_id, root_id, kept = reservation
        for peg in self.pegs:
            if (peg.reservation_id, peg.lot_id) == (reservation_id, lot_id):
                peg.qty += qty
                peg.is_fixed = fix
                return
        self.pegs.append(Peg(reservation_id, root_id, lot_id, qty, fix, kept))


def _first_expired(one: Stored) -> tuple[date, int, int, int]:
    order = _AREA_ORDER.get(one.area_kind, len(_AREA_ORDER))
    return (one.expires_on or date.max, order, one.lot_id, one.area_id)


def suggest(
    shelf: Shelf, qty: int, min_remaining_days: int = 0, reservation_id: str | None = None
) -> list[Pick]:
    """Return which lots to take for a quantity: first expired first, pegged and blocked ones never.

    What is pegged to `reservation_id` itself comes first. The picks may sum up to less than `qty`:
    the rest can only be of no known lot. With `min_remaining_days` a lot has to be good for so
    many days after today.
    """
    pegged = {p.lot_id: p.qty for p in shelf.pegs if p.reservation_id == reservation_id}
    free = shelf.free_of_lots(reservation_id)
    least = shelf.today + timedelta(days=min_remaining_days)
    usable = shelf.usable()
    picked = [0] * len(usable)

    def pick(place: int, most: int) -> None:
        one = usable[place]
        there = min(one.qty - picked[place], free.get(one.lot_id, 0), qty - sum(picked), most)
        picked[place] += max(there, 0)
        free[one.lot_id] -= max(there, 0)

    for place, one in enumerate(usable):
        before = picked[place]
        pick(place, pegged.get(one.lot_id, 0))
        pegged[one.lot_id] = pegged.get(one.lot_id, 0) - (picked[place] - before)
    for place, one in enumerate(usable):
        if one.expires_on is None or one.expires_on >= least:
            pick(place, qty)
    return [
        Pick(one.lot_id, one.lot, picked[place], one.expires_on, one.area_id, one.area)
        for place, one in enumerate(usable)
        if picked[place]
    ]


def keep(shelf: Shelf, reservation: Reserved, wanted: Wanted) -> list[Pick] | Refusal:
    """Peg or fix lots for a reservation, in place of what was; refuses with `lot_unavailable`.

    Pegs that were fixed give way to other picks only. What is refused leaves all as it was. Without
    named lots, pegs are for all of the reservation or refused, picks for what there is.
    """
    own, _, qty = reservation
    fixed = sum(p.qty for p in shelf.pegs if p.reservation_id == own and p.is_fixed)
    room = qty if wanted.is_fixed else qty - fixed
    picks = (
        _named(shelf, wanted.lots, own)
        if wanted.lots
        else suggest(shelf, room, wanted.min_remaining_days, own)
    )
    if isinstance(picks, Refusal):
        return picks
    total = sum(pick.qty for pick in picks)
    is_partial = total < room and not wanted.lots and not wanted.is_fixed
    if total > room or is_partial:
        sentence = f"Lots with {total} units fit, and {room} are to be kept."
        return Refusal("lot_unavailable", sentence, qty=total, field="lots")
    for peg in shelf.pegs:
        if peg.reservation_id == own and (wanted.is_fixed or not peg.is_fixed):
            peg.qty = 0
    for pick in picks:
        shelf.peg(reservation, pick.lot_id, pick.qty, fix=wanted.is_fixed)
    return picks


def _named(shelf: Shelf, lots: Sequence[tuple[str, int]], own: str) -> list[Pick] | Refusal:
    free = shelf.free_of_lots(own)
    by_ref = {one.lot: one for one in reversed(shelf.usable())}
    picks: list[Pick] = []
    for lot, qty in lots:
        one = by_ref.get(lot)
        there = max(free.get(one.lot_id, 0), 0) if one is not None else 0
        if one is None or qty > there:
            sentence = f"{there} of lot {lot!r} can be had here, not {qty}."
            return Refusal("lot_unavailable", sentence, lot=lot, qty=there, field="lots")
        free[one.lot_id] -= qty
        picks.append(Pick(one.lot_id, lot, qty, one.expires_on, one.area_id, one.area))
    return picks


def set_lots(shelf: Shelf, counted: Mapping[tuple[int, int], int], cause: CauseOf) -> None:
    """Make the lots what was counted by lot and area; a lot that is not named is not there."""
    for key, one in shelf.stored.items():
        shelf.change(key, max(counted.get(key, 0), 0) - one.qty, (cause, False))


def settle(shelf: Shelf, shipped: Mapping[str, int], cause: CauseOf) -> None:
    """Let the lots follow their position, whatever has moved it.

    `shipped` are units that left, by root: of the lots that were pegged or fixed for it, else first
    expired first. What the lots have too much then is gone for `cause`, usable ones first.
    """
    left = _settle_pegs(shelf, shipped)
    for root_id, qty in left.items():
        _take(shelf, qty, ((Cause.SHIPMENT, root_id), True), respect=True)
    surplus = shelf.in_lots() - max(shelf.on_hand, 0)
    rest = _take(shelf, surplus, (cause, True), respect=True)
    _take(shelf, rest, (cause, True), respect=False)
    _trim_pegs(shelf)


def _settle_pegs(shelf: Shelf, shipped: Mapping[str, int]) -> dict[str, int]:
    """End pegs of what is reserved no more: shipped, or given back. Returns what else has left."""
    left = dict(shipped)
    by_reservation: dict[str, list[Peg]] = {}
    for peg in shelf.pegs:
        by_reservation.setdefault(peg.reservation_id, []).append(peg)
    for pegs in by_reservation.values():
        over = sum(peg.qty for peg in pegs) - pegs[0].kept
        for peg in sorted(pegs, key=lambda peg: not peg.is_fixed):
            gone = max(min(over, peg.qty, left.get(peg.root_id, 0)), 0)
            why = ((Cause.SHIPMENT, peg.root_id), False)
            gone -= _take(shelf, gone, why, respect=False, only=lambda one, p=peg: _is_of(one, p))
            peg.qty -= gone
            over -= gone
            if gone:
                left[peg.root_id] -= gone
        for peg in sorted(pegs, key=lambda peg: peg.is_fixed):
            back = max(min(over, peg.qty), 0)
            peg.qty -= back
            over -= back
    return left


def _is_of(one: Stored, peg: Peg) -> bool:
    return one.lot_id == peg.lot_id


def _anything(one: Stored) -> bool:
    return one.qty > 0


def _take(
    shelf: Shelf,
    qty: int,
    why: tuple[CauseOf, bool],
    *,
    respect: bool,
    only: Callable[[Stored], bool] = _anything,
) -> int:
    """Take units, usable ones first expired first; returns how many were not there.

    With `respect` what is blocked or pegged stays.
    """
    if qty <= 0:
        return max(qty, 0)
    free = shelf.free_of_lots()
    candidates = shelf.usable()
    if not respect:
        blocked = (one for one in shelf.stored.values() if one.qty and shelf.is_blocked(one))
        candidates += sorted(blocked, key=_first_expired)
    for one in filter(only, candidates):
        most = min(one.qty, qty, max(free.get(one.lot_id, 0), 0) if respect else one.qty)
        shelf.change((one.lot_id, one.area_id), -most, why)
        free[one.lot_id] = free.get(one.lot_id, 0) - most
        qty -= most
    return qty


def _trim_pegs(shelf: Shelf) -> None:
    """Take pegs away that a lot has no usable units for: the youngest first, fixed ones last."""
    free = shelf.free_of_lots()
    youngest_first = list(reversed(shelf.pegs))
    youngest_first.sort(key=lambda peg: peg.is_fixed)
    for peg in youngest_first:
        lacking = max(min(-free.get(peg.lot_id, 0), peg.qty), 0)
        if lacking:
            peg.qty -= lacking
            free[peg.lot_id] += lacking
            shelf.lost.append((peg.root_id, peg.lot_id, lacking))
