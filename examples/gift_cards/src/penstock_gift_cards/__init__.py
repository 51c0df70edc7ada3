"""Rule `spend_balance`: take an amount off the balance of an entity, never more than is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import Name
from penstock.engine.rule import OneRule
from penstock.errors import Refusal
from penstock.passes import Pass


class SpendBalance(OneRule, frozen=True):
    """Take the event's `amount_minor` off an attribute; refuses `balance_too_small`."""

    example: ClassVar[Mapping[str, Any]] = {"attribute": "balance_minor"}

    attribute: Annotated[Name, msgspec.Meta(description="Where the balance is kept.")] = (
        "balance_minor"
    )

    def act(self, tx: Pass, context: Context) -> None:
        """Lower the balance."""
        balance = int(context.root.attributes.get(self.attribute, 0))
        amount = int(context.event.payload.get("amount_minor", 0))
        if not 0 < amount <= balance:
            sentence = f"The balance is {balance}; {amount} cannot be spent."
            raise Refusal("balance_too_small", sentence, balance_minor=balance)
        context.set_attribute(self.attribute, balance - amount)
