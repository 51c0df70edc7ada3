"""Controls: the buffers that lower what a channel may promise, and which pools are for sale at all.

Owns the meaning of table `control`. Of all rules that fit, the narrowest place wins: SKU at
location, SKU at a kind of location, SKU, location, kind of location, everything; among those the
channel's own rule beats its parent's, and that the general one; of equals the larger quantity
stands.

Invariant: `floor` and `floor_of` agree for every channel, product and location.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.neighbours import Bools, ChannelTree, Locations
from penstock.availability.product_map import Ints
from penstock.db import Queries, Tx

K = TypeVar("K")

SQL = Queries("penstock.availability", "availability.sql")


class Rule(msgspec.Struct, frozen=True):
    """One row of table `control`; None: whatever."""

    channel_id: int | None = None
    product_id: int | None = None
    location_id: int | None = None
    location_kind: str | None = None
    qty: int = 0


class Floors(msgspec.Struct, frozen=True):
    """A channel's rules, resolved: what a row must keep, unless its product says otherwise."""

    by_row: NDArray[np.int32]
    by_product: Mapping[int, int]
    by_place: Mapping[tuple[int, int], int]  # (product id, row)
    product_column: NDArray[np.int32]  # by product id, -1: no rule; ends with -1
    place_keys: NDArray[np.int64]  # product id << 32 | row, sorted
    place_qtys: NDArray[np.int32]
    is_zero: bool

    def at(self, product_ids: Ints, location_rows: Ints) -> NDArray[np.int32]:
        """Return what must be left of each product at each location row (-1: any answer)."""
        floors = self.by_row[location_rows]
        if self.by_product:
            own = self.product_column.take(product_ids, mode="clip")
            floors = np.where(own >= 0, own, floors)
        if len(self.place_keys):
            keys = (np.asarray(product_ids, dtype=np.int64) << 32) | location_rows
            places = np.searchsorted(self.place_keys, keys).clip(max=len(self.place_keys) - 1)
            floors = np.where(self.place_keys[places] == keys, self.place_qtys[places], floors)
        return floors

    def one(self, product_id: int, row: int) -> int:
        """Return what must be left of one product at one location row."""
        qty = self.by_place.get((product_id, row))
        if qty is None:
            qty = self.by_product.get(product_id)
        return int(self.by_row[row]) if qty is None else qty


class Controls:
    """All rules of an account, resolved channel by channel at first use."""

    def __init__(
        self,
        rules: Sequence[Rule],
        pools_for_sale: Iterable[int],
        channels: ChannelTree,
        locations: Locations,
    ) -> None:
        self._rules = rules
        self._channels = channels
        self._locations = locations
        self._floors: dict[int, Floors] = {}
        pools = sorted(pools_for_sale)
        self.is_for_sale: Bools = np.zeros(max(pools, default=0) + 2, dtype=np.bool_)
        self.is_for_sale[pools] = True

    def floors(self, channel_id: int) -> Floors:
        """Return the resolved rules of a channel."""
        floors = self._floors.get(channel_id)
        if floors is None:
            path = [None, *reversed(self._channels.path(channel_id))]
            floors = self._floors[channel_id] = _resolve(self._rules, path, self._locations)
        return floors

    def floor(self, channel_id: int, product_ids: Ints, location_rows: Ints) -> NDArray[np.int32]:
        """Return what a channel must leave of each product at each location row."""
        floors = self.floors(channel_id)
        if floors.is_zero:
            return np.zeros(len(product_ids), dtype=np.int32)
        return floors.at(product_ids, location_rows)

    def floor_of(self, channel_id: int, product_id: int, location_id: int) -> int:
        """Return what a channel must leave of one product at one location."""
        floors = self.floors(channel_id)
        if floors.is_zero or location_id >= len(self._locations.row_of):
            return 0
        return floors.one(product_id, int(self._locations.row_of[location_id]))

    def sells(self, pool_ids: Ints) -> Bools:
        """Tell for each pool whether its stock may be sold; a pool not loaded yet may not."""
        return self.is_for_sale.take(pool_ids, mode="clip")


