"""What rules share about the fulfilments of an order: which one is meant, and moving it on."""

from __future__ import annotations

from typing import Any

from penstock.engine.context import Context
from penstock.errors import Refusal
from penstock.fulfilment.model import Fulfilment
from penstock.orders.model import Order


def move_fulfilment(
    context: Context,
    fulfilment: Fulfilment,
    status: str,
    payload: dict[str, Any] | None = None,
    name: str | None = None,
) -> None:
    """Move a fulfilment to a status, under its workflow if it has one; the stream is told."""
    workflow = context.workflows.get(fulfilment.workflow_id or 0)
    if workflow is not None:
        context.move(fulfilment, workflow, status, payload, name)
        return
    fulfilment.status = status
    context.record(name or f"fulfilment.{status}", "fulfilment", fulfilment.id, payload or {})


def open_fulfilment(context: Context) -> Fulfilment | None:
    """Return the open fulfilment that the event is for, or names; fails the context otherwise.

    Fails with `unknown_fulfilment` or `fulfilment_not_open`.
    """
    order: Order = context.root
    entity = context.entity
    wanted = (
        entity.id if entity.kind == "fulfilment" else context.event.payload.get("fulfilment_id")
    )
    fulfilment = next((f for f in order.fulfilments if f.id == wanted), None)
    if fulfilment is None:
        context.fail(Refusal("unknown_fulfilment", "The order has no such fulfilment."))
    elif not fulfilment.is_open():
        sentence = f"The fulfilment is {fulfilment.status} already."
        context.fail(Refusal("fulfilment_not_open", sentence, status=fulfilment.status))
    else:
        return fulfilment
    return None
