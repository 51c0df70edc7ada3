"""Holds: a set on an order; as long as one is open, nothing is released to locations."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.engine.context import Context
from penstock.engine.rule import Rule
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.orders.model import Hold, Order
from penstock.passes import Pass
from penstock.rules.fulfilments import move_fulfilment


class PlaceHold(Rule, frozen=True):
    """Place a hold of `kind`, for `reason`; without a kind, those that came with the event."""

    kind: str | None = None
    reason: str = ""

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Add the holds and record `order.hold_placed` for each."""
        for context in contexts:
            order: Order = context.root
            asked = context.event.payload.get("holds", ())
            kinds = (
                [(self.kind, self.reason)]
                if self.kind
                else [(hold["kind"], hold.get("reason", "")) for hold in asked]
            )
            for kind, reason in kinds:
                by = context.workflow.name
                order.holds.append(Hold(new_id(), order.id, kind, reason, by, tx.now))
                payload = {"kind": kind, "reason": reason}
                context.record("order.hold_placed", "order", order.id, payload)


class ClearHold(Rule, frozen=True):
    """Clear the open holds of `kind`; without one, of the kind that the event names."""

    kind: str | None = None

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Clear them; refuses with `no_such_hold` if none of that kind is open."""
        for context in contexts:
            order: Order = context.root
            kind = self.kind or context.event.payload.get("kind")
            holds = [hold for hold in order.open_holds() if hold.kind == kind]
            if not holds:
                context.fail(Refusal("no_such_hold", f"No hold of kind {kind!r} is open."))
            for hold in holds:
                hold.cleared_at = tx.now
                hold.cleared_by = str(context.event.payload.get("by", context.workflow.name))
                context.record("order.hold_cleared", "order", order.id, {"kind": kind})


class Release(Rule, frozen=True):
    """Hand the created fulfilments to their locations, unless a hold is open."""

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Set the fulfilments to `awaiting_pick` and record `fulfilment.released` for each."""
        for context in contexts:
            order: Order = context.root
            if order.open_holds():
                continue
            for fulfilment in order.fulfilments:
                if fulfilment.status == "created":
                    fulfilment.released_at = tx.now
                    name = "fulfilment.released"
                    move_fulfilment(context, fulfilment, "awaiting_pick", name=name)
