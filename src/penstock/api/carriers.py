"""`/v1/carriers`, `/v1/lanes`, `/v1/fulfilment-times`: who carries, how long, what happened.

Lists in, a result per record out; one bad record refuses itself only. What a carrier and a lane are
is `network`'s, what follows from instants `rules/learning.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from penstock.api.errors import problem
from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, read_query, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.carrier_views import list_carriers, list_lanes
from penstock.network.carriers import upsert_carriers, upsert_lanes
from penstock.network.lanes import CarrierInput, LaneInput
from penstock.records import Result
from penstock.rules.learning import TimeInput, record_times

MAX_RECORDS = 2_000
MAX_LISTED = 1_000
_Text = Annotated[str, msgspec.Meta(max_length=500)]
_Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED)]
_Many = msgspec.Meta(min_length=1, max_length=MAX_RECORDS)
_encode = msgspec.json.Encoder().encode


class CarriersBody(msgspec.Struct, forbid_unknown_fields=True):
    """Carriers to make or change, each with all its services."""

    carriers: Annotated[list[CarrierInput], _Many]


class LanesBody(msgspec.Struct, forbid_unknown_fields=True):
    """Lanes to make, change, or (without `days`) take away."""

    lanes: Annotated[list[LaneInput], _Many]


class TimesBody(msgspec.Struct, forbid_unknown_fields=True):
    """Steps of fulfilments, with when they happened."""

    times: Annotated[list[TimeInput], _Many]


class CarriersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A page of carriers, by ref."""

    after: _Text = ""
    limit: _Limit = 100


class LanesQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A page of lanes, of a carrier if one is named; `after` is the `next` of the page before."""

    carrier: _Text | None = None
    after: _Text = ""
    limit: _Limit = 100


_carriers = msgspec.json.Decoder(CarriersBody)
_lanes = msgspec.json.Decoder(LanesBody)
_times = msgspec.json.Decoder(TimesBody)


async def post_carriers(served: Served, request: Request) -> Reply:
    """Put carriers; 200 with a result each, in order."""
    refuse_nul(request.body)
    carriers = read_json(_carriers, request.body).carriers

    async def work(tx: Tx) -> list[Result]:
        return await upsert_carriers(tx, carriers)

    return _results(await served.database.run(served.schema, work))


async def post_lanes(served: Served, request: Request) -> Reply:
    """Put lanes, or take them away; 200 with a result each, in order."""
    refuse_nul(request.body)
    lanes = read_json(_lanes, request.body).lanes

    async def work(tx: Tx) -> list[Result]:
        return await upsert_lanes(tx, lanes)

    return _results(await served.database.run(served.schema, work))


async def post_times(served: Served, request: Request) -> Reply:
    """Keep when steps of fulfilments happened; 200 with a result each, in order."""
    refuse_nul(request.body)
    times = read_json(_times, request.body).times
    knowledge = served.knowledge

    async def work(tx: Tx) -> list[Result]:
        return await record_times(tx, knowledge, times, knowledge.clock.now())

    return _results(await served.database.run(served.schema, work))


async def get_carriers(served: Served, request: Request) -> Reply:
    """List carriers by ref; refuses with `invalid_query`."""
    asked = read_query(request, CarriersQuery)

    async def work(tx: Tx) -> list[dict[str, Any]]:
        return await list_carriers(tx, asked.after, asked.limit)

    found = await served.database.run(served.schema, work)
    return _page("carriers", found, found[-1]["ref"] if len(found) == asked.limit else None)


async def get_lanes(served: Served, request: Request) -> Reply:
    """List lanes by carrier, service, origin and destination; refuses with `invalid_query`."""
    asked = read_query(request, LanesQuery)

    async def work(tx: Tx) -> tuple[list[dict[str, Any]], str | None]:
        return await list_lanes(tx, asked.carrier, asked.after, asked.limit)

    found, following = await served.database.run(served.schema, work)
    return _page("lanes", found, following)


def _page(name: str, found: Sequence[Any], following: str | None) -> Reply:
    return Reply(HTTPStatus.OK, _encode({name: found, "next": following}))


def _results(results: Sequence[Result]) -> Reply:
    told = [
        {"problem": msgspec.Raw(problem(one))} if isinstance(one, Refusal) else {"result": one}
        for one in results
    ]
    return Reply(HTTPStatus.OK, _encode({"results": told}))
