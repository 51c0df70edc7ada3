"""Lots in memory against a small model: first expired first out, and what must always be true."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Refusal
from penstock.inventory.model import Cause
from penstock.inventory.shelves import (
    Pick,
    Shelf,
    Stored,
    Wanted,
    keep,
    set_lots,
    settle,
    suggest,
)

TODAY = date(2026, 3, 1)
KINDS = ("pick", "bulk", "receiving", "quarantine", "returns")
WHY = (Cause.COUNT, "a-count")

lots = st.lists(
    st.tuples(
        st.integers(0, 6),  # quantity
        st.one_of(st.none(), st.integers(-5, 30)),  # days it is good for
        st.sampled_from(KINDS),
    ),
    max_size=6,
)
# (lot, reserved, pegged of it, is it fixed, what is left of the reservation, has it shipped)
pegs = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(1, 5),
        st.integers(1, 5),
        st.booleans(),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=4,
)


def shelf_of(
    rows: list[tuple[int, int | None, str]], more: int = 0, *, on_hand: int | None = None
) -> Shelf:
    total = sum(row[0] for row in rows) + more
    shelf = Shelf(1, total if on_hand is None else on_hand, TODAY)
    for number, (qty, days, kind) in enumerate(rows):
        expires_on = None if days is None else TODAY + timedelta(days=days)
        key = (number % 3, number)
        shelf.stored[key] = Stored(*key, qty, f"B{number % 3}", expires_on, f"A{number}", kind, qty)
    return shelf


def is_good(row: tuple[int, int | None, str]) -> bool:
    return row[2] in {"pick", "bulk", "receiving"} and (row[1] is None or row[1] >= 0)


@given(lots, st.integers(0, 25), st.integers(0, 20))
def test_a_suggestion_is_what_sorting_every_unit_by_expiry_gives(
    rows: list[tuple[int, int | None, str]], qty: int, least: int
) -> None:
    shelf = shelf_of(rows)
    units = sorted(
        (date.max.toordinal() if row[1] is None else TODAY.toordinal() + row[1])
        for row in rows
        if is_good(row) and (row[1] is None or row[1] >= least)
        for _ in range(row[0])
    )
    picks = suggest(shelf, qty, least)
    got = [(pick.expires_on or date.max).toordinal() for pick in picks for _ in range(pick.qty)]
    assert got == units[:qty]


@given(lots, pegs, st.integers(0, 25))
def test_a_suggestion_leaves_what_is_pegged_to_others(
    rows: list[tuple[int, int | None, str]],
    kept: list[tuple[int, int, int, bool, int, bool]],
    qty: int,
) -> None:
    shelf = shelf_of(rows)
    for number, (lot, reserved, pegged, fix, _, _) in enumerate(kept):
        shelf.peg((f"r{number}", "order", reserved), lot % 3, pegged, fix=fix)
    settle(shelf, {}, WHY)
    free = {
        lot: sum(one.qty for one in shelf.usable() if one.lot_id == lot)
        - sum(peg.qty for peg in shelf.pegs if peg.lot_id == lot)
        for lot in range(3)
    }
    picks = suggest(shelf, qty)
    for lot in range(3):
        assert sum(pick.qty for pick in picks if pick.lot_id == lot) <= free[lot]
    assert sum(pick.qty for pick in picks) == min(qty, sum(free.values()))
    for peg in shelf.pegs:
        own = suggest(shelf, peg.qty, 10_000, peg.reservation_id)
        mine = sum(pick.qty for pick in own if pick.lot_id == peg.lot_id)
        assert mine == peg.qty or sum(p.qty for p in own) == peg.qty


@given(lots, pegs, st.integers(-3, 40), st.integers(0, 6))
def test_lots_follow_their_position_whatever_moved_it(
    rows: list[tuple[int, int | None, str]],
    kept: list[tuple[int, int, int, bool, int, bool]],
    on_hand: int,
    unpegged: int,
) -> None:
    shelf = shelf_of(rows, on_hand=on_hand)
    shipped = {"other": unpegged}
    for number, (lot, reserved, pegged, fix, left, has_shipped) in enumerate(kept):
        root = f"order {number}"
        shelf.peg((f"r{number}", root, reserved), lot % 3, pegged, fix=fix)
        shelf.pegs[-1].kept = min(left, reserved)
        if has_shipped:
            shipped[root] = reserved - min(left, reserved)
    before = {key: one.qty for key, one in shelf.stored.items()}
    good = sum(one.qty for one in shelf.usable())
    settle(shelf, shipped, WHY)
    assert 0 <= shelf.in_lots() <= max(on_hand, 0) or shelf.in_lots() == 0
    for key, one in shelf.stored.items():
        moved = sum(e.qty_delta for e in shelf.entries if (e.lot_id, e.area_id) == key)
        assert one.qty == before[key] + moved >= 0
    usable = {n: sum(one.qty for one in shelf.usable() if one.lot_id == n) for n in range(3)}
    for lot, there in usable.items():
        assert sum(peg.qty for peg in shelf.pegs if peg.lot_id == lot) <= there
    for peg in shelf.pegs:
        of_it = [p for p in shelf.pegs if p.reservation_id == peg.reservation_id]
        assert sum(p.qty for p in of_it) <= peg.kept
    taken = {
        root: -sum(e.qty_delta for e in shelf.entries if e.cause == (Cause.SHIPMENT, root))
        for root in shipped
    }
    assert all(taken[root] <= shipped[root] for root in shipped)
    if not kept:
        assert taken["other"] == min(unpegged, good)
    again = list(shelf.entries)
    settle(shelf, {}, WHY)
    assert shelf.entries == again


class Units:
    """The model: every unit by itself, with its lot, its day, and for whom it is kept."""

    def __init__(self, rows: list[tuple[int, int | None, str]]) -> None:
        self.units: list[dict[str, Any]] = [
            {"lot": n % 3, "day": 10**6 if row[1] is None else row[1], "place": n, "for": None}
            for n, row in enumerate(rows)
            if is_good(row)
            for _ in range(row[0])
        ]
        self.bad = {n: sum(r[0] for i, r in enumerate(rows) if i % 3 == n) for n in range(3)}
        for unit in self.units:
            self.bad[unit["lot"]] -= 1

    def free(self) -> list[dict[str, Any]]:
        return sorted((u for u in self.units if u["for"] is None), key=lambda u: u["day"])

    def let_go(self, owner: int) -> None:
        for unit in self.units:
            if unit["for"] == owner:
                unit["for"] = None

    def keep(self, owner: int, lots: list[tuple[int, int]]) -> bool:
        before = [unit["for"] for unit in self.units]
        self.let_go(owner)
        for lot, qty in lots:
            there = [unit for unit in self.free() if unit["lot"] == lot][:qty]
            if len(there) < qty:
                for unit, was in zip(self.units, before, strict=True):
                    unit["for"] = was
                return False
            for unit in there:
                unit["for"] = owner
        return True

    def ship(self, owner: int, qty: int) -> None:
        mine = [unit for unit in self.units if unit["for"] == owner]
        rest = self.free()[: max(qty - len(mine), 0)]
        gone = [id(unit) for unit in mine + rest]
        self.units = [unit for unit in self.units if id(unit) not in gone]

    def by_lot(self) -> dict[int, int]:
        return {n: self.bad[n] + sum(u["lot"] == n for u in self.units) for n in range(3)}

    def kept(self, owner: int) -> dict[int, int]:
        mine = [unit["lot"] for unit in self.units if unit["for"] == owner]
        return {n: mine.count(n) for n in range(3) if n in mine}


one_lot_each = st.lists(
    st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(-5, 30))),
    min_size=3,
    max_size=3,
    unique_by=lambda row: row[1],
)
doings = st.lists(
    st.tuples(
        st.sampled_from(["peg", "fix", "fix", "peg", "ship", "let go"]),
        st.integers(0, 3),  # whose
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=2),
    ),
    max_size=12,
)


class Both:
    """A shelf and its model, told the same; reservations `r0` to `r3` of the quantities given."""

    def __init__(self, rows: list[tuple[int, int | None]], reserved: list[int]) -> None:
        good = [(qty, days, "pick") for qty, days in rows]
        self.shelf, self.model = shelf_of(good), Units(good)
        self.live = dict(enumerate(reserved))
        self.picked: set[int] = set()
        while self.live and sum(self.live.values()) > len(self.model.units):
            self.live.popitem()

    def keep(self, owner: int, lots: list[tuple[int, int]], *, fix: bool) -> None:
        if owner in self.picked and not fix:
            return  # what was picked stays: the test after this one
        qty = self.live[owner]
        can = sum(n for _, n in lots) <= qty and self.model.keep(owner, lots)
        wanted = Wanted([(f"B{lot}", n) for lot, n in lots], 0, fix)
        done = keep(self.shelf, (f"r{owner}", f"order {owner}", qty), wanted)
        assert isinstance(done, Refusal) != can
        if can and fix:
            self.picked.add(owner)

    def end(self, owner: int, *, ships: bool) -> None:
        qty = self.live.pop(owner)
        for peg in self.shelf.pegs:
            if peg.reservation_id == f"r{owner}":
                peg.kept = 0
        if ships:
            self.model.ship(owner, qty)
            self.shelf.on_hand -= qty
        else:
            self.model.let_go(owner)
        settle(self.shelf, {f"order {owner}": qty} if ships else {}, WHY)

    def compare(self) -> None:
        free = [unit["lot"] for unit in self.model.free()]
        picks = suggest(self.shelf, 3)
        assert [pick.lot_id for pick in picks for _ in range(pick.qty)] == free[:3]
        lots = dict.fromkeys(range(3), 0)
        for one in self.shelf.stored.values():
            lots[one.lot_id] += one.qty
        assert lots == self.model.by_lot()
        for who in range(4):
            mine = [p for p in self.shelf.pegs if p.reservation_id == f"r{who}" and p.qty]
            assert {p.lot_id: p.qty for p in mine} == self.model.kept(who)


@given(one_lot_each, st.lists(st.integers(1, 5), min_size=4, max_size=4), doings)
def test_pegs_picks_and_shipments_are_those_of_a_model_of_single_units(
    rows: list[tuple[int, int | None]],
    reserved: list[int],
    what: list[tuple[str, int, list[tuple[int, int]]]],
) -> None:
    both = Both(rows, reserved)
    for doing, owner, lots in what:
        if owner not in both.live:
            continue
        if doing in {"peg", "fix"}:
            both.keep(owner, lots, fix=doing == "fix")
        else:
            both.end(owner, ships=doing == "ship")
        both.compare()


def test_what_was_picked_is_changed_by_other_picks_only() -> None:
    shelf = shelf_of([(5, 2, "pick"), (5, 20, "pick")])
    mine = ("r", "order", 3)
    assert not isinstance(keep(shelf, mine, Wanted([("B1", 2)], is_fixed=True)), Refusal)
    assert isinstance(keep(shelf, mine, Wanted([("B0", 2)])), Refusal)
    assert not isinstance(keep(shelf, mine, Wanted([("B0", 1)])), Refusal)
    assert [(p.lot_id, p.qty, p.is_fixed) for p in shelf.pegs] == [(1, 2, True), (0, 1, False)]
    assert not isinstance(keep(shelf, mine, Wanted([("B0", 3)], is_fixed=True)), Refusal)
    assert [(p.lot_id, p.qty, p.is_fixed) for p in shelf.pegs] == [(1, 0, True), (0, 3, True)]


def test_what_was_fixed_leaves_though_another_lot_expires_earlier() -> None:
    shelf = shelf_of([(5, 2, "pick"), (5, 20, "pick")], on_hand=7)
    shelf.peg(("r", "order", 3), 1, 3, fix=True)
    shelf.pegs[0].kept = 0
    settle(shelf, {"order": 3}, WHY)
    assert [one.qty for one in shelf.stored.values()] == [5, 2]
    assert [entry.is_assumed for entry in shelf.entries] == [False]
    assert [peg.qty for peg in shelf.pegs] == [0]


def test_what_nobody_fixed_leaves_first_expired_first_and_says_so() -> None:
    shelf = shelf_of([(5, 20, "pick"), (2, 2, "bulk"), (9, -1, "pick")], on_hand=13)
    settle(shelf, {"order": 3}, WHY)
    assert [one.qty for one in shelf.stored.values()] == [4, 0, 9]
    assert all(entry.is_assumed for entry in shelf.entries)


def test_stock_of_no_known_lot_leaves_last() -> None:
    shelf = shelf_of([(5, 20, "pick")], on_hand=7)  # 10 were there, 3 have left
    settle(shelf, {"order": 3}, WHY)
    assert shelf.in_lots() == 2
    shelf.on_hand = 3
    settle(shelf, {"order": 4}, WHY)
    assert shelf.in_lots() == 0


def test_a_count_says_all_there_is_of_each_lot() -> None:
    shelf = shelf_of([(5, 20, "pick"), (4, 20, "bulk")])
    set_lots(shelf, {(0, 0): 7}, WHY)
    assert [one.qty for one in shelf.stored.values()] == [7, 0]
    assert [entry.qty_delta for entry in shelf.entries] == [2, -4]


def test_a_lot_has_to_be_good_for_as_long_as_was_asked() -> None:
    shelf = shelf_of([(5, 3, "pick"), (5, 10, "pick"), (5, None, "pick")])
    assert [(p.lot, p.qty) for p in suggest(shelf, 12)] == [("B0", 5), ("B1", 5), ("B2", 2)]
    picks: list[Pick] = suggest(shelf, 12, 10)
    assert [(p.lot, p.qty) for p in picks] == [("B1", 5), ("B2", 5)]
