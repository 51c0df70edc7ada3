"""Carts in a pass: holding, extending and releasing them, and handing them to orders.

Owns what carts do in the pass that decides orders too: claimed and locked after the roots of
orders, in one sorted statement, and decided with everybody's asks. A cart that is held anew keeps
where it is what it still wants; an order that names a cart takes over what that holds.

Invariant: of a cart's units none is free for others between the cart and its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from penstock.customers.store import Customer, find_customers
from penstock.engine.context import Context
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.held import Hold, holds_of_carts
from penstock.inventory.limits import uncount_roots
from penstock.inventory.model import Answer, Ask, ReservationKind
from penstock.orders.cart_store import (
    Key,
    claim_carts,
    drop_carts,
    lock_carts,
    mark_ordered,
    write_carts,
)
from penstock.orders.carts import (
    Cart,
    CartDocument,
    CartInput,
    CartLine,
    check_cart,
    check_minutes,
)
from penstock.orders.model import Destination
from penstock.passes import Pass
from penstock.rules.cart_views import cart_document
from penstock.rules.limits import Counted, claims_of, identity_of, quotas_of
from penstock.sourcing.model import Demand, DemandLine, Leg, Part, Plan, Shipment

_encode = msgspec.json.Encoder().encode
_FIRST_EVENT = "order.created"
NOWHERE = Destination(latitude=0.0, longitude=0.0)


class NewHold(msgspec.Struct):
    """A cart to hold, or to hold anew, with the idempotency key it came with."""

    cart: CartInput
    key: str | None = None

    def named(self) -> tuple[str, str]:
        """Return channel and ref of the cart."""
        return self.cart.channel, self.cart.ref


class CartChange(msgspec.Struct):
    """A cart to extend by minutes from now, or to release."""

    channel: str
    ref: str
    verb: Literal["extend", "release"]
    minutes: int | None = None
    key: str | None = None

    def named(self) -> tuple[str, str]:
        """Return channel and ref of the cart."""
        return self.channel, self.ref


CartWork = NewHold | CartChange


class Pending(msgspec.Struct):
    """What is asked of one cart, with the place of its item."""

    place: int
    cart: Cart
    ask: Ask
    item: CartWork


class Holding(msgspec.Struct):
    """The carts of a pass: items by place, their results; `later` are places for another pass."""

    asked: dict[int, CartWork]
    results: dict[int, bytes | Refusal] = {}
    later: set[int] = set()
    pending: list[Pending] = []
    unwanted: list[str] = []
    contexts: list[Context] = []
    is_decided: bool = False


async def meet_carts(
    tx: Pass, contexts: Sequence[Context], holding: Holding | None
) -> Holding | None:
    """Lock the carts that orders name and items are about; None where there are none.

    Orders find theirs in the memo; what items ask is in `pending`.
    """
    naming = [one for one in contexts if one.event.name == _FIRST_EVENT and _named(one)]
    if holding is None or not holding.asked:
        if not naming:
            return None
        holding = Holding({})
    holding.contexts = naming
    by_order = {_key_of(context) for context in naming}
    places = _places(tx, holding, by_order)
    new = [
        (new_id(), key)
        for key, place in places.items()
        if isinstance(holding.asked[place], NewHold)
    ]
    made = await claim_carts(tx, new, tx.now)
    carts = await lock_carts(tx, sorted({*places, *by_order}), made)
    known = [cart.id for cart in carts.values() if not cart.is_new]
    by_id = {cart.id: cart for cart in carts.values()}
    for hold in await holds_of_carts(tx, known, tx.now) if known else ():
        by_id[hold.root_id].holds.append(hold)
    _hand_to_orders(tx, naming, carts)
    await _prepare(tx, holding, places, carts)
    return holding


def _named(context: Context) -> str | None:
    ref = context.event.payload.get("cart")
    return ref if isinstance(ref, str) else None


def _key_of(context: Context) -> Key:
    return context.root.channel_id, _named(context) or ""


def _places(tx: Pass, holding: Holding, by_order: set[Key]) -> dict[Key, int]:
    """Return the place of the one item that is about each cart in this pass."""
    places: dict[Key, int] = {}
    for place, item in sorted(holding.asked.items()):
        channel, ref = item.named()
        try:
            key = (tx.knowledge.channel_id(channel), ref)
            if "\0" in ref:
                raise unknown_cart(ref)
        except Refusal as refusal:
            holding.results[place] = refusal
            continue
        if key in by_order or key in places:
            holding.later.add(place)
        else:
            places[key] = place
    return dict(sorted(places.items()))


def _hand_to_orders(tx: Pass, naming: Sequence[Context], carts: Mapping[Key, Cart]) -> None:
    """Give each order the cart it names; the first of two gets it, if it is held."""
    given: set[Key] = set()
    for context in naming:
        key = _key_of(context)
        cart = carts.get(key)
        state = "unknown" if cart is None else cart.state(tx.now)
        if key in given:
            state = "ordered"
        elif cart is not None and state == "held":
            context.memo["cart"] = cart
            given.add(key)
            continue
        context.root.cart = {"ref": key[1], "status": state}
        payload = {"cart": key[1], "status": state}
        context.record("order.cart_missed", "order", context.root.id, payload)


async def _prepare(
    tx: Pass, holding: Holding, places: Mapping[Key, int], carts: Mapping[Key, Cart]
) -> None:
    """Turn items into asks; what cannot be asked is a result at once."""
    asked = [(key, place, holding.asked[place]) for key, place in places.items()]
    holds = [item.cart for _, _, item in asked if isinstance(item, NewHold)]
    customers = await find_customers(tx, sorted({one.customer for one in holds if one.customer}))
    await _learn_skus(tx, holds)
    drafts: list[tuple[int, CartWork, Cart, Demand]] = []
    for key, place, item in asked:
        cart = carts.get(key)
        try:
            if cart is None:
                raise unknown_cart(key[1])
            if isinstance(item, NewHold):
                drafts.append((place, item, *_drafted(tx, item.cart, cart, customers)))
            else:
                _change(tx, holding, (place, item, cart))
        except Refusal as refusal:
            holding.results[place] = refusal
            if cart is not None and cart.is_new:
                holding.unwanted.append(cart.id)
    demands = [draft[3] for draft in drafts]
    plans = tx.knowledge.plan(demands, tx.now) if demands else []
    for (place, item, cart, demand), plan in zip(drafts, plans, strict=True):
        try:
            ask = _ask(tx, cart, demand, plan)
        except Refusal as refusal:
            holding.results[place] = refusal
            if cart.is_new:
                holding.unwanted.append(cart.id)
        else:
            holding.pending.append(Pending(place, cart, ask, item))


async def _learn_skus(tx: Pass, carts: Sequence[CartInput]) -> None:
    """Ask the database once for SKUs that are not known yet: they may have been made since."""
    knowledge = tx.knowledge
    lacking: dict[int, set[str]] = {}
    for cart in carts:
        try:
            catalogue_id = knowledge.channels.catalogue_id(knowledge.channel_id(cart.channel))
        except Refusal:
            continue
        known = knowledge.products.by_sku(catalogue_id)
        skus = {line.sku for line in cart.lines if line.sku not in known}
        if skus:
            lacking.setdefault(catalogue_id, set()).update(skus)
    for catalogue_id, skus in lacking.items():
        await knowledge.products.resolve(tx, catalogue_id, sorted(skus))


def _drafted(
    tx: Pass, asked: CartInput, cart: Cart, customers: Mapping[str, Customer]
) -> tuple[Cart, Demand]:
    """Return the cart as it is to be, with what it is to hold; the one that is there stays."""
    check_cart(asked)
    if cart.status == "ordered":
        raise _ordered(cart)
    knowledge = tx.knowledge
    settings = knowledge.channel_view(cart.channel_id)["settings"]
    minutes = check_minutes(asked.minutes, settings)
    customer = customers.get(asked.customer) if asked.customer is not None else None
    if asked.customer is not None and customer is None:
        raise Refusal("unknown_customer", f"There is no customer {asked.customer!r}.")
    lines = [
        CartLine(
            new_id(), one.ref or str(n), one.sku, knowledge.product_id(cart.channel_id, one.sku),
            one.qty,
        )
        for n, one in enumerate(asked.lines, start=1)
    ]  # fmt: skip
    to = asked.destination
    at = asked.pickup_location
    document = CartDocument(
        service=asked.service,
        destination=NOWHERE
        if to is None
        else msgspec.convert(msgspec.to_builtins(to), Destination),
        lines=lines,
        pickup_location_id=None if at is None else knowledge.location_id(at),
        max_parcels=asked.max_parcels,
    )
    customer_id = customer.id if customer else None
    signs = {"customer": customer_id, "email": asked.email, "session": asked.session}
    _check_no_kits(tx, lines)
    if not any(knowledge.products.is_stocked[line.product_id] for line in lines):
        raise Refusal("invalid_cart", "lines: Nothing of it needs stock.", field="lines")
    wanted = msgspec.structs.replace(
        cart,
        customer_id=customer_id,
        tier=str(customer.view["tier"]) if customer else None,
        identity=identity_of(settings, signs),
        status="held",
        expires_at=tx.now + timedelta(minutes=minutes),
        all_or_nothing=asked.all_or_nothing,
        document=document,
    )
    return wanted, _demand(tx, wanted)


def _check_no_kits(tx: Pass, lines: Sequence[CartLine]) -> None:
    for line in lines:
        if tx.knowledge.products.kit(line.product_id) is not None:
            sentence = f"SKU {line.sku!r} is a kit: a cart holds its components, not the kit."
            raise Refusal("kit_not_held", sentence, sku=line.sku)


def _demand(tx: Pass, cart: Cart) -> Demand:
    products, document = tx.knowledge.products, cart.document
    return Demand(
        id=cart.id,
        lines=tuple(
            DemandLine(n.id, n.product_id, n.qty, int(products.weight_g[n.product_id]))
            for n in document.lines
            if products.is_stocked[n.product_id]
        ),
        latitude=document.destination.latitude,
        longitude=document.destination.longitude,
        service=document.service,
        channel_id=cart.channel_id,
        pinned_location_id=document.pickup_location_id,
        max_parcels=document.max_parcels,
        tier=cart.tier or "standard",
        ship_complete=cart.all_or_nothing,
        held=tuple(hold.taken_over() for hold in cart.holds),
    )


def _ask(tx: Pass, cart: Cart, demand: Demand, plan: Plan, *, is_same: bool = False) -> Ask:
    """Return what a cart asks; `is_same`: it only goes on holding what it holds."""
    knowledge = tx.knowledge
    ask = Ask(
        root_id=cart.id,
        demand=demand,
        plan=plan,
        may_replan=not is_same,
        kind=ReservationKind.CART_HOLD,
        expires_at=cart.expires_at,
        all_or_nothing=cart.all_or_nothing and not is_same,
    )
    if not knowledge.limits:
        return ask
    skus = {line.id: line.sku for line in cart.document.lines}
    lines = [Counted(n.line_id, n.product_id, skus[n.line_id], n.qty) for n in demand.lines]
    ask.limits = claims_of(knowledge, cart.channel_id, cart.identity, lines, tx.now)
    ask.counts_for = [cart.id]
    more: dict[int, int] = {}
    for line in demand.lines:
        more[line.product_id] = more.get(line.product_id, 0) + line.qty
    for hold in cart.holds:
        if hold.product_id in more:
            more[hold.product_id] -= hold.qty
    ask.quotas = quotas_of(knowledge, cart.channel_id, more, tx.now)
    return ask


def _change(tx: Pass, holding: Holding, asked: tuple[int, CartChange, Cart]) -> None:
    """Ask for what extends or releases a cart; released twice is released once."""
    place, item, cart = asked
    if cart.status == "ordered":
        raise _ordered(cart)
    if item.verb == "release":
        is_over = cart.state(tx.now) != "held"
        if is_over and not cart.holds:
            holding.results[place] = _encode(cart_document(cart, tx.knowledge, tx.now))
            return
        wanted = msgspec.structs.replace(cart, status="released")
        ask = Ask(cart.id, release=[hold.given_back() for hold in cart.holds])
        holding.pending.append(Pending(place, wanted, ask, item))
        return
    if cart.state(tx.now) != "held" or not cart.holds:
        raise _not_held(cart, tx)
    settings = tx.knowledge.channel_view(cart.channel_id)["settings"]
    minutes = check_minutes(item.minutes, settings)
    wanted = msgspec.structs.replace(cart, expires_at=tx.now + timedelta(minutes=minutes))
    demand, plan = _as_it_is(tx, wanted)
    holding.pending.append(
        Pending(place, wanted, _ask(tx, wanted, demand, plan, is_same=True), item)
    )


def _as_it_is(tx: Pass, cart: Cart) -> tuple[Demand, Plan]:
    """Return the demand for just what a cart holds, and the plan that leaves it where it is."""
    held: dict[str, int] = {}
    parts: dict[int, list[Part]] = {}
    for hold in cart.holds:
        held[hold.line_id] = held.get(hold.line_id, 0) + hold.qty
        takes = ((hold.position_id, hold.qty),)
        part = Part(hold.line_id, hold.location_id, takes, hold.qty)
        parts.setdefault(hold.location_id, []).append(part)
    whole = _demand(tx, cart)
    lines = [n for n in whole.lines if n.line_id in held]
    demand = msgspec.structs.replace(
        whole,
        lines=tuple(msgspec.structs.replace(n, qty=held[n.line_id]) for n in lines),
    )
    shipments = [
        Shipment(location_id, tuple(of), 0, 0, 0, 0.0, 0, (Leg(location_id, None),))
        for location_id, of in sorted(parts.items())
    ]
    return demand, Plan(cart.id, tuple(shipments), (), 0, None)


def asks_of(holding: Holding) -> list[Ask]:
    """Return what carts ask, to be decided with the asks of orders."""
    holding.is_decided = True
    return [one.ask for one in holding.pending]


async def take_answers(tx: Pass, holding: Holding, answers: Sequence[Answer]) -> None:
    """Turn stock's answers into results, and write the carts."""
    released: list[str] = []
    dropped = list(holding.unwanted)
    written: list[Cart] = []
    for one, answer in zip(holding.pending, answers, strict=True):
        refusal = _refusal(one, answer)
        if refusal is not None:
            holding.results[one.place] = refusal
            dropped += [one.cart.id] if one.cart.is_new else []
            continue
        if one.cart.status == "released":
            released.append(one.cart.id)
            one.cart.holds = []
        else:
            one.cart.holds = _holds(one, answer)
            one.cart.status = "held" if one.cart.holds else "released"
        written.append(one.cart)
        document = cart_document(one.cart, tx.knowledge, tx.now)
        holding.results[one.place] = _encode(document)
    await drop_carts(tx, dropped)
    if released and tx.knowledge.limits:
        await uncount_roots(tx, released)
    await write_carts(tx, written, tx.now)
    await mark_ordered(tx, _turned(holding), tx.now)


