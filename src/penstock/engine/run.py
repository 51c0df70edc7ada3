"""Runs events in a pass: match rulesets, apply rules to batches, decide asks once, go on.

Owns batches and their order. Contexts that matched the same rulesets run together, rule by rule,
and then their inline events, until every context has asked stock or ended. Then all asks are
decided together by the function the pass was given, and the groups go on with their answers. What
asks after the decision waits for a pass of its own: an event from outside stays with its sender,
and those behind it too (`Context.deferred`); an inline one goes to the inbox.

A refusal fails its context. If its ruleset names an `on_refusal`, the caller runs the pass again
with the refusal `known`; the ruleset is then passed over, and the event emitted in its place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from penstock.engine.compiled import Ruleset, Workflow
from penstock.engine.condition import Groups, grouped, values_of
from penstock.engine.context import MAX_DEPTH, MAX_EVENTS, Context
from penstock.engine.inbox import Event
from penstock.engine.traces import NotMet, Ran, shared_part, trace_part
from penstock.errors import Refusal, invariant
from penstock.passes import Pass

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")
Decide = Callable[[list[Any]], Awaitable[list[Any]]]


class Asking(Generic[AskT, AnswerT]):
    """Runs groups side by side, and gathers what they ask, so that all is decided together."""

    def __init__(self, decide: Callable[[list[AskT]], Awaitable[list[AnswerT]]]) -> None:
        self._decide = decide
        self._running = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: list[tuple[Sequence[AskT], asyncio.Future[list[AnswerT]]]] = []
        self._idle = asyncio.Event()
        self.has_decided = False

    @property
    def is_waiting(self) -> bool:
        """Tell whether a group waits for an answer."""
        return bool(self._waiting)

    async def ask(self, asks: Sequence[AskT]) -> list[AnswerT]:
        """Wait until every group asked or ended; return the answers to these asks."""
        future: asyncio.Future[list[AnswerT]] = asyncio.get_running_loop().create_future()
        self._waiting.append((asks, future))
        self._left()
        return await future

    async def run(self, groups: Sequence[Awaitable[None]]) -> None:
        """Run more groups until each has ended or waits for an answer; raises what one raised."""
        self._running += len(groups)
        self._tasks += [asyncio.ensure_future(self._one(group)) for group in groups]
        await self._until_idle()

    async def decide(self) -> None:
        """Decide what was asked, and run those who asked on, until each has ended."""
        invariant(not self.has_decided, "stock was asked twice in one pass")
        self.has_decided = True
        waiting, self._waiting = self._waiting, []
        answers = await self._decide([ask for asks, _ in waiting for ask in asks])
        self._running += len(waiting)
        start = 0
        for asks, future in waiting:
            future.set_result(answers[start : start + len(asks)])
            start += len(asks)
        await self._until_idle()

    async def close(self) -> None:
        """Cancel what still runs: the pass has failed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_idle(self) -> None:
        if self._running:
            self._idle.clear()
            await self._idle.wait()
        for task in self._tasks:
            if task.done():
                task.result()
        self._tasks = [task for task in self._tasks if not task.done()]

    async def _one(self, group: Awaitable[None]) -> None:
        try:
            await group
        finally:
            self._left()

    def _left(self) -> None:
        self._running -= 1
        if self._running == 0:
            self._idle.set()


class Case(NamedTuple):
    """The rulesets of an event in a status, and what matched for values that were met in a pass.

    `fields` are what their conditions read; without any the match is always the same.
    """

    rulesets: Sequence[Ruleset]
    fields: Groups
    handles_refusals: bool
    matched: dict[tuple[Any, ...], Match]


Match = tuple[list[Ruleset], list[NotMet]]  # those that matched, and those passed over
Cases = dict[tuple[int, str, str], Case]


class Group(NamedTuple):
    """Contexts that met the same event in the same status and matched the same rulesets."""

    event: str
    matched: tuple[Ruleset, ...]
    not_met: tuple[NotMet, ...]
    contexts: list[Context]


async def run_events(tx: Pass, contexts: Sequence[Context], decide: Decide) -> None:
    """Run every queued event of the contexts. Sets `tx.ask` for the rules.

    A refused context is left as it is, with its `refusal`. What asks after the decision is not
    decided here: it is in `deferred` or `to_post`.
    """
    asking: Asking[Any, Any] = Asking(decide)
    tx.ask = asking.ask
    cases: Cases = {}
    try:
        while True:
            ready = [one for one in contexts if one.queue and not one.is_busy and not one.refusal]
            if ready:
                groups = _groups(ready, cases, has_decided=asking.has_decided)
                await asking.run([_run_group(tx, group) for group in groups])
            elif asking.is_waiting:
                await asking.decide()
            else:
                return
    finally:
        await asking.close()


def _groups(ready: Sequence[Context], cases: Cases, *, has_decided: bool) -> list[Group]:
    """Take the next event of each context and group contexts by what they match."""
    groups: dict[tuple[Any, ...], Group] = {}
    for context in ready:
        event = context.queue.popleft()
        if event.timer is not None and _is_over(context, event):
            context.decided_events.append(event)
            continue
        matched, not_met = _match(context, event, cases)
        if context.refusal is not None:
            continue
        if has_decided and any(ruleset.asks for ruleset in matched):
            _defer(context, event)
            continue
        context.decided_events.append(event)
        status = context.entity.status
        key = (context.workflow.id, event.name, status, *map(id, matched), *not_met)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(event.name, tuple(matched), tuple(not_met), [])
        group.contexts.append(context)
    return list(groups.values())


