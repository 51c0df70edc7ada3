"""Dates of shipments: one code for what a cart is promised and for what its order gets.

Owns which carrier service brings a shipment and when, by when its location has to be done, and when
a pick-up is ready; and what a choice was promised first and is expected to get now. The decision,
the location's cut-off, handling, the carrier's collection, transit at the chance that is wanted.

What a carrier brings from one place to another is the same for a while: it is kept with the
snapshot (`rules/dates.py`) until a later decision would miss a collection. Ready times move with
every second: those of a batch are one array operation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from penstock.engine.context import Context
from penstock.errors import Refusal
from penstock.fulfilment.model import ENDED_WITHOUT, Due, Fulfilment
from penstock.network import timetable
from penstock.network.lanes import Delivery, Place, delivery_for_a_while
from penstock.network.model import is_time_zone
from penstock.network.pickup_slots import slot_end
from penstock.network.routes import lane_for, normal_postcode
from penstock.network.spread import quantile
from penstock.network.timetable import MINUTE_US, NEVER, datetime_of, us_of
from penstock.orders.intake import DEFAULT_CHANCE, MAX_CARRIERS, ChoiceInput
from penstock.orders.model import USUAL, Choice, Destination, Order, Wish
from penstock.passes import Pass

if TYPE_CHECKING:
    from penstock.rules.dates import Dates
    from penstock.rules.knowledge import Knowledge

# A location, a service of it, and how sure it is to be.
_WorkKey = tuple[int, str, float]
MAX_KEPT = 50_000  # ways from a place to another; then all are made anew


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


class Asked(NamedTuple):
    """A shipment that dates are wanted for: its choice, where it leaves, how far it goes."""

    choice: Choice
    location_id: int
    km: float


class Dated(NamedTuple):
    """Its dates, and the ways it may take, the soonest first; None: nobody knows."""

    due: Due | None
    ways: Sequence[Way]


class _Kept(NamedTuple):
    """Ways that decisions between two instants (microseconds) have."""

    since_us: int
    until_us: int
    dated: Dated


NO_DATES = Dated(None, ())


def wish_of(knowledge: Knowledge, asked: ChoiceInput) -> Wish | None:
    """Return how a choice's dates are wanted; None: as usual.

    Refuses `unknown_carrier` for a service that no carrier has, `invalid_transit` for a time zone.
    """
    if not asked.carriers and asked.time_zone is None and asked.chance == DEFAULT_CHANCE:
        return None
    return checked_wish(knowledge, Wish(tuple(asked.carriers), asked.chance, asked.time_zone))


def checked_wish(knowledge: Knowledge, wish: Wish) -> Wish:
    """Return the wish; refuses as `wish_of`."""
    if wish.time_zone is not None and not is_time_zone(wish.time_zone):
        sentence = f"time_zone: {wish.time_zone[:60]!r} is no IANA time zone."
        raise Refusal("invalid_transit", sentence, field="time_zone")
    known = knowledge.dates.carriers.services
    for name in wish.carriers:
        if _service(name) not in known:
            sentence = f"No carrier has the service {name[:100]!r}; it is named carrier/service."
            raise Refusal("unknown_carrier", sentence, carrier=name[:100])
    return wish


def _service(name: str) -> tuple[str, str]:
    carrier, _, service = name.partition("/")
    return carrier, service


# ── dates ─────────────────────────────────────────────────────────────────────────────────────────


def dates_of(knowledge: Knowledge, asked: Sequence[Asked], now: datetime) -> list[Dated]:
    """Return the dates of shipments that are decided now."""
    dates, now_us = knowledge.dates, us_of(now)
    has_carriers = bool(dates.carriers.services)
    found = [NO_DATES] * len(asked)
    rest: list[int] = []
    for place, one in enumerate(asked):
        if one.location_id not in dates.locations:
            continue
        if has_carriers and one.choice.service == "deliver":
            found[place] = dated = _by_carrier(dates, one, now, now_us)
            if dated.due is not None:
                continue
        rest.append(place)
    if rest:
        readied = _when_ready(knowledge, [asked[place] for place in rest], now)
        for place, due in zip(rest, readied, strict=True):
            if due is not None and asked[place].choice.slot_at is not None:
                due = _in_slot(dates, asked[place], due)  # noqa: PLW2901 (the same, later)
            found[place] = Dated(due, ())
    return found


def _by_carrier(dates: Dates, asked: Asked, now: datetime, now_us: int) -> Dated:
    choice, location_id, km = asked
    key = (location_id, choice.wish, *_reach(dates, choice.destination, km))
    kept = dates.kept.get(key)
    if kept is None or not kept.since_us <= now_us <= kept.until_us:
        if len(dates.kept) >= MAX_KEPT:
            dates.kept.clear()
        dates.kept[key] = kept = _ways(dates, asked, now, now_us)
    return kept.dated


def _reach(dates: Dates, to: Destination, km: float) -> tuple[Any, ...]:
    """Return what lanes tell a destination by: the same for destinations with the same lanes."""
    postcodes = dates.postcodes.get(to.country.upper())
    if postcodes is None:
        return bisect_left(dates.bands_km, km), to.country
    lengths, known = postcodes
    postcode = normal_postcode(to.postcode)
    ends = [end for length in lengths if (end := postcode[:length]) in known]
    return (bisect_left(dates.bands_km, km), to.country, *ends)


def _ways(dates: Dates, asked: Asked, now: datetime, now_us: int) -> _Kept:
    """Look at every service that is wanted."""
    wish = asked.choice.wish or USUAL
    known = dates.carriers.services
    services = [_service(one) for one in wish.carriers] or list(known)[:MAX_CARRIERS]
    location = dates.locations[asked.location_id]
    origin = dates.origin(asked.location_id, asked.choice.service)
    to = Place(asked.choice.destination.country, asked.choice.destination.postcode)
    time_zone = wish.time_zone or location.time_zone
    ways: list[Way] = []
    until_us = int(NEVER)
    for service in services:
        try:
            lane = lane_for(dates.carriers, service, location.place, to, asked.km)
        except Refusal:  # it does not go there, or is gone since the order was taken
            continue
        found, same_until = delivery_for_a_while(now, origin, lane, wish.chance, time_zone)
        until_us = min(until_us, same_until)
        if found is not None:
            ways.append(_way(service, found))
    ways.sort(key=lambda way: (way.latest.end, way.carrier, way.service))
    due = None
    if ways:
        best = ways[0]
        ends = best.earliest.start, best.latest.end
        due = Due(best.ship_by, *ends, best.carrier, best.service)
    return _Kept(now_us, until_us, Dated(due, ways))


def _way(service: tuple[str, str], found: Delivery) -> Way:
    return Way(*service, found.ship_by, Window(*found.earliest), Window(*found.latest))


def _when_ready(knowledge: Knowledge, asked: Sequence[Asked], now: datetime) -> list[Due | None]:
    """Return when locations are ready; what is collected is there as soon as they open then."""
    keys = [_work_key(one) for one in asked]
    dues: dict[_WorkKey, Due | None] = dict.fromkeys(keys)
    for service in sorted({key[1] for key in dues}):
        mine = [key for key in dues if key[1] == service]
        table, rows = knowledge.directory.timetable(now, service)
        mine_rows = rows[knowledge.directory.row_of[[key[0] for key in mine]]]
        minutes = [_handling_min(knowledge.dates, key) for key in mine]
        work = np.array(minutes, dtype=np.int64) * MINUTE_US
        at = np.full(len(mine), us_of(now), dtype=np.int64)
        ready = timetable.ready(table, mine_rows, at, work)
        opens = ready
        if service == "collect":
            opens = timetable.next_openings(table, mine_rows, ready)
        for key, ready_us, open_us in zip(mine, ready.tolist(), opens.tolist(), strict=True):
            if open_us < NEVER:
                there = datetime_of(open_us) if service == "collect" else None
                dues[key] = Due(datetime_of(ready_us), there, there)
    return [dues[key] for key in keys]


def _in_slot(dates: Dates, asked: Asked, due: Due) -> Due:
    """Return the dates of what is collected in its slot: it has to be ready when that begins."""
    choice = asked.choice
    if choice.slot_at is None:
        return due
    end = slot_end(dates.locations[asked.location_id], choice.service, choice.slot_at)
    if end is None or due.due_at >= end:
        return due  # taking it is refused: see `rules/slots.py`
    since = max(due.expected_from or choice.slot_at, choice.slot_at)
    return Due(max(due.due_at, choice.slot_at), since, end)


def _work_key(asked: Asked) -> _WorkKey:
    wish = asked.choice.wish
    return asked.location_id, asked.choice.service, DEFAULT_CHANCE if wish is None else wish.chance


def _handling_min(dates: Dates, key: _WorkKey) -> int:
    minutes = dates.minutes.get(key)
    if minutes is None:
        location_id, service, chance = key
        handling = dates.origin(location_id, service).handling
        dates.minutes[key] = minutes = quantile(handling, chance)
    return minutes


def window_of(dues: Sequence[Due | None]) -> tuple[datetime | None, datetime | None]:
    """Return from when until when all of it is there; None if of one part nobody knows."""
    since: datetime | None = None
    until: datetime | None = None
    if len(dues) == 1 and dues[0] is not None:
        return dues[0].expected_from, dues[0].expected_until
    for due in dues:
        if due is None or due.expected_from is None or due.expected_until is None:
            return None, None
        since = due.expected_from if since is None else min(since, due.expected_from)
        until = due.expected_until if until is None else max(until, due.expected_until)
    return since, until


# ── orders ────────────────────────────────────────────────────────────────────────────────────────


class Made(NamedTuple):
    """A fulfilment that wants dates, in its context, and how far it goes."""

    context: Context
    choice: Choice
    fulfilment: Fulfilment
    km: float


def made_of(context: Context, fulfilment: Fulfilment) -> list[Made]:
    """Return a fulfilment that was there as one that wants dates; none if it has no choice."""
    choices: Sequence[Choice] = context.root.choices
    km = fulfilment.distance_m / 1000
    return [Made(context, one, fulfilment, km) for one in choices if one.id == fulfilment.choice_id]


def put_dates(tx: Pass, made: Sequence[Made], contexts: Iterable[Context]) -> None:
    """Date fulfilments as of this pass, and say in the contexts' choices what is expected now.

    What is expected first is the promise; `choice.promise_changed` is recorded when a later
    expectation breaks it.
    """
    asked = [Asked(one.choice, one.fulfilment.origin_id, one.km) for one in made]
    dates = dates_of(tx.knowledge, asked, tx.now)
    for one, dated in zip(made, dates, strict=True):
        one.fulfilment.due = dated.due
        one.fulfilment.is_dated_anew = not one.fulfilment.is_new
    for context in contexts:
        for choice in context.root.choices:
            _expect(context, choice)


def _expect(context: Context, choice: Choice) -> None:
    order: Order = context.root
    dues = [
        one.due
        for one in order.fulfilments
        if one.choice_id == choice.id and one.status not in ENDED_WITHOUT
    ]
    since, until = window_of(dues)
    if choice.promised_at is None:
        choice.promised_from, choice.promised_at = since, until
    elif until is not None and until > choice.promised_at and until != choice.expected_until:
        payload = {
            "promised_at": choice.promised_at,
            "expected_from": since,
            "expected_until": until,
        }
        context.record("choice.promise_changed", "choice", choice.id, payload)
    choice.expected_from, choice.expected_until = since, until
