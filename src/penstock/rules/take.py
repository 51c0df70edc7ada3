"""Taking work in and deciding it at once: new orders and entities, and events, many in one pass.

Owns intake: validate, claim keys and refs, make the trees, lock the roots of events, run, write,
answer. One bad item in a batch refuses itself only. The answer is the decision; an order that
nobody waits for (`wait=False`) is only taken in, and a worker decides it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from penstock.customers.store import find_customers
from penstock.engine import inbox
from penstock.engine.context import Context, RefusedAt
from penstock.engine.entities import Entity, EntityInput, claim_entities
from penstock.engine.inbox import Event
from penstock.errors import Refusal, Transient
from penstock.ids import new_id
from penstock.orders.commands import Claim, claim_keys, claim_refs, drop_keys, write_answers
from penstock.orders.intake import OrderInput, checked_hash
from penstock.orders.model import Order
from penstock.orders.store import write_orders
from penstock.passes import Pass
from penstock.rules.carts import CartChange, CartWork, Holding, NewHold
from penstock.rules.dead_letters import bury_refused
from penstock.rules.documents import root_document
from penstock.rules.execute import RefusedInPassError, run_and_write
from penstock.rules.knowledge import Knowledge
from penstock.rules.line_views import add_line_views
from penstock.rules.roots import Root, context_of, load_roots
from penstock.rules.slots import settle_slots
from penstock.rules.trees import MadeAhead, adopt, make_ahead, make_entity, make_order

_encode = msgspec.json.Encoder().encode
MAX_PASSES = 100
_ANSWERS_AT_A_TIME = 50


class NewOrder(msgspec.Struct):
    """An order to take in, with the idempotency key it came with; the rest is `prepare`'s."""

    order: OrderInput
    key: str | None = None
    wait: bool = True
    needs_answer: bool = True  # without it, the answer of an order that is taken is empty
    body_hash: bytes | None = None
    made: MadeAhead | None = None


class NewEntity(msgspec.Struct):
    """An entity of a kind without a table of its own to make; known by its ref in its kind."""

    asked: EntityInput
    key: str | None = None


class RootEvent(msgspec.Struct):
    """An event for a root, or for the entity inside it that is named (a fulfilment of an order)."""

    root_id: str
    name: str
    payload: dict[str, Any]
    key: str | None = None
    root_kind: str = "order"
    entity: str | None = None
    entity_id: str | None = None
    id: str = msgspec.field(default_factory=new_id)


Work = NewOrder | NewEntity | RootEvent | NewHold | CartChange
Result = bytes | Refusal


class _Group(msgspec.Struct):
    """A group on its way through a pass: results by place, contexts, and places of orders.

    `later` are places that wait for the next pass: a key that another item of the group has, or
    an event behind one of the same order that has asked stock already.
    """

    items: Sequence[Work]
    results: dict[int, Result] = {}
    later: set[int] = set()
    keys: set[str] = set()
    orders: dict[int, Order] = {}
    entities: dict[int, Entity] = {}
    existing: dict[int, str] = {}
    known: Mapping[RefusedAt, Refusal] = {}
    contexts: dict[str, Context] = {}
    event_places: dict[str, int] = {}
    created_places: dict[str, int] = {}
    due: list[str] = []

    def due_ids(self, contexts: Sequence[Context]) -> list[str]:
        """Return the ids of the inbox's events that were decided with the group."""
        deferred = {event.id for context in contexts for event in context.deferred}
        return [event_id for event_id in self.due if event_id not in deferred]


class _RefusedItemsError(Exception):
    """Items were refused, by place, and events that waited before them, by event id.

    `known` are refusals that workflows handle by themselves.
    """

    def __init__(
        self,
        refusals: Mapping[int, Refusal],
        waiting: Mapping[str, Refusal],
        known: Mapping[RefusedAt, Refusal],
    ) -> None:
        super().__init__(f"{len(refusals)} refused")
        self.refusals = dict(refusals)
        self.waiting = dict(waiting)
        self.known = dict(known)


def prepare(knowledge: Knowledge, items: Iterable[Work]) -> None:
    """Do ahead what needs no pass: hash the bodies of new orders and make their trees.

    What cannot be made now is made, or refused, in the pass.
    """
    now = knowledge.clock.now()
    for item in items:
        if isinstance(item, NewOrder) and item.order.customer is None:
            try:
                item.body_hash = checked_hash(item.order)
                item.made = make_ahead(knowledge, item.order, now)
            except Exception:  # noqa: BLE001, S112 (fails again in the pass, where it is isolated)
                continue


