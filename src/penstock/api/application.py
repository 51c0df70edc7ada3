"""The application as granian serves it (RSGI): hot paths answered straight, the rest by litestar.

Owns which function answers which path, and how a process begins and ends: the account is opened
in the server's own loop, and closed only after every request that was taken has its answer.

Invariant: whatever a route raises is answered as a problem (errors.py), never by the server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog

from penstock.api.availability import get_availability, post_availability
from penstock.api.bridge import reply_of
from penstock.api.carts import get_carts, hold_cart
from penstock.api.changes import get_changes
from penstock.api.errors import failed, method_not_allowed, refused
from penstock.api.exchange import Exchange, Reply, Request, Scope, read_request, send_reply
from penstock.api.history import get_stock
from penstock.api.intake import post_orders
from penstock.api.order_views import get_orders
from penstock.api.promises import post_basket, post_promise
from penstock.api.routes import make_routes
from penstock.api.served import Served
from penstock.api.stock import post_stock
from penstock.errors import Refusal

DRAIN_TIMEOUT_S = 20.0
_log = structlog.get_logger(__name__)

Handler: TypeAlias = Callable[[Served, Request], Awaitable[Reply]]
HOT: Mapping[str, Mapping[str, Handler]] = {
    "/v1/orders": {"POST": post_orders, "GET": get_orders},
    "/v1/carts": {"POST": hold_cart, "GET": get_carts},
    "/v1/availability": {"GET": get_availability, "POST": post_availability},
    "/v1/availability/changes": {"GET": get_changes},
    "/v1/stock": {"POST": post_stock, "GET": get_stock},
    "/v1/promises": {"POST": post_promise},
    "/v1/baskets": {"POST": post_basket},
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

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        self._busy += 1
        self._idle.clear()
        try:
            send_reply(exchange, await self._reply(scope, exchange))
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _reply(self, scope: Scope, exchange: Exchange) -> Reply:
        methods = HOT.get(scope.path)
        try:
            if methods is None:
                return await reply_of(self._routes, scope, exchange)
            handler = methods.get(scope.method)
            if handler is None:
                reply = refused(method_not_allowed())
                reply.headers = ((b"allow", ", ".join(methods).encode()),)
                return reply
            return await handler(self._opened(), await read_request(scope, exchange))
        except Exception as error:  # noqa: BLE001 (the request edge)
            return failed(error)

    def _opened(self) -> Served:
        if self._served is None:
            raise Refusal("not_ready", "The account is not open.")
        return self._served

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the account before the first request; ends the process where that fails."""
        try:
            self._served = loop.run_until_complete(self._open_account())
        except Exception:  # noqa: BLE001 (whatever it is, the log says it and the process ends)
            _log.exception("account not opened")
            sys.exit(1)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what was taken, then close the account."""
        loop.run_until_complete(self._drain())
        loop.run_until_complete(self._opened().close())

    async def _drain(self) -> None:
        """Wait, bounded, until every request that was taken has its answer."""
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("requests left unanswered", requests=self._busy)
