"""Telling entities that stand for something kept elsewhere: positions, locations, products.

Owns when they are told: at named changes (a location is switched off) and when a position's
availability crosses zero, never per row of a feed. Their rows in `entity` are made when they are
first told something; nothing is written for a kind that no workflow is active for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from penstock.db import Tx
from penstock.engine import inbox
from penstock.engine.entities import Entity, claim_entities
from penstock.engine.inbox import Event
from penstock.engine.workflows import Workflows
from penstock.ids import new_id
from penstock.inventory.ledger import Entries
from penstock.network.model import SwitchInput

if TYPE_CHECKING:
    from penstock.passes import Pass
    from penstock.rules.knowledge import Knowledge


class About(msgspec.Struct):
    """An event for the entity of a kind and ref; `type` chooses its workflow."""

    kind: str
    ref: str
    type: str
    name: str
    payload: dict[str, Any]


async def tell(tx: Tx, workflows: Workflows, things: Sequence[About], now: datetime) -> None:
    """Post events to entities, made where they lack; kinds without a workflow are left out."""
    entities: dict[tuple[str, str], Entity] = {}
    for thing in things:
        workflow = workflows.find(thing.kind, thing.type, ())
        if workflow is not None:
            entities.setdefault(
                (thing.kind, thing.ref),
                Entity(
                    id=new_id(),
                    kind=thing.kind,
                    ref=thing.ref,
                    type=thing.type,
                    workflow_id=workflow.id,
                    status=workflow.initial,
                    created_at=now,
                ),
            )
    holders = await claim_entities(tx, list(entities.values()))
    events: list[Event] = []
    for thing in things:
        entity = entities.get((thing.kind, thing.ref))
        if entity is not None:
            held = holders[entity.id]
            events.append(Event(thing.kind, held, thing.kind, held, thing.name, thing.payload))
    await inbox.post(tx, events, now)


async def tell_switches(
    tx: Tx, workflows: Workflows, kind: str, switches: Sequence[SwitchInput], now: datetime
) -> None:
    """Tell locations or networks which of their services were switched, and why."""
    things = [
        About(
            kind,
            one.ref,
            "default",
            f"{kind}.{'switched_on' if one.is_on else 'switched_off'}",
            {"service": one.service, "reason": one.reason},
        )
        for one in switches
    ]
    await tell(tx, workflows, things, now)


async def tell_crossings(tx: Pass, knowledge: Knowledge) -> None:
    """Tell the positions whose availability this pass has taken to zero, or from it."""
    if tx.entries and knowledge.workflows.handles("position"):
        await tell(tx, knowledge.workflows, _crossings(tx.entries, knowledge), tx.now)


def _crossings(parts: Sequence[Entries], knowledge: Knowledge) -> list[About]:
    """Compare each position's availability before its first entry with that after its last."""
    ids = np.concatenate([part.position_ids for part in parts])
    after = np.concatenate([part.on_hands - part.reserveds for part in parts])
    moved = np.concatenate([part.on_hand_deltas - part.reserved_deltas for part in parts])
    products = np.concatenate([part.product_ids for part in parts])
    locations = np.concatenate([part.location_ids for part in parts])
    _, first = np.unique(ids, return_index=True)
    last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
    was = (after - moved)[first] > 0
    now = after[last] > 0
    found: list[About] = []
    for place in np.flatnonzero(was != now).tolist():
        at = last[place]
        sku = knowledge.products.skus[int(products[at])] or str(products[at])
        location = knowledge.location_ref(int(locations[at]))
        name = "position.back_in_stock" if now[place] else "position.out_of_stock"
        payload = {"sku": sku, "location": location, "available": max(int(after[at]), 0)}
        found.append(About("position", f"{sku}@{location}", "default", name, payload))
    return found