async def take(knowledge: Knowledge, items: Sequence[Work]) -> list[Result]:
    """Take in and decide a group; returns a document (JSON) or a refusal per item.

    Mostly one pass. What one pass cannot decide (an order asks stock once in it) takes another.

    Refusals: those of `orders.intake`, `unknown_channel`, `unknown_sku`, `unknown_location`,
    `unknown_customer`, `order_ref_taken`, `idempotency_key_reused`, `unknown_order`,
    `not_allowed_in_status`, what rules refuse; of carts `invalid_cart`, `unknown_cart`,
    `cart_not_held`, `cart_ordered`, `out_of_stock`; `limit_reached`, `hold_quota_reached`.
    """
    results: dict[int, Result] = {}
    known: dict[RefusedAt, Refusal] = {}

    async def work(tx: Pass) -> dict[int, Result]:
        return await _take(tx, items, results, known)

    for _ in range(len(items) + MAX_PASSES):
        try:
            results = await knowledge.run_pass("orders", work)
        except _RefusedItemsError as refused:
            results = results | refused.refusals
            known |= refused.known
            await bury_refused(knowledge, refused.waiting)
        if len(results) == len(items):
            return [results[place] for place in range(len(items))]
    raise Transient("too much waits to be decided before this; try again")


async def _take(
    tx: Pass,
    items: Sequence[Work],
    results: Mapping[int, Result],
    known: Mapping[RefusedAt, Refusal],
) -> dict[int, Result]:
    """Decide in one pass what has no result yet; returns the results there are then."""
    group = _Group(items, results=dict(results), known=known)
    await _answer_known_keys(tx, group)
    await _make_orders(tx, group)
    await _claim_refs(tx, group)
    await _make_entities(tx, group)
    await _lock_roots(tx, group)
    now = list(group.contexts.values())
    holding = Holding(_asked_of_carts(group))
    try:
        await run_and_write(tx, now, holding)
    except RefusedInPassError as refused:
        raise _by_place(group, refused) from None
    group.results |= holding.results
    group.later |= holding.later
    _refuse_unhandled(group)
    deferred = [event.id for context in now for event in context.deferred]
    group.later |= {group.event_places[one] for one in deferred if one in group.event_places}
    await inbox.remove(tx, group.due_ids(now))
    await _take_in_only(tx, group)
    await _answer(tx, group)
    return group.results


def _asked_of_carts(group: _Group) -> dict[int, CartWork]:
    items = ((place, group.items[place]) for place in _open_places(group))
    return {place: item for place, item in items if isinstance(item, NewHold | CartChange)}


def _by_place(group: _Group, refused: RefusedInPassError) -> _RefusedItemsError:
    """Return refusals of events under the places of their items, those of the inbox apart."""
    places = group.event_places | group.created_places
    refusals = refused.refusals
    return _RefusedItemsError(
        {places[one]: refusal for one, refusal in refusals.items() if one in places},
        {one: refusal for one, refusal in refusals.items() if one not in places},
        refused.known,
    )


def _open_places(group: _Group) -> list[int]:
    places = range(len(group.items))
    return [one for one in places if one not in group.results and one not in group.later]


async def _answer_known_keys(tx: Pass, group: _Group) -> None:
    keys: dict[str, bytes] = {}
    for place in _open_places(group):
        item = group.items[place]
        if item.key in keys:
            group.later.add(place)
        elif item.key is not None:
            try:
                keys[item.key] = _hash(item)
            except Refusal as refusal:
                group.results[place] = refusal
    stored = await claim_keys(tx, list(keys.items()))
    group.keys = {key for key, answer in stored.items() if answer is None}
    for place in _open_places(group):
        item = group.items[place]
        known = stored.get(item.key) if item.key is not None else None
        if known is not None:
            group.results[place] = known


def _hash(item: Work) -> bytes:
    if isinstance(item, NewOrder):
        if item.body_hash is None:
            item.body_hash = checked_hash(item.order)
        return item.body_hash
    if isinstance(item, NewEntity):
        body = _encode(item.asked)
    elif isinstance(item, NewHold):
        body = _encode(item.cart)
    elif isinstance(item, CartChange):
        body = _encode([item.channel, item.ref, item.verb, item.minutes])
    else:
        body = _encode([item.root_id, item.entity_id, item.name, item.payload])
    return hashlib.blake2b(body, digest_size=16).digest()


