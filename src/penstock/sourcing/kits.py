"""Kits that may not ship apart: sourced as one item each, and unpacked into their components.

Pure. Sourcing sees a kit as a product of which each location has as many as the scarcest component
there allows. Lines and kits that share a component see the same units, so a plan is unpacked
against what is really on the shelves: what then falls short is sourced again from what is left, and
once more with kits first; the way that leaves less unsourced wins.

Invariant: a plan takes no more of a position than its shelf holds, and whole kits of a location.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.sourcing.model import (
    Chosen,
    Demand,
    DemandLine,
    Explanation,
    KitParts,
    Part,
    Plan,
    Profile,
    Shipment,
    Unsourced,
)

MAX_ROUNDS = 8
_DISTANCE_SLACK_KM = 1e-6
Place = tuple[int, int]  # location row, position id
Shelves = dict[int, dict[Place, int]]  # by product id: what may be taken, net of floors
Taken = dict[tuple[str, int], dict[int, int]]  # by line and location: quantity by position


class ShelfStock(msgspec.Struct, frozen=True):
    """Stock of a demand's lines as sourcing reads it (`model.Stock`)."""

    line_start: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


Propose = Callable[[Demand, ShelfStock], Plan]


class _Way(msgspec.Struct):
    """One way through the rounds: what is left on shelves and lacking, and the plans so far."""

    demand: Demand
    shelves: Shelves
    row_of: NDArray[np.int32]
    kits: Mapping[str, KitParts]
    lacking: dict[str, int]
    plans: list[Plan] = []
    parts: dict[int, list[Part]] = {}  # by location id


def source_kits(
    demand: Demand, shelves: Shelves, row_of: NDArray[np.int32], how: tuple[Propose, Profile]
) -> Plan:
    """Return the plan of a demand with kits; `row_of` gives the row of a location id.

    `shelves` hold every product of its lines and components; they are left as they are. `how`
    proposes a plan for a demand from stock, and is the profile that costs are worked out by.
    """
    propose, profile = how
    together = _begin(demand, shelves, row_of)
    _go(together, [list(demand.lines)], propose)
    proposed = sum(qty for _, qty in together.plans[0].unsourced) if together.plans else 0
    if sum(together.lacking.values()) <= proposed or not together.plans:
        return _finish(together, profile)
    apart = _begin(demand, shelves, row_of)
    kits = [[line] for line in demand.lines if line.line_id in apart.kits]
    rest = [line for line in demand.lines if line.line_id not in apart.kits]
    _go(apart, [*kits, rest] if rest else kits, propose)
    best = min((together, apart), key=lambda way: sum(way.lacking.values()))
    return _finish(best, profile)


def _begin(demand: Demand, shelves: Shelves, row_of: NDArray[np.int32]) -> _Way:
    return _Way(
        demand=demand,
        shelves={product_id: dict(shelf) for product_id, shelf in shelves.items()},
        row_of=row_of,
        kits={kit.line_id: kit for kit in demand.kits},
        lacking={line.line_id: line.qty for line in demand.lines},
        plans=[],
        parts={},
    )


def _go(way: _Way, rounds: Sequence[list[DemandLine]], propose: Propose) -> None:
    """Source round by round, then what is lacking again, while that brings something."""
    for lines in rounds:
        _round(way, lines, propose)
    every = list(way.demand.lines)
    before = -1
    planned = {line_id for plan in way.plans for line_id, _ in plan.unsourced}
    for _ in range(MAX_ROUNDS):
        lacking = sum(way.lacking.values())
        if lacking in {0, before} or all(n in planned for n, qty in way.lacking.items() if qty):
            return
        before = lacking
        _round(way, every, propose)


def _round(way: _Way, lines: Sequence[DemandLine], propose: Propose) -> None:
    wanted = tuple(
        msgspec.structs.replace(line, qty=qty)
        for line in lines
        if (qty := way.lacking[line.line_id])
    )
    most = way.demand.max_parcels
    if not wanted or (most is not None and len(way.parts) >= most):
        return
    demand = msgspec.structs.replace(
        way.demand,
        lines=wanted,
        kits=(),
        max_parcels=None if most is None else most - len(way.parts),
        ship_complete=way.demand.ship_complete and not way.plans,
    )
    plan = propose(demand, _stock(way, wanted))
    way.plans.append(plan)
    for shipment in plan.shipments:  # lines of their own first: they name their positions
        for part in shipment.parts:
            if part.line_id not in way.kits:
                _take_part(way, part, {line.line_id: line.product_id for line in wanted})
    for shipment in plan.shipments:
        for part in shipment.parts:
            if part.line_id in way.kits:
                _unpack(way, part)


def _stock(way: _Way, lines: Sequence[DemandLine]) -> ShelfStock:
    """Put the shelves into columns; of a kit, as many as the scarcest component allows."""
    rows: list[tuple[int, int, int]] = []
    starts = [0]
    for line in lines:
        kit = way.kits.get(line.line_id)
        if kit is None:
            shelf = way.shelves.get(line.product_id, {})
            rows += [(row, position, qty) for (row, position), qty in sorted(shelf.items()) if qty]
        else:
            rows += [(row, 0, qty) for row, qty in sorted(whole_kits(kit, way.shelves).items())]
        starts.append(len(rows))
    location_rows, position_ids, available = np.array(rows, dtype=np.int32).reshape(-1, 3).T
    return ShelfStock(np.array(starts, dtype=np.int32), position_ids, location_rows, available)


