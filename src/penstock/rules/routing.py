"""Routing rules: source (propose), allocate (ask stock), create fulfilments (hand the work out).

Sourcing proposes from the availability index for the whole batch at once; `allocate` asks, and the
deciding transaction gives the plan that was admitted, which may be another than the proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.rule import Rule
from penstock.errors import Refusal
from penstock.fulfilment.model import Fulfilment, FulfilmentLine
from penstock.inventory.held import Hold
from penstock.inventory.model import Answer, Ask, Cause, Reservation
from penstock.orders.carts import Cart
from penstock.orders.model import Choice, Line, Order, count_kits, stock_lines
from penstock.passes import Pass
from penstock.rules.dating import Made, put_dates
from penstock.rules.kits import Ints, kits_of, lines_with_kits
from penstock.rules.limits import claims_of_order
from penstock.sourcing.model import Demand, DemandLine, Plan, Shipment


class Wanted(msgspec.Struct, gc=False):
    """What one demand of an order came to: its choice, the proposal, stock's answer."""

    choice: Choice
    demand: Demand
    plan: Plan
    answer: Answer | None = None


class GivenBack(msgspec.Struct, gc=False):
    """What an order gives back before it asks anew (`withdraw`)."""

    reservations: list[Reservation] = []
    capacity: list[tuple[int, str, date]] = []
    cause: Cause = Cause.UNRESERVE


class Source(Rule, frozen=True):
    """Propose locations for every line that lacks stock, without those that rejected it."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Put what is wanted, with a proposed plan per demand, into each context's memo."""
        knowledge = tx.knowledge
        demands: list[tuple[Context, Choice, Demand]] = []
        for context in contexts:
            context.memo["wanted"] = []
            of_order: list[tuple[Choice, Demand]] = []
            for choice in context.root.choices:
                of_choice = demands_of(context.root, choice, knowledge.products.weight_g)
                of_order += [(choice, demand) for demand in of_choice]
            if "cart" in context.memo:
                of_order = _from_cart(context, of_order)
            demands += [(context, choice, demand) for choice, demand in of_order]
        plans = knowledge.plan([demand for _, _, demand in demands], tx.now)
        for (context, choice, demand), plan in zip(demands, plans, strict=True):
            context.memo["wanted"].append(Wanted(choice, demand, plan))


def demands_of(order: Order, choice: Choice, weight_g: Ints) -> list[Demand]:
    """Return the choice's demands: one per location its lines are pinned to, most often one."""
    by_pin: dict[int | None, list[Line]] = {}
    has_kits = False
    for line in choice.lines:
        if line.is_stocked and line.qty_unsourced > 0:
            has_kits = has_kits or bool(line.components)
            pin = line.pinned_location_id or choice.pickup_location_id
            by_pin.setdefault(pin, []).append(line)
    if not by_pin:
        return []
    excluded: set[int] = set()
    open_parcels = 0
    for fulfilment in order.fulfilments:
        if fulfilment.choice_id == choice.id:
            if fulfilment.status == "rejected":
                excluded.add(fulfilment.origin_id)
            open_parcels += fulfilment.status not in {"rejected", "cancelled"}
    most = None if choice.max_parcels is None else max(choice.max_parcels - open_parcels, 0)
    tier = str(order.customer.get("tier", "standard"))
    return [
        Demand(
            id=choice.id,
            lines=tuple(
                DemandLine(n.id, n.product_id, n.qty_unsourced, int(weight_g[n.product_id]))
                for n in lines
            )
            if not has_kits
            else lines_with_kits(lines, weight_g),
            latitude=choice.destination.latitude,
            longitude=choice.destination.longitude,
            service=choice.service,
            channel_id=order.channel_id,
            excluded_location_ids=frozenset(excluded),
            pinned_location_id=pin,
            max_parcels=most,
            ship_complete=choice.ship_complete,
            tier=tier,
            basket_minor=order.total_minor,
            currency=order.currency,
            kits=kits_of(lines, weight_g) if has_kits else (),
        )
        for pin, lines in by_pin.items()
    ]


def _from_cart(
    context: Context, wanted: Sequence[tuple[Choice, Demand]]
) -> list[tuple[Choice, Demand]]:
    """Give the demands what the order's cart holds; what none of them wants is given back."""
    cart: Cart = context.memo.pop("cart")
    context.memo["cart_used"] = cart
    context.root.cart = {"ref": cart.ref, "status": "ordered"}
    payload = {"cart": cart.ref, "cart_id": cart.id}
    context.record("order.cart_taken", "order", context.root.id, payload)
    left: list[Hold] = list(cart.holds)
    result: list[tuple[Choice, Demand]] = []
    for choice, demand in wanted:
        mine = [] if demand.kits else _held_for(demand, left)
        left = [hold for hold in left if hold not in mine]
        held = tuple(hold.taken_over() for hold in mine)
        result.append((choice, msgspec.structs.replace(demand, held=held)))
    if left:
        back = GivenBack(reservations=[hold.given_back() for hold in left], capacity=[])
        context.memo["given_back"] = back
    return result