async def _make_orders(tx: Pass, group: _Group) -> None:
    """Check each new order and make its tree; what is wrong with one is that one's result."""
    knowledge: Knowledge = tx.knowledge
    inputs: dict[int, OrderInput] = {}
    for place in _open_places(group):
        item = group.items[place]
        if not isinstance(item, NewOrder):
            continue
        made, item.made = item.made, None  # a tree is used once: a pass changes it
        if made and (order := adopt(made, knowledge, item.order, tx.now)):
            group.orders[place] = order
            continue
        try:
            _hash(item)
        except Refusal as refusal:
            group.results[place] = refusal
        else:
            inputs[place] = item.order
    refs = sorted({order.customer for order in inputs.values() if order.customer})
    customers = await find_customers(tx, refs)
    await knowledge.learn_skus(tx, inputs.values())
    for place, asked in inputs.items():
        try:
            group.orders[place] = make_order(knowledge, asked, customers, tx.now)
        except Refusal as refusal:
            group.results[place] = refusal
    await add_line_views(tx, knowledge, list(group.orders.values()))


async def _claim_refs(tx: Pass, group: _Group) -> None:
    """Claim the refs; orders that were taken in before are answered as they are now."""
    places = sorted(group.orders)
    claims = [
        Claim(o.channel_id, o.ref, o.id, _hash(group.items[p]))
        for p, o in ((p, group.orders[p]) for p in places)
    ]
    for place, holder in zip(places, await claim_refs(tx, claims), strict=True):
        if isinstance(holder, Refusal):
            group.results[place] = holder
            del group.orders[place]
        elif holder != group.orders[place].id:
            group.existing[place] = holder
            del group.orders[place]
    for place, order in group.orders.items():
        item = group.items[place]
        if isinstance(item, NewOrder) and item.wait:
            context = group.contexts[order.id] = _created(tx, group, order, item.order)
            group.created_places[context.event.id] = place


def _created(tx: Pass, group: _Group, order: Order, asked: OrderInput) -> Context:
    payload: dict[str, Any] = {"holds": [{"kind": h.kind, "reason": h.reason} for h in asked.holds]}
    if asked.cart is not None:
        payload["cart"] = asked.cart
    event = Event("order", order.id, "order", order.id, "order.created", payload)
    context = context_of(tx, order, [event], group.known)
    summary = {"ref": order.ref, "total_minor": order.total_minor, "lines": len(order.lines())}
    context.record("order.created", "order", order.id, summary)
    return context


async def _make_entities(tx: Pass, group: _Group) -> None:
    """Make the entities that are not there yet, with their first event."""
    for place in _open_places(group):
        item = group.items[place]
        if isinstance(item, NewEntity):
            try:
                group.entities[place] = make_entity(tx.knowledge, item.asked, tx.now)
            except Refusal as refusal:
                group.results[place] = refusal
    holders = await claim_entities(tx, list(group.entities.values()))
    for place, entity in list(group.entities.items()):
        if holders[entity.id] != entity.id:
            group.existing[place] = holders[entity.id]
            del group.entities[place]
            continue
        event = Event(entity.kind, entity.id, entity.kind, entity.id, f"{entity.kind}.created")
        context = group.contexts[entity.id] = context_of(tx, entity, [event], group.known)
        context.record(event.name, entity.kind, entity.id, {"ref": entity.ref})
        group.created_places[event.id] = place


async def _lock_roots(tx: Pass, group: _Group) -> None:
    """Lock the roots that events are for, waiting; their earlier due events run first."""
    wanted: dict[str, list[int]] = {}
    ids: dict[str, list[str]] = {}
    for place in _open_places(group):
        item = group.items[place]
        if isinstance(item, RootEvent):
            if item.root_id not in wanted:
                ids.setdefault(item.root_kind, []).append(item.root_id)
            wanted.setdefault(item.root_id, []).append(place)
    if not wanted:
        return
    roots = await load_roots(tx, tx.knowledge, ids, "waiting")
    due = await inbox.due_events_of_roots(tx, list(roots), tx.now)
    group.due = [event.id for event in due]
    for root_id, places in wanted.items():
        root = roots.get(root_id)
        if root is None:
            for place in places:
                group.results[place] = _unknown_root(group.items[place])
            continue
        events = [event for event in due if event.root_id == root_id]
        for place in places:
            item = group.items[place]
            if isinstance(item, RootEvent):
                group.event_places[item.id] = place
                group.existing[place] = root_id
                events.append(_event_of(item))
        group.contexts[root_id] = context_of(tx, root, events, group.known)


