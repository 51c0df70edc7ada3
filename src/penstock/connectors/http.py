"""Jobs over HTTP: calls of other systems, and webhooks signed as Standard Webhooks say.

Owns what goes over the wire and what an answer's status means. Bounds: the time-out is for the
whole call, an answer is read up to `MAX_ANSWER_BYTES`, redirects are not followed, cookies are not
kept. What an error says never holds a header, and so no secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from penstock.connectors.model import Answer, Call, Failure
from penstock.engine.secret import resolve
from penstock.errors import Refusal
from penstock.rules.outside import HttpRequest, WebhookRequest

MAX_ANSWER_BYTES = 1_000_000
MAX_CONNECTIONS = 64
SECRET_PREFIX = "whsec_"  # noqa: S105 (how such secrets begin)
TRY_AGAIN = frozenset({408, 409, 425, 429})
_encode = msgspec.json.Encoder().encode


class HttpConnector:
    """Does jobs of kind `http`."""

    def __init__(self) -> None:
        self._client = _client()

    async def call(self, call: Call) -> Answer | Failure:
        """Call the peer once, with the job's id as `Idempotency-Key`."""
        try:
            asked = msgspec.convert(call.request, HttpRequest)
            headers = {"idempotency-key": call.job_id}
            for name, value in asked.headers.items():
                headers[name.lower()] = resolve(value, call.settings, os.environ)
            content = None
            if asked.body is not None:
                headers.setdefault("content-type", "application/json")
                content = _encode(asked.body)
            query = {name: _text(value) for name, value in asked.query.items()}
            request = _request(self._client, asked.method, asked.url, query, (headers, content))
        except (Refusal, msgspec.ValidationError) as error:
            return _unusable(error)
        return await _send(self._client, request, asked.timeout_s, asked.ok_statuses, call.at)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class WebhookConnector:
    """Does jobs of kind `webhook`."""

    def __init__(self) -> None:
        self._client = _client()

    async def call(self, call: Call) -> Answer | Failure:
        """Send the webhook once, the job's id as `webhook-id`; what is answered is not kept."""
        try:
            asked = msgspec.convert(call.request, WebhookRequest)
            secret = resolve(asked.secret, call.settings, os.environ)
            content = _encode(asked.body)
            headers = {"idempotency-key": call.job_id, "content-type": "application/json"}
            headers |= signature_headers(secret, call.job_id, call.at, content)
            request = _request(self._client, "POST", asked.url, {}, (headers, content))
        except (Refusal, msgspec.ValidationError) as error:
            return _unusable(error)
        return await _send(self._client, request, asked.timeout_s, None, call.at)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def signature_headers(secret: str, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that identify and sign a message (Standard Webhooks, symmetric `v1`).

    Refuses with `secret_unusable` a secret that is no base64, with or without `whsec_` before it.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal("secret_unusable", "The signing secret is no base64.") from None
    instant = str(int(at.timestamp()))
    signed = b".".join((message_id.encode(), instant.encode(), body))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": instant,
        "webhook-signature": f"v1,{digest}",
    }


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=30),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={
            "user-agent": f"penstock/{version('penstock')}",
            "accept": "application/json",
            "accept-encoding": "identity",
        },
        follow_redirects=False,
    )


def _request(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    query: Mapping[str, str],
    sent: tuple[dict[str, str], bytes | None],
) -> httpx.Request:
    """Make a request; refuses with `address_unusable` or `header_unusable`, and tells no value."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
        address = httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        is_usable, address = False, httpx.URL()
    if not is_usable:
        raise Refusal("address_unusable", "The address is not http://host/… or https://host/….")
    headers, content = sent
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise Refusal("header_unusable", f"Header {name} has characters that no header has.")
    if query:
        address = address.copy_merge_params(query)
    return client.build_request(method, address, headers=headers, content=content)


def _unusable(error: Refusal | msgspec.ValidationError) -> Failure:
    """Return the failure of a job that cannot be sent; a secret may still be set later."""
    if isinstance(error, Refusal):
        text = f"{error.code}: {error.message}"
        return Failure(text, is_final=error.code != "secret_missing")
    return Failure(f"request_unusable: {error}", is_final=True)


async def _send(
    client: httpx.AsyncClient,
    request: httpx.Request,
    timeout_s: float,
    ok_statuses: Sequence[int] | None,
    at: datetime,
) -> Answer | Failure:
    """Send a request and read what matters of the answer; None of `ok_statuses`: no body does."""
    request.extensions["timeout"] = httpx.Timeout(timeout_s).as_dict()
    try:
        async with asyncio.timeout(timeout_s):
            response = await client.send(request, stream=True)
            try:
                return await _answer(response, ok_statuses, at)
            finally:
                await response.aclose()
    except (TimeoutError, httpx.TimeoutException):
        return Failure(f"no_answer: none within {timeout_s:g} s", is_silent=True)
    except httpx.LocalProtocolError:
        return Failure("request_unusable: it breaks the rules of HTTP", is_final=True)
    except httpx.ConnectError as error:
        return Failure(f"no_connection: {error}", is_silent=True)
    except httpx.HTTPError as error:
        return Failure(f"connection_lost: {type(error).__name__}", is_silent=True)


async def _answer(
    response: httpx.Response, ok_statuses: Sequence[int] | None, at: datetime
) -> Answer | Failure:
    status = response.status_code
    if not (status in ok_statuses if ok_statuses else httpx.codes.is_success(status)):
        return _refused(response, at)
    return Answer(status, {}) if ok_statuses is None else await _read(response)


def _refused(response: httpx.Response, at: datetime) -> Failure:
    status = response.status_code
    if httpx.codes.is_redirect(status):
        return Failure(f"status {status}: redirects are not followed", status, is_final=True)
    is_final = status not in TRY_AGAIN and not httpx.codes.is_server_error(status)
    wait_s = retry_after_s(response.headers.get("retry-after", ""), at)
    return Failure(f"status {status}", status, is_final=is_final, retry_after_s=wait_s)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from now; None if it is neither."""
    if header.isascii() and header.isdecimal():
        return float(header[:9])
    try:
        instant = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return None
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return max((instant - now).total_seconds(), 0.0)


async def _read(response: httpx.Response) -> Answer | Failure:
    status = response.status_code
    if response.headers.get("content-encoding", "identity") != "identity":
        return Failure("answer_unusable: it is compressed", status, is_final=True)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            text = f"answer_unusable: it is over {MAX_ANSWER_BYTES} bytes"
            return Failure(text, status, is_final=True)
    return Answer(status, body_of(bytes(body)))


def body_of(content: bytes) -> dict[str, Any]:
    """Return an answer's body as a mapping: a JSON object, `value`, or `text` if it is no JSON."""
    if not content.strip():
        return {}
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"text": content.decode("utf-8", "replace")}
    return value if isinstance(value, dict) else {"value": value}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()
