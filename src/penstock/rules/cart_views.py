"""A cart as clients see it: what is held where and until when, and what lacks. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from penstock.orders.carts import Cart

if TYPE_CHECKING:
    from penstock.rules.knowledge import Knowledge


def cart_document(cart: Cart, knowledge: Knowledge, now: datetime) -> dict[str, Any]:
    """Return a cart as clients see it, with what it holds at an instant."""
    state = cart.state(now)
    holds = cart.holds if state == "held" else []
    lines = {line.id: line for line in cart.document.lines}
    held: dict[str, int] = dict.fromkeys(lines, 0)
    for hold in holds:
        held[hold.line_id] += hold.qty
    stocked = knowledge.products.is_stocked
    pickup = cart.document.pickup_location_id
    return {
        "id": cart.id,
        "channel": knowledge.channels.refs[cart.channel_id],
        "ref": cart.ref,
        "status": state,
        "expires_at": cart.expires_at,
        "all_or_nothing": cart.all_or_nothing,
        "tier": cart.tier,
        "order_id": cart.order_id,
        "service": cart.document.service,
        "pickup_location": None if pickup is None else knowledge.location_ref(pickup),
        "lines": [
            {"ref": line.ref, "sku": line.sku, "qty": line.qty, "qty_held": held[line.id]}
            for line in lines.values()
        ],
        "held": [
            {
                "line": lines[hold.line_id].ref,
                "sku": lines[hold.line_id].sku,
                "location": knowledge.location_ref(hold.location_id),
                "qty": hold.qty,
            }
            for hold in holds
        ],
        "lacks": [
            {"line": line.ref, "sku": line.sku, "qty": line.qty - held[line.id]}
            for line in lines.values()
            if stocked[line.product_id] and held[line.id] < line.qty
        ],
        "created_at": cart.created_at,
    }
