"""Executing events of roots in a pass: run the engine, write what came of it.

The bridge between the engine, which knows no orders, and the contexts, which know no engine.
Refused contexts are never written: the caller runs the pass again without them, or with the
refusals that their workflows handle, so that nothing of them, not even a moved unit, stays behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.db import copy_text
from penstock.engine import inbox
from penstock.engine.context import Context, RefusedAt
from penstock.engine.entities import write_notes
from penstock.engine.inbox import Event
from penstock.engine.jobs import write_jobs
from penstock.engine.run import run_events
from penstock.engine.timers import Cancelled, settle_timers
from penstock.engine.traces import write_traces
from penstock.engine.unhandled import write_unhandled
from penstock.errors import Refusal, invariant
from penstock.events.stream import append_changes
from penstock.inventory.decide import decide
from penstock.inventory.model import Answer
from penstock.passes import Pass
from penstock.rules.carts import Holding, asks_of, meet_carts, take_answers
from penstock.rules.learning import note_moves
from penstock.rules.roots import write_roots
from penstock.rules.slots import settle_slots

_encode = msgspec.json.Encoder().encode


class RefusedInPassError(Exception):
    """Contexts were refused: the pass is rolled back and run again.

    `refusals` are by the id of the event from outside that was refused: it is to be left out.
    `known` are those that a workflow handles by itself: the pass is to be given them.
    """

    def __init__(
        self, refusals: Mapping[str, Refusal], known: Mapping[RefusedAt, Refusal] | None = None
    ) -> None:
        self.known = dict(known or {})
        self.refusals = dict(refusals)
        super().__init__(f"{len(self.refusals)} refused, {len(self.known)} handled")


async def run_and_write(
    tx: Pass, contexts: Sequence[Context], holding: Holding | None = None
) -> None:
    """Run the contexts' events and write everything; raises `RefusedInPassError` for refusals.

    Events in a context's `deferred` were not run and are the caller's to keep. What carts ask
    (`holding`) is decided together with what orders ask.
    """
    terms = tx.knowledge.terms(tx.now)
    holding = await meet_carts(tx, contexts, holding)
    answers: list[Answer] = []

    async def decide_asks(asks: list[Any]) -> list[Any]:
        if holding is None:
            return await decide(tx, asks, terms)
        every = await decide(tx, [*asks, *asks_of(holding)], terms)
        answers.extend(every[len(asks) :])
        return every[: len(asks)]

    await run_events(tx, contexts, decide_asks)
    if holding is not None and not holding.is_decided and holding.pending:
        await decide_asks([])
    await settle_slots(tx, contexts)
    refused = [context for context in contexts if context.refusal is not None]
    if refused:
        raise _refused(refused)
    if holding is not None:
        await take_answers(tx, holding, answers)
    await write_contexts(tx, contexts)


async def write_contexts(tx: Pass, contexts: Sequence[Context]) -> None:
    """Write everything that came of contexts: roots, changes, traces, events, timers, jobs."""
    for context in contexts:
        given_back = context.memo.get("given_back")
        invariant(given_back is None, "stock was withdrawn and not given back: use `give_back`")
    await write_roots(tx, [context.root for context in contexts])
    await tx.write_ahead()
    await _write_decisions(tx, contexts)
    await tx.write_ahead()
    await append_changes(tx, [change for context in contexts for change in context.changes])
    await tx.write_ahead()
    await write_traces(tx, contexts)
    await tx.write_ahead()
    await note_moves(tx, contexts)
    await _write_engine(tx, contexts)


def _refused(contexts: Sequence[Context]) -> RefusedInPassError:
    refusals: dict[str, Refusal] = {}
    known: dict[RefusedAt, Refusal] = {}
    for context in contexts:
        if context.refusal is None:
            continue
        if context.refused_at is not None:
            known[context.refused_at] = context.refusal
        else:
            refusals[context.origin.id] = context.refusal
    return RefusedInPassError(refusals, known)


async def _write_engine(tx: Pass, contexts: Sequence[Context]) -> None:
    """Write what the engine keeps: timers, events for later, jobs, notes, unhandled events."""
    posts: list[Event] = []
    cancelled: list[Cancelled] = []
    for context in contexts:
        begun, ended = settle_timers(context, tx.now)
        posts += context.to_post
        posts += begun
        cancelled += ended
        cancelled += context.cancelled
    await inbox.cancel_timers(tx, cancelled)
    await inbox.post(tx, posts, tx.now)
    await write_jobs(tx, [job for context in contexts for job in context.jobs], tx.now)
    await write_notes(tx, [note for context in contexts for note in context.notes], tx.now)
    await write_unhandled(tx, contexts)


async def _write_decisions(tx: Pass, contexts: Sequence[Context]) -> None:
    lines = [
        f"{tx.id}\t{context.root.id}\t{choice_id}\t{copy_text(_encode(plan.explanation).decode())}"
        for context in contexts
        for choice_id, plan in context.memo.get("decisions", ())
    ]
    tx.copy_in("sourcing_decision", "pass_id, order_id, choice_id, explanation", lines)
