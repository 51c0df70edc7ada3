"""Which products of a virtual catalogue caps and ring-fences concern. Pure.

A cap over all places bounds a product's total: a column is enough (`ceiling`). Other caps and all
ring-fences need the product's places: such products are `special`, and answered from positions.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.categories import Membership
from penstock.availability.controls import Controls, Moment
from penstock.availability.limits import ALL, Uses
from penstock.availability.neighbours import Bools
from penstock.availability.product_map import Ints
from penstock.availability.rule import Rule


class Cap(NamedTuple):
    """A cap over all places together, and the products it concerns (the last: all others)."""

    control_id: int
    qty: int
    concerns: Bools


class Limited(msgspec.Struct, frozen=True):
    """What caps and ring-fences of a channel are about."""

    caps: list[Cap]
    special_products: Bools  # by product id; the last: all others

    def ceiling(self, product_ids: Ints, uses: Uses) -> NDArray[np.int64]:
        """Return what caps leave of each product, over all places together."""
        most = np.full(len(product_ids), ALL, dtype=np.int64)
        for cap in self.caps:
            used = uses.column(cap.control_id).take(product_ids, mode="clip")
            left = np.maximum(cap.qty - used, 0)
            concerned = cap.concerns.take(product_ids, mode="clip")
            most = np.where(concerned, np.minimum(most, left), most)
        return most

    def special(self, product_ids: Ints) -> Bools:
        """Tell which products have to be answered from their places."""
        found = self.special_products.take(product_ids, mode="clip")
        return found & (np.asarray(product_ids) > 0)


def limits_for(controls: Controls, moment: Moment, channel_id: int) -> Limited | None:
    """Return what caps and ring-fences of a channel are about now; None: it meets none."""
    path = controls.channels.path(channel_id)
    caps: list[Cap] = []
    special = np.zeros(1, dtype=np.bool_)
    for rule in controls.counters.rules:
        if rule.channel_id is not None and rule.channel_id not in path:
            continue
        counted = moment.counted_by(rule, is_mine=False)
        if counted is None:
            continue
        concerns = _concerns(rule, controls.membership)
        if counted.is_fence or counted.per_location or counted.location_ids is not None:
            special = _either(special, concerns)
        else:
            caps.append(Cap(rule.id, rule.qty, concerns))
    if not caps and not special.any():
        return None
    return Limited(caps, special)


def _concerns(rule: Rule, membership: Membership) -> Bools:
    if rule.product_id is not None:
        concerns = np.zeros(rule.product_id + 2, dtype=np.bool_)
        concerns[rule.product_id] = True
        return concerns
    return np.isin(membership.codes, membership.codes_in(rule.category))


def _either(one: Bools, other: Bools) -> Bools:
    ids = np.arange(max(len(one), len(other)))
    return one.take(ids, mode="clip") | other.take(ids, mode="clip")
