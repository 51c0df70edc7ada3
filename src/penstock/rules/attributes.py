"""Rules that keep something: attributes of a root, and notes for people.

Attributes are the root's: an entity inside an order sets its order's. They are what expressions
read (`order.attributes.x`) and what timers may be due at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import Expression, Name
from penstock.engine.rule import OneRule
from penstock.errors import Refusal
from penstock.passes import Pass
from penstock.rules.flow import evaluated, plain_value

MAX_NOTE = 2_000


class SetAttribute(OneRule, frozen=True):
    """Set an attribute of the root to the value of an expression."""

    example: ClassVar[Mapping[str, Any]] = {"name": "is_large", "value": "order.qty > 100"}

    name: Annotated[Name, msgspec.Meta(description="The attribute.")]
    value: Annotated[
        Expression, msgspec.Meta(description="A CEL expression; a text is written \"'gold'\".")
    ]

    def act(self, tx: Pass, context: Context) -> None:
        """Set it; timers that are due at it are set anew."""
        context.set_attribute(self.name, plain_value(context, self.value))


class SetAttributes(OneRule, frozen=True):
    """Set several attributes of the root; every expression reads what was there before."""

    example: ClassVar[Mapping[str, Any]] = {
        "values": {"is_large": "order.qty > 100", "tier": "customer.tier"}
    }

    values: Annotated[
        dict[Name, Expression],
        msgspec.Meta(min_length=1, description="A CEL expression by the attribute's name."),
    ]

    def act(self, tx: Pass, context: Context) -> None:
        """Set them; timers that are due at one are set anew."""
        for name, value in evaluated(context, self.values).items():
            context.set_attribute(name, value)


class UnsetAttribute(OneRule, frozen=True):
    """Take an attribute away from the root; nothing happens if it is not there."""

    example: ClassVar[Mapping[str, Any]] = {"name": "is_large"}

    name: Annotated[Name, msgspec.Meta(description="The attribute.")]

    def act(self, tx: Pass, context: Context) -> None:
        """Take it away; timers that are due at it are taken back."""
        context.set_attribute(self.name, None)
        root = context.root
        root.attributes = {key: root.attributes[key] for key in root.attributes if key != self.name}


class AddNote(OneRule, frozen=True):
    """Write a note for people about the entity: a fixed `text`, or the text an expression gives."""

    example: ClassVar[Mapping[str, Any]] = {"value": "'A customer of tier ' + customer.tier + '.'"}

    text: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NOTE, description="The text.")]
        | None
    ) = None
    value: (
        Annotated[
            Expression,
            msgspec.Meta(description=f"A CEL expression; at most {MAX_NOTE} characters are kept."),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        """Refuse parameters that give no text, or two."""
        if (self.text is None) == (self.value is None):
            raise ValueError("give either `text` or `value`")

    def act(self, tx: Pass, context: Context) -> None:
        """Write it, by whom the event names under `by`, or by the workflow."""
        text = self.text if self.value is None else context.evaluate(self.value)
        if not isinstance(text, str):
            raise Refusal("condition_failed", f"{self.value!r} gives no text.")
        context.add_note(
            str(context.event.payload.get("by", context.workflow.name)), text[:MAX_NOTE]
        )
