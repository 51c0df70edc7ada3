"""Carts over HTTP: hold, extend, release, show, list; and limits: set, list, take away.

Grouped with whatever arrives at the same time, orders among it. What holding does is
`rules/carts.py`'s, what a limit means `inventory/limit_rules.py`'s.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from penstock.api.errors import problem, refused
from penstock.api.exchange import Reply, Request, idempotency_key, replayed
from penstock.api.reading import is_list, read_json, refuse_nul
from penstock.api.served import Served
from penstock.errors import Refusal
from penstock.inventory.limit_rules import LimitInput, drop_limit, list_limits, set_limits
from penstock.orders.carts import CartInput
from penstock.orders.commands import StoredAnswer
from penstock.rules.cart_reading import find_cart, find_carts
from penstock.rules.carts import CartChange, CartWork, NewHold

MAX_LIMITS = 1_000
PAGE = 50


class ExtendInput(msgspec.Struct, forbid_unknown_fields=True):
    """For how many minutes from now; without, the channel's usual."""

    minutes: int | None = None


class NamedCart(msgspec.Struct, frozen=True):
    """A cart by channel and ref."""

    channel: str
    ref: str


_cart = msgspec.json.Decoder(CartInput)
_extend = msgspec.json.Decoder(ExtendInput)
_limit = msgspec.json.Decoder(LimitInput)
_limits = msgspec.json.Decoder(list[LimitInput])
_encode = msgspec.json.Encoder().encode


async def hold_cart(served: Served, request: Request) -> Reply:
    """Hold a cart, or hold it anew; 201 with what is held where and until when.

    Refusals: `invalid_cart`, `out_of_stock`, `cart_ordered`, `limit_reached`, ….
    """
    refuse_nul(request.body)
    asked = read_json(_cart, request.body)
    item = NewHold(asked, idempotency_key(request.headers))
    return await _submit(served, item, HTTPStatus.CREATED)


async def extend_cart(served: Served, named: NamedCart, request: Request) -> Reply:
    """Hold a cart longer; refuses with `unknown_cart`, `cart_not_held`, `cart_ordered`."""
    refuse_nul(request.body)
    minutes = read_json(_extend, request.body or b"{}").minutes
    key = idempotency_key(request.headers)
    return await _submit(served, CartChange(named.channel, named.ref, "extend", minutes, key))


async def release_cart(served: Served, named: NamedCart, request: Request) -> Reply:
    """Give back what a cart holds, once; refuses with `unknown_cart`, `cart_ordered`."""
    key = idempotency_key(request.headers)
    return await _submit(served, CartChange(named.channel, named.ref, "release", None, key))


async def get_cart(served: Served, named: NamedCart) -> Reply:
    """Answer with a cart as it is now; refuses with `unknown_cart`."""
    document = await find_cart(served.knowledge, named.channel, named.ref)
    return Reply(HTTPStatus.OK, _encode(document))


async def get_carts(served: Served, request: Request) -> Reply:
    """Answer with a page of a channel's carts; refuses with `invalid_query`."""
    query = {name: values[-1] for name, values in request.query().items()}
    unknown = query.keys() - {"channel", "status", "after", "limit"}
    if unknown or "channel" not in query:
        field = min(unknown, default="channel")
        sentence = "Give `channel`, and if wanted `status`, `after`, `limit`."
        raise Refusal("invalid_query", sentence, field=field)
    limit = query.get("limit", str(PAGE))
    if not limit.isdecimal():
        raise Refusal("invalid_query", "`limit` is a number.", field="limit")
    found = await find_carts(
        served.knowledge, query["channel"], query.get("status"), query.get("after"), int(limit)
    )
    return Reply(HTTPStatus.OK, _encode(found))


async def _submit(served: Served, item: CartWork, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    result = (await served.grouping.submit([item]))[0]
    if isinstance(result, Refusal):
        return refused(result)
    is_replay = isinstance(result, StoredAnswer)
    return Reply(status, result, headers=replayed(is_replay=is_replay))


async def put_limits(served: Served, request: Request) -> Reply:
    """Set a limit, or a list of them; 200 with a result each."""
    refuse_nul(request.body)
    is_many = is_list(request.body)
    asked = read_json(_limits, request.body) if is_many else [read_json(_limit, request.body)]
    if len(asked) > MAX_LIMITS:
        raise Refusal("too_many_rows", f"Send at most {MAX_LIMITS} limits at once.")
    results = await served.database.run(served.schema, lambda tx: set_limits(tx, asked))
    if not is_many and isinstance(results[0], Refusal):
        return refused(results[0])
    parts = [
        {"ref": one.ref, "problem": msgspec.Raw(problem(result))}
        if isinstance(result, Refusal)
        else {"ref": one.ref, "result": result}
        for one, result in zip(asked, results, strict=True)
    ]
    return Reply(HTTPStatus.OK, _encode({"results": parts} if is_many else parts[0]))


async def get_limits(served: Served) -> Reply:
    """Answer with every limit there is."""
    limits = await served.database.run(served.schema, list_limits)
    return Reply(HTTPStatus.OK, _encode({"limits": limits}))


async def delete_limit(served: Served, ref: str) -> Reply:
    """Take a limit away; refuses with `unknown_limit`."""
    await served.database.run(served.schema, lambda tx: drop_limit(tx, ref))
    return Reply(HTTPStatus.OK, _encode({"ref": ref, "result": "dropped"}))
