"""`/v1/controls`: what lowers a channel's promises, put, listed and removed.

What a control means is `availability`'s. Every process decides by it from its next pass on, and
answers by it as soon as it hears of it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec

from penstock.api.errors import problem
from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.availability.control_input import ControlInput, ref_of
from penstock.availability.control_views import MAX_LISTED, ControlView, list_controls
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.records import Result
from penstock.rules.controls import put_controls, remove_controls

MAX_CONTROLS = 2_000
MAX_TEXT = 1_000
_encode = msgspec.json.Encoder().encode


class PutBody(msgspec.Struct, forbid_unknown_fields=True):
    """Controls to make or change."""

    controls: Annotated[list[ControlInput], msgspec.Meta(min_length=1, max_length=MAX_CONTROLS)]


class RemoveBody(msgspec.Struct, forbid_unknown_fields=True):
    """Refs of controls to remove."""

    refs: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]],
        msgspec.Meta(min_length=1, max_length=MAX_CONTROLS),
    ]


_put = msgspec.json.Decoder(PutBody)
_remove = msgspec.json.Decoder(RemoveBody)


async def post_controls(served: Served, request: Request) -> Reply:
    """Put controls; 200 with a result each, in order. One bad control refuses itself only."""
    refuse_nul(request.body)
    controls = read_json(_put, request.body).controls
    workflows, now = served.knowledge.workflows, served.knowledge.clock.now()

    async def work(tx: Tx) -> list[Result]:
        return await put_controls(tx, workflows, controls, now)

    results = await served.database.run(served.schema, work)
    return _results([ref_of(one) for one in controls], results)


async def post_removal(served: Served, request: Request) -> Reply:
    """Remove controls; 200 with a result each, in order."""
    refuse_nul(request.body)
    refs = read_json(_remove, request.body).refs
    workflows, now = served.knowledge.workflows, served.knowledge.clock.now()

    async def work(tx: Tx) -> list[Result]:
        return await remove_controls(tx, workflows, refs, now)

    results = await served.database.run(served.schema, work)
    return _results(refs, results)


async def get_controls(served: Served, request: Request) -> Reply:
    """List controls by ref: of a `channel`, `after` a ref; refuses with `invalid_query`."""
    query = {name: values[-1] for name, values in request.query().items()}
    unknown = sorted(query.keys() - {"channel", "after", "limit"})
    if unknown:
        raise Refusal("invalid_query", f"There is no field {unknown[0][:60]!r}.", field=unknown[0])
    limit = query.get("limit", str(MAX_LISTED))
    if not limit.isdecimal() or not 1 <= int(limit) <= MAX_LISTED:
        sentence = f"limit is a number from 1 to {MAX_LISTED}."
        raise Refusal("invalid_query", sentence, field="limit")
    if any("\0" in value for value in query.values()):
        raise Refusal("invalid_query", "Text must not hold the character NUL.", field="")

    async def work(tx: Tx) -> list[ControlView]:
        return await list_controls(tx, query.get("channel"), query.get("after"), int(limit))

    found = await served.database.run(served.schema, work)
    return Reply(HTTPStatus.OK, _encode({"controls": found}))


def _results(refs: list[str], results: list[Result]) -> Reply:
    told = [
        {"ref": ref, "problem": msgspec.Raw(problem(result))}
        if isinstance(result, Refusal)
        else {"ref": ref, "result": result}
        for ref, result in zip(refs, results, strict=True)
    ]
    return Reply(HTTPStatus.OK, _encode({"results": told}))
