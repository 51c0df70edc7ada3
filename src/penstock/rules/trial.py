"""Trying a rule by itself: one order or entity, one event, no database.

For the tests of those who write rules. What a rule does to the context is there to be looked at
afterwards: status, attributes, `emitted`, `to_post`, `changes`, `notes`, `refusal`. A rule that
reads the database or asks stock is tried in a workflow instead (`penstock workflow test`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from penstock.customers.store import NOBODY
from penstock.engine.compiled import Workflow
from penstock.engine.context import Context
from penstock.engine.entities import Entity
from penstock.engine.inbox import Event
from penstock.engine.rule import Rule
from penstock.errors import invariant
from penstock.ids import new_id
from penstock.orders.model import Choice, Destination, Line, Order
from penstock.passes import Pass

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WORKFLOW_ID = 1


def order_to_try(
    *, total_minor: int = 2_500, tier: str = "standard", attributes: Mapping[str, Any] | None = None
) -> Order:
    """Return an order of one line and one choice, for a customer of a tier."""
    order_id, choice_id = new_id(), new_id()
    line = Line(new_id(), choice_id, 1, "1", 1, "SKU-1", 1, True, total_minor, b"[]")  # noqa: FBT003
    choice = Choice(choice_id, 1, "deliver", Destination(51.38, -2.36), [line])
    return Order(
        id=order_id,
        channel_id=1,
        ref="A-1",
        type="trial",
        workflow_id=WORKFLOW_ID,
        status="created",
        currency="GBP",
        placed_at=NOON,
        created_at=NOON,
        choices=[choice],
        total_minor=total_minor,
        attributes=dict(attributes or {}),
        holds=[],
        fulfilments=[],
        reservations=[],
        customer=NOBODY | {"ref": "C-1", "tier": tier},
        channel={"ref": "web", "settings": {}},
    )


def entity_to_try(kind: str, *, attributes: Mapping[str, Any] | None = None) -> Entity:
    """Return an entity of any kind of your own."""
    return Entity(
        id=new_id(),
        kind=kind,
        ref="1",
        type="trial",
        workflow_id=WORKFLOW_ID,
        status="created",
        created_at=NOON,
        attributes=dict(attributes or {}),
        channel={"ref": "web", "settings": {}},
    )


class Trial(msgspec.Struct):
    """What a rule is tried with: the event that is met, and the statuses that are declared."""

    event: str = "order.created"
    payload: dict[str, Any] = {}
    statuses: Sequence[str] = ()
    now: datetime = NOON


def try_rule(rule: Rule, root: Order | Entity, trial: Trial | None = None) -> Context:
    """Apply a rule to one root that meets an event; returns the context with what came of it."""
    return try_batch(rule, [root], trial)[0]


def try_batch(
    rule: Rule, roots: Sequence[Order | Entity], trial: Trial | None = None
) -> list[Context]:
    """Apply a rule to several roots at once, as a pass does."""
    trial = trial or Trial()
    invariant(not rule.asks, "a rule that asks stock is tried in a workflow")
    named = {"created", *trial.statuses, *filter(None, [rule.outcomes().status])}
    contexts: list[Context] = []
    for root in roots:
        kind = root.kind
        workflow = Workflow(
            WORKFLOW_ID, "trial", 1, kind, "trial", "created", dict.fromkeys(named, "open"), {}
        )
        event = Event(kind, root.id, kind, root.id, trial.event, dict(trial.payload))
        contexts.append(Context(root, {WORKFLOW_ID: workflow}, [event]))
    # A pass without a connection: whoever uses the database finds none.
    tx = Pass(cast("Any", None), "", new_id(), trial.now)
    asyncio.run(rule.apply(tx, contexts))
    return contexts
