"""The steps of a pass of a worker, and dying before or after one of them.

A place is `before`, `after` or `during` a step, such as `after load_roots`. What is patched is
patched in the process that is to die, and there only: it holds still at the place, with whatever
locks and notes it has then, until it is told to go on dying.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

from penstock import copies, db, passes
from penstock.engine import inbox, rule, run
from penstock.inventory import decide, store
from penstock.rules import execute, knowledge, work

EXIT_STATUS = 86
# Whole steps, and what calls them by which name. A step that begins where another has ended has
# only an `after`.
_STEPS: Sequence[tuple[Any, str, str]] = (
    (work, "_due", "before after"),
    (work, "_bury_killers", "after"),
    (work, "_batches", "after"),
    (work, "_note", "after"),
    (work, "_run", "before after"),
    (passes, "_open", "before after"),
    (knowledge.Knowledge, "refresh", "after"),
    (work, "load_roots", "before after"),
    (work, "context_of", "after"),
    (execute, "run_events", "before after"),
    (run, "_run_group", "before after"),
    (execute, "decide", "before after"),
    (decide, "_attempt", "after"),
    (store, "lock_positions", "before after"),
    (store, "lock_capacity", "after"),
    (store, "take_from_reservations", "before after"),
    (decide, "_admit_all", "after"),
    (store, "lock_uses", "after"),
    (store, "write_capacity", "after"),
    (store, "write_uses", "before after"),
    (store, "write_ledger", "after"),
    (store, "insert_reservations", "after"),
    (execute, "write_roots", "before after"),
    (execute, "_write_decisions", "after"),
    (execute, "append_changes", "after"),
    (execute, "write_traces", "after"),
    (inbox, "cancel_timers", "before after"),
    (inbox, "post", "after"),
    (execute, "write_jobs", "after"),
    (execute, "write_notes", "after"),
    (execute, "write_unhandled", "after"),
    (inbox, "remove", "before after"),
    (work, "bury_refused", "before after"),
    (knowledge, "tell_crossings", "before after"),
    (passes, "_commit", "before after"),
)
# Steps that passes with carts have besides.
_CART_STEPS: Sequence[tuple[Any, str, str]] = (
    (execute, "meet_carts", "before after"),
    (decide, "without_ended", "after"),
    (decide, "write_over", "before after"),
    (execute, "take_answers", "before after"),
)
# Rules that ask stock, or read what came of it.
_RULES = ("source", "allocate", "create_fulfilments", "release", "ship", "withdraw", "cancel")
SENT = "during COMMIT, sent and not answered"
# What two passes, or two transactions of a worker, are between, and where a pass holds most.
AGAIN = (
    "after _due",
    "after _note",
    "after _open",
    "after load_roots",
    "after decide",
    "after lock_positions",
    "after write_ledger",
    "after write_roots",
    "after append_changes",
    "after remove",
    "after _run",
    "before _commit",
    "after _commit",
    SENT,
)
PLACES = (
    *(f"{when} {name}" for _, name, whens in _STEPS for when in whens.split()),
    *(f"after rule {name}" for name in _RULES),
    SENT,
)
CART_PLACES = (
    *(f"{when} {name}" for _, name, whens in _CART_STEPS for when in whens.split()),
    "after load_roots",
    "after lock_positions",
    "after decide",
    "after rule source",
    "after rule allocate",
    "after write_roots",
    "before _commit",
    "after _commit",
    SENT,
)


def die_at(place: str, visit: int, hold: Callable[[], None]) -> None:
    """Have this process die at the n-th visit of a place; `hold` returns when it is to go on."""
    visits = 0

    def visited() -> None:
        nonlocal visits
        visits += 1
        if visits == visit:
            hold()
            os._exit(EXIT_STATUS)

    if place == SENT:
        _die_when_commit_is_sent(visited)
        return
    when, name = place.split(" ", 1)
    if name.startswith("rule "):
        owner, name = rule.load_rules()[name.removeprefix("rule ")], "apply"
    else:
        owner = next(owner for owner, one, _ in (*_STEPS, *_CART_STEPS) if one == name)
    _wrap(owner, name, when, visited)


def write_ahead() -> None:
    """Have passes begin to write rows while they make others, as they do when there are many."""
    db.MANY_ROWS = 1


def _wrap(owner: Any, name: str, when: str, visited: Callable[[], None]) -> None:
    step = getattr(owner, name)
    if inspect.iscoroutinefunction(step):

        async def visiting(*args: Any, **named: Any) -> Any:
            if when == "before":
                visited()
            result = await step(*args, **named)
            if when == "after":
                visited()
            return result

        setattr(owner, name, visiting)
        return

    def visiting_at_once(*args: Any, **named: Any) -> Any:
        result = step(*args, **named)
        visited()
        return result

    setattr(owner, name, visiting_at_once)


def _die_when_commit_is_sent(visited: Callable[[], None]) -> None:
    """Visit when PostgreSQL has all of a pass, COMMIT with it, and nothing was read of its answer.

    The server commits while this process holds still.
    """
    write: Any = getattr(copies, "_write")  # noqa: B009 (not ours to name otherwise)
    give: Any = getattr(copies, "_give")  # noqa: B009
    read: Any = getattr(copies, "_next_result")  # noqa: B009
    left: list[int] = []

    def writing(pgconn: Any, texts: Any, bodies: Any, checked: Any) -> Any:
        left[:] = [len(bodies)] if b"pass_stamp" in texts[-1] else []
        yield from write(pgconn, texts, bodies, checked)

    def giving(pgconn: Any, body: bytes) -> Any:
        yield from give(pgconn, body)
        if left:
            left[0] -= 1

    def reading(pgconn: Any) -> Any:
        if left == [0]:
            left.clear()
            visited()
        return (yield from read(pgconn))

    for name, patched in (("_write", writing), ("_give", giving), ("_next_result", reading)):
        setattr(copies, name, patched)
