"""Planning for demands that hold something already: met from there first, the rest sourced.

Pure. What is held is taken at the very same places, as far as they still serve the demand and have
capacity; only what is lacking is looked for elsewhere. One plan, with its true cost, comes of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from penstock.availability.candidates import LockedRows
from penstock.availability.index import Index
from penstock.inventory.held import held_at
from penstock.inventory.model import RETAIL_POOL_ID
from penstock.sourcing.model import Demand, HeldAt, Plan

Source = Index | LockedRows
Place = tuple[int, int, int]  # product, location and position
Floor = Callable[[int, int, int], int]


class Keeping(msgspec.Struct, frozen=True):
    """How to plan: from which stock, net of which floors."""

    plan: Callable[[Sequence[Demand], Source], list[Plan]]
    source: Source
    floor: Floor


def plan_keeping(demands: Sequence[Demand], how: Keeping) -> list[Plan]:
    """Return a plan per demand; those that hold nothing are planned together."""
    plain = [place for place, demand in enumerate(demands) if not demand.held]
    plans = how.plan([demands[place] for place in plain], how.source) if plain else []
    found = dict(zip(plain, plans, strict=True))
    return [
        _keep(demand, how) if demand.held else found[place] for place, demand in enumerate(demands)
    ]


def _keep(demand: Demand, how: Keeping) -> Plan:
    bare = msgspec.structs.replace(demand, held=())
    held = {(h.product_id, h.location_id, h.position_id): 0 for h in demand.held}
    for one in demand.held:
        held[one.product_id, one.location_id, one.position_id] += one.qty
    loose = msgspec.structs.replace(bare, ship_complete=False)
    (first,) = how.plan([loose], _only(bare, held, how.floor))
    if not first.unsourced:
        return _told(first, demand)
    (rest,) = how.plan([_lacking(loose, first)], how.source)
    both = _taken(demand, first)
    for place, qty in _taken(demand, rest).items():
        both[place] = both.get(place, 0) + qty
    (plan,) = how.plan([bare], _only(bare, both, how.floor))
    if plan.unsourced and (demand.ship_complete or demand.max_parcels is not None):
        (free,) = how.plan([bare], _with_held(how.source, bare, held))
        if _lacks(free) < _lacks(plan):
            plan = free
    return _told(plan, demand)


def _lacks(plan: Plan) -> int:
    return sum(qty for _, qty in plan.unsourced)


def _lacking(demand: Demand, plan: Plan) -> Demand:
    lacks = dict(plan.unsourced)
    lines = [
        msgspec.structs.replace(line, qty=lacks[line.line_id])
        for line in demand.lines
        if line.line_id in lacks
    ]
    return msgspec.structs.replace(demand, lines=tuple(lines))


def _taken(demand: Demand, plan: Plan) -> dict[Place, int]:
    products: dict[str, int] = {line.line_id: line.product_id for line in demand.lines}
    found: dict[Place, int] = {}
    for shipment in plan.shipments:
        for part in shipment.parts:
            for position_id, qty in part.takes:
                place = (products[part.line_id], shipment.location_id, position_id)
                found[place] = found.get(place, 0) + qty
    return found


def _only(demand: Demand, places: Mapping[Place, int], floor: Floor) -> LockedRows:
    """Return stock as if there were just these quantities; floors are none of their matter."""
    rows = [
        (*place, qty + floor(demand.channel_id, place[0], place[1]))
        for place, qty in sorted(places.items())
    ]
    return _rows(rows)


def _rows(rows: Sequence[tuple[int, int, int, int]]) -> LockedRows:
    table = np.array(rows, dtype=np.int32).reshape(len(rows), 4)
    product_ids, location_ids, position_ids, net = np.ascontiguousarray(table.T)
    pools = np.full(len(rows), RETAIL_POOL_ID, dtype=np.int32)
    return LockedRows(position_ids, product_ids, location_ids, pools, net)


def _with_held(source: Source, demand: Demand, held: Mapping[Place, int]) -> LockedRows:
    """Return all stock of the demand's products, what it holds counted as free."""
    own = {place[2]: qty for place, qty in held.items()}
    products = sorted({line.product_id for line in demand.lines})
    rows = source if isinstance(source, LockedRows) else _of_index(source, products)
    net = rows.net.copy()
    for place, position_id in enumerate(rows.position_ids.tolist()):
        net[place] += own.get(position_id, 0)
    return msgspec.structs.replace(rows, net=net)


def _of_index(index: Index, products: Iterable[int]) -> LockedRows:
    wanted = np.array(list(products), dtype=np.int32)
    _, positions = index.positions_of(wanted)
    order = np.lexsort((index.pool[positions], index.location[positions], index.product[positions]))
    positions = positions[order]
    return LockedRows(
        positions,
        index.product[positions].astype(np.int32),
        index.location[positions].astype(np.int32),
        index.pool[positions].astype(np.int32),
        index.net(positions),
    )


def _told(plan: Plan, demand: Demand) -> Plan:
    """Add to the explanation what was taken where it was held."""
    if plan.explanation is None:
        return plan
    held = held_at(demand)
    units: dict[int, int] = {}
    for (_, location_id, position_id), qty in _taken(demand, plan).items():
        kept = min(qty, held.get(position_id, 0))
        if kept:
            units[location_id] = units.get(location_id, 0) + kept
    told = [HeldAt(location_id, kept) for location_id, kept in sorted(units.items())]
    explanation = msgspec.structs.replace(plan.explanation, held=told)
    return msgspec.structs.replace(plan, explanation=explanation)