async def load_controls(tx: Tx, channels: ChannelTree, locations: Locations) -> Controls:
    """Load every control and the pools for sale; anew when `control`, `channel` or `network` is."""
    rules = [Rule(*row) for row in await tx.fetch(SQL.controls)]
    pools = [row[0] for row in await tx.fetch(SQL.pools_for_sale)]
    return Controls(rules, pools, channels, locations)


def _resolve(rules: Sequence[Rule], path: Sequence[int | None], locations: Locations) -> Floors:
    by_row = _by_row(rules, path, locations)
    places = _by_place(rules, path, locations)
    products: dict[int, int] = {}
    for channel_id in path:
        products |= _largest(
            (rule.product_id, rule.qty)
            for rule in rules
            if rule.channel_id == channel_id
            and rule.product_id is not None
            and rule.location_id is None
            and rule.location_kind is None
        )
    column = np.full(max(products, default=-1) + 2, -1, dtype=np.int32)
    column[list(products)] = list(products.values())
    keys = np.array([(product << 32) | row for product, row in places], dtype=np.int64)
    order = keys.argsort()
    return Floors(
        by_row=by_row,
        by_product=products,
        by_place=places,
        product_column=column,
        place_keys=keys[order],
        place_qtys=np.array(list(places.values()), dtype=np.int32)[order],
        is_zero=not (products or places or by_row.any()),
    )


def _by_row(
    rules: Sequence[Rule], path: Sequence[int | None], locations: Locations
) -> NDArray[np.int32]:
    """Resolve the rules that name no product, from everything down to one location."""
    # One row more than there are locations, so that row -1 is no location's.
    floors = np.zeros(len(locations.location_ids) + 1, dtype=np.int32)
    general = [rule for rule in rules if rule.product_id is None]
    for is_scope in (_is_everything, _is_kind, _is_location):
        for channel_id in path:
            scoped = [r for r in general if r.channel_id == channel_id and is_scope(r)]
            floors_here = _largest((row, r.qty) for r in scoped for row in _rows(r, locations))
            floors[list(floors_here)] = list(floors_here.values())
    return floors


def _by_place(
    rules: Sequence[Rule], path: Sequence[int | None], locations: Locations
) -> dict[tuple[int, int], int]:
    """Resolve the rules that name a product and a place, kinds of location before locations."""
    places: dict[tuple[int, int], int] = {}
    placed = [r for r in rules if r.product_id is not None and not _is_everything(r)]
    for is_scope in (_is_kind, _is_location):
        for channel_id in path:
            scoped = [r for r in placed if r.channel_id == channel_id and is_scope(r)]
            places |= _largest(
                ((r.product_id or 0, row), r.qty) for r in scoped for row in _rows(r, locations)
            )
    return places


def _is_everything(rule: Rule) -> bool:
    return rule.location_id is None and rule.location_kind is None


def _is_kind(rule: Rule) -> bool:
    return rule.location_id is None and rule.location_kind is not None


def _is_location(rule: Rule) -> bool:
    return rule.location_id is not None


def _rows(rule: Rule, locations: Locations) -> Sequence[int]:
    """Return the location rows a rule is about."""
    if rule.location_id is not None:
        is_known = rule.location_id < len(locations.row_of)
        row = int(locations.row_of[rule.location_id]) if is_known else -1
        return [row] if row >= 0 else []
    if rule.location_kind is not None:
        return [row for row, kind in enumerate(locations.kinds) if kind == rule.location_kind]
    return range(len(locations.location_ids))


def _largest(pairs: Iterable[tuple[K, int]]) -> dict[K, int]:
    largest: dict[K, int] = {}
    for key, qty in pairs:
        largest[key] = max(qty, largest.get(key, 0))
    return largest
