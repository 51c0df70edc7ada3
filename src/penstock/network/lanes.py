"""Carriers and lanes in words, and the dates of a delivery or a pick-up that follow from them.

Pure. Owns what a carrier service and a lane are, which lane serves a pair of places, and the date
arithmetic: decision, cut-off, handling, the location's calendar, the carrier's next collection,
its transit in delivery days, the destination's time zone.

Invariants: the quantile asked for is that of the whole way, not of each part, handling and transit
taken as independent; nothing is promised beyond a timetable's horizon.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.network import timetable
from penstock.network.calendar import next_open, ready_at, table_at
from penstock.network.hours import (
    MINUTES_A_DAY,
    WEEKDAYS,
    Calendar,
    OwnDate,
    public_holidays,
    weekday_of,
)
from penstock.network.spread import MAX_TRANSIT_DAYS, Spread, place_of, quantile
from penstock.network.timetable import HORIZON_DAYS, MINUTE_US, Instants, datetime_of, us_of

ANY = "*"
_NEVER_DAY = 2**40
# Decisions that are looked at ahead, to know how long an answer stands.
_LATER_US = np.array([0, 1, 5, 15, 60], dtype=np.int64) * MINUTE_US


class Band(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Up to so many kilometres, so many delivery days after collection."""

    upto_km: float
    days: int


