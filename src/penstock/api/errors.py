"""Errors over HTTP: the one table from refusal codes to statuses, and RFC 9457 problems.

Owns the translation and nothing else. A code without a row is answered with `OTHERWISE`. What is
no refusal is logged under an id, and only the id goes out. docs/reference/errors.md says what each
code means and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
import structlog
from litestar.exceptions import HTTPException

from penstock.api.exchange import PROBLEM_JSON, Reply
from penstock.errors import Refusal, Transient
from penstock.ids import new_id

RETRY_AFTER_S = 1
OTHERWISE = HTTPStatus.UNPROCESSABLE_ENTITY
STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "invalid_json": 400,
        "invalid_query": 400,
        "invalid_cursor": 400,
        "invalid_idempotency_key": 400,
        "other_site": 403,
        "not_found": 404,
        "unknown_order": 404,
        "unknown_fulfilment": 404,
        "unknown_entity": 404,
        "unknown_product": 404,
        "unknown_stock_job": 404,
        "unknown_batch": 404,
        "no_such_hold": 404,
        "unknown_cart": 404,
        "unknown_limit": 404,
        "no_such_position": 404,
        "method_not_allowed": 405,
        "order_ref_taken": 409,
        "idempotency_key_reused": 409,
        "not_allowed_in_status": 409,
        "not_cancellable": 409,
        "action_not_possible": 409,
        "fulfilment_not_open": 409,
        "out_of_stock": 409,
        "cart_not_held": 409,
        "cart_ordered": 409,
        "limit_reached": 409,
        "hold_quota_reached": 409,
        "cursor_too_old": 410,
        "slot_full": 409,
        "history_pruned": 410,
        "lot_unavailable": 409,
        "unknown_reservation": 409,
        "stock_job_ref_taken": 409,
        "stock_job_ended": 409,
        "batch_ref_taken": 409,
        "batches_waiting": 409,
        "too_many_to_retire": 409,
        "body_too_large": 413,
        "internal_error": 500,
        "overloaded": 503,
        "not_ready": 503,
        "try_again": 503,
    }
)
# Members that RFC 9457 gives a meaning; data of a refusal under such a name is renamed.
_RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code"})
_encode = msgspec.json.Encoder(enc_hook=str).encode
_log = structlog.get_logger(__name__)


def status_of(code: str) -> int:
    """Return the HTTP status of a refusal code."""
    return STATUSES.get(code, OTHERWISE)


def problem(refusal: Refusal) -> bytes:
    """Return the refusal as a problem document (RFC 9457) with `code` and the refusal's data."""
    document: dict[str, Any] = {
        "type": f"urn:penstock:problem:{refusal.code}",
        "title": refusal.code.replace("_", " ").capitalize(),
        "status": status_of(refusal.code),
        "detail": refusal.message,
        "code": refusal.code,
    }
    for name, value in refusal.data.items():
        document[f"current_{name}" if name in _RESERVED else name] = value
    return _encode(document)


def refused(refusal: Refusal) -> Reply:
    """Return the reply to a request that was refused."""
    status = status_of(refusal.code)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers = ((b"retry-after", b"%d" % RETRY_AFTER_S),)
    return Reply(status, problem(refusal), PROBLEM_JSON, headers)


def failed(error: Exception) -> Reply:
    """Return the reply to a request that raised, whatever it raised; logs what is a bug."""
    if isinstance(error, Refusal):
        return refused(error)
    if isinstance(error, Transient):
        _log.warning("request given up", error=str(error))
        return refused(Refusal("try_again", "The database is busy; nothing was done. Try again."))
    if isinstance(error, HTTPException):
        return _from_litestar(error)
    failure_id = new_id()
    _log.error("request failed", failure_id=failure_id, exc_info=error)
    sentence = f"Something in Penstock is broken; its log says more under {failure_id}."
    return refused(Refusal("internal_error", sentence, id=failure_id))


def _from_litestar(error: HTTPException) -> Reply:
    """Translate what litestar refuses by itself: a path or a method that is not there, a size."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return refused(Refusal("not_found", "Nothing is at this path; / lists what there is."))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        reply = refused(method_not_allowed())
        allow = (error.headers or {}).get("Allow", "")
        return msgspec.structs.replace(reply, headers=((b"allow", allow.encode()),))
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return refused(Refusal("body_too_large", "The body is too large."))
    return refused(Refusal("invalid_request", str(error.detail)))


def method_not_allowed() -> Refusal:
    """Return the refusal of a method that a path does not have."""
    return Refusal("method_not_allowed", "The path does not have this method.")
