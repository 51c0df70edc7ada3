"""A context: one root, the event one of its entities met, and what comes of it in this pass.

Owns what rules may do to an entity: transition, emit, send, schedule, record, ask for a job, fail.
Everything is kept in memory until the pass writes it, so a refused context leaves nothing behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from penstock.engine.compiled import Workflow
from penstock.engine.condition import expression
from penstock.engine.inbox import Event
from penstock.engine.jobs import Job
from penstock.errors import Refusal, invariant
from penstock.events.stream import Change
from penstock.ids import new_id

MAX_EVENTS = 50
MAX_DEPTH = 20
# A refusal that was met in an earlier run of the pass: origin's id, ruleset, which time it was met.
RefusedAt = tuple[str, str, int]


class Moved(NamedTuple):
    """An entity that moved: the status it had before the pass, and all that it has left."""

    subject: Any
    first: str
    left: tuple[str, ...]


NO_WORKFLOW = Workflow(0, "none", 0, "none", "none", "none", {}, {})


class Subject(Protocol):
    """An entity with a workflow, inside a root or the root itself."""

    id: str
    status: str
    workflow_id: int | None

    @property
    def kind(self) -> str:
        """Return the kind of entity, such as order."""
        ...

    def view(self) -> dict[str, Any]:
        """Return what expressions may read of the entity."""
        ...


class Root(Subject, Protocol):
    """The root of an entity tree, as the engine sees it. It guards its tree and gives its `seq`."""

    seq: int
    attributes: dict[str, Any]
    customer: dict[str, Any]
    channel: dict[str, Any]

    def subjects(self) -> Sequence[Any]:
        """Return the entities inside the root that may have a workflow, without itself."""
        ...


class Context:
    """One root in one pass: events wait in `queue`, changes and posts gather until written.

    `entity` is whom the event is for: the root, or an entity inside it. `origin` is the event from
    outside that is being run, or that led to the inline one which is; `deferred` are events from
    outside that have to wait for a pass of their own; `passed_over` are events whose rulesets'
    conditions did not hold, `unhandled` those that no ruleset names. `moves` has the entities
    that moved, by id. `known` are
    refusals that the workflow handles by itself.
    """

    __slots__ = (
        "accepted_ids",
        "cancelled",
        "changes",
        "decided_events",
        "deferred",
        "emitted",
        "entity",
        "event",
        "fragments",
        "is_busy",
        "jobs",
        "known",
        "memo",
        "met",
        "moves",
        "notes",
        "origin",
        "passed_over",
        "queue",
        "refusal",
        "refused_at",
        "reset_attributes",
        "root",
        "run_count",
        "to_post",
        "unhandled",
        "views",
        "workflow",
        "workflows",
    )

    def __init__(
        self,
        root: Any,
        workflows: Mapping[int, Workflow],
        events: list[Event],
        known: Mapping[RefusedAt, Refusal] | None = None,
    ) -> None:
        self.root: Any = root
        self.entity: Any = root
        self.workflows = workflows
        self.workflow = workflows.get(root.workflow_id, NO_WORKFLOW)
        self.event = self.origin = events[0]
        self.accepted_ids = [event.id for event in events]
        self.known = known or {}
        self.queue: deque[Event] = deque(events)
        self.emitted: list[Event] = []
        self.changes: list[Change] = []
        self.decided_events: list[Event] = []
        self.fragments: list[str] = []
        self.memo: dict[str, Any] = {}
        self.moves: dict[str, Moved] = {}
        self.refusal: Refusal | None = None
        self.refused_at: RefusedAt | None = None
        # Rarely anything is in these: a thousand contexts share the empty tuple.
        self.met: Sequence[str] = ()
        self.deferred: Sequence[Event] = ()
        self.to_post: Sequence[Event] = ()
        self.cancelled: Sequence[tuple[str, str, str]] = ()
        self.jobs: Sequence[Job] = ()
        self.notes: Sequence[tuple[str, ...]] = ()
        self.unhandled: Sequence[Event] = ()
        self.passed_over: Sequence[Event] = ()
        self.reset_attributes: Sequence[str] = ()
        self.run_count = 0
        self.is_busy = False
        self.views = Views(self)

    @property
    def root_kind(self) -> str:
        """Return the kind of the root."""
        return str(self.root.kind)

    # ── what rules do ─────────────────────────────────────────────────────────────────────────

    def record(self, name: str, entity: str, entity_id: str, payload: dict[str, Any]) -> None:
        """Record a state change for the stream, under the root's next `seq`."""
        self.root.seq += 1
        self.changes.append(
            Change(self.root_kind, self.root.id, self.root.seq, entity, entity_id, name, payload)
        )

    def transition(self, status: str, payload: dict[str, Any] | None = None) -> None:
        """Move the entity to a declared status; the change is `<entity>.<status>` in the stream."""
        self.move(self.entity, self.workflow, status, payload)

    def move(
        self,
        subject: Any,
        workflow: Workflow,
        status: str,
        payload: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        """Move any entity of the root to a status that its workflow declares.

        `name` is what the stream calls it, where that is not `<entity>.<status>`.
        """
        invariant(status in workflow.categories, f"status {status!r} is not declared")
        if status == subject.status:
            return
        before, subject.status = subject.status, status
        moved = self.moves.get(subject.id)
        if moved is None:
            self.moves[subject.id] = Moved(subject, before, (before,))
        else:
            self.moves[subject.id] = moved._replace(left=(*moved.left, before))
        name = name or f"{workflow.entity}.{status}"
        self.record(name, subject.kind, subject.id, {"from": before, **(payload or {})})

    def emit(
        self, name: str, payload: dict[str, Any] | None = None, to: Subject | None = None
    ) -> None:
        """Emit an event to this entity, or another of the root: it runs later in this pass."""
        subject = to or self.entity
        event = Event(self.root.kind, self.root.id, subject.kind, subject.id, name)
        event.payload = payload or {}
        event.depth = self.event.depth + 1
        self.emitted.append(event)

    def send(self, event: Event) -> None:
        """Post an event to another root, or to this one at a later instant."""
        self.to_post = (*self.to_post, event)

    def schedule(
        self,
        name: str,
        due_at: datetime,
        payload: dict[str, Any] | None = None,
        timer: str | None = None,
    ) -> None:
        """Post an event to this entity, due at an instant; `timer` names it, to be cancelled by."""
        entity = self.entity
        event = Event(self.root.kind, self.root.id, entity.kind, entity.id, name, payload or {})
        event.due_at, event.is_timer, event.timer = due_at, True, timer
        self.send(event)

    def cancel_timer(self, timer: str) -> None:
        """Take back what was scheduled for this entity under a name, in this pass or before."""
        mine = (self.entity.id, timer)
        self.to_post = [one for one in self.to_post if (one.entity_id, one.timer) != mine]
        self.queue = deque(one for one in self.queue if (one.entity_id, one.timer) != mine)
        self.cancelled = (*self.cancelled, (self.root.id, *mine))

    def set_attribute(self, name: str, value: Any) -> None:
        """Set an attribute of the root; timers that are due at it are set anew."""
        self.root.attributes = self.root.attributes | {name: value}
        self.reset_attributes = (*self.reset_attributes, name)
        self.views.forget()

    def add_job(self, job: Job) -> None:
        """Have an outside effect done after the commit."""
        self.jobs = (*self.jobs, job)

    def add_note(self, by: str, text: str) -> None:
        """Write a note on the entity, for people."""
        note = (new_id(), self.root.id, self.entity.kind, self.entity.id, by, text)
        self.notes = (*self.notes, note)

    def evaluate(self, text: str) -> Any:
        """Return the value of an expression; raises `condition_failed` where it has none."""
        self.views.forget()
        return expression(text).value(self.views)

    def fail(self, refusal: Refusal) -> None:
        """Refuse: this context alone fails, and nothing of it is written."""
        if self.refusal is None:
            self.refusal = refusal

    # ── what the engine asks ──────────────────────────────────────────────────────────────────

    def meet(self, event: Event) -> Workflow:
        """Turn to the entity that an event is for, and return its workflow.

        Fails with `unknown_entity` if the root does not hold it, with `workflow_missing` if the
        version that it is pinned to is not there.
        """
        self.event = event
        if event.id in self.accepted_ids:
            self.origin = event
        self.views.forget()
        self.workflow = NO_WORKFLOW
        root = self.root
        is_root = event.entity_id == root.id and event.entity == root.kind
        subject = root if is_root else self._find(event)
        if subject is not None:
            self.entity = subject
            if subject.workflow_id is not None:
                workflow = self.workflows.get(subject.workflow_id)
                if workflow is None:
                    message = f"The workflow version that this {subject.kind} has does not compile."
                    data = {"workflow_id": subject.workflow_id}
                    self.fail(Refusal("workflow_missing", message, **data))
                else:
                    self.workflow = workflow
        return self.workflow

    def _find(self, event: Event) -> Any:
        root = self.root
        for subject in root.subjects():
            if subject.id == event.entity_id and subject.kind == event.entity:
                return subject
        message = f"This {root.kind} has no {event.entity} {event.entity_id}."
        self.fail(Refusal("unknown_entity", message, entity_id=event.entity_id))
        return None


class Views:
    """What expressions may read right now, made when it is asked for."""

    __slots__ = ("_context", "_known")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, Mapping[str, Any]] = {}

    def forget(self) -> None:
        """Forget what was read: the entity or the event has changed."""
        if self._known:
            self._known.clear()

    def __contains__(self, name: object) -> bool:
        context = self._context
        return name in (
            context.entity.kind,
            context.root.kind,
            "event",
            "customer",
            "channel",
        )

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._read(name)
        return known

    def _read(self, name: str) -> Mapping[str, Any]:
        context = self._context
        if name == "event":
            return {"name": context.event.name, "payload": context.event.payload}
        if name == "customer":
            return context.root.customer
        if name == "channel":
            return context.root.channel
        return context.entity.view() if name == context.entity.kind else context.root.view()
