"""A context: one entity, the event it met, and what comes of it in this pass.

Owns what rules may do to an entity: transition, emit, schedule, record, fail. Everything is kept
in memory until the pass writes it, so a refused context leaves nothing behind.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Any, Protocol

from penstock.engine.document import Workflow
from penstock.engine.inbox import Event
from penstock.errors import Refusal, invariant
from penstock.events.stream import Change

MAX_EVENTS = 50


class Root(Protocol):
    """The root of an entity tree, as the engine sees it."""

    id: str
    status: str
    seq: int

    def view(self) -> dict[str, Any]:
        """Return what conditions may read of the entity."""
        ...


class Context:
    """One root in one pass: events wait in `queue`, changes and posts gather until written.

    `origin` is the event from outside that is being run, or that led to the inline one which is;
    `deferred` are events from outside that have to wait for a pass of their own.
    """

    __slots__ = (
        "accepted_ids",
        "changes",
        "decided_events",
        "deferred",
        "event",
        "fragments",
        "memo",
        "origin",
        "queue",
        "refusal",
        "root",
        "root_kind",
        "run_count",
        "to_post",
        "unhandled",
        "workflow",
    )

    def __init__(self, root_kind: str, root: Any, workflow: Workflow, events: list[Event]) -> None:
        self.root_kind = root_kind
        self.root: Any = root
        self.workflow = workflow
        self.event = self.origin = events[0]
        self.accepted_ids = frozenset(event.id for event in events)
        self.deferred: list[Event] = []
        self.queue: deque[Event] = deque(events)
        self.changes: list[Change] = []
        self.to_post: list[Event] = []
        self.decided_events: list[Event] = []
        self.unhandled: list[Event] = []
        self.refusal: Refusal | None = None
        self.memo: dict[str, Any] = {}
        self.fragments: list[str] = []
        self.run_count = 0

    def record(self, name: str, entity: str, entity_id: str, payload: dict[str, Any]) -> None:
        """Record a state change for the stream, under the root's next `seq`."""
        self.root.seq += 1
        self.changes.append(
            Change(self.root_kind, self.root.id, self.root.seq, entity, entity_id, name, payload)
        )

    def transition(self, status: str, payload: dict[str, Any] | None = None) -> None:
        """Move the root to a declared status; the change is `<entity>.<status>` in the stream."""
        invariant(status in self.workflow.categories, f"status {status!r} is not declared")
        if status == self.root.status:
            return
        before, self.root.status = self.root.status, status
        name = f"{self.workflow.entity}.{status}"
        self.record(name, self.root_kind, self.root.id, {"from": before, **(payload or {})})

    def emit(self, name: str, payload: dict[str, Any] | None = None) -> None:
        """Emit an event to this root: it runs in the next wave of this pass."""
        event = self.event
        inline = Event(self.root_kind, self.root.id, event.entity, event.entity_id, name)
        inline.payload = payload or {}
        self.queue.appendleft(inline)

    def schedule(self, name: str, due_at: datetime, payload: dict[str, Any] | None = None) -> None:
        """Put an event to this root into the inbox, due at an instant."""
        self.to_post.append(
            Event(
                self.root_kind,
                self.root.id,
                self.root_kind,
                self.root.id,
                name,
                payload or {},
                due_at,
                is_timer=True,
            )
        )

    def fail(self, refusal: Refusal) -> None:
        """Refuse: this context alone fails, and nothing of it is written."""
        if self.refusal is None:
            self.refusal = refusal

    def view(self) -> dict[str, Any]:
        """Return what conditions may read: the entity, and the event with its payload."""
        event = {"name": self.event.name, "payload": self.event.payload}
        return {self.workflow.entity: self.root.view(), "event": event}
