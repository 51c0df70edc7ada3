"""Promises: what a cart would get, from where, when and for how much, before anything is taken.

The same trees, demands, candidates and plans as an order that is placed: an order of the same cart,
placed at once while nothing has changed, is allocated exactly so. Answered from memory. Nothing is
held by it; a cart hold does that.

Dates are those of `rules/dating.py`, which dates orders too. `chance` is the share of deliveries
that shall not be later, from what the lane and the location have shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.geo import haversine_km
from penstock.network.calendar import windows_on
from penstock.network.hours import Calendar
from penstock.network.lanes import pickup_ready
from penstock.network.pickup_slots import slots_from
from penstock.orders.intake import (
    DEFAULT_CHANCE,
    MAX_CARRIERS,
    Chance,
    ChoiceInput,
    DestinationInput,
    Input,
    LineInput,
    OrderInput,
)
from penstock.orders.model import USUAL, Choice, Order, Wish, every_line
from penstock.rules.dating import Asked, Dated, Way, Window, checked_wish, dates_of, window_of
from penstock.rules.knowledge import Knowledge
from penstock.rules.routing import demands_of
from penstock.rules.trees import make_order
from penstock.sourcing.model import Demand, Plan

MAX_PLACES = 100
MAX_SLOTS = 20
Services = Annotated[list[str], msgspec.Meta(max_length=MAX_CARRIERS)]
Degrees90 = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Degrees180 = Annotated[float, msgspec.Meta(ge=-180, le=180)]


class PromiseInput(Input, kw_only=True):
    """A cart, as an order would have it; `carriers` are the services to look at, all if left out.

    A service is named `carrier/service`. `time_zone` is the destination's; left out, the origin's.
    """

    channel: str
    choices: list[ChoiceInput] = msgspec.field(default_factory=list)
    lines: list[LineInput] = msgspec.field(default_factory=list)
    destination: DestinationInput | None = None
    service: Literal["deliver", "collect"] = "deliver"
    pickup_location: str | None = None
    ship_complete: bool = False
    max_parcels: int | None = None
    type: str = "home_delivery"
    carriers: Services = msgspec.field(default_factory=list)
    time_zone: str | None = None
    chance: Chance = DEFAULT_CHANCE
    slot_at: datetime | None = None

    def as_order(self) -> OrderInput:
        """Return the order that the cart would be."""
        return OrderInput(
            channel=self.channel,
            ref="cart",
            choices=self.choices,
            lines=self.lines,
            destination=self.destination,
            service=self.service,
            pickup_location=self.pickup_location,
            ship_complete=self.ship_complete,
            max_parcels=self.max_parcels,
            type=self.type,
            carriers=self.carriers,
            chance=self.chance,
            time_zone=self.time_zone,
            slot_at=self.slot_at,
        )


class Quantity(msgspec.Struct):
    """So many of a line."""

    line: str
    sku: str
    qty: int


class FreeSlot(msgspec.Struct):
    """A pick-up slot that an order may name by its begin; `left` is None where none are counted."""

    start: datetime
    end: datetime
    left: int | None


class PromisedShipment(msgspec.Struct, omit_defaults=True):
    """What one location would send or hand over, and by when it has to be done there (`due_at`).

    `ways` come with the soonest first.
    """

    location: str
    lines: list[Quantity]
    cost_minor: int
    distance_km: float
    due_at: datetime | None = None
    ways: list[Way] = []
    ready_at: datetime | None = None
    collect_from: datetime | None = None
    slots: list[FreeSlot] = []


class ChoicePromise(msgspec.Struct):
    """What a fulfilment choice would get: all of it is there from `since` until `by`.

    Both are None if of one shipment nobody knows.
    """

    service: str
    shipments: list[PromisedShipment]
    lacking: list[Quantity]
    cost_minor: int
    since: datetime | None = None
    by: datetime | None = None


class Promise(msgspec.Struct):
    """The answer to a cart: as of which decision and pass, how old that is, and per choice."""

    channel: str
    currency: str
    decided_at: datetime
    version: int
    age_ms: int
    chance: float
    choices: list[ChoicePromise]


Seen = tuple[int, int]  # the newest pass in the index, and how many milliseconds ago it was


def promise(knowledge: Knowledge, asked: PromiseInput, seen: Seen) -> Promise:
    """Return what a cart would get; refuses what its order would be refused for."""
    now = knowledge.clock.now()
    usual = checked_wish(knowledge, Wish(tuple(asked.carriers), asked.chance, asked.time_zone))
    order = make_order(knowledge, asked.as_order(), {}, now)
    for choice in order.choices:
        choice.wish = choice.wish or (None if usual == USUAL else usual)
    weights = knowledge.products.weight_g
    demands = [(choice, d) for choice in order.choices for d in demands_of(order, choice, weights)]
    plans = knowledge.plan([demand for _, demand in demands], now)
    found = {choice.id: ChoicePromise(choice.service, [], [], 0) for choice in order.choices}
    shipments: list[Asked] = []
    for (choice, _), plan in zip(demands, plans, strict=True):
        _add(knowledge, found[choice.id], choice, plan)
        shipments += [Asked(choice, one.location_id, one.distance_km) for one in plan.shipments]
    dated: dict[str, list[Dated]] = {choice.id: [] for choice in order.choices}
    for one, dates in zip(shipments, dates_of(knowledge, shipments, now), strict=True):
        dated[one.choice.id].append(dates)
    for choice in order.choices:
        _date(found[choice.id], dated[choice.id])
        _offer_slots(knowledge, choice, found[choice.id])
    choices = list(found.values())
    return Promise(asked.channel, order.currency, now, *seen, asked.chance, choices)


def _add(knowledge: Knowledge, found: ChoicePromise, choice: Choice, plan: Plan) -> None:
    """Add what a plan gives a choice."""
    lines = {line.id: line for line in every_line(choice.lines)}
    for shipment in plan.shipments:
        quantities = [
            Quantity(lines[part.line_id].ref, lines[part.line_id].sku, part.qty)
            for part in shipment.parts
        ]
        one = PromisedShipment(
            knowledge.location_ref(shipment.location_id),
            quantities,
            shipment.cost_minor,
            round(shipment.distance_km, 1),
        )
        found.shipments.append(one)
        found.cost_minor += shipment.cost_minor
    for line_id, qty in plan.unsourced:
        found.lacking.append(Quantity(lines[line_id].ref, lines[line_id].sku, qty))


def _date(found: ChoicePromise, dated: Sequence[Dated]) -> None:
    """Put the dates into what a choice is promised."""
    for one, dates in zip(found.shipments, dated, strict=True):
        one.ways = list(dates.ways)
        if dates.due is not None:
            one.due_at = dates.due.due_at
            if found.service == "collect":
                one.ready_at, one.collect_from = dates.due.due_at, dates.due.expected_from
    found.since, found.by = window_of([dates.due for dates in dated])


def _offer_slots(knowledge: Knowledge, choice: Choice, found: ChoicePromise) -> None:
    """Add the first slots in which what is collected can be."""
    location = knowledge.dates.locations.get(choice.pickup_location_id or 0)
    if location is None:
        return
    for one in found.shipments:
        if one.ready_at is not None:
            free = slots_from(
                location, choice.service, one.ready_at, knowledge.slots_used, MAX_SLOTS
            )
            one.slots = [FreeSlot(*slot) for slot in free]


# ── which locations hold a basket ─────────────────────────────────────────────────────────────────


class BasketInput(Input, kw_only=True):
    """A basket, and around which point locations are wanted that hold all (or part) of it."""

    channel: str
    lines: list[LineInput]
    latitude: Degrees90
    longitude: Degrees180
    service: Literal["deliver", "collect"] = "collect"
    part: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PLACES)] = 10
    chance: Chance = DEFAULT_CHANCE


class Held(msgspec.Struct, omit_defaults=True):
    """A location, what it holds of the basket, and when that can leave or be collected.

    `hours` are its windows on the local day on which that is, in its own time.
    """

    location: str
    kind: str
    distance_km: float
    lines: list[Quantity]
    is_whole: bool
    ready_at: datetime | None = None
    collect_from: datetime | None = None
    hours: list[Window] = []


class Basket(msgspec.Struct):
    """The locations that hold a basket, the nearest first."""

    decided_at: datetime
    version: int
    age_ms: int
    locations: list[Held]


def holding(knowledge: Knowledge, asked: BasketInput, seen: Seen) -> Basket:
    """Return the nearest locations that hold a basket; refuses what its order would be."""
    now = knowledge.clock.now()
    there = DestinationInput(asked.latitude, asked.longitude)
    cart = OrderInput(channel=asked.channel, ref="cart", lines=asked.lines, destination=there)
    order = make_order(knowledge, cart, {}, now)
    choice = order.choices[0]
    choice.service = asked.service
    demands = demands_of(order, choice, knowledge.products.weight_g)
    if not demands:
        return Basket(now, *seen, [])
    rows, held = _held(knowledge, demands[0], now)
    directory = knowledge.directory
    km = haversine_km(
        asked.latitude, asked.longitude, directory.latitudes[rows], directory.longitudes[rows]
    )
    wanted = np.array([line.qty for line in demands[0].lines])
    counts = np.any(held > 0, axis=1) if asked.part else np.all(held >= wanted, axis=1)
    found = np.flatnonzero(counts)
    nearest = found[np.argsort(km[found], kind="stable")][: asked.limit]
    places = [
        _place(knowledge, order, demands[0], (int(rows[n]), float(km[n]), held[n]), asked)
        for n in nearest.tolist()
    ]
    return Basket(now, *seen, places)


def _held(
    knowledge: Knowledge, demand: Demand, now: datetime
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return location rows that serve, and what each may give of each line: (locations, lines).

    Lines of one product share what is there, in their order.
    """
    candidates = knowledge.candidates([demand], now)
    serving = candidates.serving[demand.channel_id, demand.service]
    left = candidates.capacity_left.get(demand.service)
    stock = candidates.stock
    there = np.zeros((len(serving), len(demand.lines)), dtype=np.int64)
    for line in range(len(demand.lines)):
        mine = slice(int(stock.line_start[line]), int(stock.line_start[line + 1]))
        np.add.at(there[:, line], stock.location_rows[mine], stock.available[mine])
    held = np.zeros_like(there)
    taken: dict[int, NDArray[np.int64]] = {}
    for place, line in enumerate(demand.lines):
        before = taken.setdefault(line.product_id, np.zeros(len(serving), dtype=np.int64))
        held[:, place] = np.clip(there[:, place] - before, 0, line.qty)
        before += held[:, place]
    is_open = serving if left is None else serving & (left > 0)
    rows = np.flatnonzero(is_open)
    return rows, held[rows]


