"""One control as processes hold it: its scope, its amount, when it holds, and for whom. Pure.

Owns which locations a control is about at an instant: location, kind, network, and the hours of
the day in each location's own time zone. Hours that end before they begin pass midnight.
"""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from penstock.availability.neighbours import Bools, Buyer, Locations

DEFAULT_GROUP = "default"
FLOOR_KINDS = ("buffer", "safety_stock")
COUNTED_KINDS = ("cap", "ring_fence")
KINDS = (*FLOOR_KINDS, "exclusion", *COUNTED_KINDS)
COMBINES = ("first", "sum", "max")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row of table `control`; None: whatever. Percent in hundredths, of what is on hand.

    `depth` is how deep its category lies in the tree: the deeper is the narrower.
    """

    channel_id: int | None = None
    product_id: int | None = None
    location_id: int | None = None
    location_kind: str | None = None
    network_id: int | None = None
    category: str | None = None
    depth: int = 0
    qty: int = 0
    percent_bp: int = 0
    kind: str = "buffer"
    group: str = DEFAULT_GROUP
    combine: str = "first"
    priority: int = 0
    active_from: datetime | None = None
    active_until: datetime | None = None
    daily_from: time | None = None
    daily_until: time | None = None
    per_location: bool = False
    kept_channels: tuple[int, ...] = ()
    kept_tiers: tuple[str, ...] = ()
    basket_min_minor: int | None = None
    basket_currency: str | None = None
    id: int = 0
    ref: str = ""

    @property
    def has_hours(self) -> bool:
        """Tell whether it holds at some hours of the day only."""
        return self.daily_from is not None or self.daily_until is not None

    @property
    def has_times(self) -> bool:
        """Tell whether it does not always hold."""
        has_dates = self.active_from is not None or self.active_until is not None
        return has_dates or self.has_hours

    @property
    def is_everywhere(self) -> bool:
        """Tell whether it names no place, and holds everywhere at once."""
        names_place = self.location_id is not None or self.location_kind is not None
        return not (names_place or self.network_id is not None or self.has_hours)


def holds_on(rule: Rule, at: datetime) -> bool:
    """Tell whether an instant is within a control's dates."""
    begun = rule.active_from is None or rule.active_from <= at
    return begun and (rule.active_until is None or at < rule.active_until)


def holds_in(rule: Rule, zone: str, at: datetime) -> bool:
    """Tell whether an instant is within a control's hours of the day in a time zone."""
    if not rule.has_hours:
        return True
    now = at.astimezone(ZoneInfo(zone)).time()
    first, last = rule.daily_from or time.min, rule.daily_until
    if last is None:
        return first <= now
    return first <= now < last if first <= last else now >= first or now < last


def rows_of_rule(rule: Rule, locations: Locations, at: datetime) -> Bools:
    """Tell by row where a control holds at an instant; a last False for row -1."""
    rows = np.zeros(len(locations.location_ids) + 1, dtype=np.bool_)
    if not holds_on(rule, at):
        return rows
    rows[:-1] = _placed(rule, locations)
    if rule.has_hours:
        open_in = {zone: holds_in(rule, zone, at) for zone in set(locations.time_zones)}
        rows[:-1] &= np.array([open_in[zone] for zone in locations.time_zones], dtype=np.bool_)
    return rows


def _placed(rule: Rule, locations: Locations) -> Bools:
    count = len(locations.location_ids)
    if rule.location_id is not None:
        rows = np.zeros(count, dtype=np.bool_)
        is_known = rule.location_id < len(locations.row_of)
        row = int(locations.row_of[rule.location_id]) if is_known else -1
        rows[[row] if row >= 0 else []] = True
        return rows
    rows = np.ones(count, dtype=np.bool_)
    if rule.location_kind is not None:
        rows &= np.array([kind == rule.location_kind for kind in locations.kinds], dtype=np.bool_)
    if rule.network_id is not None:
        rows &= locations.in_network(rule.network_id)
    return rows


def is_entitled(rule: Rule, buyer: Buyer, channel_path: tuple[int, ...]) -> bool:
    """Tell whether a ring-fence keeps its units for a buyer: every condition it names is met."""
    if rule.kept_channels and not set(rule.kept_channels) & set(channel_path):
        return False
    if rule.kept_tiers and buyer.tier not in rule.kept_tiers:
        return False
    if rule.basket_min_minor is None:
        return True
    same_currency = buyer.currency == rule.basket_currency
    return same_currency and buyer.basket_minor >= rule.basket_min_minor


def place_rank(rule: Rule) -> int:
    """Return how narrow a control's place is: location, network and kind, network, kind, all."""
    if rule.location_id is not None:
        return 4
    return 2 * (rule.network_id is not None) + (rule.location_kind is not None)
