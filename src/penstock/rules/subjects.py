"""Telling entities that stand for something kept elsewhere: positions, locations, products.

Owns when they are told: at named changes (a location is switched off, a product or a control is
changed), and when more is promised of a position than is there; never per row of a feed (crossed
thresholds: `crossings.py`). Their rows in `entity` are made when they are first told something;
nothing is written for a kind that no workflow is active for, or an event that it does not name.
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
from penstock.records import Result

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
        if workflow is not None and thing.name in workflow.rulesets:
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
        workflow = workflows.find(thing.kind, thing.type, ())
        if entity is not None and workflow is not None and thing.name in workflow.rulesets:
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


async def tell_changes(
    tx: Tx, workflows: Workflows, kind: str, changes: Sequence[tuple[str, Result]], now: datetime
) -> None:
    """Tell products or controls what became of them, by ref: `created`, `changed`, `removed`.

    Those that were refused, or are as they were, are told nothing.
    """
    if not workflows.handles(kind):
        return
    names = {"created": "created", "updated": "changed", "removed": "removed"}
    told = [(ref, names[str(result)]) for ref, result in changes if str(result) in names]
    await tell(tx, workflows, [About(kind, r, "default", f"{kind}.{n}", {}) for r, n in told], now)


async def tell_crossings(tx: Pass, knowledge: Knowledge) -> None:
    """Tell the positions of which this pass has left less than is promised: `position.short`.

    Running out and coming back are told by `crossings.py`, once for all processes.
    """
    if tx.entries and knowledge.workflows.handles("position"):
        await tell(tx, knowledge.workflows, _shorts(tx.entries, knowledge), tx.now)


def _shorts(parts: Sequence[Entries], knowledge: Knowledge) -> list[About]:
    """Compare each position before its first entry with what it is after its last."""
    ids = np.concatenate([part.position_ids for part in parts])
    on_hands = np.concatenate([part.on_hands for part in parts])
    reserveds = np.concatenate([part.reserveds for part in parts])
    earlier_on_hands = on_hands - np.concatenate([part.on_hand_deltas for part in parts])
    earlier_reserveds = reserveds - np.concatenate([part.reserved_deltas for part in parts])
    _, first = np.unique(ids, return_index=True)
    last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
    was_short = earlier_reserveds[first] > np.maximum(earlier_on_hands[first], 0)
    is_short = reserveds[last] > np.maximum(on_hands[last], 0)
    found: list[About] = []
    crossed = last[is_short & ~was_short].tolist()
    if not crossed:
        return found
    products = np.concatenate([part.product_ids for part in parts])
    locations = np.concatenate([part.location_ids for part in parts])
    for at in crossed:
        sku = knowledge.products.skus[int(products[at])] or str(products[at])
        location = knowledge.location_ref(int(locations[at]))
        lacking = int(reserveds[at]) - max(int(on_hands[at]), 0)
        payload = {"sku": sku, "location": location, "available": 0, "lacking": lacking}
        found.append(About("position", f"{sku}@{location}", "default", "position.short", payload))
    return found
