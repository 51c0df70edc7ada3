"""Flow rules: move to a status, emit and send events, branch, refuse.

Owns what an event leads to: another status, other events for this entity or those around it, or
nothing at all. When an event is due later is in `timing.py`, when one waits for others in
`waiting.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import EventName, Expression, Name, Sentence
from penstock.engine.entities import children_of
from penstock.engine.inbox import Event
from penstock.engine.rule import OneRule, Outcomes, Rule
from penstock.errors import Refusal
from penstock.passes import Pass

Payload = Annotated[
    dict[Name, Expression],
    msgspec.Meta(description="What the event carries: a CEL expression by name."),
]
Emitted = Annotated[EventName, msgspec.Meta(description="The event.")]


def evaluated(context: Context, expressions: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of expressions by name, as JSON has them; refuses `condition_failed`."""
    return {name: plain_value(context, text) for name, text in expressions.items()}


def plain_value(context: Context, text: str) -> Any:
    """Return an expression's value as JSON has it: an instant is a text in ISO 8601."""
    return msgspec.to_builtins(context.evaluate(text))


class Transition(OneRule, frozen=True):
    """Move the entity to a status."""

    example: ClassVar[Mapping[str, Any]] = {"to": "held"}

    to: Annotated[Name, msgspec.Meta(description="The status, which the workflow declares.")]

    def act(self, tx: Pass, context: Context) -> None:
        """Move it; the stream gets `<entity>.<status>`. Nothing happens if it is there already."""
        context.transition(self.to)

    def outcomes(self) -> Outcomes:
        """Return the status."""
        return Outcomes(status=self.to)


class Emit(OneRule, frozen=True):
    """Emit an event to the same entity; it runs later in the same pass."""

    example: ClassVar[Mapping[str, Any]] = {
        "event": "order.flagged",
        "payload": {"total_minor": "order.total_minor"},
    }

    event: Emitted
    payload: Payload = msgspec.field(default_factory=dict)

    def act(self, tx: Pass, context: Context) -> None:
        """Emit it."""
        context.emit(self.event, evaluated(context, self.payload) if self.payload else None)

    def outcomes(self) -> Outcomes:
        """Return the event."""
        return Outcomes(events=(self.event,))


class Send(Rule, frozen=True):
    """Send an event to the entities around this one.

    Inside one root (an order, its choices and fulfilments) it runs in the same pass; to another
    root (an order's payment) it goes to the inbox. What it carries is what this event carries, what
    `payload` adds, and `from` and `from_id` of the sender.
    """

    example: ClassVar[Mapping[str, Any]] = {"event": "order.fulfilment_shipped", "to": "parent"}

    event: Emitted
    to: Annotated[
        Literal["parent", "children", "all"],
        msgspec.Meta(description="parent, children, or all: the root and everything inside it."),
    ]
    payload: Payload = msgspec.field(default_factory=dict)

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Send to every entity that is meant; one query finds children that are roots."""
        outside: list[tuple[Context, dict[str, Any]]] = []
        for context in contexts:
            try:
                payload = _carried(context, self.payload)
            except Refusal as refusal:
                context.fail(refusal)
                continue
            for subject in self._inside(context):
                context.emit(self.event, payload, to=subject)
            root = context.root
            if self.to != "parent" and context.entity is root:
                outside.append((context, payload))
            elif self.to == "parent" and context.entity is root and root.parent_id is not None:
                kind, parent_id = root.parent_kind, root.parent_id
                context.send(Event(kind, parent_id, kind, parent_id, self.event, payload))
        children = await children_of(tx, [context.root.id for context, _ in outside])
        for context, payload in outside:
            for kind, child_id in children.get(context.root.id, ()):
                context.send(Event(kind, child_id, kind, child_id, self.event, payload))

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


def _carried(context: Context, payload: Mapping[str, str]) -> dict[str, Any]:
    entity = context.entity
    sender = {"from": entity.kind, "from_id": entity.id}
    return {**context.event.payload, **evaluated(context, payload), **sender}


class Branch(OneRule, frozen=True, rename={"when": "if"}):
    """Emit one event or another to the same entity, by a condition."""

    example: ClassVar[Mapping[str, Any]] = {
        "if": "order.total_minor > 100000",
        "then": "order.review_wanted",
        "otherwise": "order.accepted",
    }

    when: Annotated[Expression, msgspec.Meta(description="A CEL expression: true or false.")]
    then: Annotated[EventName, msgspec.Meta(description="The event if it is true.")]
    otherwise: (
        Annotated[EventName, msgspec.Meta(description="The event if it is false; none if omitted.")]
        | None
    ) = None

    def act(self, tx: Pass, context: Context) -> None:
        """Emit the one or the other; refuses with `condition_failed` what is neither."""
        verdict = context.evaluate(self.when)
        if not isinstance(verdict, bool):
            raise Refusal("condition_failed", f"{self.when!r} gives no true or false.")
        event = self.then if verdict else self.otherwise
        if event is not None:
            context.emit(event)

    def outcomes(self) -> Outcomes:
        """Return both events."""
        return Outcomes(events=tuple(one for one in (self.then, self.otherwise) if one))


class Refuse(OneRule, frozen=True):
    """Refuse the event: nothing that its pass did for this entity stays.

    The ruleset's `if` says when. Whoever sent the event gets the refusal; a ruleset's `on_refusal`
    handles it instead. An event that nobody waits for becomes a dead letter.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "code": "too_expensive",
        "message": "Orders as large as this are taken by telephone.",
    }

    code: Annotated[Name, msgspec.Meta(description="The refusal's code, for programs.")]
    message: Annotated[Sentence, msgspec.Meta(description="A sentence a person can act on.")]

    def act(self, tx: Pass, context: Context) -> None:
        """Refuse with the code and the message."""
        raise Refusal(self.code, self.message)
