"""`POST /v1/orders`: one order, or a list of them, taken in and decided at once.

Hot: grouped with whatever arrives at the same time. Each order of a list is decoded by itself, so
that a bad one refuses itself only.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from penstock.api.errors import problem, refused
from penstock.api.exchange import Reply, Request, idempotency_key, key_of_part, replayed
from penstock.api.reading import is_list, read_items, read_json, refuse_nul
from penstock.api.served import Served
from penstock.errors import Refusal
from penstock.orders.commands import StoredAnswer
from penstock.orders.intake import OrderInput
from penstock.rules.take import NewOrder, Result

MAX_ORDERS = 1_000
_decoder = msgspec.json.Decoder(OrderInput)


async def post_orders(served: Served, request: Request) -> Reply:
    """Take orders in; 201 with the decision, 202 where `wait=none`, 200 with `results` for a list.

    Refusals: `invalid_json`, `invalid_request`, `too_many_orders`, those of `rules.take`.
    """
    key = idempotency_key(request.headers)
    wait = _waits(request)
    body = request.body
    refuse_nul(body)
    if is_list(body):
        results = await _take_list(served, body, key, wait=wait)
        is_replay = bool(results) and all(isinstance(one, StoredAnswer) for one in results)
        return Reply(HTTPStatus.OK, _results(results), headers=replayed(is_replay=is_replay))
    order = read_json(_decoder, body)
    result = (await served.grouping.submit([NewOrder(order, key, wait)]))[0]
    if isinstance(result, Refusal):
        return refused(result)
    status = HTTPStatus.CREATED if wait else HTTPStatus.ACCEPTED
    is_replay = isinstance(result, StoredAnswer)
    return Reply(status, result, headers=replayed(is_replay=is_replay))


def _waits(request: Request) -> bool:
    wanted = request.query().get("wait", ["decision"])[-1]
    if wanted not in {"decision", "none"}:
        raise Refusal("invalid_query", "`wait` is `decision` or `none`.", field="wait")
    return wanted == "decision"


async def _take_list(served: Served, body: bytes, key: str | None, *, wait: bool) -> list[Result]:
    items = read_items(body)
    if len(items) > MAX_ORDERS:
        raise Refusal(
            "too_many_orders", f"Send at most {MAX_ORDERS} orders at once.", most=MAX_ORDERS
        )
    results: list[Result | None] = [None] * len(items)
    readable: list[NewOrder] = []
    for place, item in enumerate(items):
        try:
            order = read_json(_decoder, item)
        except Refusal as refusal:
            results[place] = refusal
        else:
            readable.append(NewOrder(order, key_of_part(key, place), wait))
    decided = iter(await served.grouping.submit(readable) if readable else [])
    return [next(decided) if result is None else result for result in results]


def _results(results: Sequence[Result]) -> bytes:
    parts = [
        b'{"problem":' + problem(result) + b"}"
        if isinstance(result, Refusal)
        else b'{"order":' + result + b"}"
        for result in results
    ]
    return b'{"results":[' + b",".join(parts) + b"]}"
