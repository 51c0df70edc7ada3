"""Roots: the entity trees that passes hold, whatever their kind.

Owns loading and locking them with all that rules need (orders with fulfilments and reservations,
entities of other kinds), what expressions may read beside them, and writing them back.

Locks are taken kind by kind, orders first, then by id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.customers.store import NOBODY, views_of_customers
from penstock.db import Tx
from penstock.engine.context import Context, RefusedAt
from penstock.engine.entities import Entity, load_entities, write_entities
from penstock.engine.inbox import Event
from penstock.errors import Refusal
from penstock.fulfilment.store import load_fulfilments, write_fulfilments
from penstock.inventory.store import reservations_of_roots
from penstock.orders.model import Order
from penstock.orders.store import load_orders, write_orders
from penstock.passes import Pass
from penstock.rules.knowledge import Knowledge
from penstock.rules.line_views import add_line_views

Root = Order | Entity


async def load_trees(tx: Tx, order_ids: Sequence[str], lock: str) -> list[Order]:
    """Load orders with fulfilments and reservations; `lock` as in `orders.store.load_orders`."""
    orders = await load_orders(tx, order_ids, lock)
    by_id = {order.id: order for order in orders}
    if not by_id:
        return orders
    for fulfilment in await load_fulfilments(tx, list(by_id)):
        by_id[fulfilment.root_id].fulfilments.append(fulfilment)
    for reservation in await reservations_of_roots(tx, list(by_id)):
        by_id[reservation.root_id].reservations.append(reservation)
    return orders


async def load_roots(
    tx: Tx, knowledge: Knowledge, ids: Mapping[str, Sequence[str]], lock: str
) -> dict[str, Root]:
    """Load roots by kind and id; returns those there are (and nobody holds), by id."""
    orders = await load_trees(tx, ids.get("order", ()), lock)
    others = [one for kind in sorted(ids) if kind != "order" for one in ids[kind]]
    entities = await load_entities(tx, others, lock)
    known = {order.customer_id for order in orders if order.customer_id is not None}
    customers = await views_of_customers(tx, known)
    for order in orders:
        order.customer = customers.get(order.customer_id or "", NOBODY)
        order.channel = knowledge.channel_view(order.channel_id)
    await add_line_views(tx, knowledge, orders)
    for entity in entities:
        entity.customer = NOBODY
        entity.channel = knowledge.channel_view(entity.channel_id)
    return {root.id: root for root in (*orders, *entities)}


def context_of(
    tx: Pass,
    root: Root,
    events: Sequence[Event],
    known: Mapping[RefusedAt, Refusal] | None = None,
) -> Context:
    """Return the context of a root and its events, under the workflows its entities have."""
    if isinstance(root, Order):
        root.asks_hold = bool(events[0].payload.get("holds"))
    return Context(root, tx.knowledge.workflows.by_id, list(events), known)


async def write_roots(tx: Pass, roots: Sequence[Root]) -> None:
    """Write what the pass made of the roots that it holds."""
    orders = [root for root in roots if isinstance(root, Order)]
    await write_orders(tx, orders, tx.now)
    await tx.write_ahead()
    await write_fulfilments(tx, [f for order in orders for f in order.fulfilments])
    await write_entities(tx, [root for root in roots if isinstance(root, Entity)], tx.now)
