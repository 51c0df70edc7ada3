"""Making the trees of new orders and entities: checked, refs resolved to ids, amounts computed.

Pure: from what was asked and what the process knows, without the database. So trees can be made
ahead, while an earlier pass commits; a pass takes one that was made ahead only if nothing of what
the process knows has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from penstock.access.attribute_types import check_attributes
from penstock.customers.store import NOBODY, Customer
from penstock.engine.entities import Entity, EntityInput
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.orders.intake import (
    ChoiceInput,
    LineInput,
    OrderInput,
    amounts,
    choices_of,
    total_minor,
)
from penstock.orders.model import Choice, Destination, Line, Order
from penstock.rules.dating import wish_of
from penstock.rules.kits import explode

if TYPE_CHECKING:
    from penstock.rules.knowledge import Knowledge

NOWHERE = Destination(latitude=0.0, longitude=0.0)
# Kinds that have tables and doors of their own, or live inside an order.
KEPT_ELSEWHERE = frozenset(
    {"order", "choice", "fulfilment", "location", "network", "position", "product", "control"}
)


class MadeAhead(msgspec.Struct):
    """A tree made before its pass, and the revisions it was made from."""

    order: Order
    revisions: Mapping[str, int]


def make_ahead(knowledge: Knowledge, asked: OrderInput, now: datetime) -> MadeAhead:
    """Make an order's tree ahead of its pass; refuses as `make_order` does."""
    revisions = knowledge.revisions
    return MadeAhead(make_order(knowledge, asked, {}, now), revisions)


def adopt(made: MadeAhead, knowledge: Knowledge, asked: OrderInput, now: datetime) -> Order | None:
    """Return a tree made ahead as of now; None if what it was made from is known anew since."""
    if made.revisions is not knowledge.revisions:
        return None
    made.order.created_at = now
    made.order.placed_at = asked.placed_at or now
    return made.order


def make_order(
    knowledge: Knowledge,
    asked: OrderInput,
    customers: Mapping[str, Customer],
    now: datetime,
) -> Order:
    """Check an order and make its tree; `customers` are by ref.

    Refusals: those of `orders.intake`, and what `Knowledge` does not know.
    """
    choices = choices_of(asked)
    channel_id = knowledge.channel_id(asked.channel)
    if knowledge.attribute_types:
        check_attributes(knowledge.attribute_types.get("order", {}), asked.attributes)
    customer: Customer | None = None
    if asked.customer is not None:
        customer = customers.get(asked.customer)
        if customer is None:
            raise Refusal("unknown_customer", f"There is no customer {asked.customer!r}.")
    order = Order(
        id=new_id(),
        channel_id=channel_id,
        ref=asked.ref,
        type=asked.type,
        workflow_id=0,
        status="",
        currency=asked.currency or knowledge.currency(channel_id),
        placed_at=asked.placed_at or now,
        created_at=now,
        choices=[],
        total_minor=0,
        customer_id=customer.id if customer else None,
        priority=asked.priority,
        attributes=asked.attributes,
        customer=customer.view if customer else NOBODY,
        channel=knowledge.channel_view(channel_id),
        holds=[],
        fulfilments=[],
        reservations=[],
    )
    workflow = knowledge.workflow_for("order", asked.type, channel_id)
    order.workflow_id, order.status = workflow.id, workflow.initial
    for ordinal, choice in enumerate(choices, start=1):
        order.choices.append(_make_choice(knowledge, order, ordinal, choice))
    _check_line_refs(order)
    return order


