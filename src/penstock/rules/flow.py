"""Flow rules: transition to a status, emit and send events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import EventName, Name
from penstock.engine.entities import children_of
from penstock.engine.inbox import Event
from penstock.engine.rule import OneRule, Outcomes, Rule
from penstock.passes import Pass


class Transition(OneRule, frozen=True):
    """Move the entity to a status."""

    to: Annotated[Name, msgspec.Meta(description="The status, which the workflow declares.")]

    def act(self, tx: Pass, context: Context) -> None:
        """Move it; the stream gets `<entity>.<status>`."""
        context.transition(self.to)

    def outcomes(self) -> Outcomes:
        """Return the status."""
        return Outcomes(status=self.to)


class Emit(OneRule, frozen=True):
    """Emit an event to the same entity; it runs later in the same pass."""

    event: EventName

    def act(self, tx: Pass, context: Context) -> None:
        """Emit it."""
        context.emit(self.event)

    def outcomes(self) -> Outcomes:
        """Return the event."""
        return Outcomes(events=(self.event,))


class Send(Rule, frozen=True):
    """Send an event to the entities around this one.

    Inside one root (an order, its choices and fulfilments) it runs in the same pass; to another
    root (an order's payment) it goes to the inbox. The payload is the event's own, with `from` and
    `from_id` of the sender.
    """

    event: EventName
    to: Annotated[
        Literal["parent", "children", "all"],
        msgspec.Meta(description="parent, children, or all: the root and everything inside it."),
    ]

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Send to every entity that is meant; one query finds children that are roots."""
        outside: list[Context] = []
        for context in contexts:
            for subject in self._inside(context):
                context.emit(self.event, _payload(context), to=subject)
            root = context.root
            if self.to != "parent" and context.entity is root:
                outside.append(context)
            elif self.to == "parent" and context.entity is root and root.parent_id is not None:
                context.send(_event(self.event, root.parent_kind, root.parent_id, context))
        children = await children_of(tx, [context.root.id for context in outside])
        for context in outside:
            for kind, child_id in children.get(context.root.id, ()):
                context.send(_event(self.event, kind, child_id, context))

    def _inside(self, context: Context) -> list[Any]:
        root, entity = context.root, context.entity
        if self.to == "parent":
            return [] if entity is root else [root]
        if entity is not root:
            return [root, *root.subjects()] if self.to == "all" else []
        return list(root.subjects()) if self.to == "children" else [root, *root.subjects()]

    def outcomes(self) -> Outcomes:
        """Return to whom what is sent."""
        return Outcomes(sends=((self.to, self.event),))


def _payload(context: Context) -> dict[str, Any]:
    entity = context.entity
    return {**context.event.payload, "from": entity.kind, "from_id": entity.id}


def _event(name: str, kind: str, root_id: str, context: Context) -> Event:
    return Event(kind, root_id, kind, root_id, name, _payload(context))
