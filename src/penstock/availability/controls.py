"""Controls: what lowers a channel's promises, and which pools are for sale at all.

Owns the meaning of table `control` as a process holds it: buffers and exclusions are floors
(`floors.py`), caps and ring-fences are counted (`limits.py`, and `inventory/counting.py`, which
judges). What holds at an instant is a `Moment`; it is the same one until a control with dates or
hours begins or ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.categories import SQL, Membership, depths_of, products_in
from penstock.availability.floors import Floors, Setting, resolve
from penstock.availability.neighbours import Bools, Buyer, ChannelTree, Locations
from penstock.availability.product_map import Ints
from penstock.availability.rule import (
    COUNTED_KINDS,
    Rule,
    holds_in,
    holds_on,
    is_entitled,
    rows_of_rule,
)
from penstock.db import Tx
from penstock.inventory.model import Counted, UseKey

_MAX_MOMENTS = 64
_MAX_RESOLVED = 1_000


class Counters:
    """Caps and ring-fences of an account, by what they are about."""

    def __init__(self, rules: Sequence[Rule], membership: Membership) -> None:
        self.by_product: dict[int, list[Rule]] = {}
        self.by_code: dict[int, list[Rule]] = {}
        self.rules = [rule for rule in rules if rule.kind in COUNTED_KINDS]
        for rule in self.rules:
            if rule.product_id is not None:
                self.by_product.setdefault(rule.product_id, []).append(rule)
                continue
            for code in membership.codes_in(rule.category):
                self.by_code.setdefault(code, []).append(rule)


class Moment:
    """All controls while the same ones hold, resolved channel by channel at first use."""

    def __init__(self, controls: Controls, at: datetime) -> None:
        self._controls = controls
        self.at = at
        self._floors: dict[int, Floors] = {}
        self._counted: dict[tuple[int, bool], Counted | None] = {}
        self.has_counted = bool(controls.counters.rules)

    def floors(self, channel_id: int) -> Floors:
        """Return the resolved buffers and exclusions of a channel."""
        floors = self._floors.get(channel_id)
        if floors is None:
            controls = self._controls
            path = [None, *reversed(controls.channels.path(channel_id))]
            setting = Setting(path, controls.locations, controls.membership, self.at)
            floors = self._floors[channel_id] = controls.resolved(channel_id, setting)
        return floors

    def floor(
        self, channel_id: int, product_ids: Ints, rows: Ints, on_hands: Ints | None = None
    ) -> NDArray[np.int64]:
        """Return what a channel must leave of each product at each location row."""
        floors = self.floors(channel_id)
        if floors.is_zero:
            return np.zeros(len(product_ids), dtype=np.int64)
        return floors.at(product_ids, rows, on_hands)

    def floor_of(self, channel_id: int, product_id: int, location_id: int, on_hand: int = 0) -> int:
        """Return what a channel must leave of one product at one location."""
        floors = self.floors(channel_id)
        row_of = self._controls.locations.row_of
        if floors.is_zero or location_id >= len(row_of):
            return 0
        return floors.one(product_id, int(row_of[location_id]), on_hand)

    def counting(self, buyer: Buyer, product_id: int) -> list[Counted]:
        """Return the caps and ring-fences that concern a buyer's product now."""
        controls = self._controls
        counters = controls.counters
        path = tuple(controls.channels.path(buyer.channel_id))
        code = controls.membership.of_one(product_id)
        found: list[Counted] = []
        mine = counters.by_product.get(product_id, ())
        for rule in chain(mine, counters.by_code.get(code, ())):
            if rule.channel_id is None or rule.channel_id in path:
                one = self.counted_by(rule, is_mine=_is_mine(rule, buyer, path))
                if one is not None:
                    found.append(one)
        return found

    def counted_by(self, rule: Rule, *, is_mine: bool) -> Counted | None:
        """Return a cap or ring-fence as it holds now, for a buyer who is entitled or not."""
        key = (rule.id, is_mine)
        if key not in self._counted:
            self._counted[key] = self._count(rule, is_mine=is_mine)
        return self._counted[key]

    def _count(self, rule: Rule, *, is_mine: bool) -> Counted | None:
        """Return a counted control as it holds now; None where it does not hold at all."""
        location_ids: frozenset[int] | None = None
        if not (rule.is_everywhere and holds_on(rule, self.at)):
            rows = rows_of_rule(rule, self._controls.locations, self.at)[:-1]
            location_ids = frozenset(self._controls.locations.location_ids[rows].tolist())
            if not location_ids:
                return None
        is_fence = rule.kind == "ring_fence"
        scope = (rule.per_location, location_ids)
        return Counted(rule.id, rule.ref, rule.qty, is_fence, is_mine, *scope)


