"""Runs events in a pass: match rulesets, apply rules to batches, decide asks once, go on.

Owns waves and batches. Contexts that matched the same rulesets run together, rule by rule. Groups
run until they ask or end; then all asks of the wave are decided together by the function the pass
was given, and the groups go on with their answers. Events emitted inline are the next wave. What
asks after the decision waits for a pass of its own: an event from outside stays with its sender,
and those behind it too (`Context.deferred`); an inline one goes to the inbox.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from penstock.engine.condition import values_of
from penstock.engine.context import MAX_EVENTS, Context
from penstock.engine.document import Ruleset
from penstock.engine.inbox import Event
from penstock.engine.traces import fragment
from penstock.errors import Refusal, invariant
from penstock.passes import Pass

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")
Decide = Callable[[list[Any]], Awaitable[list[Any]]]


class _Case(msgspec.Struct):
    """The rulesets that a status and an event have, and which of them met values match."""

    rulesets: list[Ruleset]
    is_plain: bool  # none of them has a condition
    fields: list[tuple[str, str]]
    matched: dict[tuple[Any, ...], tuple[Ruleset, ...]]


Verdicts = dict[tuple[int, str, str], _Case]  # of one pass: by workflow, event and status


class Asking(Generic[AskT, AnswerT]):
    """Gathers what groups ask until none is running, so that all is decided together."""

    def __init__(self, decide: Callable[[list[AskT]], Awaitable[list[AnswerT]]]) -> None:
        self._decide = decide
        self._running = 0
        self._waiting: list[tuple[Sequence[AskT], asyncio.Future[list[AnswerT]]]] = []
        self._idle = asyncio.Event()
        self.has_decided = False

    async def ask(self, asks: Sequence[AskT]) -> list[AnswerT]:
        """Wait until every group of the wave asked or ended; return the answers to these asks."""
        future: asyncio.Future[list[AnswerT]] = asyncio.get_running_loop().create_future()
        self._waiting.append((asks, future))
        self._left()
        return await future

    async def run(self, groups: Sequence[Awaitable[None]]) -> None:
        """Run the groups of a wave to their ends, deciding once when all of them wait."""
        self._running = len(groups)
        self._idle.clear()
        tasks = [asyncio.ensure_future(self._one(group)) for group in groups]
        try:
            while self._running or self._waiting:
                await self._idle.wait()
                self._idle.clear()
                if self._waiting:
                    await self._decide_waiting()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, group: Awaitable[None]) -> None:
        try:
            await group
        finally:
            self._left()

    def _left(self) -> None:
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    async def _decide_waiting(self) -> None:
        invariant(not self.has_decided, "stock was asked twice in one pass")
        self.has_decided = True
        waiting, self._waiting = self._waiting, []
        answers = await self._decide([ask for asks, _ in waiting for ask in asks])
        self._running = len(waiting)
        start = 0
        for asks, future in waiting:
            future.set_result(answers[start : start + len(asks)])
            start += len(asks)


async def run_events(tx: Pass, contexts: Sequence[Context], decide: Decide) -> None:
    """Run every queued event of the contexts, in waves. Sets `tx.ask` for the rules.

    A refused context is left as it is, with its `refusal`. What asks after the decision is not
    decided here: it is in `deferred` or `to_post`.
    """
    asking: Asking[Any, Any] = Asking(decide)
    tx.ask = asking.ask
    wave = [context for context in contexts if context.queue]
    verdicts: Verdicts = {}
    while wave:
        groups = _groups(wave, verdicts, has_decided=asking.has_decided)
        await asking.run([_run_group(tx, *group) for group in groups])
        wave = [context for context in contexts if context.queue and context.refusal is None]


def _groups(
    wave: Sequence[Context], verdicts: Verdicts, *, has_decided: bool
) -> list[tuple[tuple[Ruleset, ...], list[Context]]]:
    """Take the next event of each context and group contexts by the rulesets they match."""
    groups: dict[tuple[Any, ...], tuple[tuple[Ruleset, ...], list[Context]]] = {}
    for context in wave:
        event = context.queue.popleft()
        matched = _match(context, event, verdicts)
        if has_decided and any(ruleset.asks for ruleset in matched):
            _defer(context, event)
            continue
        if context.refusal is None:
            key = (context.workflow.id, event.name, *(id(ruleset) for ruleset in matched))
            groups.setdefault(key, (matched, []))[1].append(context)
    return list(groups.values())


def _defer(context: Context, event: Event) -> None:
    context.decided_events.remove(event)
    if event.id not in context.accepted_ids:
        context.to_post.append(event)
        return
    context.deferred += [event, *context.queue]
    context.queue.clear()


def _match(context: Context, event: Event, verdicts: Verdicts) -> tuple[Ruleset, ...]:
    context.event = event
    if event.id in context.accepted_ids:
        context.origin = event
    context.run_count += 1
    if context.run_count > MAX_EVENTS:
        context.fail(
            Refusal("too_many_events", f"More than {MAX_EVENTS} events in one pass: a loop?")
        )
        return ()
    try:
        matched = _matching(context, event.name, verdicts)
    except Refusal as refusal:
        context.fail(refusal)
        return ()
    context.decided_events.append(event)
    if not matched:
        context.unhandled.append(event)
    return matched


def _matching(context: Context, event_name: str, verdicts: Verdicts) -> tuple[Ruleset, ...]:
    """Return the rulesets that match, as a pass has found before for the same values."""
    status = context.root.status
    case = (context.workflow.id, event_name, status)
    if case not in verdicts:
        candidates = context.workflow.rulesets.get(event_name, ())
        met = [ruleset for ruleset in candidates if status in ruleset.statuses]
        conditions = [ruleset.condition for ruleset in met if ruleset.condition is not None]
        fields = {field for condition in conditions for field in condition.fields}
        verdicts[case] = _Case(met, not conditions, sorted(fields), {})
    known = verdicts[case]
    if known.is_plain:
        return tuple(known.rulesets)
    view = context.view()
    values = values_of(view, known.fields)
    try:
        matched = known.matched.get(values)
    except TypeError:  # a list or mapping among the values: judged afresh
        return _judged(known.rulesets, view)
    if matched is None:
        matched = known.matched[values] = _judged(known.rulesets, view)
    return matched


def _judged(rulesets: Sequence[Ruleset], view: dict[str, Any]) -> tuple[Ruleset, ...]:
    return tuple(
        ruleset
        for ruleset in rulesets
        if ruleset.condition is None or ruleset.condition.holds(view)
    )


async def _run_group(tx: Pass, rulesets: tuple[Ruleset, ...], contexts: Sequence[Context]) -> None:
    befores = [context.root.status for context in contexts]
    ran: list[tuple[str, list[tuple[str, float]]]] = []
    alive = contexts
    for ruleset in rulesets:
        rules: list[tuple[str, float]] = []
        for name, rule in ruleset.rules:
            started = time.perf_counter()
            await rule.apply(tx, alive)
            rules.append((name, time.perf_counter() - started))
            alive = [context for context in alive if context.refusal is None]
            if not alive:
                break
        ran.append((ruleset.name, rules))
    shared = fragment(contexts[0], ran, len(contexts))
    for context, before in zip(contexts, befores, strict=True):
        context.fragments.append(f'{shared},"from":"{before}","to":"{context.root.status}"}}')
