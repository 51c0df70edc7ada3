"""Locations over HTTP: found, read, put, and when they are open.

Translates queries and bodies; what a search finds is `network/views.py`'s, what a location may be
`network/model.py`'s. Nothing here is hot: each request is one transaction.
"""

from __future__ import annotations

from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import does_not_fit, read_json, read_query, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.carriers import WindowAsk, find_pick_up, find_window
from penstock.network.commands import upsert_locations
from penstock.network.lanes import Place
from penstock.network.model import LocationInput
from penstock.network.pickup_slots import free_slots
from penstock.network.views import (
    LocationSearch,
    place_known,
    read_location,
    search_locations,
    view_calendar,
    view_slots,
)
from penstock.records import insist

_Chance = Annotated[float, msgspec.Meta(ge=0.5, le=0.999)]
_encode = msgspec.json.Encoder().encode
_document: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class CalendarQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which service, from which local date on (today), how many days."""

    service: str = "deliver"
    since: date | None = None
    days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14


class SlotsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The slots of which service, on which local date (today)."""

    service: str = "collect"
    on: date | None = None


class ReadyQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Decided when (now), for which service, how sure it is to be."""

    service: str = "collect"
    at: datetime | None = None
    chance: _Chance = 0.9


class WindowQuery(msgspec.Struct, forbid_unknown_fields=True):
    """By whom, where to, decided when (now), how sure it is to be."""

    carrier: str
    service: str
    country: str = ""
    postcode: str = ""
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    time_zone: str | None = None
    at: datetime | None = None
    chance: _Chance = 0.9


async def get_locations(served: Served, request: Request) -> Reply:
    """Find locations; refuses with `invalid_query`."""
    search = read_query(request, LocationSearch)

    async def work(tx: Tx) -> list[dict[str, Any]]:
        return await search_locations(tx, search, served.knowledge.clock.now())

    return _reply({"locations": await served.database.run(served.schema, work)})


async def get_location(served: Served, ref: str) -> Reply:
    """Read a location whole; refuses with `unknown_location`."""

    async def work(tx: Tx) -> dict[str, Any]:
        return await read_location(tx, ref)

    return _reply(await served.database.run(served.schema, work))


async def put_location(served: Served, ref: str, request: Request) -> Reply:
    """Make or change a location: 201 or 200 with what it is now; refuses with `invalid_location`.

    Fields that are not given get their defaults.
    """
    refuse_nul(request.body)
    document = read_json(_document, request.body)
    if document.setdefault("ref", ref) != ref:
        sentence = f"ref: The path says {ref[:100]!r}: leave it out."
        raise Refusal("invalid_location", sentence, field="ref")
    try:
        location = msgspec.convert(document, LocationInput)
    except msgspec.ValidationError as error:
        raise does_not_fit(error) from None

    async def work(tx: Tx) -> tuple[bool, dict[str, Any]]:
        results = await upsert_locations(tx, [location])
        insist(results)
        return results == ["created"], await read_location(tx, ref)

    is_new, now = await served.database.run(served.schema, work)
    return _reply(now, HTTPStatus.CREATED if is_new else HTTPStatus.OK)


async def get_calendar(served: Served, ref: str, request: Request) -> Reply:
    """Tell when a service of a location is open; refuses with `unknown_location`, `invalid_query`.

    Instants are in the location's time.
    """
    asked = read_query(request, CalendarQuery)

    async def work(tx: Tx) -> dict[str, Any]:
        place = await place_known(tx, ref)
        since = asked.since or _today(served, place.time_zone)
        days = view_calendar(place, asked.service, since, asked.days)
        return {"ref": ref, "service": asked.service, "time_zone": place.time_zone, "days": days}

    return _reply(await served.database.run(served.schema, work))


async def get_slots(served: Served, ref: str, request: Request) -> Reply:
    """Tell the slots of a date with what is left; refuses with `unknown_location`, `no_slots`."""
    asked = read_query(request, SlotsQuery)

    async def work(tx: Tx) -> dict[str, Any]:
        place = await place_known(tx, ref)
        day = asked.on or _today(served, place.time_zone)
        found = view_slots(await free_slots(tx, place, asked.service, day), place.time_zone)
        return {"ref": ref, "service": asked.service, "on": day, "slots": found}

    return _reply(await served.database.run(served.schema, work))


async def get_ready(served: Served, ref: str, request: Request) -> Reply:
    """Tell when what is decided at an instant is ready, and when it can first be collected then.

    Refuses with `unknown_location`, `invalid_location`, `instant_unusable`, `never_open`.
    """
    asked = read_query(request, ReadyQuery)
    decision = asked.at or served.knowledge.clock.now()

    async def work(tx: Tx) -> dict[str, Any]:
        found, name = await find_pick_up(tx, ref, asked.service, decision, asked.chance)
        if found is None:
            raise Refusal("never_open", f"{ref} does not open within 100 days.", location=ref)
        zone = ZoneInfo(name)
        ready, opens = found.ready_at.astimezone(zone), found.collect_from.astimezone(zone)
        return {"ref": ref, "service": asked.service, "ready_at": ready, "collect_from": opens}

    return _reply(await served.database.run(served.schema, work))


async def get_window(served: Served, ref: str, request: Request) -> Reply:
    """Tell when a parcel decided at an instant is collected and delivered.

    Refuses with `unknown_location`, `unknown_carrier`, `no_lane`, `invalid_transit` (no time zone),
    `instant_unusable`, `never_open`.
    """
    asked = read_query(request, WindowQuery)
    has_point = asked.latitude is not None and asked.longitude is not None
    ask = WindowAsk(
        location=ref,
        service=(asked.carrier, asked.service),
        to=Place(asked.country, asked.postcode),
        point=(asked.latitude or 0.0, asked.longitude or 0.0) if has_point else None,
        time_zone=asked.time_zone,
        decision=asked.at or served.knowledge.clock.now(),
        chance=asked.chance,
    )

    async def work(tx: Tx) -> dict[str, Any]:
        found, origin_zone, zone = await find_window(tx, ask)
        if found is None:
            raise Refusal("never_open", "It is not delivered within 100 days.", location=ref)
        return {
            "ship_by": found.ship_by.astimezone(ZoneInfo(origin_zone)),
            "earliest": _span(found.earliest, zone),
            "latest": _span(found.latest, zone),
        }

    return _reply(await served.database.run(served.schema, work))


def _span(span: tuple[datetime, datetime], time_zone: str) -> dict[str, datetime]:
    opens, closes = (one.astimezone(ZoneInfo(time_zone)) for one in span)
    return {"opens": opens, "closes": closes}


def _today(served: Served, time_zone: str) -> date:
    return served.knowledge.clock.now().astimezone(ZoneInfo(time_zone)).date()


def _reply(document: dict[str, Any], status: int = HTTPStatus.OK) -> Reply:
    return Reply(status, _encode(document))