def whole_kits(kit: KitParts, shelves: Shelves) -> dict[int, int]:
    """Return by location row how many whole kits its shelves make, where there is one."""
    found: dict[int, int] = {}
    for number, (_, product_id, per_kit) in enumerate(kit.parts):
        there: dict[int, int] = {}
        for (row, _position), qty in shelves.get(product_id, {}).items():
            there[row] = there.get(row, 0) + max(qty, 0)
        makes = {row: qty // per_kit for row, qty in there.items()}
        if number == 0:
            found = makes
        else:
            found = {row: min(qty, makes[row]) for row, qty in found.items() if row in makes}
    return {row: qty for row, qty in found.items() if qty > 0}


def _take_part(way: _Way, part: Part, product_of: Mapping[str, int]) -> None:
    shelf = way.shelves[product_of[part.line_id]]
    row = int(way.row_of[part.location_id])
    for position_id, qty in part.takes:
        shelf[row, position_id] -= qty
    _add(way, part)
    way.lacking[part.line_id] -= part.qty


def _unpack(way: _Way, part: Part) -> None:
    """Take a kit's components from their shelves: whole kits, as many as there really are."""
    kit = way.kits[part.line_id]
    row = int(way.row_of[part.location_id])
    qty = min(part.qty, whole_kits(kit, way.shelves).get(row, 0))
    if qty == 0:
        return
    way.lacking[part.line_id] -= qty
    for line_id, product_id, per_kit in kit.parts:
        takes = _from_shelf(way.shelves[product_id], row, qty * per_kit)
        _add(way, Part(line_id, part.location_id, tuple(takes), qty * per_kit))


def _from_shelf(shelf: dict[Place, int], row: int, wanted: int) -> list[tuple[int, int]]:
    takes: list[tuple[int, int]] = []
    for place in sorted(shelf):
        take = min(wanted, shelf[place]) if place[0] == row else 0
        if take > 0:
            shelf[place] -= take
            wanted -= take
            takes.append((place[1], take))
    return takes


def _add(way: _Way, part: Part) -> None:
    """Add a part to its location's; what a line took there before is one part with it."""
    parts = way.parts.setdefault(part.location_id, [])
    for number, other in enumerate(parts):
        if other.line_id == part.line_id:
            takes = dict(other.takes)
            for position_id, qty in part.takes:
                takes[position_id] = takes.get(position_id, 0) + qty
            qty = other.qty + part.qty
            parts[number] = Part(part.line_id, part.location_id, tuple(takes.items()), qty)
            return
    parts.append(part)


def _finish(way: _Way, profile: Profile) -> Plan:
    """Put the rounds together: a shipment a location, costs of its whole weight."""
    if way.demand.ship_complete and any(way.lacking.values()):
        way.parts.clear()
        way.lacking = {line.line_id: line.qty for line in way.demand.lines}
    weights = {line.line_id: line.unit_weight_g for line in way.demand.lines}
    for kit in way.demand.kits:
        for (line_id, _, _), weight_g in zip(kit.parts, kit.unit_weights_g, strict=True):
            weights[line_id] = weight_g
    first = {s.location_id: s for plan in reversed(way.plans) for s in plan.shipments}
    shipments = tuple(
        _shipment(first[location_id], parts, weights, profile)
        for location_id, parts in sorted(way.parts.items())
    )
    unsourced = tuple((line_id, qty) for line_id, qty in way.lacking.items() if qty)
    cost = sum(one.cost_minor for one in shipments)
    explanation = _explanation(way, shipments, cost)
    return Plan(way.demand.id, shipments, unsourced, cost, explanation)


def _shipment(
    proposed: Shipment, parts: list[Part], weights: Mapping[str, int], profile: Profile
) -> Shipment:
    weight_g = sum(part.qty * weights[part.line_id] for part in parts)
    card = profile.rate_card
    upto = card.distance_km_upto[:-1] + _DISTANCE_SLACK_KM
    band = int(upto.searchsorted(proposed.distance_km))
    carriage = int(card.carriage(np.array([weight_g], dtype=np.int64))[band, 0])
    return msgspec.structs.replace(
        proposed,
        parts=tuple(parts),
        weight_g=weight_g,
        carriage_minor=carriage,
        cost_minor=proposed.handling_minor + carriage,
    )


def _explanation(way: _Way, shipments: Sequence[Shipment], cost: int) -> Explanation | None:
    before = way.plans[0].explanation if way.plans else None
    if before is None:
        return None
    chosen = [
        Chosen(
            one.location_id,
            one.cost_minor,
            one.handling_minor,
            one.carriage_minor,
            one.distance_km,
            one.weight_g,
            sum(part.qty for part in one.parts),
        )
        for one in shipments
    ]
    told = {
        one.product_id: one
        for plan in way.plans
        if plan.explanation
        for one in plan.explanation.unsourced
    }
    lacking: dict[int, int] = {}
    for line in way.demand.lines:
        lacking[line.product_id] = lacking.get(line.product_id, 0) + way.lacking[line.line_id]
    unsourced = [
        msgspec.structs.replace(told[product_id], qty=qty)
        if product_id in told
        else Unsourced(product_id, qty, 0, "too little stock")
        for product_id, qty in lacking.items()
        if qty
    ]
    return msgspec.structs.replace(before, cost_minor=cost, chosen=chosen, unsourced=unsourced)