class ServiceInput(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a carrier sells: when it collects (origin's time), when it delivers (destination's).

    `transit_days` by distance, where no lane says otherwise: delivery days after the day of
    collection. On `holidays`, public ones of a country or a part of it, it does neither; nor on
    `dates` of its own.
    """

    ref: str
    collects: dict[str, list[str]]
    name: str = ""
    delivers: list[str] = msgspec.field(default_factory=lambda: list(WEEKDAYS[:5]))
    delivers_between: tuple[str, str] = ("08:00", "18:00")
    transit_days: list[Band] = []
    holidays: str = ""
    dates: list[OwnDate] = []


class CarrierInput(msgspec.Struct, forbid_unknown_fields=True):
    """A carrier and all its services."""

    ref: str
    services: list[ServiceInput]
    name: str = ""


class LaneInput(msgspec.Struct, forbid_unknown_fields=True):
    """Delivery days of a carrier's service between places.

    A place is `*`, a country `GB`, or the postcodes of one that begin so, `GB:BA`; an origin may
    be a location, `@WH-1`. None takes the lane away.
    """

    carrier: str
    service: str
    origin: str = ANY
    destination: str = ANY
    days: int | None = None


class Place(NamedTuple):
    """Where something begins or ends; a location's ref for an origin. Postcodes are normal form."""

    country: str = ""
    postcode: str = ""
    location: str = ""


class Terms(NamedTuple):
    """A carrier service as dates need it: hashable, minutes of the local day."""

    collects: tuple[tuple[int, ...], ...]  # by weekday
    delivers: tuple[tuple[tuple[int, int], ...], ...]  # by weekday
    closed: tuple[tuple[int, int], ...]  # ranges of ordinals
    holidays: str


class Lane(NamedTuple):
    """A carrier service between two places: how many delivery days, as stated and as seen."""

    carrier: str
    service: str
    name: str  # origin>destination or the distance band: what observations are kept under
    stated_days: int
    terms: Terms
    transit: Spread


class Origin(NamedTuple):
    """Where something is handled: the calendar of the service, and the minutes handling takes."""

    calendar: Calendar
    handling: Spread


class Delivery(NamedTuple):
    """When it has to be collected, and the windows (UTC) of the earliest and the latest delivery.

    `latest` is kept with the chance asked for, `earliest` beaten with no more than the rest.
    """

    ship_by: datetime
    earliest: tuple[datetime, datetime]
    latest: tuple[datetime, datetime]


class PickUp(NamedTuple):
    """When it is ready with the chance asked for, and when it can first be collected then (UTC)."""

    ready_at: datetime
    collect_from: datetime


# ── dates ─────────────────────────────────────────────────────────────────────────────────────────


def delivery_window(
    decision: datetime, origin: Origin, lane: Lane, q: float, time_zone: str
) -> Delivery | None:
    """Return when what is decided now is collected and delivered, with the chance `q`.

    `time_zone` is the destination's. None if it cannot be within a hundred days.
    """
    return delivery_for_a_while(decision, origin, lane, q, time_zone)[0]


def delivery_for_a_while(
    decision: datetime, origin: Origin, lane: Lane, q: float, time_zone: str
) -> tuple[Delivery | None, int]:
    """Return the delivery window, and until when (microseconds) a later decision has the same.

    Later decisions are ready later, so where two make the same collections all between them do.
    """
    begins, made_until = _begun(decision, origin, lane)
    collected_us, collected_on, place = begins
    today = decision.astimezone(UTC).date()
    delivering = _delivering(lane.terms, time_zone)
    days = timetable.lay_out(delivering, today.toordinal() - 2, HORIZON_DAYS + 4)
    arrival = _arrivals(
        np.append(collected_on, _NEVER_DAY)[place], lane.transit.values, days.working
    )
    arrivals, shares = arrival.ravel(), np.outer(origin.handling.shares, lane.transit.shares)
    order = np.argsort(arrivals, kind="stable")
    cumulated = np.cumsum(shares.ravel()[order])
    last = int(arrivals[order][place_of(cumulated, q)])
    first = int(arrivals[order][place_of(cumulated, 1 - q)])
    ship = int(place[place_of(np.cumsum(origin.handling.shares), q)])
    if last >= len(days.working) or ship >= len(collected_us):
        return None, made_until
    ship_by = datetime_of(int(collected_us[ship]))
    return Delivery(ship_by, _hours(days, first), _hours(days, last)), made_until


def _begun(
    decision: datetime, origin: Origin, lane: Lane
) -> tuple[tuple[Instants, Instants, NDArray[np.int64]], int]:
    """Return a lane's collections and which of them each handling time makes, and until when so."""
    today = decision.astimezone(UTC).date()
    collected_us, collected_on = _collections(origin.calendar, lane.terms, today)
    minutes, now = origin.handling.values, us_of(decision)
    midnight = timetable.local_midnight_us(today.toordinal() + 1)
    decisions = np.minimum(now + _LATER_US, midnight - 1)
    at = np.repeat(decisions, len(minutes))
    work = np.tile(minutes * MINUTE_US, len(decisions))
    table = table_at(origin.calendar, decision)
    ready = timetable.ready(table, np.zeros(len(at), dtype=np.int64), at, work)
    places = np.searchsorted(collected_us, ready, side="left").reshape(len(decisions), -1)
    is_same = (places == places[0]).all(axis=1)
    same = len(decisions) if is_same.all() else int(np.argmin(is_same))
    return (collected_us, collected_on, places[0]), int(decisions[same - 1])


def _arrivals(
    shipped_on: Instants, transit_days: NDArray[np.int64], working: Instants
) -> NDArray[np.int64]:
    """Return per shipment and transit the place of the delivery day; 0 days may be the same day."""
    after = np.searchsorted(working, shipped_on, side="right")[:, None]
    same_day = np.searchsorted(working, shipped_on, side="left")[:, None]
    days = transit_days[None, :]
    return np.where(days == 0, same_day, after + days - 1)


def _hours(days: timetable.Layout, place: int) -> tuple[datetime, datetime]:
    mine = days.days == days.working[place]
    return datetime_of(int(days.opens[mine][0])), datetime_of(int(days.closes[mine][-1]))


def pickup_ready(decision: datetime, origin: Origin, q: float) -> PickUp | None:
    """Return when what is decided now can be collected with the chance `q`.

    None if it cannot be within a hundred days.
    """
    ready = ready_at(origin.calendar, decision, quantile(origin.handling, q))
    opens = None if ready is None else next_open(origin.calendar, ready)
    return None if ready is None or opens is None else PickUp(ready, opens)


def transit_days(lane: Lane, shipped_on: date, delivered_on: date) -> int:
    """Return how many delivery days after the day of collection something came."""
    if delivered_on <= shipped_on:
        return 0
    ordinals = np.arange(shipped_on.toordinal() + 1, delivered_on.toordinal() + 1)
    days = sum(bool(_delivery_spans(lane.terms, int(ordinal))) for ordinal in ordinals)
    return min(max(days, 1), MAX_TRANSIT_DAYS)


@lru_cache(maxsize=4_000)
def _collections(calendar: Calendar, terms: Terms, today: date) -> tuple[Instants, Instants]:
    """Return when a carrier collects at a location, and the local date (ordinal) of each.

    It collects only while the location is open, its closing time included.
    """
    first, count = today.toordinal() - 2, HORIZON_DAYS
    layout = timetable.lay_out(calendar, first, count)
    found = [
        (day, minute)
        for day in range(first, first + count)
        if not _is_closed(terms, day)
        for minute in terms.collects[weekday_of(day)]
    ]
    pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
    minutes = (pairs[:, 0] - first) * MINUTES_A_DAY + pairs[:, 1]
    local = timetable.local_midnight_us(first) + minutes * MINUTE_US
    segments = timetable.segments_of(calendar.time_zone, first, count)
    at = timetable.first_instants(segments, local)
    place = np.searchsorted(layout.closes, at, side="left")
    is_open = np.append(layout.opens, timetable.NEVER)[place] <= at
    return at[is_open], pairs[is_open, 0]


@lru_cache(maxsize=4_000)
def _delivering(terms: Terms, time_zone: str) -> Calendar:
    """Return a carrier's delivery days and hours as a calendar of the destination's time zone."""
    own = tuple((day, (), "") for first, last in terms.closed for day in range(first, last + 1))
    return Calendar(time_zone, terms.delivers, own, terms.holidays)


def _delivery_spans(terms: Terms, ordinal: int) -> tuple[tuple[int, int], ...]:
    return () if _is_closed(terms, ordinal) else terms.delivers[weekday_of(ordinal)]


def _is_closed(terms: Terms, ordinal: int) -> bool:
    is_own = any(first <= ordinal <= last for first, last in terms.closed)
    return is_own or ordinal in public_holidays(terms.holidays, date.fromordinal(ordinal).year)
