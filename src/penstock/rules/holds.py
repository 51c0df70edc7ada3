"""Holds: a set on an order; as long as one is open, what it covers is not released to locations.

A hold is on the whole order, or on one choice or line of it (its scope). Of a kind there is one per
scope: placing it again replaces it. One that has an end expires by a timer, `hold:<kind>`, which is
taken back when the hold is cleared; what then happens is the workflow's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import ANY, EventName
from penstock.engine.durations import Duration
from penstock.engine.rule import OneRule, Outcomes, Rule
from penstock.errors import Refusal
from penstock.fulfilment.model import Fulfilment
from penstock.ids import new_id
from penstock.orders.model import Hold, Order
from penstock.passes import Pass
from penstock.rules.dating import Made, made_of, put_dates
from penstock.rules.fulfilments import move_fulfilment
from penstock.rules.timing import later

EXPIRED = "order.hold_expired"
MAX_REASON = 500
HoldKind = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class HoldAsked(msgspec.Struct):
    """A hold to place: on the line or choice that is named, else on the order."""

    kind: HoldKind
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] = ""
    until: Duration | None = None
    line: str | None = None
    choice: str | None = None


def place_hold(context: Context, asked: HoldAsked, now: datetime, on_expiry: str = EXPIRED) -> None:
    """Place a hold on the context's order; refuses `unknown_line`, `unknown_choice`.

    An open hold of the same kind and scope is replaced. Records `order.hold_placed`.
    """
    order: Order = context.root
    scope_id = _scope(order, asked.line, asked.choice)
    for hold in order.open_holds():
        if (hold.kind, hold.scope_id) == (asked.kind, scope_id):
            _end(context, hold, now)
    until_at = None if asked.until is None else later(now, asked.until)
    by = _by(context)
    hold = Hold(new_id(), scope_id, asked.kind, asked.reason, by, now, until_at)
    order.holds.append(hold)
    payload: dict[str, Any] = {"kind": asked.kind, "reason": asked.reason}
    if scope_id != order.id:
        payload["scope_id"] = scope_id
    if until_at is not None:
        payload["until_at"] = until_at.isoformat()
        expiry = {"kind": asked.kind, "reason": asked.reason, "hold_id": hold.id}
        context.schedule(on_expiry, until_at, expiry, _timer(order, hold))
    context.record("order.hold_placed", "order", order.id, payload)


def _scope(order: Order, line_ref: str | None, choice_id: str | None) -> str:
    """Return the id of the line or choice that is named, or the order's."""
    if line_ref is not None:
        for line in order.lines():
            if line.ref == line_ref:
                return line.id
        raise Refusal("unknown_line", f"The order has no line {line_ref!r}.", line=line_ref)
    if choice_id is not None and choice_id not in {choice.id for choice in order.choices}:
        raise Refusal("unknown_choice", f"The order has no choice {choice_id}.", choice=choice_id)
    return choice_id or order.id


def _timer(order: Order, hold: Hold) -> str:
    own = f"hold:{hold.kind}"
    return own if hold.scope_id == order.id else f"{own}:{hold.scope_id}"


def _by(context: Context) -> str:
    return str(context.event.payload.get("by", context.workflow.name))


def _end(context: Context, hold: Hold, now: datetime) -> None:
    """Clear a hold, and take back the timer it would have expired by."""
    hold.cleared_at, hold.cleared_by = now, _by(context)
    if hold.until_at is not None:
        context.cancel_timer(_timer(context.root, hold))


