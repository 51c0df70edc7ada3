"""What a channel has to leave at a position: buffers and exclusions of one instant, resolved. Pure.

Controls of one group are combined as the group says: `first` takes the highest priority, of those
the narrowest product (SKU, category, all), then the narrowest place, then the nearest channel, and
of equals the larger; `max` takes the largest of all, `sum` adds them, percentages before they are
rounded up. Groups add. An exclusion leaves everything, whatever else is said.

Invariant: `Floors.at` and `Floors.one` agree for every product, location and quantity on hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.categories import Membership
from penstock.availability.neighbours import Bools, Locations
from penstock.availability.product_map import Ints
from penstock.availability.rule import Rule, place_rank, rows_of_rule

K = TypeVar("K")
Int64s = NDArray[np.int64]
BLOCKED = 1 << 40  # more than any position can hold: nothing may be taken
WHOLE_BP = 10_000
_NONE = -(1 << 62)
_PRODUCT_RANKS = 1_000  # categories are less deep


class Cell(NamedTuple):
    """What a group says somewhere: how strongly (for `first`), units, hundredths of a percent."""

    rank: int
    qty: int
    percent_bp: int


NOTHING = Cell(_NONE, 0, 0)


class Cells(NamedTuple):
    """Many cells, as columns."""

    rank: Int64s
    qty: Int64s
    percent_bp: Int64s

    def take(self, places: Ints) -> Cells:
        """Return the cells at places."""
        return Cells(*(column[places] for column in self))


def merged(combine: str, one: Cell, other: Cell) -> Cell:
    """Return what two controls of a group come to."""
    if combine == "sum":
        return Cell(0, one.qty + other.qty, one.percent_bp + other.percent_bp)
    if combine == "first" and one.rank != other.rank:
        return max(one, other, key=lambda cell: cell.rank)
    largest = max(one.qty, other.qty), max(one.percent_bp, other.percent_bp)
    return Cell(one.rank, *largest)


def _merged_columns(combine: str, one: Cells, other: Cells) -> Cells:
    if combine == "sum":
        return Cells(one.rank, one.qty + other.qty, one.percent_bp + other.percent_bp)
    qty, percent = np.maximum(one.qty, other.qty), np.maximum(one.percent_bp, other.percent_bp)
    if combine == "max":
        return Cells(one.rank, qty, percent)
    wins, loses = one.rank > other.rank, one.rank < other.rank
    return Cells(
        np.maximum(one.rank, other.rank),
        np.where(wins, one.qty, np.where(loses, other.qty, qty)),
        np.where(wins, one.percent_bp, np.where(loses, other.percent_bp, percent)),
    )


class Spread(msgspec.Struct, frozen=True):
    """What a group says of single products at some rows."""

    rows: Bools
    by_product: Mapping[int, Cell]
    place_of: NDArray[np.int32]  # by product id; 0: nothing, as is the last
    cells: Cells


class GroupFloors(msgspec.Struct, frozen=True):
    """One group, resolved for a channel at an instant."""

    combine: str
    general: Sequence[Sequence[Cell]]  # by code of categories, then by row
    general_cells: Cells  # the same, flat
    width: int
    spreads: Sequence[Spread]
    by_place: Mapping[tuple[int, int], Cell]  # (product id, row)
    place_keys: Int64s  # product id << 32 | row, sorted
    place_cells: Cells
    is_plain: bool  # units only, and of two cells that meet the later one in `at` is the stronger

    def units(self, codes: Ints | None, product_ids: Ints, rows: Ints) -> Int64s:
        """Return what a plain group keeps, as `at` says: one column, and no ranks."""
        found = self.general_cells.qty[rows if codes is None else codes * self.width + rows]
        for spread in self.spreads:
            places = spread.place_of.take(product_ids, mode="clip") * spread.rows[rows]
            found = self._plainly(found, spread.cells.qty[places], places > 0)
        if len(self.place_keys):
            places, is_there = self._places(product_ids, rows)
            found = self._plainly(found, self.place_cells.qty[places], is_there)
        return found

    def _plainly(self, found: Int64s, more: Int64s, is_said: Bools) -> Int64s:
        if self.combine == "first":
            return np.where(is_said, more, found)
        return found + more if self.combine == "sum" else np.maximum(found, more)

    def _places(self, product_ids: Ints, rows: Ints) -> tuple[NDArray[np.intp], Bools]:
        """Find products at rows among the places; what is not there has the last, nothing."""
        keys = (np.asarray(product_ids, dtype=np.int64) << 32) | rows
        places = np.searchsorted(self.place_keys, keys).clip(max=len(self.place_keys) - 1)
        is_there = self.place_keys[places] == keys
        places[~is_there] = len(self.place_keys)
        return places, is_there

    def at(self, codes: Ints, product_ids: Ints, rows: Ints) -> Cells:
        """Return what the group says of each product at each row."""
        found = self.general_cells.take(codes * self.width + rows)
        for spread in self.spreads:
            places = spread.place_of.take(product_ids, mode="clip") * spread.rows[rows]
            found = _merged_columns(self.combine, found, spread.cells.take(places))
        if len(self.place_keys):
            places = self._places(product_ids, rows)[0]
            found = _merged_columns(self.combine, found, self.place_cells.take(places))
        return found

    def one(self, code: int, product_id: int, row: int) -> Cell:
        """Return what the group says of one product at one row."""
        found = self.general[code][row]
        for spread in self.spreads:
            cell = spread.by_product.get(product_id)
            if cell is not None and spread.rows[row]:
                found = merged(self.combine, found, cell)
        cell = self.by_place.get((product_id, row))
        return found if cell is None else merged(self.combine, found, cell)

    def amount(self, cell: Cell, on_hand: int) -> int:
        """Return what a cell leaves of a quantity on hand; a share is rounded up."""
        share = -(-max(on_hand, 0) * cell.percent_bp // WHOLE_BP)
        return cell.qty + share if self.combine == "sum" else max(cell.qty, share)

    def amounts(self, cells: Cells, on_hands: Ints | None) -> Int64s:
        """Return what cells leave of quantities on hand, as `amount`."""
        if on_hands is None:
            return cells.qty
        there = np.maximum(on_hands, 0).astype(np.int64)
        shares = -(-there * cells.percent_bp // WHOLE_BP)
        return cells.qty + shares if self.combine == "sum" else np.maximum(cells.qty, shares)


class Floors(msgspec.Struct, frozen=True):
    """A channel's buffers and exclusions at an instant: what each position has to keep."""

    groups: Sequence[GroupFloors]
    membership: Membership
    needs_on_hand: bool  # a share is kept somewhere

    @property
    def is_zero(self) -> bool:
        """Tell that nothing has to be left anywhere."""
        return not self.groups

    def at(self, product_ids: Ints, rows: Ints, on_hands: Ints | None = None) -> Int64s:
        """Return what must be left of each product at each location row (-1: any answer)."""
        total = np.zeros(len(product_ids), dtype=np.int64)
        named = self.membership.of(product_ids) if len(self.membership.sets) > 1 else None
        for group in self.groups:
            if group.is_plain:
                total += group.units(named, product_ids, rows)
            else:
                codes = np.zeros(1, dtype=np.int32) if named is None else named
                total += group.amounts(group.at(codes, product_ids, rows), on_hands)
        return np.minimum(total, BLOCKED, out=total)

    def one(self, product_id: int, row: int, on_hand: int = 0) -> int:
        """Return what must be left of one product at one location row."""
        code = self.membership.of_one(product_id)
        total = sum(
            group.amount(group.one(code, product_id, row), on_hand) for group in self.groups
        )
        return min(total, BLOCKED)


