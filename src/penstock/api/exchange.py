"""One HTTP request and its reply, as plain structs over RSGI, the server's native interface.

Owns reading a request within its limits and writing a reply. Every route is a function from one to
the other, whether it is called straight or from litestar. No route, no rule lives here.

Invariants: no body is held that is larger than `MAX_BODY_BYTES`; a request that a page of another
site makes a browser send is refused, because until access control exists whoever reaches the
port may do everything.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from functools import lru_cache
from typing import Protocol
from urllib.parse import unquote_plus, urlsplit

import msgspec

from penstock.errors import Refusal

MAX_BODY_BYTES = 8 * 1024 * 1024
MOST_DRAINED_BYTES = 4 * MAX_BODY_BYTES  # an even larger body is cut off
MAX_KEY_LENGTH = 200
MAX_QUERY_FIELDS = 1_000

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"
HTML = b"text/html"
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_LENGTH}}}")
_OUR_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Headers(Protocol):
    """Headers of a request, by names in lower case; the server's own, or a dict."""

    def get(self, name: str, /) -> str | None:
        """Return the header's value."""
        ...

    def items(self) -> Iterable[tuple[str, str]]:
        """Return all names and values."""
        ...


class Scope(Protocol):
    """What the server tells of a request before its body."""

    proto: str
    http_version: str
    scheme: str
    method: str
    path: str
    query_string: str
    client: str
    server: str

    @property
    def headers(self) -> Headers: ...  # noqa: D102 (what it says)


class Exchange(Protocol):
    """The server's end of one request: what is left to read of it, and where its reply goes."""

    def __call__(self) -> Awaitable[bytes]:
        """Read the whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the body piece by piece."""
        ...

    def client_disconnect(self) -> Awaitable[None]:
        """Wait until the client is gone."""
        ...

    def response_bytes(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, /
    ) -> None:
        """Send the reply."""
        ...


class Request(msgspec.Struct):
    """A request with its body read."""

    query_string: str
    headers: Headers
    body: bytes

    def query(self) -> dict[str, list[str]]:
        """Return the query's fields; refuses with `invalid_query` what cannot be read."""
        fields: dict[str, list[str]] = {}
        text = self.query_string
        if not text:
            return fields
        parts = text.split("&", MAX_QUERY_FIELDS)
        if len(parts) > MAX_QUERY_FIELDS:
            raise Refusal("invalid_query", f"A query has at most {MAX_QUERY_FIELDS} fields.")
        is_quoted = "%" in text or "+" in text
        for part in parts:
            name, _, value = part.partition("=")
            if is_quoted:
                name, value = _unquoted(name), _unquoted(value)
            values = fields.get(name)
            if values is None:
                fields[name] = [value]
            else:
                values.append(value)
        return fields


def _unquoted(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise Refusal("invalid_query", "The query cannot be read.") from None


class Reply(msgspec.Struct):
    """A reply: status, body, what the body is, and other headers.

    `ready` are all headers as the server takes them, where a hot path has them already.
    """

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: Sequence[tuple[bytes, bytes]] = ()
    ready: tuple[tuple[str, str], ...] | None = None


def replayed(*, is_replay: bool) -> Sequence[tuple[bytes, bytes]]:
    """Return the header of a reply that was given before, under its key; else no header."""
    return ((b"idempotent-replayed", b"true"),) if is_replay else ()


def refuse_other_sites(headers: Headers) -> None:
    """Refuse with `other_site` what a browser sends for a page that is not ours."""
    origin = headers.get("origin")
    host = headers.get("host")
    if origin is not None and _name(origin) not in _OUR_NAMES:
        raise Refusal("other_site", "Requests from pages of other sites are not taken.")
    if host is not None and _name(f"//{host}") not in _OUR_NAMES:
        raise Refusal("other_site", "Penstock answers on the loopback address only.")


@lru_cache(maxsize=1_000)
def _name(address: str) -> str | None:
    """Return the host name in an address; the few that clients use are remembered."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def read_request(scope: Scope, exchange: Exchange) -> Request:
    """Read a request; refuses with `other_site` and, before more is held, `body_too_large`."""
    headers = scope.headers
    refuse_other_sites(headers)
    return Request(scope.query_string, headers, await read_body(scope, exchange))


async def read_body(scope: Scope, exchange: Exchange) -> bytes:
    """Read a body; refuses with `body_too_large` before more than the limit is held."""
    if scope.method == "GET":
        return b""  # asking for a body costs as much as all the rest
    stated = scope.headers.get("content-length")
    if stated is None:
        return await _read_pieces(exchange)
    if not stated.isdigit() or int(stated) > MOST_DRAINED_BYTES:
        raise _too_large()
    if int(stated) > MAX_BODY_BYTES:
        return await _read_pieces(exchange)
    return await exchange()  # the server reads no more than was stated


async def _read_pieces(exchange: Exchange) -> bytes:
    """Read a body; one that is too large is read on and dropped, so that its sender hears of it."""
    pieces: list[bytes] = []
    size = 0
    async for piece in exchange:
        size += len(piece)
        if size <= MAX_BODY_BYTES:
            pieces.append(piece)
        else:
            pieces.clear()
        if size > MOST_DRAINED_BYTES:
            break
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(pieces)


def _too_large() -> Refusal:
    return Refusal(
        "body_too_large", f"A body has at most {MAX_BODY_BYTES} bytes.", most_bytes=MAX_BODY_BYTES
    )


def send_reply(exchange: Exchange, reply: Reply) -> None:
    """Write the reply out."""
    headers = reply.ready or _headers_out(reply.media_type, tuple(reply.headers))
    exchange.response_bytes(reply.status, headers, reply.body)


@lru_cache(maxsize=100)
def _headers_out(
    media_type: bytes, headers: tuple[tuple[bytes, bytes], ...]
) -> tuple[tuple[str, str], ...]:
    """Return a reply's headers as the server takes them; the few that there are are remembered."""
    pairs = ((b"content-type", media_type), *headers)
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)


def idempotency_key(headers: Headers) -> str | None:
    """Return the request's `Idempotency-Key`; refuses with `invalid_idempotency_key`."""
    key = headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Refusal(
            "invalid_idempotency_key",
            f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} visible ASCII characters, no spaces.",
        )
    return key


def key_of_part(key: str | None, place: int) -> str | None:
    """Return the key of one part of a request; a key has no space, so that none is like it."""
    return None if key is None else f"{key} {place}"