class PlaceHold(OneRule, frozen=True):
    """Place a hold of a kind; without a kind, the holds that the event brings.

    An event brings them in a list `holds`, or one in its payload: `kind`, `reason`, `until` (a
    duration), and `line` (its ref) or `choice` (its id), if the hold is not on the whole order.
    """

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})
    example: ClassVar[Mapping[str, Any]] = {
        "kind": "fraud",
        "reason": "The amount is unusual.",
        "until": "2h",
    }

    kind: (
        Annotated[HoldKind, msgspec.Meta(description="What is waited for: fraud, payment, …")]
        | None
    ) = None
    reason: Annotated[
        str, msgspec.Meta(max_length=MAX_REASON, description="Why, for the people who look at it.")
    ] = ""
    until: (
        Annotated[Duration, msgspec.Meta(description="When it expires by itself: 30m, 2h, 3d.")]
        | None
    ) = None
    on_expiry: Annotated[
        EventName, msgspec.Meta(description="The order's event when a hold of these expires.")
    ] = EXPIRED

    def act(self, tx: Pass, context: Context) -> None:
        """Place them and record `order.hold_placed` for each; refuses `invalid_hold`."""
        for asked in self._asked(context.event.payload):
            place_hold(context, asked, tx.now, self.on_expiry)

    def _asked(self, payload: Mapping[str, Any]) -> list[HoldAsked]:
        if self.kind is not None:
            return [HoldAsked(self.kind, self.reason, self.until)]
        try:
            brought = msgspec.convert(payload.get("holds", [payload]), list[HoldAsked])
        except msgspec.ValidationError as error:
            raise Refusal("invalid_hold", f"The event brings no hold: {error}.") from None
        for hold in brought:
            hold.reason = hold.reason or self.reason
            hold.until = hold.until or self.until
        return brought

    def outcomes(self) -> Outcomes:
        """Return the event of its expiry, if it expires."""
        return Outcomes(later=(self.on_expiry,) if self.until else ())


class ClearHold(OneRule, frozen=True):
    """Clear the open holds of a kind, or all (`*`); without a kind, those that the event names.

    An event names them by `kind`, and by `line` (its ref) or `choice` (its id) if only that one is
    meant; the event of an expiry names its hold.
    """

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})
    example: ClassVar[Mapping[str, Any]] = {"kind": "fraud"}

    kind: (
        Annotated[HoldKind, msgspec.Meta(description="The kind; * is every one, if there is one.")]
        | None
    ) = None

    def act(self, tx: Pass, context: Context) -> None:
        """Clear them, with their timers; refuses with `no_such_hold` if none of it is open."""
        order: Order = context.root
        holds = self._meant(order, context.event.payload)
        if not holds and self.kind != ANY:
            kind = self.kind or context.event.payload.get("kind")
            raise Refusal("no_such_hold", f"No hold of kind {kind!r} is open.")
        for hold in holds:
            _end(context, hold, tx.now)
            context.record("order.hold_cleared", "order", order.id, {"kind": hold.kind})

    def _meant(self, order: Order, payload: Mapping[str, Any]) -> list[Hold]:
        kind = self.kind or payload.get("kind")
        holds = [hold for hold in order.open_holds() if kind in {ANY, hold.kind}]
        if self.kind is not None:
            return holds
        if "hold_id" in payload:
            return [hold for hold in holds if hold.id == payload["hold_id"]]
        if "line" in payload or "choice" in payload:
            scope_id = _scope(order, payload.get("line"), payload.get("choice"))
            return [hold for hold in holds if hold.scope_id == scope_id]
        return holds


class Release(Rule, frozen=True):
    """Hand the created fulfilments to their locations, but for those that an open hold covers."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})
    example: ClassVar[Mapping[str, Any]] = {}

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Set the fulfilments to `awaiting_pick` and record `fulfilment.released` for each."""
        late: list[Made] = []
        for context in contexts:
            order: Order = context.root
            held = {hold.scope_id for hold in order.open_holds()}
            if order.id in held:
                continue
            if held:  # a hold on a kit covers its components
                held |= {part.id for n in order.lines() if n.id in held for part in n.components}
            for fulfilment in order.fulfilments:
                if fulfilment.status == "created" and not _is_held(fulfilment, held):
                    fulfilment.released_at = tx.now
                    name = "fulfilment.released"
                    move_fulfilment(context, fulfilment, "awaiting_pick", name=name)
                    if not fulfilment.is_new:  # it was held: what is expected is later now
                        late += made_of(context, fulfilment)
        if late:
            put_dates(tx, late, [one.context for one in late])


def _is_held(fulfilment: Fulfilment, held: set[str]) -> bool:
    """Tell whether a hold on its choice, or on a line of it, covers a fulfilment."""
    return bool(held) and (
        fulfilment.choice_id in held or any(part.line_id in held for part in fulfilment.lines)
    )
