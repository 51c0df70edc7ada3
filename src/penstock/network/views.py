"""Network's read models: locations found by kind, network, distance or box, and one whole.

Owns the shapes that the interfaces show. Distances are great circles, kilometres; a box whose west
lies east of its east goes over the date line.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.calendar import DayView, Slot, view_days
from penstock.network.carriers import KnownLocation, known_locations
from penstock.network.directory import SQL
from penstock.network.hours import FIRST_YEAR, LAST_YEAR, SERVICES, next_days
from penstock.network.model import KINDS

MAX_LOCATIONS = 1_000
MAX_CALENDAR_DAYS = 366
_Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
_Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]
_FIELDS = (
    *("ref", "kind", "name", "address", "latitude", "longitude", "time_zone", "opening_hours"),
    *("capabilities", "handling_cost_minor", "handling_min", "daily_capacity", "attributes"),
    "calendar",
)


class LocationSearch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which locations: of a kind, in a network, around a point, in a box; `after` a ref.

    Around a point the nearest come first, and `within_km` bounds them; else they are in order of
    ref. A box needs all of its sides.
    """

    kind: str | None = None
    network: str | None = None
    latitude: _Latitude | None = None
    longitude: _Longitude | None = None
    within_km: Annotated[float, msgspec.Meta(ge=0)] | None = None
    south: _Latitude | None = None
    west: _Longitude | None = None
    north: _Latitude | None = None
    east: _Longitude | None = None
    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LOCATIONS)] = 100


async def search_locations(tx: Tx, search: LocationSearch, now: datetime) -> list[dict[str, Any]]:
    """Return the locations that a search finds, with what is switched off now.

    Refuses with `invalid_query`, naming the field.
    """
    _check(search)
    params = (
        *(search.kind, search.network, search.latitude, search.longitude, search.within_km),
        *(search.south, search.west, search.north, search.east, search.after, now, search.limit),
    )
    return [
        {
            **dict(zip(_FIELDS[:7], row[:7], strict=True)),
            **({} if row[7] is None else {"km": round(row[7], 3)}),
            "off": row[8],
        }
        for row in await tx.fetch(SQL.search_locations, params)
    ]


def _check(search: LocationSearch) -> None:
    box = (search.south, search.west, search.north, search.east)
    is_near = search.latitude is not None
    _insist(search.kind is None or search.kind in KINDS, "kind", f"One of {', '.join(KINDS)}.")
    _insist(is_near == (search.longitude is not None), "longitude", "A point has two coordinates.")
    _insist(is_near or search.within_km is None, "within_km", "Say around which point.")
    _insist(not (is_near and search.after), "after", "Around a point there are no further pages.")
    is_whole = None not in box or box == (None,) * 4
    _insist(is_whole, "south", "A box has south, west, north and east.")
    is_upright = search.south is None or search.north is None or search.south <= search.north
    _insist(is_upright, "north", "The north of a box is not south of its south.")
    for field in ("network", "after"):
        _insist("\0" not in (getattr(search, field) or ""), field, "Text without NUL.")


def _insist(condition: object, field: str, message: str) -> None:
    if not condition:
        raise Refusal("invalid_query", f"{field}: {message}", field=field)


async def read_location(tx: Tx, ref: str) -> dict[str, Any]:
    """Return a location whole, with its networks and switches; refuses with `unknown_location`."""
    row = None if "\0" in ref else await tx.fetch_one(SQL.location_by_ref, (ref,))
    if row is None:
        raise Refusal(
            "unknown_location", f"There is no location {ref[:100]!r}.", location=ref[:100]
        )
    networks = [one[0] for one in await tx.fetch(SQL.networks_of, (row[0],))]
    switches = [
        {"service": one[0], "since": one[1], "until": one[2], "reason": one[3]}
        for one in await tx.fetch(SQL.switches_of, (row[0],))
    ]
    return {**dict(zip(_FIELDS, row[1:], strict=True)), "networks": networks, "off": switches}


async def place_known(tx: Tx, ref: str) -> KnownLocation:
    """Return what dates need of a location; refuses with `unknown_location`."""
    known = await known_locations(tx, [ref])
    if ref not in known:
        raise Refusal(
            "unknown_location", f"There is no location {ref[:100]!r}.", location=ref[:100]
        )
    return known[ref]


def _check_service(service: str) -> None:
    """Refuse what is no service with `invalid_query`."""
    _insist(service in SERVICES, "service", f"A service is one of {', '.join(SERVICES)}.")


def view_calendar(
    location: KnownLocation, service: str, since: date, days: int
) -> list[dict[str, Any]]:
    """Return what the calendar of a service says of some days; refuses with `invalid_query`."""
    _check_service(service)
    sentence = f"From 1 to {MAX_CALENDAR_DAYS} days at once."
    _insist(1 <= days <= MAX_CALENDAR_DAYS, "days", sentence)
    is_near = FIRST_YEAR <= since.year < LAST_YEAR
    _insist(is_near, "since", f"A date from {FIRST_YEAR} to {LAST_YEAR - 1}.")
    calendar = location.origin(service).calendar
    return [_day(view) for view in view_days(calendar, next_days(since, days))]


def _day(view: DayView) -> dict[str, Any]:
    return {
        "on": view.on,
        "windows": [{"opens": opens, "closes": closes} for opens, closes in view.windows],
        "cut_off": view.cut_off,
        "reason": view.reason,
    }


def view_slots(slots: Sequence[Slot], time_zone: str) -> list[dict[str, Any]]:
    """Return slots as they are shown, in the location's time."""
    zone = ZoneInfo(time_zone)
    return [
        {
            "begins": slot.start.astimezone(zone),
            "ends": slot.end.astimezone(zone),
            "left": slot.left,
        }
        for slot in slots
    ]
