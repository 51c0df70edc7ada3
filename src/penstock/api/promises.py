"""`POST /v1/promises` and `/v1/baskets`: what a cart would get, and who holds it; from memory.

Shapes and meaning are `rules/promise.py`'s.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json
from penstock.api.served import Served
from penstock.errors import Refusal
from penstock.rules.promise import BasketInput, PromiseInput, Seen, holding, promise

_promise = msgspec.json.Decoder(PromiseInput)
_basket = msgspec.json.Decoder(BasketInput)
_encode = msgspec.json.Encoder().encode


async def post_promise(served: Served, request: Request) -> Reply:
    """Answer what a cart would get; refuses as `rules.promise.promise`, and `not_ready`."""
    asked = read_json(_promise, request.body)
    return Reply(HTTPStatus.OK, _encode(promise(served.knowledge, asked, _seen(served))))


async def post_basket(served: Served, request: Request) -> Reply:
    """Answer which locations hold a basket; refuses as `rules.promise.holding`."""
    asked = read_json(_basket, request.body)
    return Reply(HTTPStatus.OK, _encode(holding(served.knowledge, asked, _seen(served))))


def _seen(served: Served) -> Seen:
    follower = served.follower
    if not follower.is_ready.is_set():
        raise Refusal("not_ready", "The availability index is being loaded.")
    return follower.version, int(follower.age_s * 1000)