def _hours(calendar: Calendar, at: datetime) -> list[Window]:
    """Return the windows of a calendar on the local day of an instant, in its own time."""
    zone = ZoneInfo(calendar.time_zone)
    found = windows_on(calendar, at.astimezone(zone).date())
    return [Window(opens.astimezone(zone), closes.astimezone(zone)) for opens, closes in found]


def _place(
    knowledge: Knowledge,
    order: Order,
    demand: Demand,
    found: tuple[int, float, NDArray[np.int64]],
    asked: BasketInput,
) -> Held:
    row, km, quantities = found
    lines = {line.id: line for line in every_line(order.lines())}
    directory = knowledge.directory
    held = [
        Quantity(lines[one.line_id].ref, lines[one.line_id].sku, qty)
        for one, qty in zip(demand.lines, quantities.tolist(), strict=True)
    ]
    is_whole = all(qty >= one.qty for one, qty in zip(demand.lines, quantities, strict=True))
    place = Held(directory.refs[row], directory.kinds[row], round(km, 1), held, is_whole)
    location_id = int(directory.location_ids[row])
    if location_id in knowledge.dates.locations:
        origin = knowledge.dates.origin(location_id, asked.service)
        ready = pickup_ready(knowledge.clock.now(), origin, asked.chance)
        if ready is not None:
            place.ready_at = ready.ready_at
            place.collect_from = ready.collect_from if asked.service == "collect" else None
            place.hours = _hours(origin.calendar, ready.collect_from)
    return place
