"""Planning for demands that hold something already: met from there first, the rest sourced.

Pure. What is held is taken at the very same places, as far as they still serve the demand and have
capacity; only what is lacking is looked for elsewhere. One plan, with its true cost, comes of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.candidates import LockedRows, Stock
from penstock.availability.index import Index
from penstock.inventory.held import held_at
from penstock.sourcing.model import Demand, HeldAt, Plan

Place = tuple[int, int, int]  # product, location and position


class Places(msgspec.Struct, frozen=True):
    """Stock of one's own for each demand, by the demand's key: just these quantities, no floors."""

    of: Mapping[tuple[str, int | None], Mapping[Place, int]]

    def stock(self, demands: Sequence[Demand], row_of: NDArray[np.signedinteger]) -> Stock:
        """Return what each line of the demands may take, as sourcing wants it."""
        starts, rows = [0], []
        for demand in demands:
            places = self.of[_key(demand)]
            by_product: dict[int, list[tuple[int, int, int]]] = {}
            for (product_id, location_id, position_id), qty in places.items():
                row = int(row_of[location_id]) if location_id < len(row_of) else -1
                if row >= 0:
                    by_product.setdefault(product_id, []).append((row, position_id, qty))
            for found in by_product.values():
                found.sort()
            for line in demand.lines:
                rows += by_product.get(line.product_id, ())
                starts.append(len(rows))
        table = np.array(rows, dtype=np.int32).reshape(len(rows), 3)
        location_rows, position_ids, available = np.ascontiguousarray(table.T)
        return Stock(np.array(starts, dtype=np.int32), position_ids, location_rows, available)


Source = Index | LockedRows | Places


class Keeping(msgspec.Struct, frozen=True):
    """How to plan, and from which stock."""

    plan: Callable[[Sequence[Demand], Source], list[Plan]]
    source: Index | LockedRows


def plan_keeping(demands: Sequence[Demand], how: Keeping) -> list[Plan]:
    """Return a plan per demand; those that hold nothing are planned together.

    Those that hold something are planned three times at most, each time together.
    """
    plans: dict[int, Plan] = {}
    plain = [place for place, demand in enumerate(demands) if not demand.held]
    keeping = [place for place, demand in enumerate(demands) if demand.held]
    if plain:
        found = how.plan([demands[place] for place in plain], how.source)
        plans.update(zip(plain, found, strict=True))
    kept = _keep([demands[place] for place in keeping], how)
    plans.update(zip(keeping, kept, strict=True))
    return [plans[place] for place in range(len(demands))]


def _key(demand: Demand) -> tuple[str, int | None]:
    return demand.id, demand.pinned_location_id


def _keep(demands: Sequence[Demand], how: Keeping) -> list[Plan]:
    bare = [msgspec.structs.replace(demand, held=()) for demand in demands]
    loose = [msgspec.structs.replace(demand, ship_complete=False) for demand in bare]
    held = Places({_key(demand): _places(demand) for demand in demands})
    plans = how.plan(loose, held)
    short = [place for place, plan in enumerate(plans) if plan.unsourced]
    if short:
        rests = how.plan([_lacking(loose[place], plans[place]) for place in short], how.source)
        both = {
            _key(demands[place]): _sum(
                _taken(loose[place], plans[place]), _taken(loose[place], rest)
            )
            for place, rest in zip(short, rests, strict=True)
        }
        again = how.plan([bare[place] for place in short], Places(both))
        for place, plan in zip(short, again, strict=True):
            plans[place] = _freer(demands[place], plan, how)
    return [_told(plan, demand) for plan, demand in zip(plans, demands, strict=True)]


def _places(demand: Demand) -> dict[Place, int]:
    places: dict[Place, int] = {}
    for one in demand.held:
        place = (one.product_id, one.location_id, one.position_id)
        places[place] = places.get(place, 0) + one.qty
    return places


def _sum(one: Mapping[Place, int], other: Mapping[Place, int]) -> dict[Place, int]:
    return {place: one.get(place, 0) + other.get(place, 0) for place in {**one, **other}}


def _freer(demand: Demand, plan: Plan, how: Keeping) -> Plan:
    """Plan anew, from wherever, what may not be split as keeping what is held would split it."""
    if not plan.unsourced or not (demand.ship_complete or demand.max_parcels is not None):
        return plan
    bare = msgspec.structs.replace(demand, held=())
    (free,) = how.plan([bare], _with_held(how.source, bare, _places(demand)))
    return free if _lacks(free) < _lacks(plan) else plan


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


def _with_held(source: Index | LockedRows, demand: Demand, held: Mapping[Place, int]) -> LockedRows:
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
        index.on_hand[positions].astype(np.int32),
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
