"""`POST /v1/stock`: a list of counts.

Owns the report per row; what a count does is `inventory/counts.py`'s. A row that cannot be taken
refuses itself only.

Invariant: with an `Idempotency-Key` the same request has one effect; a list is taken in chunks,
each a pass with a key of its own, so that a retry goes on where the first attempt ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.api import stock_rows
from penstock.api.errors import refused
from penstock.api.exchange import Reply, Request, idempotency_key, key_of_part, replayed
from penstock.api.served import Served
from penstock.api.stock_rows import Envelope, Problem, Resolved, StockRow
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.causes import note_cause
from penstock.inventory.counts import Counts, Outcome, microseconds, set_stock
from penstock.inventory.sources import DEFAULT_SOURCE
from penstock.orders.commands import StoredAnswer, claim_keys, write_answers
from penstock.passes import Pass
from penstock.quantity import check_qty
from penstock.rules.acknowledged import counts_of_source

_OUTCOMES = ("changed", "unchanged", "older", "superseded", "refused")
_encode = msgspec.json.Encoder().encode


class CountRow(StockRow, forbid_unknown_fields=True, kw_only=True):
    """What was counted of a SKU at a location."""

    on_hand: int
    counted_at: datetime | None = None


class Report(msgspec.Struct):
    """What became of the rows: how many of each outcome, and what was wrong with which."""

    rows: int
    changed: int = 0
    unchanged: int = 0
    older: int = 0
    superseded: int = 0
    refused: int = 0
    problems: list[Problem] = []


_row = msgspec.json.Decoder(CountRow)
_report = msgspec.json.Decoder(Report)


async def post_stock(served: Served, request: Request) -> Reply:
    """Set counted stock; 200 with a report.

    Refusals: `too_many_rows`, `unknown_source`, `unknown_channel`, `channel_needed`,
    `idempotency_key_reused`.
    """
    key = idempotency_key(request.headers)
    envelope = stock_rows.read_rows(request.body)
    body_hash = hashlib.blake2b(request.body, digest_size=16).digest()
    total = Report(len(envelope.items))
    is_replay = bool(envelope.items)
    for first in range(0, len(envelope.items), stock_rows.ROWS_PER_PASS):
        chunk = envelope.items[first : first + stock_rows.ROWS_PER_PASS]
        part_key = key_of_part(key, first)
        claim = [] if part_key is None else [(part_key, body_hash)]
        part = await _count(served, msgspec.structs.replace(envelope, items=chunk), claim)
        if isinstance(part, Refusal):
            return refused(part)
        is_replay = is_replay and isinstance(part, StoredAnswer)
        _add(total, _report.decode(part) if isinstance(part, StoredAnswer) else part, first)
    return Reply(HTTPStatus.OK, _encode(total), headers=replayed(is_replay=is_replay))


def _add(total: Report, part: Report, first: int) -> None:
    for name in _OUTCOMES:
        setattr(total, name, getattr(total, name) + getattr(part, name))
    for problem in part.problems:
        problem.row += first
        total.problems.append(problem)


async def _count(
    served: Served, chunk: Envelope, claim: Sequence[tuple[str, bytes]]
) -> Report | StoredAnswer | Refusal:
    """Set one chunk of counts as one pass; under a known key its stored report is the answer."""

    async def work(tx: Pass) -> Report | StoredAnswer | Refusal:
        for known in (await claim_keys(tx, claim)).values():
            if known is not None:
                return known
        report = await _set(tx, chunk)
        await write_answers(tx, [(key, _encode(report)) for key, _ in claim])
        return report

    return await served.knowledge.run_pass("stock", work)


async def _set(tx: Pass, chunk: Envelope) -> Report:
    def check(row: CountRow) -> None:
        check_qty(row.on_hand, least=stock_rows.LEAST_QTY, field="on_hand")
        instant = row.counted_at or chunk.counted_at or tx.now
        row.counted_at = stock_rows.check_instant(instant, tx.now, "counted_at")

    report = Report(len(chunk.items), problems=[])
    source_id = await stock_rows.source_id(tx, chunk.source)
    rows = stock_rows.readable(chunk.items, _row, check, report.problems)
    resolved = await stock_rows.resolve(tx, rows, chunk.channel, report.problems)
    report.refused = len(report.problems)
    if resolved.places:
        counts = await counts_of_source(tx, _counts(tx, rows, resolved, source_id))
        await note_cause(tx, counts.cause_id, "request", chunk.source or DEFAULT_SOURCE)
        outcomes = await set_stock(tx, counts)
        _tell(report, outcomes, resolved.places)
    report.problems.sort(key=lambda problem: problem.row)
    return report


def _counts(tx: Pass, rows: dict[int, CountRow], resolved: Resolved, source_id: int) -> Counts:
    taken = [rows[place] for place in resolved.places]
    counted_us = [microseconds(row.counted_at or tx.now) for row in taken]
    return Counts(
        product_ids=np.array(resolved.product_ids, dtype=np.int32),
        location_ids=np.array(resolved.location_ids, dtype=np.int32),
        pool_ids=np.array(resolved.pool_ids, dtype=np.int16),
        on_hands=np.array([row.on_hand for row in taken], dtype=np.int32),
        counted_us=np.array(counted_us, dtype=np.int64),
        source_id=source_id,
        cause_id=new_id(),
    )


def _tell(report: Report, outcomes: NDArray[np.int8], places: Sequence[int]) -> None:
    """Count the outcomes, and name the rows that had no effect."""
    report.changed = int((outcomes == Outcome.CHANGED).sum())
    report.unchanged = int((outcomes == Outcome.UNCHANGED).sum())
    report.older = int((outcomes == Outcome.OLDER).sum())
    report.superseded = int((outcomes == Outcome.SUPERSEDED).sum())
    for row in np.flatnonzero(outcomes == Outcome.OLDER).tolist():
        sentence = "A newer count of this position is known."
        report.problems.append(Problem(places[row], "count_older", sentence, "counted_at"))
    for row in np.flatnonzero(outcomes == Outcome.SUPERSEDED).tolist():
        sentence = "Another row of this list counts the same position."
        report.problems.append(Problem(places[row], "count_superseded", sentence))
    too_far = np.flatnonzero(outcomes == Outcome.TOO_FAR).tolist()
    report.refused += len(too_far)
    for row in too_far:
        sentence = "The change is too large to be kept."
        report.problems.append(Problem(places[row], "quantity_out_of_range", sentence, "on_hand"))