def _make_choice(knowledge: Knowledge, order: Order, ordinal: int, asked: ChoiceInput) -> Choice:
    to = asked.destination
    destination = NOWHERE
    if to is not None:
        destination = Destination(
            to.latitude, to.longitude, to.name, to.address_lines, to.town, to.postcode, to.country
        )
    choice = Choice(
        id=new_id(),
        ordinal=ordinal,
        service=asked.service,
        destination=destination,
        lines=[],
        ship_complete=asked.ship_complete,
        max_parcels=asked.max_parcels,
        promised_at=asked.promised_at,
        wish=wish_of(knowledge, asked),
        slot_at=asked.slot_at,
    )
    workflow = knowledge.workflow_of("choice", asked.service, order.channel_id)
    if workflow is not None:
        choice.workflow_id, choice.status = workflow.id, workflow.initial
    if asked.pickup_location is not None:
        choice.pickup_location_id = knowledge.location_id(asked.pickup_location)
        if to is None:  # it goes no farther than where it is collected
            choice.destination = _there(knowledge, choice.pickup_location_id)
    before = sum(len(other.lines) for other in order.choices)
    for place, line in enumerate(asked.lines, start=before + 1):
        choice.lines.append(_make_line(knowledge, order, choice, place, line))
    return choice


def _there(knowledge: Knowledge, location_id: int) -> Destination:
    directory = knowledge.directory
    row = directory.row_of[location_id]
    return Destination(float(directory.latitudes[row]), float(directory.longitudes[row]))


def _make_line(
    knowledge: Knowledge, order: Order, choice: Choice, ordinal: int, asked: LineInput
) -> Line:
    product_id = knowledge.product_id(order.channel_id, asked.sku)
    amount_minor, charges = amounts(asked, order.currency)
    order.total_minor += total_minor(amount_minor, asked)
    line = Line(
        id=new_id(),
        choice_id=choice.id,
        ordinal=ordinal,
        ref=asked.ref or str(ordinal),
        product_id=product_id,
        sku=asked.sku,
        qty=asked.qty,
        is_stocked=bool(knowledge.products.is_stocked[product_id]),
        amount_minor=amount_minor,
        charges=charges,
        parent_line_id=_parent(order, choice, asked.parent_ref),
    )
    if asked.location is not None:
        line.pinned_location_id = knowledge.location_id(asked.location)
    kit = knowledge.products.kit(product_id)
    if kit is not None:
        explode(knowledge.products, line, kit)
    for part in line.components:
        part.pinned_location_id = line.pinned_location_id
        _begin(part, asked.state)
    _begin(line, asked.state)
    return line


def _begin(line: Line, state: str) -> None:
    """Set the counters of a new line: open, or reserved or shipped elsewhere already."""
    if state == "shipped":
        line.qty_shipped = line.qty
    elif state == "reserved" or not line.is_stocked:
        line.qty_allocated = line.qty
    else:
        line.qty_unsourced = line.qty


def _parent(order: Order, choice: Choice, parent_ref: str | None) -> str | None:
    if parent_ref is None:
        return None
    for line in (*order.lines(), *choice.lines):
        if line.ref == parent_ref:
            return line.id
    raise Refusal(
        "unknown_parent_line", f"No line {parent_ref!r} stands before this one.", field="parent_ref"
    )


def _check_line_refs(order: Order) -> None:
    refs = [line.ref for line in order.lines()]
    if len(set(refs)) != len(refs):
        raise Refusal("invalid_order", "Two lines have the same ref.", field="ref")


def make_entity(knowledge: Knowledge, asked: EntityInput, now: datetime) -> Entity:
    """Check an entity of another kind and make it; refuses `wrong_kind`, `no_workflow`."""
    if asked.kind in KEPT_ELSEWHERE:
        raise Refusal("wrong_kind", f"A {asked.kind} is not made as an entity.", kind=asked.kind)
    check_attributes(knowledge.attribute_types.get(asked.kind, {}), asked.attributes)
    channel_id = knowledge.channel_id(asked.channel) if asked.channel is not None else None
    workflow = knowledge.workflow_for(asked.kind, asked.type, channel_id)
    return Entity(
        id=new_id(),
        kind=asked.kind,
        ref=asked.ref,
        type=asked.type,
        workflow_id=workflow.id,
        status=workflow.initial,
        created_at=now,
        channel_id=channel_id,
        parent_kind=asked.parent_kind,
        parent_id=asked.parent_id,
        attributes=asked.attributes,
        customer=NOBODY,
        channel=knowledge.channel_view(channel_id),
    )
