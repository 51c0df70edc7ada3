"""Why so much of a product may be promised, and not more: which controls lower it, by how much.

Works control by control, apart from the resolved floors that answers are given from; the amounts it
names add up to the difference between what is free and what may be promised. In a group that takes
the first or the largest, the winner lowers; in one that adds, each its part. What is not there
cannot be lowered: a control that finds nothing left is not named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from penstock.availability.atp import Availability, Guest, VirtualCatalogue
from penstock.availability.floors import WHOLE_BP, rank_of
from penstock.availability.limits import Limit, Places, trimmed
from penstock.availability.neighbours import Bools, rows_of
from penstock.availability.rule import COUNTED_KINDS, Rule, rows_of_rule


class Lowered(msgspec.Struct, frozen=True):
    """A control, by ref, and how many units it takes out of what may be promised."""

    control: str
    by: int


class LoweredAt(msgspec.Struct, frozen=True):
    """One location: what is free there (its pools together), what remains, and why.

    `confidence` is the chance that the last unit is really there, if anything was learnt of it.
    """

    location: str
    serves: bool
    free: int
    available: int
    lowered: list[Lowered]
    confidence: float | None = None


class Explained(msgspec.Struct, frozen=True):
    """A product in a virtual catalogue: what is free where it serves, what remains, and why."""

    free: int
    available: int
    lowered: list[Lowered]
    locations: list[LoweredAt]


class _Position(msgspec.Struct, frozen=True):
    """One position of the product: where, what is free of it, what floors leave, why."""

    row: int
    serves: bool
    free: int
    lowered: Mapping[str, int]
    confidence: float | None


def explain(
    availability: Availability,
    catalogue: VirtualCatalogue,
    product_id: int,
    guest: Guest | None = None,
) -> Explained:
    """Explain what a virtual catalogue may promise of one product, in total and per location."""
    ids, places, limits = catalogue.limited(product_id, guest)
    held, terms = catalogue.held(ids, with_on_hand=True), catalogue.terms
    rules = _floor_rules(availability, catalogue, product_id)
    path = [None, *reversed(terms.controls.channels.path(terms.channel_id))]
    sold = (np.maximum(held.net, 0) * terms.controls.sells(held.pool_ids)).tolist()
    known = availability.confidence_at(ids)
    positions: list[_Position] = []
    for place, row in enumerate(rows_of(terms.row_of, held.location_ids).tolist()):
        mine = [rule for rule, where in rules if where[row]]
        lowered = _floors(mine, path, sold[place], int(held.on_hand[place]))
        serves = bool(places.may_serve[place])
        positions.append(_Position(row, serves, sold[place], lowered, known[place]))
    by_floors = _added(one.lowered for one in positions if one.serves)
    return Explained(
        free=sum(one.free for one in positions if one.serves),
        available=int(trimmed(places, limits).sum()),
        lowered=_listed(_added([by_floors, _by_limits(places, limits)])),
        locations=_locations(availability.locations.refs, positions, limits),
    )


def _floor_rules(
    availability: Availability, catalogue: VirtualCatalogue, product_id: int
) -> list[tuple[Rule, Bools]]:
    """Return the buffers and exclusions that the product meets now, with the rows they hold at."""
    terms = catalogue.terms
    path = terms.controls.channels.path(terms.channel_id)
    membership = terms.controls.membership
    code = membership.of_one(product_id)
    return [
        (rule, rows_of_rule(rule, availability.locations, terms.moment.at))
        for rule in terms.controls.rules
        if rule.kind not in COUNTED_KINDS
        and (rule.channel_id is None or rule.channel_id in path)
        and rule.product_id in {None, product_id}
        and (rule.product_id is not None or code in membership.codes_in(rule.category))
    ]


def _floors(
    rules: Sequence[Rule], path: Sequence[int | None], free: int, on_hand: int
) -> dict[str, int]:
    """Return what each control keeps of one position, exclusions first, then group by group."""
    lowered: dict[str, int] = {}
    for rule in rules:
        if rule.kind == "exclusion":
            return {rule.ref: free} if free else {}
    for group in sorted({rule.group for rule in rules}):
        for ref, qty in _group([r for r in rules if r.group == group], path, on_hand):
            taken = min(qty, free)
            free -= taken
            if taken:
                lowered[ref] = lowered.get(ref, 0) + taken
    return lowered


def _group(
    rules: Sequence[Rule], path: Sequence[int | None], on_hand: int
) -> list[tuple[str, int]]:
    combine = rules[0].combine
    if combine == "first":
        winner = max(rules, key=lambda rule: (rank_of(rule, path), _amount(rule, on_hand)))
        return [(winner.ref, _amount(winner, on_hand))]
    if combine == "max":
        winner = max(rules, key=lambda rule: _amount(rule, on_hand))
        return [(winner.ref, _amount(winner, on_hand))]
    left = sum(rule.qty for rule in rules)
    left += _share(sum(rule.percent_bp for rule in rules), on_hand)
    parts: list[tuple[str, int]] = []
    for rule in rules:
        part = min(_amount(rule, on_hand), left)
        left -= part
        parts.append((rule.ref, part))
    return parts


def _amount(rule: Rule, on_hand: int) -> int:
    return max(rule.qty, _share(rule.percent_bp, on_hand))


def _share(percent_bp: int, on_hand: int) -> int:
    return -(-max(on_hand, 0) * percent_bp // WHOLE_BP)


def _by_limits(places: Places, limits: Sequence[Limit]) -> dict[str, int]:
    """Return what each cap and ring-fence takes off the total, in the order they are heeded."""
    lowered: dict[str, int] = {}
    before = int(trimmed(places, ()).sum())
    for count, limit in enumerate(limits, start=1):
        after = int(trimmed(places, limits[:count]).sum())
        if after < before:
            lowered[limit.ref] = lowered.get(limit.ref, 0) + before - after
        before = after
    return lowered


def _locations(
    refs: Sequence[str], positions: Sequence[_Position], limits: Sequence[Limit]
) -> list[LoweredAt]:
    """Return the locations one by one; what limits take is said of each by itself."""
    by_row: dict[int, list[int]] = {}
    for place, one in enumerate(positions):
        if one.row >= 0:
            by_row.setdefault(one.row, []).append(place)
    told: list[LoweredAt] = []
    for row, here in sorted(by_row.items()):
        mine = [positions[place] for place in here]
        lowered = _added(one.lowered for one in mine)
        free = sum(one.free for one in mine)
        left = free - sum(lowered.values())
        for limit in limits:
            if limit.at[here].any() and limit.left < left:
                lowered[limit.ref] = lowered.get(limit.ref, 0) + left - limit.left
                left = limit.left
        serves = mine[0].serves
        sure = min((one.confidence for one in mine if one.confidence is not None), default=None)
        available = left if serves else 0
        told.append(LoweredAt(refs[row], serves, free, available, _listed(lowered), sure))
    return told


def _added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for ref, by in part.items():
            total[ref] = total.get(ref, 0) + by
    return total


def _listed(lowered: Mapping[str, int]) -> list[Lowered]:
    return [Lowered(ref, by) for ref, by in lowered.items()]
