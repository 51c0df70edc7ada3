"""`POST /v1/stock/adjustments`: a list of changes of stock, such as breakage or a find.

A change is not like a count: made twice it is twice as large. So each has a key, its own or made
of the request's, and the same key has one effect. What a change does is `inventory/counts.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import msgspec

from penstock.api import stock_rows
from penstock.api.exchange import Reply, Request, idempotency_key, key_of_part, replayed
from penstock.api.served import Served
from penstock.api.stock_rows import Envelope, Problem, Resolved, StockRow
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.causes import note_reasons
from penstock.inventory.counts import adjust_stock
from penstock.inventory.model import Adjustment
from penstock.orders.commands import claim_keys
from penstock.passes import Pass
from penstock.quantity import check_qty

_encode = msgspec.json.Encoder().encode


class ChangeRow(StockRow, forbid_unknown_fields=True, kw_only=True):
    """By how much the stock of a SKU at a location changed."""

    delta: int
    occurred_at: datetime | None = None
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    key: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,200}$")] | None = None


class Report(msgspec.Struct):
    """What became of changes: applied now, applied before under the same key, refused."""

    rows: int
    applied: int = 0
    replayed: int = 0
    refused: int = 0
    problems: list[Problem] = []


_row = msgspec.json.Decoder(ChangeRow)


async def post_adjustments(served: Served, request: Request) -> Reply:
    """Change stock; 200 with a report.

    Problems of rows: `key_needed`, `idempotency_key_reused`, those of `stock_rows`.
    """
    key = idempotency_key(request.headers)
    envelope = stock_rows.read_rows(request.body)
    total = Report(len(envelope.items), problems=[])
    for first in range(0, len(envelope.items), stock_rows.ROWS_PER_PASS):
        chunk = envelope.items[first : first + stock_rows.ROWS_PER_PASS]
        part_key = key_of_part(key, first)
        part = await _change(served, msgspec.structs.replace(envelope, items=chunk), part_key)
        total.applied += part.applied
        total.replayed += part.replayed
        total.refused += part.refused
        for problem in part.problems:
            problem.row += first
        total.problems += part.problems
    is_replay = 0 < total.replayed == total.rows
    return Reply(HTTPStatus.OK, _encode(total), headers=replayed(is_replay=is_replay))


async def _change(served: Served, chunk: Envelope, key: str | None) -> Report:
    async def work(tx: Pass) -> Report:
        return await _adjust(tx, chunk, key)

    return await served.knowledge.run_pass("stock", work)


async def _adjust(tx: Pass, chunk: Envelope, key: str | None) -> Report:
    def check(row: ChangeRow) -> None:
        check_qty(row.delta, least=stock_rows.LEAST_QTY, field="delta")
        instant = row.occurred_at or tx.now
        row.occurred_at = stock_rows.check_instant(instant, tx.now, "occurred_at")
        if row.key is None and key is None:
            raise Refusal("key_needed", "A change needs a key, or its request one.", field="key")

    report = Report(len(chunk.items), problems=[])
    rows = stock_rows.readable(chunk.items, _row, check, report.problems)
    resolved = await stock_rows.resolve(tx, rows, chunk.channel, report.problems)
    keys = [rows[place].key or f"{key} {place}" for place in resolved.places]
    hashes = [_hash(chunk.items[place]) for place in resolved.places]
    fresh = await _fresh(tx, list(zip(keys, hashes, strict=True)), resolved, report)
    adjustments = [_adjustment(tx, rows[resolved.places[n]], resolved, n) for n in fresh]
    await adjust_stock(tx, adjustments, new_id())
    note_reasons(tx, adjustments)
    report.applied = len(fresh)
    report.refused = len(report.problems)
    report.problems.sort(key=lambda problem: problem.row)
    return report


def _hash(item: msgspec.Raw) -> bytes:
    return hashlib.blake2b(bytes(item), digest_size=16).digest()


async def _fresh(
    tx: Pass, claims: Sequence[tuple[str, bytes]], resolved: Resolved, report: Report
) -> list[int]:
    """Return which of the resolved rows are new; those that come again are counted."""
    first_of: dict[str, int] = {}
    for n, (key, _) in enumerate(claims):
        first_of.setdefault(key, n)
    stored = await claim_keys(tx, [claims[n] for n in first_of.values()])
    fresh: list[int] = []
    for n, (key, body_hash) in enumerate(claims):
        known = stored[key]
        if isinstance(known, Refusal) or claims[first_of[key]][1] != body_hash:
            sentence = "The key was used for another change."
            problem = Problem(resolved.places[n], "idempotency_key_reused", sentence, "key")
            report.problems.append(problem)
        elif known is not None or first_of[key] != n:
            report.replayed += 1
        else:
            fresh.append(n)
    return fresh


def _adjustment(tx: Pass, row: ChangeRow, resolved: Resolved, n: int) -> Adjustment:
    return Adjustment(
        product_id=resolved.product_ids[n],
        location_id=resolved.location_ids[n],
        delta=row.delta,
        occurred_at=row.occurred_at or tx.now,
        pool_id=resolved.pool_ids[n],
        reason=row.reason,
    )
