"""Retiring: what a full feed did not mention is counted as 0, at the feed's own instant.

Owns which positions a feed has mentioned (table `stock_mention`, written in the pass of its rows)
and which would go: those that its source counted last, in its pool if it has one, with anything on
hand. A retired position is counted like any other: a newer count stands, and what has moved since
is added again. `foresee` and `retire` judge by one function; only positions that change are told.

Invariant: no more than `at_most` positions are retired, over all attempts of a feed together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.inventory.counts import (
    Counts,
    Known,
    Outcome,
    judge_counts,
    noted_in,
    set_stock,
)
from penstock.passes import Pass
from penstock.rules.acknowledged import counts_of_source
from penstock.rules.knowledge import Knowledge

SQL = Queries("penstock.bulk", "stock_jobs.sql")
POSITIONS_A_PIECE = 20_000
MAX_EXAMPLES = 20


class Scope(msgspec.Struct, frozen=True):
    """What a full feed is about; without a pool, every pool of its source."""

    job_id: str
    source_id: int
    pool_id: int | None
    counted_us: int


class Example(msgspec.Struct, frozen=True):
    """A position that would be retired."""

    sku: str
    location: str
    pool: str
    on_hand: int


class Retirement(msgspec.Struct):
    """How many positions go, with how many units on hand, and the first of them."""

    positions: int = 0
    units: int = 0
    examples: list[Example] = []


class _Piece(msgspec.Struct, frozen=True):
    counts: Counts
    known: Known
    units: int
    last_id: int


async def note_mentioned(tx: Tx, job_id: str, position_ids: NDArray[np.int32]) -> None:
    """Keep which positions a feed has mentioned."""
    if len(position_ids):
        await tx.execute(SQL.note_mentioned, (job_id, position_ids))


async def mentioned_by(tx: Tx, job_id: str) -> NDArray[np.int32]:
    """Return the positions that a feed has mentioned, sorted."""
    rows = await tx.fetch(SQL.mentioned_by, (job_id,))
    return np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *(row[0] for row in rows)]))


async def foresee(
    knowledge: Knowledge, scope: Scope, mentioned: NDArray[np.int32] | None = None
) -> Retirement:
    """Return what `retire` would do now; writes nothing. `mentioned` is sorted; None: as noted."""
    found = Retirement(examples=[])
    async for piece in _unmentioned(knowledge, scope, mentioned):
        found.positions += len(piece.known.ids)
        found.units += piece.units
        room = MAX_EXAMPLES - len(found.examples)
        if room > 0:
            found.examples += await _examples(knowledge, piece.known.ids[:room])
    return found


async def _examples(knowledge: Knowledge, ids: NDArray[np.int32]) -> list[Example]:
    async def work(tx: Tx) -> list[Example]:
        return [Example(*row) for row in await tx.fetch(SQL.named_positions, (ids,))]

    return await knowledge.database.run(knowledge.schema, work)


def _go_on() -> None:
    """Let nobody stop it."""


async def retire(
    knowledge: Knowledge, scope: Scope, at_most: int, check: Callable[[], None] = _go_on
) -> Retirement:
    """Count what was not mentioned as 0, piece by piece; returns what went, earlier runs included.

    Goes on where an earlier run ended; `check` is called before each piece and may raise. Refuses
    with `too_many_to_retire` before the first position that is one too many.
    """
    left = await foresee(knowledge, scope)
    total = await knowledge.database.run(knowledge.schema, lambda tx: retired_by(tx, scope.job_id))
    check_limit(left, at_most - total.positions)
    async for piece in _unmentioned(knowledge, scope, None):
        check()

        async def work(tx: Pass, piece: _Piece = piece) -> Retirement:
            return await _retire(tx, scope.job_id, piece, at_most)

        total = await knowledge.run_pass("feed", work)
    return total


def check_limit(found: Retirement, at_most: int) -> None:
    """Refuse with `too_many_to_retire` what is more than was expected."""
    if found.positions > at_most:
        sentence = (
            f"{found.positions:,} positions with {found.units:,} units were not mentioned, and at "
            f"most {max(at_most, 0):,} may be retired: look at the dry run, and say so many if "
            "they are to go."
        )
        counted = {"positions": found.positions, "units": found.units}
        raise Refusal("too_many_to_retire", sentence, **counted)


async def _retire(tx: Pass, job_id: str, piece: _Piece, at_most: int) -> Retirement:
    outcomes = await set_stock(tx, piece.counts)
    positions = int((outcomes == Outcome.CHANGED).sum())
    units = -sum(int(entries.on_hand_deltas.sum()) for entries in tx.entries)
    row = await tx.fetch_one(SQL.add_retired, (job_id, positions, units))
    total = Retirement(*row) if row else Retirement()
    check_limit(total, at_most)
    return total


async def retired_by(tx: Tx, job_id: str) -> Retirement:
    """Return what a feed has retired so far."""
    row = await tx.fetch_one(SQL.retired_by, (job_id,))
    return Retirement(*row) if row else Retirement()


async def forget_mentioned(tx: Tx, job_id: str) -> None:
    """Let go of what a feed has mentioned: it has ended."""
    await tx.execute(SQL.forget_mentioned, (job_id,))


async def _unmentioned(
    knowledge: Knowledge, scope: Scope, mentioned: NDArray[np.int32] | None
) -> AsyncIterator[_Piece]:
    """Yield the positions that counting them as 0 now would change, in order of id."""
    database, schema = knowledge.database, knowledge.schema
    if mentioned is None:
        mentioned = await database.run(schema, lambda tx: mentioned_by(tx, scope.job_id))
    last_id = 0
    while True:
        after_id, known_ids = last_id, mentioned

        async def work(
            tx: Tx, after_id: int = after_id, known_ids: NDArray[np.int32] = known_ids
        ) -> _Piece | None:
            return await _read_piece(tx, knowledge, scope, (after_id, known_ids))

        piece = await database.run(schema, work)
        if piece is None:
            return
        last_id = piece.last_id
        if len(piece.known.ids):
            yield piece


async def _read_piece(
    tx: Tx, knowledge: Knowledge, scope: Scope, where: tuple[int, NDArray[np.int32]]
) -> _Piece | None:
    after_id, mentioned = where
    asked = (after_id, scope.source_id, scope.pool_id, scope.pool_id, POSITIONS_A_PIECE)
    row = await tx.fetch_one(SQL.positions_of_source, asked)
    if row is None or row[0] is None:
        return None
    ids, product_ids, location_ids, pool_ids = row[:4]
    on_hands, reserveds, versions, counted_us = row[4:]
    total = len(ids)
    counts = Counts(
        product_ids=product_ids,
        location_ids=location_ids,
        pool_ids=pool_ids,
        on_hands=np.zeros(total, dtype=np.int32),
        counted_us=np.full(total, scope.counted_us, dtype=np.int64),
        source_id=scope.source_id,
        cause_id=scope.job_id,
    )
    noted = np.maximum(counted_us, noted_in(knowledge.index.counted_at, ids))
    known = Known(ids, on_hands, reserveds, versions, noted)
    there = np.flatnonzero(~np.isin(ids, mentioned, assume_unique=True))
    counts, known, last_id = counts.rows(there), known.rows(there), int(ids[-1])
    if len(there) == 0:
        return _Piece(counts, known, 0, last_id)
    counts = await counts_of_source(tx, counts)
    judged, targets = await judge_counts(tx, counts, known)
    goes = np.flatnonzero(judged == Outcome.CHANGED)
    units = int((known.on_hands[goes] - targets[goes]).sum())
    return _Piece(counts.rows(goes), known.rows(goes), units, last_id)
