"""Timing rules: an event at a later instant, and taking it back.

A timer that belongs to a status is declared under the workflow's `timers`; these are for instants
that an event brings along, or waits that several statuses share.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import EventName, Expression, Name
from penstock.engine.durations import Duration, parse_duration
from penstock.engine.rule import OneRule, Outcomes
from penstock.errors import Refusal
from penstock.passes import Pass
from penstock.rules.flow import Payload, evaluated

Wait = Annotated[
    Duration, msgspec.Meta(description="How long from now, or from `at`: 90s, 30m, 2h, 3d, 2w.")
]


class Schedule(OneRule, frozen=True):
    """Post an event to the same entity that is due later: once, restarts or not.

    Under a `name` there is one at a time: scheduling again moves it, `cancel_scheduled` takes it
    back. An instant in the past is due at once.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "event": "order.reminded",
        "after": "2d",
        "name": "reminder",
    }

    event: Annotated[EventName, msgspec.Meta(description="The event.")]
    after: Wait | None = None
    at: (
        Annotated[Expression, msgspec.Meta(description="A CEL expression: an instant in ISO 8601.")]
        | None
    ) = None
    name: (
        Annotated[Name, msgspec.Meta(description="What `cancel_scheduled` calls it by.")] | None
    ) = None
    payload: Payload = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse parameters that give no instant."""
        if self.after is None and self.at is None:
            raise ValueError("give `after`, `at`, or both")

    def act(self, tx: Pass, context: Context) -> None:
        """Post it; refuses with `condition_failed` where `at` gives no instant."""
        due_at = tx.now if self.at is None else instant_of(context, self.at)
        if self.after is not None:
            due_at = later(due_at, self.after)
        payload = evaluated(context, self.payload)
        if self.name is not None:
            context.cancel_timer(self.name)
        context.schedule(self.event, due_at, payload, self.name)

    def outcomes(self) -> Outcomes:
        """Return the event, for later."""
        return Outcomes(later=(self.event,))


class CancelScheduled(OneRule, frozen=True):
    """Take back what was scheduled for this entity under a name; nothing happens if it is gone."""

    example: ClassVar[Mapping[str, Any]] = {"name": "reminder"}

    name: Annotated[Name, msgspec.Meta(description="The name it was scheduled under.")]

    def act(self, tx: Pass, context: Context) -> None:
        """Take it back, from this pass and from the inbox."""
        context.cancel_timer(self.name)


def instant_of(context: Context, text: str) -> datetime:
    """Return the instant that an expression gives; refuses with `condition_failed`. UTC if bare."""
    value = context.evaluate(text)
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise Refusal("condition_failed", f"{text!r} gives no instant, but {value!r}.") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def later(instant: datetime, wait: str) -> datetime:
    """Return the instant a duration after another; refuses `instant_unusable` past year 9999."""
    try:
        return instant + parse_duration(wait)
    except OverflowError:
        raise Refusal("instant_unusable", f"{wait} after {instant} is out of reach.") from None
