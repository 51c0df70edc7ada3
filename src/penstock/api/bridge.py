"""The ordinary routes under the server's native interface: a request given to an ASGI application.

Owns the translation between the two, whole body in, whole reply out. It knows nothing of routes.

Invariant: a body is read, within its limit, before the application hears of the request; an answer
is sent when the application has ended, so none may be streamed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from penstock.api.exchange import JSON, Exchange, Reply, Scope, read_body
from penstock.errors import Broken

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_VERSION = {"version": "3.0", "spec_version": "2.3"}


async def reply_of(application: Asgi, scope: Scope, exchange: Exchange) -> Reply:
    """Return what an ASGI application answers; refuses with `body_too_large`."""
    bodies = [await read_body(scope, exchange)]
    replies: list[Reply] = []

    async def receive() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await exchange.client_disconnect()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            replies.append(_begun(message))
        elif message["type"] == "http.response.body":
            replies[-1].body += message.get("body", b"")

    await application(_asgi_scope(scope), receive, send)
    if not replies:
        raise Broken(f"no answer to {scope.method} {scope.path[:200]}")
    return replies[-1]


def _begun(message: Message) -> Reply:
    headers = dict(message["headers"])
    media_type = headers.pop(b"content-type", JSON)
    headers.pop(b"content-length", None)  # the server's to say
    return Reply(message["status"], b"", media_type, tuple(headers.items()))


def _asgi_scope(scope: Scope) -> Message:
    return {
        "type": "http",
        "asgi": _VERSION,
        "http_version": scope.http_version,
        "method": scope.method,
        "scheme": scope.scheme,
        "path": scope.path,
        "raw_path": scope.path.encode(),
        "query_string": scope.query_string.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in scope.headers.items()],
        "client": _address(scope.client),
        "server": _address(scope.server),
        "state": {},
    }


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