def _is_mine(rule: Rule, buyer: Buyer, path: tuple[int, ...]) -> bool:
    return rule.kind == "ring_fence" and is_entitled(rule, buyer, path)


class Controls:
    """Every control of an account, as loaded."""

    def __init__(
        self,
        rules: Sequence[Rule],
        pools_for_sale: Iterable[int],
        channels: ChannelTree,
        locations: Locations,
        members: Mapping[str, Ints] | None = None,
    ) -> None:
        self.rules = rules
        self.channels = channels
        self.locations = locations
        self.membership = Membership(members or {})
        self.counters = Counters(rules, self.membership)
        self._timed = [rule for rule in rules if rule.has_times]
        self._zones = sorted(set(locations.time_zones)) if self._timed else []
        self._resolved: dict[tuple[int | bool, ...], Floors] = {}
        self._moments: dict[tuple[bool, ...], Moment] = {}
        self._latest: tuple[datetime | None, Moment] | None = None
        pools = sorted(pools_for_sale)
        self.is_for_sale: Bools = np.zeros(max(pools, default=0) + 2, dtype=np.bool_)
        self.is_for_sale[pools] = True

    def at(self, instant: datetime) -> Moment:
        """Return what holds at an instant: the same object as long as the same controls do."""
        second = instant.replace(microsecond=0) if self._timed else None
        if self._latest is None or self._latest[0] != second:
            self._latest = (second, self._moment(instant))
        return self._latest[1]

    def resolved(self, channel_id: int, setting: Setting) -> Floors:
        """Return a channel's floors: the same object while what concerns them holds alike."""
        mine = [one for one in self._timed if one.channel_id in setting.path]
        mine = [one for one in mine if one.kind not in COUNTED_KINDS]
        key = (channel_id, *(flag for one in mine for flag in self._flags(one, setting.at)))
        floors = self._resolved.get(key)
        if floors is None:
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved.clear()
            floors = self._resolved[key] = resolve(self.rules, setting)
        return floors

    def _flags(self, rule: Rule, at: datetime) -> list[bool]:
        """Tell whether a control holds at an instant, and in which time zones."""
        return [
            holds_on(rule, at),
            *(holds_in(rule, zone, at) for zone in self._zones if rule.has_hours),
        ]

    def state(self, instant: datetime) -> tuple[bool, ...]:
        """Return which of the controls that do not always hold do at an instant, and where."""
        return tuple(flag for rule in self._timed for flag in self._flags(rule, instant))

    def _moment(self, instant: datetime) -> Moment:
        state = self.state(instant)
        moment = self._moments.get(state)
        if moment is None:
            if len(self._moments) >= _MAX_MOMENTS:
                self._moments.clear()
            moment = self._moments[state] = Moment(self, instant)
        return moment

    def sells(self, pool_ids: Ints) -> Bools:
        """Tell for each pool whether its stock may be sold; a pool not loaded yet may not."""
        return self.is_for_sale.take(pool_ids, mode="clip")

    def sells_one(self, pool_id: int) -> bool:
        """Tell whether a pool's stock may be sold."""
        return pool_id < len(self.is_for_sale) and bool(self.is_for_sale[pool_id])


async def load_controls(tx: Tx, channels: ChannelTree, locations: Locations) -> Controls:
    """Load every control and the pools for sale; anew when `control`, `channel` or `network` is."""
    rules = [_rule(row) for row in await tx.fetch(SQL.controls)]
    pools = [row[0] for row in await tx.fetch(SQL.pools_for_sale)]
    categories = sorted({rule.category for rule in rules if rule.category is not None})
    depths = await depths_of(tx, categories)
    rules = [
        msgspec.structs.replace(rule, depth=depths.get(rule.category or "", 0)) for rule in rules
    ]
    return Controls(rules, pools, channels, locations, await products_in(tx, categories))


async def read_uses(tx: Tx) -> dict[UseKey, int]:
    """Read what is used of every control that counts."""
    return {(row[0], row[1], row[2]): row[3] for row in await tx.fetch(SQL.uses)}


_ORDER = (
    *("channel_id", "product_id", "location_id", "location_kind", "network_id", "category"),
    *("qty", "percent_bp", "kind", "group", "combine", "priority", "active_from", "active_until"),
    *("daily_from", "daily_until", "per_location", "kept_channels", "kept_tiers"),
    *("basket_min_minor", "basket_currency", "id", "ref"),
)


def _rule(row: Sequence[object]) -> Rule:
    fields = dict(zip(_ORDER, row, strict=True))
    for name in ("kept_channels", "kept_tiers"):
        array = fields[name]
        fields[name] = tuple(np.asarray(array).tolist()) if array is not None else ()
    return Rule(**fields)  # pyright: ignore[reportArgumentType] (columns are typed in SQL)