def _event_of(item: RootEvent) -> Event:
    return Event(
        item.root_kind,
        item.root_id,
        item.entity or item.root_kind,
        item.entity_id or item.root_id,
        item.name,
        item.payload,
        id=item.id,
    )


def _unknown_root(item: Work) -> Refusal:
    if isinstance(item, RootEvent) and item.root_kind != "order":
        sentence = f"There is no {item.root_kind} {item.root_id}."
        return Refusal("unknown_entity", sentence, entity_id=item.root_id)
    return unknown_order(item.root_id if isinstance(item, RootEvent) else "")


def unknown_order(order_id: str) -> Refusal:
    """Return the refusal of an order that is not there."""
    return Refusal("unknown_order", f"There is no order {order_id}.", order_id=order_id)


def _refuse_unhandled(group: _Group) -> None:
    """Refuse requests that the status does not allow; nothing of them is written."""
    refusals: dict[int, Refusal] = {}
    for context in group.contexts.values():
        for event in (*context.unhandled, *context.passed_over):
            place = group.event_places.get(event.id)
            if place is not None:
                context.meet(event)
                kind, status = context.entity.kind, context.entity.status
                message = f"{event.name} is not possible while the {kind} is {status}."
                refusals[place] = Refusal("not_allowed_in_status", message, status=status)
    if refusals:
        raise _RefusedItemsError(refusals, {}, {})


async def _take_in_only(tx: Pass, group: _Group) -> None:
    """Write the orders that nobody waits for, with their event in the inbox for a worker."""
    later: list[Context] = []
    places: list[int] = []
    for place, order in group.orders.items():
        item = group.items[place]
        if isinstance(item, NewOrder) and not item.wait:
            later.append(_created(tx, group, order, item.order))
            places.append(place)
    if not later:
        return
    await settle_slots(tx, later)  # a slot is theirs now, or they are refused
    refusals = {p: c.refusal for p, c in zip(places, later, strict=True) if c.refusal is not None}
    if refusals:
        raise _RefusedItemsError(refusals, {}, {})
    await write_orders(tx, [context.root for context in later], tx.now)
    await tx.knowledge.append_changes(tx, [c for context in later for c in context.changes])
    await inbox.post(tx, [context.event for context in later], tx.now)


def _needs_answer(item: Work) -> bool:
    return not isinstance(item, NewOrder) or item.needs_answer


async def _answer(tx: Pass, group: _Group) -> None:
    if not any(item.key or _needs_answer(item) for item in group.items):
        group.results |= dict.fromkeys(_open_places(group), b"")
        return
    roots: dict[str, Root] = {one.id: one for one in group.orders.values()}
    roots |= {c.root.id: c.root for c in group.contexts.values()}
    lacking: dict[str, list[str]] = {}
    for place, root_id in group.existing.items():
        if root_id not in roots:
            lacking.setdefault(_kind_of(group.items[place]), []).append(root_id)
    if lacking:
        roots |= await load_roots(tx, tx.knowledge, lacking, "read")
    documents: dict[str, bytes] = {}
    for number, place in enumerate(_open_places(group), start=1):
        root_id = group.existing.get(place) or (group.orders.get(place) or group.entities[place]).id
        if root_id not in documents:
            documents[root_id] = _encode(root_document(roots[root_id], tx.knowledge))
        group.results[place] = documents[root_id]
        if number % _ANSWERS_AT_A_TIME == 0:
            await asyncio.sleep(0)  # rows are being written meanwhile
    answers = {
        item.key: body
        for place, item in enumerate(group.items)
        if item.key in group.keys and isinstance(body := group.results.get(place), bytes)
    }
    await write_answers(tx, list(answers.items()))
    await drop_keys(tx, sorted(group.keys - answers.keys()))


def _kind_of(item: Work) -> str:
    if isinstance(item, RootEvent):
        return item.root_kind
    return item.asked.kind if isinstance(item, NewEntity) else "order"