class Setting(msgspec.Struct, frozen=True):
    """Where and when controls are resolved: the channel's path, from all of them down to itself."""

    path: Sequence[int | None]
    locations: Locations
    membership: Membership
    at: datetime


def resolve(rules: Sequence[Rule], setting: Setting) -> Floors:
    """Resolve the buffers and exclusions that a channel meets at an instant."""
    by_group: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        if rule.channel_id not in setting.path:
            continue
        if rule.kind == "exclusion":
            by_group.setdefault(("", "max"), []).append(rule)
        elif rule.kind in {"buffer", "safety_stock"}:
            by_group.setdefault((rule.group, rule.combine), []).append(rule)
    groups = [_group(key[1], mine, setting) for key, mine in sorted(by_group.items())]
    said = [group for group in groups if _says_something(group)]
    needs = any(_has_shares(group) for group in said)
    return Floors(said, setting.membership, needs)


def _columns(group: GroupFloors) -> list[Cells]:
    return [group.general_cells, group.place_cells, *(spread.cells for spread in group.spreads)]


def _says_something(group: GroupFloors) -> bool:
    return any(cells.qty.any() or cells.percent_bp.any() for cells in _columns(group))


def _has_shares(group: GroupFloors) -> bool:
    return any(cells.percent_bp.any() for cells in _columns(group))


def rank_of(rule: Rule, path: Sequence[int | None]) -> int:
    """Return how strongly a control speaks in a group that takes the first."""
    product = _PRODUCT_RANKS - 1 if rule.product_id is not None else 0
    if rule.product_id is None and rule.category is not None:
        product = min(max(rule.depth, 1), _PRODUCT_RANKS - 2)
    narrow = (rule.priority * _PRODUCT_RANKS + product) * 8 + place_rank(rule)
    return narrow * 1_000_000 + path.index(rule.channel_id)


