"""From choices of rows to plans: parts with positions, costs, legs, and the explanation.

Owns what a plan looks like. Figures are worked out for all shipments of a batch at once; each
plan is the same alone or in any batch. The lines of an item are served in their order, and a
location's positions in id order, so that the same choice always takes the same units.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.geo import distances_km
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
_NONE = np.int64(1) << 61


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
    could: NDArray[np.bool_]


class Choice(msgspec.Struct):
    """What was chosen for one demand of the batch, and what is lacking of which item."""

    place: int
    demand: Demand
    sent: Sequence[Sent]
    lacking: Sequence[tuple[Item, int]]
    method: str = "exact"


class _Figures(msgspec.Struct):
    """Per shipment of the batch, in order: weight, costs, distance, and who was outscored."""

    weight_g: list[int]
    handling: list[int]
    carriage: list[int]
    distance_km: list[float]
    others: list[list[int]]
    other_costs: list[list[int]]
    other_km: list[list[float]]


def make_plans(choosing: Choosing, choices: Sequence[Choice]) -> list[Plan]:
    """Make the plans of a batch's choices, in order."""
    figures = _figures(choosing, choices)
    ids = choosing.candidates.locations.ids.tolist()
    ready = choosing.candidates.locations.ready_min.tolist()
    plans: list[Plan] = []
    number = 0
    for choice in choices:
        left = {line.line_id: line.qty for line in choice.demand.lines}
        taken: dict[int, int] = {}
        shipments: list[Shipment] = []
        outscored: list[Outscored] = []
        for sent in choice.sent:
            parts = _parts(choosing.coverage, sent, ids[sent.row], left, taken)
            shipments.append(_shipment(figures, number, ids[sent.row], parts))
            outscored += _outscored(figures, number, sent.row, ids, ready)
            number += 1
        plans.append(_plan(choosing, choice, shipments, outscored, left))
    return plans


def _figures(choosing: Choosing, choices: Sequence[Choice]) -> _Figures:
    coverage, keys = choosing.coverage, choosing.keys
    sent = [one for choice in choices for one in choice.sent]
    if not sent:
        return _Figures([], [], [], [], [], [], [])
    places = np.repeat([choice.place for choice in choices], [len(c.sent) for c in choices])
    rows = np.array([one.row for one in sent])
    weights = np.array(
        [sum(item.unit_weight_g * qty for item, qty in one.parts) for one in sent], dtype=np.int64
    )
    by_band = choosing.profile.rate_card.carriage(weights).T
    bands = coverage.band[places]
    every = np.arange(len(sent))
    handling = keys >> _HANDLING_SHIFT
    cost = np.take_along_axis(by_band, bands.astype(np.int64), axis=1) + handling
    could = np.stack([one.could for one in sent])
    could[every, rows] = False
    cost = np.where(could, cost, _NONE)
    most = min(MAX_OUTSCORED, cost.shape[1] - 1)
    others = np.argpartition(cost, most, axis=1)[:, :MAX_OUTSCORED]
    other_costs = np.take_along_axis(cost, others, axis=1)
    cosine = coverage.cosine[places]
    return _Figures(
        weight_g=weights.tolist(),
        handling=handling[rows].tolist(),
        carriage=by_band[every, bands[every, rows]].tolist(),
        distance_km=distances_km(cosine[every, rows]).round(3).tolist(),
        others=others.tolist(),
        other_costs=other_costs.tolist(),
        other_km=distances_km(np.take_along_axis(cosine, others, axis=1)).round(3).tolist(),
    )


def _shipment(
    figures: _Figures, number: int, location_id: int, parts: tuple[Part, ...]
) -> Shipment:
    handling, carriage = figures.handling[number], figures.carriage[number]
    return Shipment(
        location_id,
        parts,
        handling + carriage,
        handling,
        carriage,
        figures.distance_km[number],
        figures.weight_g[number],
        (Leg(location_id, None),),
    )


def _parts(
    coverage: Coverage,
    sent: Sent,
    location_id: int,
    left: dict[str, int],
    taken: dict[int, int],
) -> tuple[Part, ...]:
    """Serve each item's lines in order from the row's positions in order."""
    parts: list[Part] = []
    for item, item_qty in sent.parts:
        qty = item_qty
        rows = coverage.rows[item.start : item.stop]
        entry = item.start + int(rows.searchsorted(sent.row))
        start, stop = coverage.first[entry], coverage.first[entry + 1]
        ids = coverage.position_ids[start:stop].tolist()
        if len(ids) == 1 and len(item.lines) == 1:
            line_id = item.lines[0].line_id
            left[line_id] -= qty
            parts.append(Part(line_id, location_id, ((ids[0], qty),), qty))
            continue
        available = coverage.available[start:stop].tolist()
        for line in item.lines:
            wanted = min(left[line.line_id], qty)
            if wanted:
                takes = _takes(ids, available, wanted, taken)
                left[line.line_id] -= wanted
                qty -= wanted
                parts.append(Part(line.line_id, location_id, takes, wanted))
    return tuple(parts)


def _takes(
    ids: list[int], available: list[int], wanted: int, taken: dict[int, int]
) -> tuple[tuple[int, int], ...]:
    takes: list[tuple[int, int]] = []
    for position_id, there in zip(ids, available, strict=True):
        take = min(wanted, there - taken.get(position_id, 0))
        if take > 0:
            takes.append((position_id, take))
            taken[position_id] = taken.get(position_id, 0) + take
            wanted -= take
    return tuple(takes)


def _outscored(
    figures: _Figures, number: int, row: int, ids: list[int], ready: list[int]
) -> list[Outscored]:
    """Return the next best locations that could have sent what the chosen one sends."""
    chosen_cost = figures.handling[number] + figures.carriage[number]
    found = zip(
        figures.other_costs[number], figures.others[number], figures.other_km[number], strict=True
    )
    result: list[Outscored] = []
    for cost, other, distance_km in sorted(found):
        if cost >= _NONE:
            break
        lost_by = "cost"
        if cost == chosen_cost:
            lost_by = "later" if ready[other] > ready[row] else "tie"
        result.append(Outscored(ids[other], ids[row], cost, distance_km, lost_by))
    return result


def _plan(
    choosing: Choosing,
    choice: Choice,
    shipments: list[Shipment],
    outscored: list[Outscored],
    left: dict[str, int],
) -> Plan:
    cost = sum(shipment.cost_minor for shipment in shipments)
    removed = choosing.coverage.removed[choice.place]
    explanation = Explanation(
        method=choice.method,
        locations=len(choosing.candidates.locations.ids),
        removed={why: count for why, count in removed.items() if count},
        considered=choosing.coverage.considered[choice.place],
        cost_minor=cost,
        chosen=[_chosen(shipment) for shipment in shipments],
        outscored=outscored,
        unsourced=_why_not(choosing, choice),
    )
    unsourced = tuple((line_id, qty) for line_id, qty in left.items() if qty)
    return Plan(choice.demand.id, tuple(shipments), unsourced, cost, explanation)


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


def _why_not(choosing: Choosing, choice: Choice) -> list[dict[str, int | str]]:
    result: list[dict[str, int | str]] = []
    for item, qty in choice.lacking:
        seen = int(choosing.coverage.have[item.start : item.stop].sum())
        why = "too little stock"
        if seen == 0:
            why = "no stock anywhere it may come from"
        elif seen >= item.qty:
            why = "ship complete" if choice.demand.ship_complete else "maximum of parcels"
        product_id = item.lines[0].product_id
        result.append({"product_id": product_id, "qty": qty, "seen": seen, "why": why})
    return result
