"""Carriers' verbs: make or change carriers and lanes, and learn from what was delivered.

Owns tables `carrier`, `lane`, `transit_seen`, `handling_seen`. Each verb takes a list, runs a fixed
number of statements and returns a result per record. Carriers and lanes bump revision `carrier`;
what is learnt does not, and is read again when someone looks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.geo import haversine_km
from penstock.network.calendar import working_minutes
from penstock.network.hours import (
    FIRST_YEAR,
    LAST_YEAR,
    SERVICES,
    CalendarInput,
    calendar_of,
)
from penstock.network.lanes import (
    CarrierInput,
    Delivery,
    Lane,
    LaneInput,
    Origin,
    PickUp,
    Place,
    ServiceInput,
    delivery_window,
    pickup_ready,
    transit_days,
)
from penstock.network.model import is_time_zone
from penstock.network.routes import (
    Carriers,
    check_carrier,
    check_lane,
    lane_for,
    normal_place,
    place_of,
)
from penstock.network.spread import counted, minutes_upto, spread_of
from penstock.records import Result, answers, sift

SQL = Queries("penstock.network", "carriers.sql")
LaneKey = tuple[str, str, str, str]
TransitKey = tuple[str, str, str, int]
HandlingKey = tuple[int, str, int]


class TransitInput(msgspec.Struct, forbid_unknown_fields=True):
    """A delivery that came: the location it left, where it went, when it was collected and came.

    Coordinates are for services that go by distance; the time zone is the destination's, without
    it the location's.
    """

    carrier: str
    service: str
    location: str
    shipped_at: datetime
    delivered_at: datetime
    country: str = ""
    postcode: str = ""
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str = ""


class HandlingInput(msgspec.Struct, forbid_unknown_fields=True):
    """Work that a location has done: since when it could, and when it was ready."""

    location: str
    taken_at: datetime
    ready_at: datetime
    service: str = "deliver"


class KnownLocation(NamedTuple):
    """What dates need of a location."""

    id: int
    place: Place
    latitude: float
    longitude: float
    time_zone: str
    opening_hours: dict[str, Any]
    calendar: CalendarInput
    handling_min: int

    def origin(self, service: str, seen: Mapping[int, int] | None = None) -> Origin:
        """Return the calendar and the handling of a service, learnt if some was seen."""
        calendar = calendar_of(self.opening_hours, self.time_zone, self.calendar, service)
        return Origin(calendar, spread_of(self.handling_min, seen or {}))


# ── carriers, lanes ───────────────────────────────────────────────────────────────────────────────


async def upsert_carriers(tx: Tx, carriers: Sequence[CarrierInput]) -> list[Result]:
    """Make or change carriers; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_carrier`, `superseded` (a later record of the list has the same ref).
    """
    refusals, good, body = sift(carriers, check_carrier, _ref, "invalid_carrier")
    written: dict[Hashable, str] = {}
    if good:
        await tx.execute(SQL.lock_carriers)
        rows = await tx.fetch(SQL.upsert_carriers, (body,))
        written = {ref: "created" if is_new else "updated" for ref, is_new in rows}
        await _bump(tx, written)
    return answers(carriers, refusals, written, _ref)


async def upsert_lanes(tx: Tx, lanes: Sequence[LaneInput]) -> list[Result]:
    """Make, change or (days None) take away lanes; returns a result each, as with carriers.

    Refusals: `invalid_carrier`, `unknown_carrier` (or it has no such service), `superseded`.
    """
    refusals, good, _ = sift(lanes, check_lane, lane_key, "invalid_carrier")
    await tx.execute(SQL.lock_carriers)
    services = {(ref, one["ref"]) for ref, some in await tx.fetch(SQL.carriers) for one in some}
    ids = await carrier_ids(tx, {one.carrier for one in good})
    known = [one for one in good if (one.carrier, one.service) in services]
    refused = {lane_key(one): _unknown(one) for one in good if one not in known}
    written: dict[Hashable, str] = {}
    names = {number: ref for ref, number in ids.items()}
    for row in await tx.fetch(SQL.drop_lanes, _lane_columns(ids, known, are_gone=True)):
        written[(names[row[0]], *row[1:])] = "updated"
    columns = _lane_columns(ids, known, are_gone=False)
    days = [one.days for one in known if one.days is not None]
    for row in await tx.fetch(SQL.upsert_lanes, (*columns, days)):
        written[(names[row[0]], *row[1:4])] = "created" if row[4] else "updated"
    await _bump(tx, written)
    refusals = [r or refused.get(lane_key(one)) for r, one in zip(refusals, lanes, strict=True)]
    return answers(lanes, refusals, written, lane_key)


def lane_key(lane: LaneInput) -> LaneKey:
    """Return what a lane is known by."""
    return lane.carrier, lane.service, normal_place(lane.origin), normal_place(lane.destination)


def _lane_columns(
    ids: Mapping[str, int], lanes: Sequence[LaneInput], *, are_gone: bool
) -> tuple[list[int], list[str], list[str], list[str]]:
    keys = [lane_key(one) for one in lanes if (one.days is None) == are_gone]
    return (
        [ids[key[0]] for key in keys],
        [key[1] for key in keys],
        [key[2] for key in keys],
        [key[3] for key in keys],
    )


async def load_carriers(tx: Tx) -> Carriers:
    """Load every carrier, lane and histogram of transit days of the account."""
    services = {
        (ref, one.ref): one
        for ref, document in await tx.fetch(SQL.carriers)
        for one in msgspec.convert(document, list[ServiceInput])
    }
    lanes: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for carrier, service, origin, destination, days in await tx.fetch(SQL.lanes):
        lanes.setdefault((carrier, service), {})[origin, destination] = days
    seen: dict[tuple[str, str, str], dict[int, int]] = {}
    for carrier, service, lane, days, count in await tx.fetch(SQL.transit_seen):
        seen.setdefault((carrier, service, lane), {})[days] = count
    return Carriers(services, lanes, seen)


async def load_handling(tx: Tx, service: str) -> dict[int, dict[int, int]]:
    """Load the histograms of handling minutes of a service, by location id."""
    seen: dict[int, dict[int, int]] = {}
    for location_id, upto, count in await tx.fetch(SQL.handling_seen, (service,)):
        seen.setdefault(location_id, {})[upto] = count
    return seen


async def known_locations(tx: Tx, refs: Sequence[str]) -> dict[str, KnownLocation]:
    """Return where locations are and how they work, by ref; unknown ones are left out."""
    rows = await tx.fetch(
        SQL.places_of_locations, (sorted({one for one in refs if "\0" not in one}),)
    )
    return {
        row[0]: KnownLocation(
            row[1],
            place_of(row[2], row[0]),
            row[3],
            row[4],
            row[5],
            row[6],
            msgspec.convert(row[7], CalendarInput),
            row[8],
        )
        for row in rows
    }


class WindowAsk(NamedTuple):
    """What a delivery window is asked for: `point` is latitude and longitude of the destination."""

    location: str
    service: tuple[str, str]
    to: Place
    point: tuple[float, ...] | None
    time_zone: str | None
    decision: datetime
    chance: float


async def find_pick_up(
    tx: Tx, ref: str, service: str, decision: datetime, chance: float
) -> tuple[PickUp | None, str]:
    """Return when what is decided now is ready, and the location's time zone.

    Refuses with `unknown_location`, `invalid_location` (no service), `instant_unusable`.
    """
    _check_service(service)
    check_instant(decision, "at")
    location = _known(await known_locations(tx, [ref]), ref)
    seen = (await load_handling(tx, service)).get(location.id)
    return pickup_ready(decision, location.origin(service, seen), chance), location.time_zone


async def find_window(tx: Tx, ask: WindowAsk) -> tuple[Delivery | None, str, str]:
    """Return the delivery window, and the time zones of the location and the destination.

    Refusals: `unknown_location`, `unknown_carrier`, `no_lane`, `invalid_transit` (no time zone),
    `instant_unusable`.
    """
    check_instant(ask.decision, "at")
    location = _known(await known_locations(tx, [ask.location]), ask.location)
    time_zone = ask.time_zone or location.time_zone
    _check_time_zone(time_zone)
    lane = lane_for(
        await load_carriers(tx), ask.service, location.place, ask.to, _km(location, ask.point)
    )
    seen = (await load_handling(tx, "deliver")).get(location.id)
    origin = location.origin("deliver", seen)
    found = delivery_window(ask.decision, origin, lane, ask.chance, time_zone)
    return found, location.time_zone, time_zone


def _km(location: KnownLocation, point: Sequence[float] | None) -> float | None:
    if point is None:
        return None
    return float(haversine_km(location.latitude, location.longitude, point[0], point[1]))


# ── learning ──────────────────────────────────────────────────────────────────────────────────────


async def record_transit(tx: Tx, records: Sequence[TransitInput]) -> list[Result]:
    """Add deliveries to the histograms of their lanes; returns `created` or a refusal each.

    A record counts each time it is given. Refusals: `unknown_location`, `unknown_carrier`,
    `no_lane`, `invalid_transit`, `instant_unusable`.
    """
    carriers = await load_carriers(tx)
    locations = await known_locations(tx, [one.location for one in records])
    ids = await carrier_ids(tx, {one.carrier for one in records})
    results: list[Result] = []
    seen: list[TransitKey] = []
    for one in records:
        try:
            lane, days = _transit(carriers, locations, one)
        except Refusal as refusal:
            results.append(refusal)
            continue
        seen.append((lane.carrier, lane.service, lane.name, days))
        results.append("created")
    await add_transit(tx, ids, seen)
    return results


async def add_transit(tx: Tx, carrier_ids: Mapping[str, int], seen: Sequence[TransitKey]) -> None:
    """Add deliveries to the histograms of their lanes: carrier, service, lane, days."""
    counts = counted((carrier_ids[one[0]], *one[1:]) for one in seen)
    await tx.execute(SQL.add_transit, (*_columns(list(counts), 4), list(counts.values())))


def _transit(
    carriers: Carriers, locations: Mapping[str, KnownLocation], one: TransitInput
) -> tuple[Lane, int]:
    location = _known(locations, one.location)
    _check_instants(one.shipped_at, one.delivered_at, "delivered_at")
    _check_time_zone(one.time_zone or location.time_zone)
    point = None
    if one.latitude is not None and one.longitude is not None:
        point = (one.latitude, one.longitude)
    to, km = Place(one.country, one.postcode), _km(location, point)
    lane = lane_for(carriers, (one.carrier, one.service), location.place, to, km)
    shipped_on = one.shipped_at.astimezone(ZoneInfo(location.time_zone)).date()
    zone = ZoneInfo(one.time_zone or location.time_zone)
    return lane, transit_days(lane, shipped_on, one.delivered_at.astimezone(zone).date())


async def record_handling(tx: Tx, records: Sequence[HandlingInput]) -> list[Result]:
    """Add handling to the histograms of locations; returns `created` or a refusal each.

    What is counted is the open time between taking and being ready. A record counts each time it is
    given. Refusals: `unknown_location`, `invalid_location` (no service), `instant_unusable`.
    """
    locations = await known_locations(tx, [one.location for one in records])
    results: list[Result] = []
    seen: list[HandlingKey] = []
    for one in records:
        try:
            location = _known(locations, one.location)
            minutes = _handling(location, one)
        except Refusal as refusal:
            results.append(refusal)
            continue
        seen.append((location.id, one.service, minutes_upto(minutes)))
        results.append("created")
    await add_handling(tx, seen)
    return results


async def add_handling(tx: Tx, seen: Sequence[HandlingKey]) -> None:
    """Add work to the histograms of locations: location, service, `minutes_upto`."""
    counts = counted(seen)
    await tx.execute(SQL.add_handling, (*_columns(list(counts), 3), list(counts.values())))


def _handling(location: KnownLocation, one: HandlingInput) -> int:
    _check_service(one.service)
    _check_instants(one.taken_at, one.ready_at, "ready_at")
    return working_minutes(location.origin(one.service).calendar, one.taken_at, one.ready_at)


def _columns(keys: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[key[place] for key in keys] for place in range(width)]


def _known(locations: Mapping[str, KnownLocation], ref: str) -> KnownLocation:
    location = locations.get(ref)
    if location is None:
        sentence = f"There is no location {ref[:100]!r}."
        raise Refusal("unknown_location", sentence, location=ref[:100])
    return location


def _check_instants(since: datetime, until: datetime, field: str) -> None:
    check_instant(since, field)
    check_instant(until, field)
    if until < since:
        raise Refusal("instant_unusable", f"{field}: It is before the first.", field=field)


def check_instant(at: datetime, field: str) -> None:
    """Refuse with `instant_unusable` what has no time zone, or no calendar is asked about."""
    if at.tzinfo is None or not FIRST_YEAR <= at.year < LAST_YEAR:
        sentence = f"{field}: An instant of {FIRST_YEAR} to {LAST_YEAR - 1}, with its time zone."
        raise Refusal("instant_unusable", sentence, field=field)


def _check_service(service: str) -> None:
    if service not in SERVICES:
        sentence = f"service: A service is one of {', '.join(SERVICES)}."
        raise Refusal("invalid_location", sentence, field="service")


def _check_time_zone(name: str) -> None:
    if not is_time_zone(name):
        sentence = f"time_zone: {name[:60]!r} is no IANA time zone."
        raise Refusal("invalid_transit", sentence, field="time_zone")


def _unknown(lane: LaneInput) -> Refusal:
    name = f"{lane.carrier} {lane.service}"[:100]
    return Refusal("unknown_carrier", f"No carrier has the service {name!r}.", carrier=name)


async def carrier_ids(tx: Tx, refs: set[str]) -> dict[str, int]:
    """Return the ids of carriers by ref; unknown ones are left out."""
    return dict(await tx.fetch(SQL.carrier_ids, (sorted(ref for ref in refs if "\0" not in ref),)))


async def _bump(tx: Tx, written: Mapping[Hashable, str]) -> None:
    if written:
        await tx.execute(SQL.bump_carriers)


def _ref(carrier: CarrierInput) -> str:
    return carrier.ref
