"""`/v1/stock-sources`: who counts stock, what they count, and what they have acknowledged.

Owns translating only; what sources are is `inventory/sources.py`'s.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from penstock.api.errors import problem
from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.inventory.sources import (
    Acknowledgement,
    SourceInput,
    acknowledge,
    list_sources,
    upsert_sources,
)
from penstock.passes import Pass
from penstock.records import Result

MAX_SOURCES = 1_000
MAX_LOCATIONS = 10_000
Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class SourcesInput(msgspec.Struct, forbid_unknown_fields=True):
    """Sources to make or change."""

    sources: Annotated[list[SourceInput], msgspec.Meta(max_length=MAX_SOURCES)]


class AcknowledgeInput(msgspec.Struct, forbid_unknown_fields=True):
    """Until when a source has taken orders into account, since when, and where (everywhere)."""

    handed_until: datetime
    acknowledged_at: datetime | None = None
    locations: Annotated[list[Ref], msgspec.Meta(max_length=MAX_LOCATIONS)] | None = None


_sources = msgspec.json.Decoder(SourcesInput)
_acknowledge = msgspec.json.Decoder(AcknowledgeInput)
_encode = msgspec.json.Encoder().encode


async def get_sources(served: Served) -> Reply:
    """List every stock source."""
    sources = await served.database.run(served.schema, list_sources)
    return Reply(HTTPStatus.OK, _encode({"sources": sources}))


async def post_sources(served: Served, request: Request) -> Reply:
    """Make or change sources; 200 with a result each. Problems: `invalid_source`, `superseded`."""
    refuse_nul(request.body)
    asked = read_json(_sources, request.body).sources

    async def work(tx: Pass) -> list[Result]:
        return await upsert_sources(tx, asked)

    results = await served.knowledge.run_pass("stock", work)
    pairs = zip(asked, results, strict=True)
    return Reply(HTTPStatus.OK, _encode({"results": [_told(one, of) for one, of in pairs]}))


def _told(source: SourceInput, result: Result) -> dict[str, Any]:
    if isinstance(result, Refusal):
        return {"ref": source.ref, "problem": msgspec.Raw(problem(result))}
    return {"ref": source.ref, "result": result}


async def post_acknowledge(served: Served, ref: str, request: Request) -> Reply:
    """Keep what a source has acknowledged; 200.

    Refusals: `unknown_source`, `unknown_location`, `instant_unusable`.
    """
    refuse_nul(request.body)
    asked = read_json(_acknowledge, request.body)
    knowledge = served.knowledge
    locations = asked.locations
    ids = None if locations is None else [knowledge.location_id(one) for one in locations]
    now = knowledge.clock.now()
    said = Acknowledgement(asked.acknowledged_at or now, asked.handed_until, ids)

    async def work(tx: Tx) -> None:
        await acknowledge(tx, ref, said, now)

    await served.database.run(served.schema, work)
    document = {"acknowledged_at": said.acknowledged_at, "handed_until": said.handed_until}
    return Reply(HTTPStatus.OK, _encode(document))