def _turned(holding: Holding) -> list[tuple[str, str]]:
    """Return the carts that have become orders, with theirs."""
    return [
        (context.memo["cart_used"].id, context.root.id)
        for context in holding.contexts
        if "cart_used" in context.memo
    ]


def _refusal(one: Pending, answer: Answer) -> Refusal | None:
    if answer.refusal is not None:
        return answer.refusal
    if one.cart.status == "released" or answer.plan is not None:
        return None
    lines = {line.id: line for line in one.cart.document.lines}
    if not answer.lacking:
        sentence = f"Cart {one.cart.ref!r} is not held any more."
        return Refusal("cart_not_held", sentence, ref=one.cart.ref)
    lacks = [
        {"line": lines[line_id].ref, "sku": lines[line_id].sku, "qty": qty}
        for line_id, qty in answer.lacking
    ]
    first = lacks[0]
    sentence = f"{first['qty']} of SKU {first['sku']!r} cannot be held; nothing was changed."
    return Refusal("out_of_stock", sentence, lacks=lacks)


def _holds(one: Pending, answer: Answer) -> list[Hold]:
    places: dict[int, int] = {}
    for shipment in answer.plan.shipments if answer.plan is not None else ():
        for part in shipment.parts:
            places |= {take[0]: shipment.location_id for take in part.takes}
    products = {line.id: line.product_id for line in one.cart.document.lines}
    return [
        Hold(
            r.id, r.root_id, r.demand_id, r.position_id, products[r.demand_id],
            places[r.position_id], r.qty,
        )
        for r in answer.reservations
    ]  # fmt: skip


def _ordered(cart: Cart) -> Refusal:
    sentence = f"Cart {cart.ref!r} has become an order; take another ref."
    return Refusal("cart_ordered", sentence, ref=cart.ref, order_id=cart.order_id)


def _not_held(cart: Cart, tx: Pass) -> Refusal:
    sentence = f"Cart {cart.ref!r} is {cart.state(tx.now)}: hold it anew."
    return Refusal("cart_not_held", sentence, ref=cart.ref, status=cart.state(tx.now))


def unknown_cart(ref: str) -> Refusal:
    """Return the refusal of a cart that is not there."""
    return Refusal("unknown_cart", f"There is no cart {ref[:100]!r}.", ref=ref[:100])
