"""Timers: which events come due later, and which are taken back, after an entity's pass.

Pure. Only where an entity ends counts: a status that it merely went through sets no timer; one
that it left and came back to sets its timers anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from penstock.engine.compiled import Timer
from penstock.engine.context import Context
from penstock.engine.inbox import Event

Cancelled = tuple[str, str, str]  # root id, entity id, timer's name


def settle_timers(context: Context, now: datetime) -> tuple[list[Event], list[Cancelled]]:
    """Return the timers that a context's entities set, and those they take back."""
    begun: list[Event] = []
    ended: list[Cancelled] = []
    for subject, first, visited in _changed(context):
        workflow = context.workflows.get(subject.workflow_id)
        for timer in workflow.timers if workflow else ():
            is_reset = timer.at in context.reset_attributes
            if visited <= timer.statuses and first is not None and not is_reset:
                continue
            if first in timer.statuses:
                ended.append((context.root.id, subject.id, timer.name))
            if subject.status in timer.statuses:
                due_at = due_of(timer, subject, now)
                if due_at is not None:
                    begun.append(timer_event(context, subject, timer, due_at))
    return begun, ended


def _changed(context: Context) -> Iterator[tuple[Any, str | None, set[str]]]:
    """Give each entity that is new (first status None), has moved, or has other attributes."""
    root = context.root
    for subject in (root, *root.subjects()) if root.is_new or context.moves else (root,):
        if subject.workflow_id is None:
            continue
        moved = context.moves.get(subject.id)
        if subject.is_new:
            yield subject, None, {subject.status}
        elif moved is not None:
            yield subject, moved.first, {*moved.left, subject.status}
        elif context.reset_attributes and subject is root:
            yield subject, subject.status, {subject.status}


def due_of(timer: Timer, subject: Any, now: datetime) -> datetime | None:
    """Return when a timer is due; None if it goes by an attribute that is not there."""
    if timer.at is None:
        return now + timer.after
    try:
        instant = datetime.fromisoformat(str(subject.attributes.get(timer.at)))
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) + timer.after


def timer_event(context: Context, subject: Any, timer: Timer, due_at: datetime) -> Event:
    """Return the event that a timer sends at its instant."""
    root = context.root
    return Event(
        root.kind,
        root.id,
        subject.kind,
        subject.id,
        timer.event,
        {"timer": timer.name},
        due_at,
        is_timer=True,
        timer=timer.name,
    )
