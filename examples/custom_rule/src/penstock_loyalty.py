"""Rule `hold_over_amount`: large orders wait for a person, those of loyal customers do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import Name
from penstock.engine.durations import Duration
from penstock.engine.rule import OneRule, Outcomes
from penstock.passes import Pass
from penstock.rules.holds import EXPIRED, HoldAsked, place_hold


class HoldOverAmount(OneRule, frozen=True):
    """Place a hold on orders above an amount, unless the customer's tier is trusted."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})
    example: ClassVar[Mapping[str, Any]] = {
        "kind": "fraud",
        "amount_minor": 50_000,
        "unless_tier": ["gold", "platinum"],
    }

    amount_minor: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            description="Orders above this total are held.",
            extra={"unit": "minor units of the order's currency"},
        ),
    ]
    kind: Annotated[Name, msgspec.Meta(description="The kind of the hold.")] = "fraud"
    unless_tier: Annotated[
        list[Name], msgspec.Meta(max_length=20, description="Tiers that are trusted.")
    ] = msgspec.field(default_factory=list)
    until: (
        Annotated[Duration, msgspec.Meta(description="When the hold expires by itself.")] | None
    ) = None

    def act(self, tx: Pass, context: Context) -> None:
        """Place the hold, and record `order.hold_placed`."""
        order = context.root
        if order.total_minor <= self.amount_minor or order.customer["tier"] in self.unless_tier:
            return
        reason = (
            f"The total is above {self.amount_minor}, and the tier is {order.customer['tier']}."
        )
        place_hold(context, HoldAsked(self.kind, reason, self.until), tx.now)

    def outcomes(self) -> Outcomes:
        """Return the event of the hold's expiry, if it expires."""
        return Outcomes(later=(EXPIRED,) if self.until else ())
