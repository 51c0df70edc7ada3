"""From choices of rows to plans: parts with positions, costs, legs, and the explanation.

Owns what a plan looks like; its figures are worked out for a whole batch at once (`figures`). The
lines of an item are served in their order, and a location's positions in id order, so that the same
choice always takes the same units.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.sourcing.coverage import Coverage, Item
from penstock.sourcing.figures import Choice, Choosing, Figures, figures_of
from penstock.sourcing.model import (
    Chosen,
    Demand,
    Explanation,
    Leg,
    Outscored,
    Part,
    Plan,
    Shipment,
    Unsourced,
)

MAX_OUTSCORED = 5


def make_plans(
    demands: Sequence[Demand], choosing: Choosing, choices: Sequence[Choice]
) -> list[Plan]:
    """Make the plans of a batch's choices, in order."""
    figures = figures_of(choosing, choices, MAX_OUTSCORED)
    ids = choosing.candidates.locations.ids.tolist()
    number = part_number = 0
    plans: list[Plan] = []
    for place, (demand, choice) in enumerate(zip(demands, choices, strict=True)):
        left = {line.line_id: line.qty for line in demand.lines}
        shipments: list[Shipment] = []
        outscored: list[Outscored] = []
        share = max(MAX_OUTSCORED // max(len(choice.sent), 1), 1)
        for sent in choice.sent:
            location_id: int = ids[sent.row]
            parts: list[Part] = []
            for item, qty in sent.parts:
                entry = figures.entry[part_number]
                part_number += 1
                parts += _parts(choosing.coverage, (item, qty, entry), location_id, left)
            shipments.append(_shipment(figures, number, location_id, tuple(parts)))
            if len(outscored) < MAX_OUTSCORED:
                outscored += _outscored(figures, number, share, ids)
            number += 1
        explanation = _explanation(choosing, place, demand, choice, (shipments, outscored, left))
        unsourced = tuple((line_id, qty) for line_id, qty in left.items() if qty)
        plans.append(
            Plan(demand.id, tuple(shipments), unsourced, explanation.cost_minor, explanation)
        )
    return plans


def _parts(
    coverage: Coverage, taken: tuple[int, int, int], location_id: int, left: dict[str, int]
) -> list[Part]:
    """Serve an item's lines in order from an entry's positions in order."""
    item, qty, entry = taken
    lines = coverage.items[item].lines
    entries = coverage.entries
    if entries.first is None and len(lines) == 1:
        line_id = lines[0].line_id
        left[line_id] -= qty
        return [Part(line_id, location_id, ((int(entries.position_ids[entry]), qty),), qty)]
    parts: list[Part] = []
    positions = entries.positions(entry)
    for line in lines:
        wanted = min(left[line.line_id], qty)
        if wanted:
            left[line.line_id] -= wanted
            qty -= wanted
            parts.append(Part(line.line_id, location_id, _take(positions, wanted), wanted))
    return parts


def _take(positions: list[tuple[int, int]], wanted: int) -> tuple[tuple[int, int], ...]:
    """Take from the front of the positions, which are left with what remains."""
    takes: list[tuple[int, int]] = []
    while wanted:
        position_id, there = positions[0]
        take = min(wanted, there)
        takes.append((position_id, take))
        wanted -= take
        if take == there:
            del positions[0]
        else:
            positions[0] = (position_id, there - take)
    return tuple(takes)


def _shipment(figures: Figures, number: int, location_id: int, parts: tuple[Part, ...]) -> Shipment:
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


def _outscored(figures: Figures, number: int, most: int, ids: list[int]) -> list[Outscored]:
    """Return the next best locations that could have sent what the chosen one sends."""
    chosen_cost = figures.handling[number] + figures.carriage[number]
    ready, row = figures.ready, figures.rows[number]
    result: list[Outscored] = []
    for other, cost, distance_km in figures.others[number][:most]:
        lost_by = "cost"
        if cost == chosen_cost:
            lost_by = "later" if ready[other] > ready[row] else "tie"
        result.append(Outscored(ids[other], ids[row], cost, distance_km, lost_by))
    return result


def _explanation(
    choosing: Choosing,
    place: int,
    demand: Demand,
    choice: Choice,
    made: tuple[list[Shipment], list[Outscored], dict[str, int]],
) -> Explanation:
    shipments, outscored, left = made
    coverage = choosing.coverage
    return Explanation(
        choice.method,
        coverage.allowed.shape[1],
        coverage.removed[place],
        coverage.considered[place],
        coverage.without_stock[place],
        sum([shipment.cost_minor for shipment in shipments]),
        [_chosen(shipment) for shipment in shipments],
        outscored[:MAX_OUTSCORED],
        _unsourced(coverage, place, demand, left) if any(left.values()) else [],
    )


def _chosen(shipment: Shipment) -> Chosen:
    return Chosen(
        shipment.location_id,
        shipment.cost_minor,
        shipment.handling_minor,
        shipment.carriage_minor,
        shipment.distance_km,
        shipment.weight_g,
        sum([part.qty for part in shipment.parts]),
    )


def _unsourced(
    coverage: Coverage, place: int, demand: Demand, left: dict[str, int]
) -> list[Unsourced]:
    result: list[Unsourced] = []
    for number in range(*coverage.first_item[place : place + 2]):
        item = coverage.items[number]
        lacking = sum(left[line.line_id] for line in item.lines)
        if lacking:
            seen = int(coverage.seen(number)[1].sum())
            product_id = item.lines[0].product_id
            result.append(Unsourced(product_id, lacking, seen, _why(item, seen, demand)))
    return result


def _why(item: Item, seen: int, demand: Demand) -> str:
    if seen == 0:
        return "no stock anywhere it may come from"
    if seen < item.qty:
        return "too little stock"
    return "ship complete" if demand.ship_complete else "maximum of parcels"
