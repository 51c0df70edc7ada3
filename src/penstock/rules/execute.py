"""Executing events of orders in a pass: load and lock roots, run the engine, write what came of it.

The bridge between the engine, which knows no orders, and the contexts, which know no engine.
Refused contexts are never written: the caller runs the pass again without them, so that nothing
of them, not even a moved unit, stays behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.db import Tx, copy_text
from penstock.engine import inbox
from penstock.engine.context import Context
from penstock.engine.inbox import Event
from penstock.engine.run import run_events
from penstock.engine.traces import write_traces
from penstock.errors import Refusal
from penstock.events.stream import append_changes
from penstock.fulfilment.store import load_fulfilments, write_fulfilments
from penstock.inventory.decide import decide
from penstock.inventory.store import reservations_of_roots
from penstock.orders.model import Order
from penstock.orders.store import load_orders, write_orders
from penstock.passes import Pass

_encode = msgspec.json.Encoder().encode


class RefusedInPassError(Exception):
    """Contexts were refused: the pass is rolled back and run again without their events.

    `refusals` are by the id of the event from outside that was refused.
    """

    def __init__(self, refusals: Mapping[str, Refusal]) -> None:
        super().__init__(f"{len(refusals)} refused")
        self.refusals = dict(refusals)


async def load_trees(tx: Tx, order_ids: Sequence[str], lock: str) -> list[Order]:
    """Load orders with fulfilments and reservations; `lock` as in `orders.store.load_orders`."""
    orders = await load_orders(tx, order_ids, lock)
    by_id = {order.id: order for order in orders}
    for fulfilment in await load_fulfilments(tx, list(by_id)):
        by_id[fulfilment.root_id].fulfilments.append(fulfilment)
    if by_id:
        for reservation in await reservations_of_roots(tx, list(by_id)):
            by_id[reservation.root_id].reservations.append(reservation)
    return orders


def context_of(tx: Pass, order: Order, events: Sequence[Event]) -> Context:
    """Return the context of an order and its events, under the workflow it is pinned to."""
    order.facts |= {
        "channel": tx.knowledge.channels.refs[order.channel_id],
        "asks_hold": bool(events[0].payload.get("holds")),
    }
    return Context("order", order, tx.knowledge.workflows.by_id[order.workflow_id], list(events))


async def run_and_write(tx: Pass, contexts: Sequence[Context]) -> None:
    """Run the contexts' events and write everything; raises `RefusedInPassError` for refusals.

    Events in a context's `deferred` were not run and are the caller's to keep.
    """
    terms = tx.knowledge.terms(tx.now)

    async def decide_asks(asks: list[Any]) -> list[Any]:
        return await decide(tx, asks, terms)

    await run_events(tx, contexts, decide_asks)
    refusals = {c.origin.id: c.refusal for c in contexts if c.refusal is not None}
    if refusals:
        raise RefusedInPassError(refusals)
    await write_orders(tx, [context.root for context in contexts])
    await tx.write_ahead()
    await write_fulfilments(tx, [f for context in contexts for f in context.root.fulfilments])
    await tx.write_ahead()
    await _write_decisions(tx, contexts)
    await tx.write_ahead()
    await append_changes(tx, [change for context in contexts for change in context.changes])
    await tx.write_ahead()
    await write_traces(tx, contexts)
    await tx.write_ahead()
    await inbox.post(tx, [event for context in contexts for event in context.to_post], tx.now)


async def _write_decisions(tx: Pass, contexts: Sequence[Context]) -> None:
    lines = [
        f"{tx.id}\t{context.root.id}\t{choice_id}\t{copy_text(_encode(plan.explanation).decode())}"
        for context in contexts
        for choice_id, plan in context.memo.get("decisions", ())
    ]
    tx.copy_in("sourcing_decision", "pass_id, order_id, choice_id, explanation", lines)