def _is_over(context: Context, event: Event) -> bool:
    """Tell whether a due timer is of a status that its entity has left in this very pass.

    The timer is taken back when the pass is written; its event was read before.
    """
    moved = context.moves.get(event.entity_id)
    if moved is None:
        return False
    workflow = context.workflows.get(moved.subject.workflow_id or 0)
    timers = workflow.timers if workflow is not None else ()
    statuses = [timer.statuses for timer in timers if timer.name == event.timer]
    return any(not {*moved.left, moved.subject.status} <= one for one in statuses)


def _defer(context: Context, event: Event) -> None:
    if event.id not in context.accepted_ids:
        context.send(event)
        return
    context.deferred = (*context.deferred, event, *context.queue)
    context.queue.clear()


def _match(context: Context, event: Event, cases: Cases) -> Match:
    """Return the rulesets that an event matches, and the numbers of those that were passed over.

    An event that no ruleset names in this status is unhandled.
    """
    context.run_count += 1
    if context.run_count > MAX_EVENTS or event.depth > MAX_DEPTH:
        message = f"More than {MAX_EVENTS} events, or {MAX_DEPTH} deep, in one pass: a loop?"
        context.fail(Refusal("too_many_events", message, event=event.name))
        return [], []
    workflow = context.meet(event)
    if context.refusal is not None:
        return [], []
    case_id = (workflow.id, event.name, context.entity.status)
    case = cases.get(case_id)
    if case is None:
        case = cases[case_id] = _case_of(workflow, event.name, context.entity.status)
    try:
        matched, not_met = _matching(case, context)
    except Refusal as refusal:
        context.fail(refusal)
        return [], []
    if case.handles_refusals:
        matched, not_met = _without_refused(context, matched, not_met)
    if not matched and not context.emitted:
        if not_met:
            context.passed_over = (*context.passed_over, event)
        else:
            context.unhandled = (*context.unhandled, event)
    if context.emitted:
        _take_emitted(context)
    return matched, not_met


def _case_of(workflow: Workflow, event: str, status: str) -> Case:
    rulesets = [one for one in workflow.rulesets.get(event, ()) if status in one.statuses]
    conditions = [ruleset.condition for ruleset in rulesets if ruleset.condition is not None]
    fields = {field for condition in conditions for field in condition.fields}
    handles = any(ruleset.on_refusal for ruleset in rulesets)
    return Case(rulesets, grouped(fields), handles, {} if conditions else {(): (rulesets, [])})


def _matching(case: Case, context: Context) -> Match:
    """Match a case, as the pass has found before for the same values."""
    values = values_of(context.views, case.fields) if case.fields else ()
    try:
        known = case.matched.get(values)
    except TypeError:  # a list or mapping among the values: judged afresh
        return _judged(case, context)
    if known is None:
        known = case.matched[values] = _judged(case, context)
    return known


def _judged(case: Case, context: Context) -> Match:
    matched: list[Ruleset] = []
    not_met: list[NotMet] = []
    for ruleset in case.rulesets:
        if ruleset.condition is None or ruleset.condition.holds(context.views):
            matched.append(ruleset)
        else:
            not_met.append(ruleset.number)
    return matched, not_met


def _without_refused(context: Context, matched: list[Ruleset], not_met: list[NotMet]) -> Match:
    """Take out the rulesets that were refused in an earlier run, emitting their `on_refusal`."""
    kept: list[Ruleset] = []
    passed_over = list(not_met)
    for ruleset in matched:
        refusal = _refused_before(context, ruleset)
        if refusal is None:
            kept.append(ruleset)
        else:
            passed_over.append((ruleset.number, refusal.code))
    return kept, passed_over


def _refused_before(context: Context, ruleset: Ruleset) -> Refusal | None:
    """Return why this very match was refused in an earlier run, and emit `on_refusal` then."""
    if ruleset.on_refusal is None:
        return None
    context.met = (*context.met, ruleset.name)
    times = context.met.count(ruleset.name)
    refusal = context.known.get((context.origin.id, ruleset.name, times))
    if refusal is not None:
        payload = {"code": refusal.code, "message": refusal.message, "ruleset": ruleset.name}
        context.emit(ruleset.on_refusal, {**payload, "event": context.event.name})
    return refusal


def _take_emitted(context: Context) -> None:
    """Queue what was emitted, in its order, before everything that waited."""
    context.queue.extendleft(reversed(context.emitted))
    context.emitted.clear()


async def _run_group(tx: Pass, group: Group) -> None:
    contexts = group.contexts
    entities = [context.entity for context in contexts]
    before = entities[0].status
    marks = [(len(context.changes), len(context.to_post)) for context in contexts]
    for context in contexts:
        context.is_busy = True
    ran: list[Ran] = []
    alive = contexts
    for ruleset in group.matched:
        rules: list[tuple[str, float]] = []
        for name, rule in ruleset.rules:
            started = time.perf_counter()
            await rule.apply(tx, alive)
            rules.append((name, time.perf_counter() - started))
            alive = _still_alive(alive, ruleset)
            if not alive:
                break
        ran.append(Ran(ruleset, rules))
    shared = shared_part(
        contexts[0].workflow, group.event, before, group.not_met, ran, len(contexts)
    )
    for context, entity, mark in zip(contexts, entities, marks, strict=True):
        context.fragments.append(shared + trace_part(context, entity, *mark))
        if context.emitted:
            _take_emitted(context)
        context.is_busy = False


def _still_alive(contexts: list[Context], ruleset: Ruleset) -> list[Context]:
    refused = [context for context in contexts if context.refusal is not None]
    if not refused:
        return contexts
    if ruleset.on_refusal is not None:
        for context in refused:
            times = context.met.count(ruleset.name)
            context.refused_at = (context.origin.id, ruleset.name, times)
    return [context for context in contexts if context.refusal is None]
