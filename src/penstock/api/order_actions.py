"""What is done to an order that is there: cancel, clear a hold, reject, ship, source again.

Each is an event of the order, grouped with whatever arrives at the same time; the answer is the
order as it is after the decision. What an event does, the workflow says.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import msgspec

from penstock.api.errors import refused
from penstock.api.exchange import Reply, Request, idempotency_key, replayed
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx, uuid_array
from penstock.errors import Refusal
from penstock.fulfilment.store import SQL
from penstock.ids import parse_id
from penstock.orders.commands import StoredAnswer
from penstock.rules.take import RootEvent

MAX_LINES = 1_000
MAX_TEXT = 500
T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class CancelLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A line to cancel; without `qty` all of it that is still open."""

    ref: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    qty: Annotated[int, msgspec.Meta(ge=1, le=2_000_000_000)] | None = None


class CancelInput(msgspec.Struct, forbid_unknown_fields=True):
    """What to cancel; without `lines` the whole order."""

    lines: Annotated[list[CancelLine], msgspec.Meta(min_length=1, max_length=MAX_LINES)] | None = (
        None
    )
    reason: Text = ""


class ReasonInput(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    reason: Text = ""


class ClearInput(msgspec.Struct, forbid_unknown_fields=True):
    """Who clears a hold."""

    by: Text = "api"


_cancel = msgspec.json.Decoder(CancelInput)
_reason = msgspec.json.Decoder(ReasonInput)
_clear = msgspec.json.Decoder(ClearInput)


async def cancel_order(served: Served, order_id: str, request: Request) -> Reply:
    """Cancel an order or lines of it; refuses with `not_cancellable`, `unknown_line`, ….

    Appends what the workflow makes of `order.cancellation_requested`.
    """
    asked = _body(_cancel, request)
    payload: dict[str, Any] = {"reason": asked.reason}
    if asked.lines is not None:
        payload["lines"] = msgspec.to_builtins(asked.lines)
    return await _decide(served, order_id, "order.cancellation_requested", payload, request)


async def clear_hold(served: Served, order_id: str, kind: str, request: Request) -> Reply:
    """Clear a hold of a kind; refuses with `no_such_hold`."""
    payload = {"kind": kind, "by": _body(_clear, request).by}
    return await _decide(served, order_id, "order.hold_cleared", payload, request)


async def retry_sourcing(served: Served, order_id: str, request: Request) -> Reply:
    """Source again what lacks stock; refuses with `not_allowed_in_status`."""
    return await _decide(served, order_id, "order.sourcing_retried", {}, request)


async def reject_fulfilment(served: Served, fulfilment_id: str, request: Request) -> Reply:
    """Say that a location will not do a fulfilment: it is sourced again elsewhere.

    Refuses with `unknown_fulfilment`, `fulfilment_not_open`.
    """
    reason = _body(_reason, request).reason
    payload = {"reason": reason}
    return await _decide_fulfilment(served, fulfilment_id, "fulfilment.rejected", payload, request)


async def ship_fulfilment(served: Served, fulfilment_id: str, request: Request) -> Reply:
    """Say that a fulfilment has left: its stock leaves with it.

    Refuses with `unknown_fulfilment`, `fulfilment_not_open`.
    """
    return await _decide_fulfilment(served, fulfilment_id, "fulfilment.shipped", {}, request)


def _body(decoder: msgspec.json.Decoder[T], request: Request) -> T:
    """Read a body that may be left out."""
    refuse_nul(request.body)
    return read_json(decoder, request.body or b"{}")


async def _order_of(served: Served, fulfilment_id: str) -> str:
    async def find(tx: Tx) -> list[tuple[Any, ...]]:
        return await tx.fetch(SQL.root_of_fulfilments, (uuid_array([fulfilment_id]),))

    rows = await served.database.run(served.schema, find)
    if not rows:
        sentence = f"There is no fulfilment {fulfilment_id}."
        raise Refusal("unknown_fulfilment", sentence, fulfilment_id=fulfilment_id)
    return rows[0][1]


async def _decide_fulfilment(
    served: Served, fulfilment_id: str, name: str, payload: dict[str, Any], request: Request
) -> Reply:
    fulfilment_id = parse_id(fulfilment_id)
    order_id = await _order_of(served, fulfilment_id)
    key = idempotency_key(request.headers)
    event = RootEvent(order_id, name, payload, key, entity="fulfilment", entity_id=fulfilment_id)
    return await _submit(served, event)


async def _decide(
    served: Served, order_id: str, name: str, payload: dict[str, Any], request: Request
) -> Reply:
    key = idempotency_key(request.headers)
    return await _submit(served, RootEvent(parse_id(order_id), name, payload, key))


async def _submit(served: Served, event: RootEvent) -> Reply:
    result = (await served.grouping.submit([event]))[0]
    if isinstance(result, Refusal):
        return refused(result)
    is_replay = isinstance(result, StoredAnswer)
    return Reply(HTTPStatus.OK, result, headers=replayed(is_replay=is_replay))