def cell_of(rule: Rule, path: Sequence[int | None]) -> Cell:
    """Return what one control says by itself."""
    qty = BLOCKED if rule.kind == "exclusion" else rule.qty
    return Cell(rank_of(rule, path), qty, rule.percent_bp)


def _group(combine: str, rules: Sequence[Rule], setting: Setting) -> GroupFloors:
    width = len(setting.locations.location_ids) + 1  # the last row is no location's
    general = [[NOTHING] * width for _ in setting.membership.sets]
    spreads: dict[bytes, tuple[Bools, dict[int, Cell]]] = {}
    places: dict[tuple[int, int], Cell] = {}
    masks: dict[tuple[object, ...], Bools] = {}
    for rule in rules:
        cell = cell_of(rule, setting.path)
        rows = _rows(rule, setting, masks)
        if rule.product_id is None:
            for code in setting.membership.codes_in(rule.category):
                line = general[code]
                for row in rows.nonzero()[0].tolist():
                    line[row] = merged(combine, line[row], cell)
        elif rule.location_id is not None:
            for row in rows.nonzero()[0].tolist():
                _merge_into(places, (rule.product_id, row), cell, combine)
        elif rows.any():
            _, by_product = spreads.setdefault(rows.tobytes(), (rows, {}))
            _merge_into(by_product, rule.product_id, cell, combine)
    return _resolved(combine, general, list(spreads.values()), places)


def _rows(rule: Rule, setting: Setting, masks: dict[tuple[object, ...], Bools]) -> Bools:
    """Return where a control holds; many controls hold at the same places."""
    key = (rule.location_id, rule.location_kind, rule.network_id, rule.active_from)
    key += (rule.active_until, rule.daily_from, rule.daily_until)
    rows = masks.get(key)
    if rows is None:
        rows = masks[key] = rows_of_rule(rule, setting.locations, setting.at)
    return rows


def _merge_into(cells: dict[K, Cell], key: K, cell: Cell, combine: str) -> None:
    there = cells.get(key)
    cells[key] = cell if there is None else merged(combine, there, cell)


def _resolved(
    combine: str,
    general: Sequence[Sequence[Cell]],
    spreads: Sequence[tuple[Bools, Mapping[int, Cell]]],
    places: Mapping[tuple[int, int], Cell],
) -> GroupFloors:
    keys = np.array([(product << 32) | row for product, row in places], dtype=np.int64)
    order = keys.argsort()
    listed = list(places.values())
    spreads = sorted(spreads, key=lambda one: min(one[1].values()))
    has_shares = any(
        cell.percent_bp
        for cells in (*general, *(one[1].values() for one in spreads), listed)
        for cell in cells
    )
    layers = [(rows, list(by_product.values())) for rows, by_product in spreads]
    everywhere = np.ones(len(general[0]), dtype=np.bool_)
    said = [cell for line in general for cell in line if cell != NOTHING]
    layers = [(everywhere, said), *layers, (everywhere, listed)]
    return GroupFloors(
        combine=combine,
        general=general,
        general_cells=_cells([cell for line in general for cell in line]),
        width=len(general[0]),
        spreads=[_spread(rows, by_product) for rows, by_product in spreads],
        by_place=places,
        place_keys=keys[order],
        place_cells=_cells([*(listed[place] for place in order.tolist()), NOTHING]),
        is_plain=not has_shares and (combine != "first" or _ascend(layers)),
    )


def _ascend(layers: Sequence[tuple[Bools, Sequence[Cell]]]) -> bool:
    """Tell whether each layer is stronger than every earlier one that it meets."""
    seen: list[tuple[Bools, int]] = []
    for rows, cells in layers:
        if not cells:
            continue
        weakest = min(cell.rank for cell in cells)
        if any(strongest >= weakest and (rows & there).any() for there, strongest in seen):
            return False
        seen.append((rows, max(cell.rank for cell in cells)))
    return True


def _spread(rows: Bools, by_product: Mapping[int, Cell]) -> Spread:
    place_of = np.zeros(max(by_product) + 2, dtype=np.int32)
    place_of[list(by_product)] = np.arange(1, len(by_product) + 1)
    return Spread(rows, by_product, place_of, _cells([NOTHING, *by_product.values()]))


def _cells(cells: Sequence[Cell]) -> Cells:
    table = np.array(cells, dtype=np.int64).reshape(len(cells), 3)
    return Cells(*np.ascontiguousarray(table.T))
