"""Whether anybody was refused a unit that was there: judged afterwards, from journal and answers.

A pass that answered a demand short is put beside the history of every position of the SKU. What
was free there is wrongly refused for sure if the movement that freed it was committed before that
pass began, and the movement that took it next was decided later (passes take their stamp after
their last lock, so a lower stamp saw nothing of a higher one); or if it was still free when that
very pass ended; or if it was under a cart hold that had expired before the pass began and that a
later pass ended. A movement counts as committed when the first answer from its pass arrived; with
one API process also when its stamp is lower, since a process decides one group at a time.

So nothing is counted that was right; a refusal during the commit of what freed a unit may be
missed, which DESIGN section 5 allows: the moment that counts is that of the read.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.bench.load import Answers
from penstock.bench.retailer import SQL, Bench
from penstock.db import Row, Tx, uuid_array

CLOCK_SLACK_S = 0.05  # a pass takes its instant a moment before its transaction begins
_NEVER = float("inf")
_ID = re.compile(rb'"id":"([0-9a-f-]{36})"')


class Hold(msgspec.Struct, frozen=True):
    """A cart hold that was placed: whose, where, and when it expires (s since 1970)."""

    root_id: str
    position_id: int
    expires_at: float


class Short(msgspec.Struct):
    """How many demands were answered short, and how many of them while a unit was left."""

    answered_short: int
    refused_while_left: int


class _Free(msgspec.Struct):
    """Spans in which a position had something free: from a movement to the next, as columns."""

    passes: list[str]
    stamps: NDArray[np.int64]
    committed_at: NDArray[np.float64]
    is_served: NDArray[np.bool_]
    next_stamps: NDArray[np.float64]


async def refused_while_left(
    bench: Bench, product_id: int, answers: Answers, holds: list[Hold], *, is_alone: bool
) -> Short:
    """Judge the short answers about one product; `is_alone` with one API process."""
    short_ids, received_at = _read(answers)

    async def read(tx: Tx) -> tuple[list[Row], list[Row], list[Row]]:
        return (
            await tx.fetch(SQL.movements, (product_id,)),
            await tx.fetch(SQL.passes_of_orders, (uuid_array(received_at), "order.created")),
            await tx.fetch(SQL.passes_of_orders, (uuid_array(short_ids), "order.created")),
        )

    movements, seen, short = await bench.database.run(bench.schema, read)
    committed: dict[str, float] = {}
    for order_id, pass_id, *_ in seen:
        at = received_at[order_id]
        committed[pass_id] = min(committed.get(pass_id, _NEVER), at)
    free = _free_spans(movements, committed)
    expired = _expired_spans(movements, {hold.root_id: hold.expires_at for hold in holds})
    refused = 0
    for _, pass_id, stamp, started_at in short:
        before = free.committed_at <= started_at
        if is_alone:
            before |= free.is_served & (free.stamps < stamp)
        left = before & (free.next_stamps > stamp) & (free.stamps < stamp)
        held = (expired[:, 0] + CLOCK_SLACK_S <= started_at) & (expired[:, 1] > stamp)
        refused += bool(left.any() or held.any() or pass_id in free.passes)
    return Short(len(short), refused)


def _read(answers: Answers) -> tuple[list[str], dict[str, float]]:
    """Return the orders answered short, and when each order's answer arrived."""
    short: list[str] = []
    received_at: dict[str, float] = {}
    for place, body in answers.bodies.items():
        found = _ID.search(body)
        if found is None or answers.request[place] < 0:
            continue
        order_id = found[1].decode()
        received_at[order_id] = float(answers.sent_at[place] + answers.taken_s[place])
        if b'"status":"unsourced"' in body:
            short.append(order_id)
    return short, received_at


def _free_spans(movements: list[Row], committed: dict[str, float]) -> _Free:
    rows: list[tuple[str, int, float, bool, float]] = []
    for place, (position_id, free, _, _, pass_id, kind, stamp, _) in enumerate(movements):
        following = movements[place + 1] if place + 1 < len(movements) else None
        is_last = following is None or following[0] != position_id
        if free <= 0 or (not is_last and following is not None and following[4] == pass_id):
            continue
        next_stamp = _NEVER if is_last or following is None else float(following[6])
        at = committed.get(pass_id, _NEVER)
        rows.append((pass_id, stamp, at, kind == "orders", next_stamp))
    return _Free(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64),
        np.array([row[3] for row in rows], dtype=np.bool_),
        np.array([row[4] for row in rows], dtype=np.float64),
    )


def _expired_spans(movements: list[Row], expires_at: dict[str, float]) -> NDArray[np.float64]:
    """Return (expired at, stamp of the pass that ended it) of every hold that expired."""
    spans = [
        (expires_at[cause_id], float(stamp))
        for _, _, is_expiry, cause_id, _, _, stamp, _ in movements
        if is_expiry and cause_id in expires_at
    ]
    return np.array(spans, dtype=np.float64).reshape(len(spans), 2)
