"""From a choice of rows to a plan: parts with positions, costs, legs, and the explanation.

Owns what a plan looks like. The lines of an item are served in their order, and a location's
positions in id order, so that the same choice always takes the same units.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.geo import EARTH_RADIUS_KM
from penstock.sourcing.coverage import Coverage, Item
from penstock.sourcing.model import (
    Candidates,
    Demand,
    Explanation,
    Leg,
    Outscored,
    Part,
    Plan,
    Profile,
    Shipment,
)

MAX_OUTSCORED = 3
_HANDLING_SHIFT = 41


class Choosing(msgspec.Struct):
    """What every demand of a batch is chosen from."""

    coverage: Coverage
    candidates: Candidates
    profile: Profile
    keys: NDArray[np.int64]


class Sent(msgspec.Struct):
    """A chosen row, what it sends of which item, and the rows that could have sent just that."""

    row: int
    parts: list[tuple[Item, int]]
    could: NDArray[np.int64]


def make_plan(
    choosing: Choosing,
    place: int,
    demand: Demand,
    sent: Sequence[Sent],
    lacking: Sequence[tuple[Item, int]],
    *,
    is_exact: bool = True,
) -> Plan:
    """Make the plan of one demand of the batch."""
    left = {line.line_id: line.qty for line in demand.lines}
    taken: dict[int, int] = {}
    shipments: list[Shipment] = []
    outscored: list[Outscored] = []
    for one in sent:
        weight_g = sum(item.unit_weight_g * qty for item, qty in one.parts)
        carriage = choosing.profile.rate_card.carriage(np.array(weight_g, dtype=np.int64))
        shipments.append(_shipment(choosing, place, one, (weight_g, carriage), (left, taken)))
        outscored += _outscored(choosing, place, one, carriage)
    unsourced = [(line_id, qty) for line_id, qty in left.items() if qty]
    cost = sum(shipment.cost_minor for shipment in shipments)
    explanation = Explanation(
        method="exact" if is_exact else "search",
        locations=len(choosing.candidates.locations.ids),
        removed={why: n for why, n in choosing.coverage.removed[place].items() if n},
        considered=int(choosing.coverage.allowed[place].sum()),
        cost_minor=cost,
        chosen=[_chosen(shipment) for shipment in shipments],
        outscored=outscored,
        unsourced=_why_not(choosing, demand, lacking),
    )
    return Plan(demand.id, tuple(shipments), tuple(unsourced), cost, explanation)


def _shipment(
    choosing: Choosing,
    place: int,
    sent: Sent,
    weighed: tuple[int, NDArray[np.int64]],
    kept: tuple[dict[str, int], dict[int, int]],
) -> Shipment:
    row, (weight_g, carriage) = sent.row, weighed
    location_id = int(choosing.candidates.locations.ids[row])
    handling = int(choosing.keys[row] >> _HANDLING_SHIFT)
    carriage_minor = int(carriage[choosing.coverage.band[place, row]])
    parts: list[Part] = []
    for item, qty in sent.parts:
        parts += _parts(choosing.coverage, item, qty, (row, location_id), kept)
    return Shipment(
        location_id=location_id,
        parts=tuple(parts),
        cost_minor=handling + carriage_minor,
        handling_minor=handling,
        carriage_minor=carriage_minor,
        distance_km=_distance_km(choosing, place, row),
        weight_g=weight_g,
        legs=(Leg(location_id, None),),
    )


def _parts(
    coverage: Coverage,
    item: Item,
    qty: int,
    at: tuple[int, int],
    kept: tuple[dict[str, int], dict[int, int]],
) -> list[Part]:
    """Serve the item's lines in order from the row's positions in order."""
    row, location_id = at
    left, taken = kept
    entry = item.start + int(np.searchsorted(coverage.rows[item.start : item.stop], row))
    start, stop = int(coverage.first[entry]), int(coverage.first[entry + 1])
    ids = coverage.position_ids[start:stop].tolist()
    available = coverage.available[start:stop].tolist()
    parts: list[Part] = []
    for line in item.lines:
        wanted = min(left[line.line_id], qty)
        if wanted == 0:
            continue
        takes: list[tuple[int, int]] = []
        rest = wanted
        for position_id, there in zip(ids, available, strict=True):
            take = min(rest, there - taken.get(position_id, 0))
            if take > 0:
                takes.append((position_id, take))
                taken[position_id] = taken.get(position_id, 0) + take
                rest -= take
        left[line.line_id] -= wanted
        qty -= wanted
        parts.append(Part(line.line_id, location_id, tuple(takes), wanted))
    return parts


def _distance_km(choosing: Choosing, place: int, row: int) -> float:
    cosine = min(1.0, max(-1.0, float(choosing.coverage.cosine[place, row])))
    return round(EARTH_RADIUS_KM * float(np.arccos(cosine)), 3)


def _outscored(
    choosing: Choosing, place: int, sent: Sent, carriage: NDArray[np.int64]
) -> list[Outscored]:
    """Return the next best locations that could have sent what the chosen one sends."""
    rows = sent.could[sent.could != sent.row]
    if len(rows) == 0:
        return []
    keys = choosing.keys
    cost = (keys[rows] >> _HANDLING_SHIFT) + carriage[choosing.coverage.band[place, rows]]
    best = _first(cost, keys[rows], MAX_OUTSCORED)
    chosen_cost = (keys[sent.row] >> _HANDLING_SHIFT) + carriage[
        choosing.coverage.band[place, sent.row]
    ]
    ids, ready = choosing.candidates.locations.ids, choosing.candidates.locations.ready_min
    result: list[Outscored] = []
    for at in best.tolist():
        row = int(rows[at])
        lost_by = "cost" if cost[at] > chosen_cost else "tie"
        if lost_by == "tie" and ready[row] > ready[sent.row]:
            lost_by = "later"
        distance_km = _distance_km(choosing, place, row)
        result.append(
            Outscored(int(ids[row]), int(ids[sent.row]), int(cost[at]), distance_km, lost_by)
        )
    return result


def _first(cost: NDArray[np.int64], keys: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return the places of the `most` least, by cost then key."""
    if len(cost) > most:
        bound = np.partition(cost, most - 1)[most - 1]
        places = np.flatnonzero(cost <= bound)
    else:
        places = np.arange(len(cost))
    return places[np.lexsort((keys[places], cost[places]))][:most]


def _chosen(shipment: Shipment) -> dict[str, int | float]:
    return {
        "location_id": shipment.location_id,
        "cost_minor": shipment.cost_minor,
        "handling_minor": shipment.handling_minor,
        "carriage_minor": shipment.carriage_minor,
        "distance_km": shipment.distance_km,
        "weight_g": shipment.weight_g,
        "units": sum(part.qty for part in shipment.parts),
    }


def _why_not(
    choosing: Choosing, demand: Demand, lacking: Sequence[tuple[Item, int]]
) -> list[dict[str, int | str]]:
    result: list[dict[str, int | str]] = []
    for item, qty in lacking:
        seen = int(choosing.coverage.have[item.start : item.stop].sum())
        why = "too little stock"
        if seen == 0:
            why = "no stock anywhere it may come from"
        elif seen >= item.qty:
            why = "ship complete" if demand.ship_complete else "maximum of parcels"
        product_id = item.lines[0].product_id
        result.append({"product_id": product_id, "qty": qty, "seen": seen, "why": why})
    return result
