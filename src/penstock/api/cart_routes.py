"""The routes of carts and limits; holding and listing are hot (`application.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from penstock.api import carts, exchange
from penstock.api.carts import NamedCart
from penstock.api.exchange import Reply
from penstock.api.served import Served

Incoming: TypeAlias = Request[Any, Any, State]
Outgoing: TypeAlias = Response[bytes]
Done: TypeAlias = Callable[
    [Incoming, Callable[[exchange.Request], Awaitable[Reply]]], Awaitable[Outgoing]
]


def cart_routes(served: Callable[[], Served], done: Done) -> list[HTTPRouteHandler]:
    """Return the handlers; `done` turns a request into ours and a reply into litestar's."""

    @get("/v1/carts/{channel:str}/{ref:str}")
    async def get_cart(request: Incoming, channel: str, ref: str) -> Outgoing:
        named = NamedCart(channel, ref)
        return await done(request, lambda _: carts.get_cart(served(), named))

    @post("/v1/carts/{channel:str}/{ref:str}/extend")
    async def extend_cart(request: Incoming, channel: str, ref: str) -> Outgoing:
        named = NamedCart(channel, ref)
        return await done(request, lambda r: carts.extend_cart(served(), named, r))

    @post("/v1/carts/{channel:str}/{ref:str}/release")
    async def release_cart(request: Incoming, channel: str, ref: str) -> Outgoing:
        named = NamedCart(channel, ref)
        return await done(request, lambda r: carts.release_cart(served(), named, r))

    return [get_cart, extend_cart, release_cart, *_of_limits(served, done)]


def _of_limits(served: Callable[[], Served], done: Done) -> list[HTTPRouteHandler]:
    @post("/v1/limits")
    async def put_limits(request: Incoming) -> Outgoing:
        return await done(request, lambda r: carts.put_limits(served(), r))

    @get("/v1/limits")
    async def get_limits(request: Incoming) -> Outgoing:
        return await done(request, lambda _: carts.get_limits(served()))

    @delete("/v1/limits/{ref:str}", status_code=200)
    async def delete_limit(request: Incoming, ref: str) -> Outgoing:
        return await done(request, lambda _: carts.delete_limit(served(), ref))

    return [put_limits, get_limits, delete_limit]
