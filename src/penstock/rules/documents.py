"""Documents that clients read: an order with choices, lines and fulfilments, refs for ids.

Pure: from a loaded tree and what the process knows of the account. JSON-ready plain values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.engine.entities import Entity
from penstock.fulfilment.model import Fulfilment, FulfilmentLine
from penstock.orders.model import Choice, Line, Order, every_line
from penstock.rules.date_views import choice_dates, fulfilment_dates

if TYPE_CHECKING:
    from penstock.rules.knowledge import Knowledge


def root_document(root: Order | Entity, knowledge: Knowledge) -> dict[str, Any]:
    """Return an order, or an entity of another kind, as clients see it."""
    if isinstance(root, Order):
        return order_document(root, knowledge)
    return entity_document(root, knowledge)


def entity_document(entity: Entity, knowledge: Knowledge) -> dict[str, Any]:
    """Return an entity as clients see it."""
    refs = knowledge.channels.refs
    return {
        "id": entity.id,
        "kind": entity.kind,
        "ref": entity.ref,
        "type": entity.type,
        "channel": None if entity.channel_id is None else refs[entity.channel_id],
        "parent": None
        if entity.parent_id is None
        else {"kind": entity.parent_kind, "id": entity.parent_id},
        "status": entity.status,
        "attributes": entity.attributes,
        "created_at": entity.created_at,
    }


def order_document(order: Order, knowledge: Knowledge) -> dict[str, Any]:
    """Return the order as clients see it: the decision, per choice, line and fulfilment."""
    lines = every_line(order.lines())
    line_refs = {line.id: line.ref for line in lines}
    component_skus = {line.id: line.sku for line in lines if line.per_kit}
    cart = {} if order.cart is None else {"cart": order.cart}
    wishes = {one.id: one.wish.time_zone for one in order.choices if one.wish is not None}
    return {
        **cart,
        "id": order.id,
        "channel": knowledge.channels.refs[order.channel_id],
        "ref": order.ref,
        "type": order.type,
        "status": order.status,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "priority": order.priority,
        "placed_at": order.placed_at,
        "created_at": order.created_at,
        "holds": [
            {"kind": h.kind, "reason": h.reason, "until_at": h.until_at} for h in order.open_holds()
        ],
        "choices": [_choice_document(choice, order, knowledge) for choice in order.choices],
        "fulfilments": [
            fulfilment_document(
                fulfilment,
                (line_refs, component_skus),
                knowledge,
                wishes.get(fulfilment.choice_id),
            )
            for fulfilment in order.fulfilments
        ],
    }


def _choice_document(choice: Choice, order: Order, knowledge: Knowledge) -> dict[str, Any]:
    return {
        "id": choice.id,
        "service": choice.service,
        "status": choice.progress,
        **choice_dates(choice, order, knowledge),
        "lines": [_line_document(line) for line in choice.lines],
    }


def _line_document(line: Line) -> dict[str, Any]:
    document = _counted(line)
    if line.components:
        document["components"] = [
            {"sku": part.sku, "per_kit": part.per_kit, **_counters(part)}
            for part in line.components
        ]
        document["may_ship_apart"] = line.may_ship_apart
    return document


def _counters(line: Line) -> dict[str, Any]:
    return {
        "status": line.status,
        "qty": line.qty,
        "qty_allocated": line.qty_allocated,
        "qty_unsourced": line.qty_unsourced,
        "qty_shipped": line.qty_shipped,
        "qty_cancelled": line.qty_cancelled,
    }


def _counted(line: Line) -> dict[str, Any]:
    return {
        "id": line.id,
        "ref": line.ref,
        "sku": line.sku,
        "status": line.status,
        "qty": line.qty,
        "qty_allocated": line.qty_allocated,
        "qty_unsourced": line.qty_unsourced,
        "qty_shipped": line.qty_shipped,
        "qty_cancelled": line.qty_cancelled,
        "amount_minor": line.amount_minor,
    }


def fulfilment_document(
    fulfilment: Fulfilment,
    names: tuple[dict[str, str], dict[str, str]],
    knowledge: Knowledge,
    zone: str | None = None,
) -> dict[str, Any]:
    """Return a fulfilment as clients see it, with location and line refs.

    `names` are the refs of lines, and the SKUs of those that are a kit's components; `zone` is the
    destination's time zone if it is known.
    """
    return {
        "id": fulfilment.id,
        "choice_id": fulfilment.choice_id,
        "location": knowledge.location_ref(fulfilment.origin_id),
        "status": fulfilment.status,
        **fulfilment_dates(fulfilment, zone, knowledge),
        "cost_minor": fulfilment.cost_minor,
        "distance_m": fulfilment.distance_m,
        "weight_g": fulfilment.weight_g,
        "lines": [_part_document(part, *names) for part in fulfilment.lines],
    }


def _part_document(
    part: FulfilmentLine, line_refs: dict[str, str], component_skus: dict[str, str]
) -> dict[str, Any]:
    if part.line_id in component_skus:
        sku = component_skus[part.line_id]
        return {"line": line_refs[part.line_id], "sku": sku, "qty": part.qty}
    return {"line": line_refs[part.line_id], "qty": part.qty}
