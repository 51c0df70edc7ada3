"""What caps and ring-fences leave to be proposed: the view of promises and of sourcing. Pure.

Owns what this process believes is used of them (`Uses`), late by a second at most, and how stock by
place is trimmed so that what a buyer may take together is within every limit: the narrowest limit
first, and of its places the better ones keep theirs. The database judges (`inventory/counting.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.neighbours import Bools
from penstock.availability.product_map import Ints
from penstock.inventory.model import Counted, UseKey

Int64s = NDArray[np.int64]
ALL = 1 << 62


class Uses:
    """Units used of caps and ring-fences, by count; `products` of a control, as a column."""

    def __init__(self) -> None:
        self._used: dict[UseKey, int] = {}
        self._columns: dict[int, NDArray[np.int32]] = {}

    def get(self, key: UseKey) -> int:
        """Return what is used of a count."""
        return self._used.get(key, 0)

    def update(self, used: Mapping[UseKey, int]) -> None:
        """Take what was counted."""
        for key, qty in used.items():
            before = self._used.get(key, 0)
            if qty != before:
                self._used[key] = qty
                self._add(key, qty - before)

    def replace(self, used: Mapping[UseKey, int]) -> None:
        """Take all counts there are; those that are not named are 0."""
        gone = dict.fromkeys(self._used.keys() - used.keys(), 0)
        self.update({**gone, **used})

    def column(self, control_id: int) -> NDArray[np.int32]:
        """Return what is used of a control by product id, over all places; ends with 0."""
        column = self._columns.get(control_id)
        return _ZERO if column is None else column

    def _add(self, key: UseKey, qty: int) -> None:
        control_id, product_id, _ = key
        column = self.column(control_id)
        if product_id >= len(column) - 1:
            grown = np.zeros(product_id + product_id // 8 + 64, dtype=np.int32)
            grown[: len(column)] = column
            column = self._columns[control_id] = grown
        column[product_id] += qty


_ZERO = np.zeros(1, dtype=np.int32)


class Places(msgspec.Struct, frozen=True):
    """Where a product is: location ids, units by place (floors left), which may serve, how near.

    `units` counts places that do not serve too: what is kept for others may lie there.
    """

    location_ids: Ints
    units: Int64s
    may_serve: Bools
    nearness: NDArray[np.float64]


class Limit(msgspec.Struct, frozen=True):
    """A bound on what may be taken at some places together, and the control that sets it."""

    ref: str
    at: Bools
    left: int


def limits_of(
    counted: Sequence[Counted], product_id: int, places: Places, used: Callable[[UseKey], int]
) -> list[Limit]:
    """Return the limits on a product's places, the narrowest first."""
    limits: list[Limit] = []
    ids = places.location_ids
    for one in counted:
        if one.is_entitled:
            continue
        where = np.ones(len(ids), dtype=np.bool_)
        if one.location_ids is not None:
            where = np.isin(ids, list(one.location_ids))
        masks = [where]
        if one.per_location:
            masks = [where & (ids == location_id) for location_id in np.unique(ids[where])]
        for mask in masks:
            if mask.any():
                key = one.key(product_id, int(ids[mask][0]))
                there = int(places.units[mask].sum())
                limits.append(Limit(one.ref, mask, one.left(used(key), there)))
    return sorted(limits, key=lambda limit: int(limit.at.sum()))


def trimmed(places: Places, limits: Sequence[Limit], wanted: int = ALL) -> Int64s:
    """Return the units by place of which a buyer may take up to `wanted`, within every limit."""
    units = np.where(places.may_serve, places.units, 0)
    for limit in limits:
        if limit.left >= wanted or int(units[limit.at].sum()) <= limit.left:
            continue
        inside = limit.at.nonzero()[0]
        order = inside[np.argsort(places.nearness[inside], kind="stable")]
        before = np.cumsum(units[order]) - units[order]
        units[order] = np.clip(limit.left - before, 0, units[order])
    return units


def alone(places: Places, limits: Sequence[Limit]) -> Int64s:
    """Return what a buyer may take at each place, nothing elsewhere."""
    units = np.where(places.may_serve, places.units, 0)
    for limit in limits:
        units[limit.at] = np.minimum(units[limit.at], limit.left)
    return units
