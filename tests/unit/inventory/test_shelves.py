"""Lots in memory against a small model: first expired first out, and what must always be true."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from penstock.inventory.model import Cause
from penstock.inventory.shelves import Pick, Shelf, Stored, set_lots, settle, suggest

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
