"""The ASGI application: a thin dispatcher for hot paths before litestar, and the lifespan.

Owns which function answers which path, and how a process begins and ends: the account is opened
in the server's own loop, and closed only after every request that was taken has its answer.

Invariant: whatever a route raises is answered as a problem (errors.py), never by the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog

from penstock.api.availability import get_availability, post_availability
from penstock.api.errors import failed, method_not_allowed, refused
from penstock.api.exchange import (
    Message,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    read_request,
    send_reply,
)
from penstock.api.intake import post_orders
from penstock.api.order_views import get_orders
from penstock.api.routes import make_routes
from penstock.api.served import Served
from penstock.api.stock import post_stock
from penstock.errors import Refusal

DRAIN_TIMEOUT_S = 20.0
_log = structlog.get_logger(__name__)

Handler: TypeAlias = Callable[[Served, Request], Awaitable[Reply]]
HOT: Mapping[str, Mapping[str, Handler]] = {
    "/v1/orders": {"POST": post_orders, "GET": get_orders},
    "/v1/availability": {"GET": get_availability, "POST": post_availability},
    "/v1/stock": {"POST": post_stock},
}


class Application:
    """One process's HTTP interface of one account."""

    def __init__(self, open_account: Callable[[], Awaitable[Served]]) -> None:
        self._open_account = open_account
        self._routes = make_routes(self._opened)
        self._served: Served | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self._busy += 1
        self._idle.clear()
        try:
            methods = HOT.get(scope["path"])
            if methods is None:
                await self._routes(scope, receive, send)  # type: ignore[arg-type]
            else:
                await send_reply(send, await self._hot(methods, scope, receive))
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _hot(self, methods: Mapping[str, Handler], scope: Scope, receive: Receive) -> Reply:
        handler = methods.get(scope["method"])
        if handler is None:
            reply = refused(method_not_allowed())
            reply.headers = ((b"allow", ", ".join(methods).encode()),)
            return reply
        try:
            return await handler(self._opened(), await read_request(scope, receive))
        except Exception as error:  # noqa: BLE001 (the request edge)
            return failed(error)

    def _opened(self) -> Served:
        if self._served is None:
            raise Refusal("not_ready", "The account is not open.")
        return self._served

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._served = await self._open_account()
        except Exception as error:  # noqa: BLE001 (the server has to hear of it, whatever it is)
            _log.exception("account not opened")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._drain()
        await self._served.close()
        await send(_stopped())

    async def _drain(self) -> None:
        """Wait, bounded, until every request that was taken has its answer."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("requests left unanswered", requests=self._busy)


def _stopped() -> Message:
    return {"type": "lifespan.shutdown.complete"}