def _held_for(demand: Demand, holds: Sequence[Hold]) -> list[Hold]:
    """Return the holds that a demand can use: of its products, at its place if it has one."""
    wanted: dict[int, int] = {}
    for line in demand.lines:
        wanted[line.product_id] = wanted.get(line.product_id, 0) + line.qty
    mine: list[Hold] = []
    for hold in holds:
        is_there = demand.pinned_location_id in {None, hold.location_id}
        if is_there and wanted.get(hold.product_id, 0) > 0:
            wanted[hold.product_id] -= hold.qty
            mine.append(hold)
    return mine


class Allocate(Rule, frozen=True):
    """Ask stock for what was sourced, giving back first what was withdrawn."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})
    asks: ClassVar[bool] = True

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Reserve; sets the lines' counters from the answers. What is not there stays unsourced."""
        asks: list[Ask] = []
        places: list[tuple[Context, Wanted | None]] = []
        for context in contexts:
            back: GivenBack = context.memo.pop("given_back", None) or GivenBack()
            if back.reservations or back.capacity:
                asks.append(
                    Ask(
                        context.root.id,
                        release=back.reservations,
                        release_cause=back.cause,
                        capacity_back=back.capacity,
                    )
                )
                places.append((context, None))
            for wanted in context.memo.get("wanted", ()):
                asks.append(_ask(context.root, wanted))
                places.append((context, wanted))
                if tx.knowledge.limits:
                    _claim(tx, context, wanted, asks[-1])
        answers = await tx.ask(asks)
        for (context, wanted), answer in zip(places, answers, strict=True):
            if wanted is not None:
                wanted.answer = answer
                if answer.refusal is not None:
                    context.fail(answer.refusal)
                _count(context.root, wanted.choice, answer)


def _ask(order: Order, wanted: Wanted) -> Ask:
    return Ask(
        root_id=order.id,
        demand=wanted.demand,
        plan=wanted.plan,
        priority=order.priority,
        promised_at=wanted.choice.promised_at,
    )


def _claim(tx: Pass, context: Context, wanted: Wanted, ask: Ask) -> None:
    """Add what the order claims of limits, in place of its cart; fails with `identity_needed`."""
    cart: Cart | None = context.memo.get("cart_used")
    identity = None if cart is None else cart.identity
    ask.counts_for = [] if cart is None else [cart.id]
    try:
        ask.limits = claims_of_order(tx.knowledge, context.root, wanted.demand, identity, tx.now)
    except Refusal as refusal:
        context.fail(refusal)


def _count(order: Order, choice: Choice, answer: Answer) -> None:
    lines = {line.id: line for line in stock_lines(choice.lines)}
    for reservation in answer.reservations:
        line = lines[reservation.demand_id]
        line.qty_unsourced -= reservation.qty
        line.qty_allocated += reservation.qty
    count_kits(choice.lines)
    order.reservations.extend(answer.reservations)


class CreateFulfilments(Rule, frozen=True):
    """Create a fulfilment for each shipment that was admitted."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Add the fulfilments to the order and record `fulfilment.created` for each."""
        made: list[Made] = []
        for context in contexts:
            order: Order = context.root
            for wanted in context.memo.pop("wanted", ()):
                answer = wanted.answer
                if answer is None or answer.plan is None:
                    continue
                context.memo.setdefault("decisions", []).append((wanted.choice.id, answer.plan))
                for place, shipment in enumerate(answer.plan.shipments):
                    fulfilment = _fulfilment(tx, order, wanted, shipment)
                    fulfilment.id = answer.fulfilment_ids[place]
                    fulfilment.capacity_day = answer.capacity_days[place]
                    order.fulfilments.append(fulfilment)
                    payload = {"location_id": fulfilment.origin_id, "choice_id": wanted.choice.id}
                    context.record("fulfilment.created", "fulfilment", fulfilment.id, payload)
                    made.append(Made(context, wanted.choice, fulfilment, shipment.distance_km))
        put_dates(tx, made, contexts)


def _fulfilment(tx: Pass, order: Order, wanted: Wanted, shipment: Shipment) -> Fulfilment:
    product_of = {line.line_id: line.product_id for line in wanted.demand.lines}
    for kit in wanted.demand.kits:
        product_of |= {line_id: product_id for line_id, product_id, _ in kit.parts}
    service = wanted.choice.service
    workflow = tx.knowledge.workflow_of("fulfilment", service, order.channel_id)
    return Fulfilment(
        id="",
        root_id=order.id,
        choice_id=wanted.choice.id,
        ordinal=len(order.fulfilments) + 1,
        service=service,
        origin_id=shipment.location_id,
        status="created" if workflow is None else workflow.initial,
        workflow_id=None if workflow is None else workflow.id,
        lines=[
            FulfilmentLine(part.line_id, product_of[part.line_id], part.qty)
            for part in shipment.parts
        ],
        created_at=tx.now,
        cost_minor=shipment.cost_minor,
        distance_m=round(shipment.distance_km * 1000),
        weight_g=shipment.weight_g,
    )
