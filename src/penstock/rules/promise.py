"""Promises: what a cart would get, from where, when and for how much, before anything is taken.

The same trees, demands, candidates and plans as an order that is placed: an order of the same cart,
placed at once while nothing has changed, is allocated exactly so. Answered from memory. Nothing is
held by it; a cart hold does that.

Dates: the decision, the location's cut-off, handling in its open time, the carrier's collection,
transit in its delivery days, in the destination's time zone. `chance` is the share of deliveries
that shall not be later, from what the lane and the location have shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.errors import Refusal
from penstock.geo import haversine_km
from penstock.network.lanes import Delivery, Place, delivery_window, pickup_ready
from penstock.network.model import is_time_zone
from penstock.network.routes import lane_for
from penstock.orders.intake import ChoiceInput, DestinationInput, Input, LineInput, OrderInput
from penstock.orders.model import Choice, Order, every_line
from penstock.rules.knowledge import Knowledge
from penstock.rules.routing import demands_of
from penstock.rules.trees import make_order
from penstock.sourcing.model import Demand, Plan, Shipment

MAX_CARRIERS = 20
MAX_PLACES = 100
DEFAULT_CHANCE = 0.9
Chance = Annotated[float, msgspec.Meta(ge=0.5, le=0.999)]
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
        )


class Window(msgspec.Struct):
    """From when until when, in UTC."""

    start: datetime
    end: datetime


class Way(msgspec.Struct):
    """How a carrier's service would bring it: collected by when, delivered at best, and at last."""

    carrier: str
    service: str
    ship_by: datetime
    earliest: Window
    latest: Window


class Quantity(msgspec.Struct):
    """So many of a line."""

    line: str
    sku: str
    qty: int


class PromisedShipment(msgspec.Struct, omit_defaults=True):
    """What one location would send or hand over. `ways` come with the soonest first."""

    location: str
    lines: list[Quantity]
    cost_minor: int
    distance_km: float
    ways: list[Way] = []
    ready_at: datetime | None = None
    collect_from: datetime | None = None


class ChoicePromise(msgspec.Struct):
    """What a fulfilment choice would get; `by` is when all of it is there, None if nobody knows."""

    service: str
    shipments: list[PromisedShipment]
    lacking: list[Quantity]
    cost_minor: int
    by: datetime | None


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
    """Return what a cart would get; refuses what its order would be refused for.

    And `unknown_carrier` for a service that no carrier has, `invalid_transit` for a time zone.
    """
    if asked.time_zone is not None and not is_time_zone(asked.time_zone):
        sentence = f"time_zone: {asked.time_zone[:60]!r} is no IANA time zone."
        raise Refusal("invalid_transit", sentence, field="time_zone")
    now = knowledge.clock.now()
    order = make_order(knowledge, asked.as_order(), {}, now)
    weights = knowledge.products.weight_g
    demands = [(choice, d) for choice in order.choices for d in demands_of(order, choice, weights)]
    plans = knowledge.plan([demand for _, demand in demands], now)
    services = _services(knowledge, asked.carriers)
    found = {choice.id: _nothing(choice) for choice in order.choices}
    for (choice, demand), plan in zip(demands, plans, strict=True):
        _add(knowledge, found[choice.id], (choice, demand, plan), (asked, services, now))
    for one in found.values():
        one.by = _by(one)
    choices = list(found.values())
    return Promise(asked.channel, order.currency, now, *seen, asked.chance, choices)


def _services(knowledge: Knowledge, named: Sequence[str]) -> list[tuple[str, str]]:
    known = knowledge.dates.carriers.services
    if not named:
        return list(known)[:MAX_CARRIERS]
    wanted: list[tuple[str, str]] = []
    for name in named:
        carrier, _, service = name.partition("/")
        if (carrier, service) not in known:
            sentence = f"No carrier has the service {name[:100]!r}; it is named carrier/service."
            raise Refusal("unknown_carrier", sentence, carrier=name[:100])
        wanted.append((carrier, service))
    return wanted


def _nothing(choice: Choice) -> ChoicePromise:
    return ChoicePromise(choice.service, [], [], 0, None)


_Asked = tuple[PromiseInput, list[tuple[str, str]], datetime]


def _add(
    knowledge: Knowledge,
    found: ChoicePromise,
    planned: tuple[Choice, Demand, Plan],
    asked: _Asked,
) -> None:
    choice, _, plan = planned
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
        _date(knowledge, one, (choice, shipment), asked)
        found.shipments.append(one)
        found.cost_minor += shipment.cost_minor
    for line_id, qty in plan.unsourced:
        found.lacking.append(Quantity(lines[line_id].ref, lines[line_id].sku, qty))


def _date(
    knowledge: Knowledge, one: PromisedShipment, of: tuple[Choice, Shipment], asked: _Asked
) -> None:
    """Put the dates into a promised shipment."""
    choice, shipment = of
    wanted, services, now = asked
    dates = knowledge.dates
    if shipment.location_id not in dates.locations:
        return
    origin = dates.origin(shipment.location_id, choice.service)
    if choice.service == "collect":
        ready = pickup_ready(now, origin, wanted.chance)
        if ready is not None:
            one.ready_at, one.collect_from = ready.ready_at, ready.collect_from
        return
    location = dates.locations[shipment.location_id]
    to = Place(choice.destination.country, choice.destination.postcode)
    for service in services:
        try:
            lane = lane_for(dates.carriers, service, location.place, to, shipment.distance_km)
        except Refusal:  # this service does not go there
            continue
        time_zone = wanted.time_zone or location.time_zone
        found = delivery_window(now, origin, lane, wanted.chance, time_zone)
        if found is not None:
            one.ways.append(_way(service, found))
    one.ways.sort(key=lambda way: (way.latest.end, way.carrier, way.service))


def _way(service: tuple[str, str], found: Delivery) -> Way:
    earliest, latest = Window(*found.earliest), Window(*found.latest)
    return Way(*service, found.ship_by, earliest, latest)


def _by(found: ChoicePromise) -> datetime | None:
    """Return when the last shipment is there, at the latest; None if that of one is not known."""
    ends = [
        one.collect_from if found.service == "collect" else _end(one.ways)
        for one in found.shipments
    ]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _end(ways: Sequence[Way]) -> datetime | None:
    return ways[0].latest.end if ways else None


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
    """A location, what it holds of the basket, and when that can leave or be collected."""

    location: str
    kind: str
    distance_km: float
    lines: list[Quantity]
    is_whole: bool
    ready_at: datetime | None = None
    collect_from: datetime | None = None


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
    return place
