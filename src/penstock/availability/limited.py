"""Which products of a virtual catalogue caps and ring-fences concern. Pure.

A cap over all places bounds a product's total: a few caps of many products by a column, those of
single SKUs one by one. Other caps and all ring-fences need the product's places: such products are
`special`, and answered from positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.controls import Controls, Moment
from penstock.availability.limits import ALL, Uses
from penstock.availability.neighbours import Bools
from penstock.availability.product_map import Ints
from penstock.inventory.model import Counted


class Cap(NamedTuple):
    """A cap of many products over all places, and which it concerns (None: every one)."""

    control_id: int
    qty: int
    concerns: Bools | None


class Limited(msgspec.Struct, frozen=True):
    """What caps and ring-fences of a channel are about; columns end with what others have."""

    caps: Sequence[Cap]
    sku_caps: Mapping[int, Sequence[Counted]]
    is_capped: Bools | None
    is_special: Bools | None

    def ceiling(self, product_ids: Ints, uses: Uses) -> NDArray[np.int64] | None:
        """Return what caps leave of each product, over all places together; None: all of it."""
        most: NDArray[np.int64] | None = None
        for cap in self.caps:
            used = uses.column(cap.control_id).take(product_ids, mode="clip")
            left = np.maximum(cap.qty - used.astype(np.int64), 0)
            if cap.concerns is not None:
                left = np.where(cap.concerns.take(product_ids, mode="clip"), left, ALL)
            most = left if most is None else np.minimum(most, left)
        for place in _places(self.is_capped, product_ids):
            if most is None:
                most = np.full(len(product_ids), ALL, dtype=np.int64)
            product_id = int(product_ids[place])
            for one in self.sku_caps[product_id]:
                left_here = one.left(uses.get(one.key(product_id, 0)), 0)
                most[place] = min(most[place], left_here)
        return most

    def special(self, product_ids: Ints) -> list[int]:
        """Return the places, among the products, of those answered from their positions."""
        return _places(self.is_special, product_ids)


def _places(column: Bools | None, product_ids: Ints) -> list[int]:
    if column is None:
        return []
    found = column.take(product_ids, mode="clip")
    if b"\1" not in found.tobytes():  # most often so
        return []
    return (found & (np.asarray(product_ids) > 0)).nonzero()[0].tolist()


def limits_for(controls: Controls, moment: Moment, channel_id: int) -> Limited | None:
    """Return what caps and ring-fences of a channel are about now; None: it meets none."""
    path = controls.channels.path(channel_id)
    membership = controls.membership
    caps: list[Cap] = []
    sku_caps: dict[int, list[Counted]] = {}
    special_skus: set[int] = set()
    special_codes: set[int] = set()
    for rule in controls.counters.rules:
        if rule.channel_id is not None and rule.channel_id not in path:
            continue
        counted = moment.counted_by(rule, is_mine=False)
        if counted is None:
            continue
        needs_places = counted.is_fence or counted.per_location or counted.location_ids is not None
        if rule.product_id is not None:
            special_skus |= {rule.product_id} if needs_places else set()
            if not needs_places:
                sku_caps.setdefault(rule.product_id, []).append(counted)
        elif needs_places:
            special_codes.update(membership.codes_in(rule.category))
        else:
            named = np.isin(membership.codes, membership.codes_in(rule.category))
            caps.append(Cap(rule.id, rule.qty, None if rule.category is None else named))
    of_codes = np.isin(membership.codes, list(special_codes))
    is_special = _column(special_skus, of_codes)
    is_capped = _column(sku_caps, np.zeros(1, dtype=np.bool_))
    if not caps and is_capped is None and is_special is None:
        return None
    return Limited(caps, sku_caps, is_capped, is_special)


def _column(product_ids: Iterable[int], base: Bools) -> Bools | None:
    """Return a column with the products marked beside those of `base`; None: nothing is."""
    ids = sorted(product_ids)
    column = base.take(np.arange(max(len(base), (ids[-1] if ids else 0) + 2)), mode="clip")
    column[ids] = True
    return column if column.any() else None
