"""Finding the entity that a client names, by id or by its ref, and the root that guards it.

Reads only: whoever changes something locks the root by its id.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.db import Tx, uuid_array
from penstock.engine.entities import SQL as ENGINE_SQL
from penstock.errors import Refusal
from penstock.fulfilment.store import SQL as FULFILMENT_SQL
from penstock.ids import parse_id
from penstock.orders.store import SQL as ORDERS_SQL
from penstock.rules.knowledge import Knowledge
from penstock.rules.roots import Root, load_roots

INSIDE_ORDERS = {
    "fulfilment": FULFILMENT_SQL.root_of_fulfilments,
    "choice": ORDERS_SQL.root_of_choices,
}


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """An entity as a client names it: by id, or by ref (of an order: in its channel)."""

    kind: str
    id: str | None = None
    ref: str | None = None
    channel: str | None = None


class Found(msgspec.Struct, frozen=True):
    """An entity that is there, and its root."""

    root_kind: str
    root_id: str
    entity: str
    entity_id: str


async def find_entity(tx: Tx, knowledge: Knowledge, named: Named) -> Found:
    """Find an entity; refuses `unknown_order`, `unknown_entity`, `entity_needed`, `invalid_id`."""
    if named.id is None and named.ref is None:
        raise Refusal("entity_needed", "Name the entity by `id`, or by `ref`.", field="entity")
    if named.kind in INSIDE_ORDERS:
        inside = parse_id(named.id or str(named.ref))
        rows = await tx.fetch(INSIDE_ORDERS[named.kind], (uuid_array([inside]),))
        if not rows:
            raise _unknown(named)
        return Found("order", rows[0][1], named.kind, inside)
    if named.id is not None:
        root_id = parse_id(named.id)
        return Found(named.kind, root_id, named.kind, root_id)
    keys: tuple[Any, ...]
    if named.kind == "order":
        if named.channel is None:
            raise Refusal("channel_needed", "An order's ref is looked up in a channel.")
        keys = ([knowledge.channel_id(named.channel)], [named.ref])
        rows = await tx.fetch(ORDERS_SQL.find_refs, keys)
    else:
        keys = ([named.kind], [named.ref])
        rows = await tx.fetch(ENGINE_SQL.find_entities, keys)
    if not rows:
        raise _unknown(named)
    return Found(named.kind, rows[0][2], named.kind, rows[0][2])


async def read_root(tx: Tx, knowledge: Knowledge, found: Found) -> Root:
    """Read the root of an entity, unlocked; refuses `unknown_order`, `unknown_entity`."""
    roots = await load_roots(tx, knowledge, {found.root_kind: [found.root_id]}, "read")
    if found.root_id not in roots:
        raise _unknown(Named(found.entity, found.entity_id))
    return roots[found.root_id]


def _unknown(named: Named) -> Refusal:
    which = named.id or named.ref
    if named.kind == "order":
        where = f" in channel {named.channel!r}" if named.channel else ""
        return Refusal("unknown_order", f"There is no order {which!r}{where}.")
    return Refusal("unknown_entity", f"There is no {named.kind} {which!r}.", kind=named.kind)
