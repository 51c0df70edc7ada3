"""`/v1/thresholds`: levels at which stock is at risk or out of stock, put, listed and removed.

What a threshold means is `availability`'s; the process that tells crossings hears of a change
within a second.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec

from penstock.api.errors import problem
from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.availability.threshold_input import ThresholdInput, ref_of
from penstock.availability.thresholds import (
    MAX_LISTED,
    list_thresholds,
    put_thresholds,
    remove_thresholds,
)
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.records import Result

MAX_THRESHOLDS = 2_000
MAX_TEXT = 1_000
_encode = msgspec.json.Encoder().encode


class PutBody(msgspec.Struct, forbid_unknown_fields=True):
    """Thresholds to make or change."""

    thresholds: Annotated[
        list[ThresholdInput], msgspec.Meta(min_length=1, max_length=MAX_THRESHOLDS)
    ]


class RemoveBody(msgspec.Struct, forbid_unknown_fields=True):
    """Refs of thresholds to remove."""

    refs: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]],
        msgspec.Meta(min_length=1, max_length=MAX_THRESHOLDS),
    ]


_put = msgspec.json.Decoder(PutBody)
_remove = msgspec.json.Decoder(RemoveBody)


async def post_thresholds(served: Served, request: Request) -> Reply:
    """Put thresholds; 200 with a result each, in order. One bad one refuses itself only."""
    refuse_nul(request.body)
    asked = read_json(_put, request.body).thresholds

    async def work(tx: Tx) -> list[Result]:
        return await put_thresholds(tx, asked)

    results = await served.database.run(served.schema, work)
    return _results([ref_of(one) for one in asked], results)


async def post_removal(served: Served, request: Request) -> Reply:
    """Remove thresholds; 200 with a result each, in order."""
    refuse_nul(request.body)
    refs = read_json(_remove, request.body).refs

    async def work(tx: Tx) -> list[Result]:
        return await remove_thresholds(tx, refs)

    return _results(refs, await served.database.run(served.schema, work))


async def get_thresholds(served: Served, request: Request) -> Reply:
    """List thresholds by ref, up to 1,000 `after` a ref; refuses with `invalid_query`."""
    query = {name: values[-1] for name, values in request.query().items()}
    unknown = sorted(query.keys() - {"after"})
    if unknown:
        raise Refusal("invalid_query", f"There is no field {unknown[0][:60]!r}.", field=unknown[0])
    after = query.get("after")
    if after is not None and "\0" in after:
        raise Refusal("invalid_query", "Text must not hold the character NUL.", field="after")

    async def work(tx: Tx) -> list[ThresholdInput]:
        return await list_thresholds(tx, after, MAX_LISTED)

    found = await served.database.run(served.schema, work)
    return Reply(HTTPStatus.OK, _encode({"thresholds": found}))


def _results(refs: list[str], results: list[Result]) -> Reply:
    told = [
        {"ref": ref, "problem": msgspec.Raw(problem(result))}
        if isinstance(result, Refusal)
        else {"ref": ref, "result": result}
        for ref, result in zip(refs, results, strict=True)
    ]
    return Reply(HTTPStatus.OK, _encode({"results": told}))
