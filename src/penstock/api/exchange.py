"""One HTTP request and its reply, as plain structs over bare ASGI.

Owns reading a request within its limits and writing a reply. Every route is a function from one to
the other, whether it is called from bare ASGI or from litestar. No route, no rule lives here.

Invariants: no body is held that is larger than `MAX_BODY_BYTES`; a request that a page of another
site makes a browser send is refused, because until access control exists whoever reaches the
port may do everything.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote_plus, urlsplit

import msgspec

from penstock.errors import Refusal

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_KEY_LENGTH = 200
MAX_QUERY_FIELDS = 1_000

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"
HTML = b"text/html"
_KEY = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_KEY_LENGTH)
_OUR_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Request(msgspec.Struct):
    """A request with its body read."""

    query_string: bytes
    headers: Mapping[bytes, bytes]
    body: bytes

    def query(self) -> dict[str, list[str]]:
        """Return the query's fields; refuses with `invalid_query` what cannot be read."""
        fields: dict[str, list[str]] = {}
        if not self.query_string:
            return fields
        parts = self.query_string.split(b"&", MAX_QUERY_FIELDS)
        if len(parts) > MAX_QUERY_FIELDS:
            raise Refusal("invalid_query", f"A query has at most {MAX_QUERY_FIELDS} fields.")
        try:
            for part in parts:
                name, _, value = part.decode("utf-8").partition("=")
                fields.setdefault(_unquoted(name), []).append(_unquoted(value))
        except UnicodeDecodeError:
            raise Refusal("invalid_query", "The query cannot be read.") from None
        return fields


def _unquoted(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


class Reply(msgspec.Struct):
    """A reply: status, body, what the body is, and other headers."""

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


def replayed(*, is_replay: bool) -> Sequence[tuple[bytes, bytes]]:
    """Return the header of a reply that was given before, under its key; else no header."""
    return ((b"idempotent-replayed", b"true"),) if is_replay else ()


def refuse_other_sites(headers: Mapping[bytes, bytes]) -> None:
    """Refuse with `other_site` what a browser sends for a page that is not ours."""
    origin = headers.get(b"origin")
    host = headers.get(b"host")
    if origin is not None and _name(origin) not in _OUR_NAMES:
        raise Refusal("other_site", "Requests from pages of other sites are not taken.")
    if host is not None and _name(b"//" + host) not in _OUR_NAMES:
        raise Refusal("other_site", "Penstock answers on the loopback address only.")


@lru_cache(maxsize=1_000)
def _name(address: bytes) -> str | None:
    """Return the host name in an address; the few that clients use are remembered."""
    try:
        return urlsplit(address.decode("latin-1")).hostname
    except ValueError:
        return None


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read a request; refuses with `body_too_large` before more than the limit is held."""
    headers = dict(scope["headers"])
    refuse_other_sites(headers)
    # A GET has no body, and asking for one costs as much as all the rest.
    body = b"" if scope["method"] == "GET" else await _read_body(headers, receive)
    return Request(scope["query_string"], headers, body)


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > MAX_BODY_BYTES:
        raise _too_large()
    message = await receive()
    if not message.get("more_body"):
        return _checked(message.get("body", b""))
    parts: list[bytes] = [message["body"]]
    size = len(parts[0])
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large()
    return b"".join(parts)


def _checked(body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> Refusal:
    return Refusal(
        "body_too_large", f"A body has at most {MAX_BODY_BYTES} bytes.", most_bytes=MAX_BODY_BYTES
    )


async def send_reply(send: Send, reply: Reply) -> None:
    """Write the reply out."""
    headers = [
        (b"content-type", reply.media_type),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the request's `Idempotency-Key`; refuses with `invalid_idempotency_key`."""
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Refusal(
            "invalid_idempotency_key",
            f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} visible ASCII characters, no spaces.",
        )
    return key.decode("ascii")


def key_of_part(key: str | None, place: int) -> str | None:
    """Return the key of one part of a request; a key has no space, so that none is like it."""
    return None if key is None else f"{key} {place}"
