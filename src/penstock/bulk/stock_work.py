"""Working off stock jobs: a worker takes batches in, and retires what full feeds did not mention.

Owns the loop and who works on what: whoever holds a source's feed lock, which files share, takes
that source's batches in order of arrival. How far a batch is, is committed with its rows, so that
another worker goes on where a dead one was. A batch that is tried `MAX_ATTEMPTS` times without
moving on fails its job, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import psycopg
import structlog

from penstock.bulk.jobs import SQL as BULK_SQL
from penstock.bulk.jobs import locked
from penstock.bulk.run import Account
from penstock.bulk.stock import FEW_ROWS, Done, Feed, Subject, after, learn_skus, refs_of
from penstock.bulk.stock_batch import batch_block, without_superseded
from penstock.bulk.stock_jobs import Found, end_stock_job, find_stock_job
from penstock.bulk.stock_retire import SQL, note_mentioned, retire
from penstock.bulk.stock_rows import StockRows, read_counts
from penstock.db import Tx
from penstock.errors import PenstockError, Refusal, Transient
from penstock.events.session import pause
from penstock.inventory.counts import Outcome, microseconds
from penstock.inventory.model import RETAIL_POOL_ID
from penstock.passes import Pass

MAX_ATTEMPTS = 5
IDLE_PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5
TROUBLE_PAUSE_S = 1.0
_TROUBLE = (Transient, psycopg.OperationalError, psycopg.InterfaceError)
_log = structlog.get_logger(__name__)


class StoppedError(PenstockError):
    """The worker was told to stop; what is not committed is done by the next one."""


class OvertakenError(PenstockError):
    """The batch is no longer this worker's to do: its job has ended, or it is done."""


class _Waiting(msgspec.Struct):
    """A batch to be taken in."""

    id: int
    job_id: str
    ref: str
    body: bytes
    rows_done: int
    attempts: int


async def run_stock_jobs(account: Account, stop: asyncio.Event) -> None:
    """Work off what is due until told to stop."""
    pause_s = IDLE_PAUSE_S
    while not stop.is_set():
        try:
            is_busy = await work_off(account, stop)
        except StoppedError:
            return
        except _TROUBLE as error:
            _log.warning("stock jobs wait for the database", error=str(error))
            is_busy, pause_s = False, TROUBLE_PAUSE_S
        pause_s = IDLE_PAUSE_S if is_busy else min(pause_s * 2, LONGEST_PAUSE_S)
        await pause(stop, pause_s)


async def work_off(account: Account, stop: asyncio.Event) -> bool:
    """Do everything that is due of the sources nobody else is at; tells whether there was any."""
    schema, database = account.schema, account.knowledge.database
    due = await database.run(schema, lambda tx: tx.fetch(SQL.sources_due))
    is_busy = False
    for source_id, ref in due:
        subject = f"stock as source {ref!r} counts it"
        try:
            async with locked(account.conninfo, schema, subject):
                while await _do_next(account, source_id, stop):
                    is_busy = True
        except Refusal as refusal:
            if refusal.code != "import_running":
                raise
    return is_busy


async def _do_next(account: Account, source_id: int, stop: asyncio.Event) -> bool:
    """Take in one batch of the source, or retire what a job did not mention."""
    _refuse_when(stop)

    async def read(tx: Tx) -> tuple[_Waiting | None, Found | None]:
        row = await tx.fetch_one(SQL.next_batch, (source_id,))
        if row is not None:
            batch = _Waiting(*row)
            await tx.execute(SQL.try_batch, (batch.id,))
            return batch, await find_stock_job(tx, batch.job_id)
        row = await tx.fetch_one(SQL.retiring_job, (source_id,))
        return None, None if row is None else await find_stock_job(tx, row[0])

    batch, found = await account.knowledge.database.run(account.schema, read)
    if found is None:
        return False
    if batch is None:
        await _retire(account, found, stop)
    elif batch.attempts >= MAX_ATTEMPTS:
        sentence = f"Batch {batch.ref!r} was tried {MAX_ATTEMPTS} times and came no further."
        await _fail(account, found, sentence)
    else:
        await _try_batch(account, found, batch, stop)
    return True


async def _try_batch(account: Account, found: Found, batch: _Waiting, stop: asyncio.Event) -> None:
    try:
        await _take_batch(account, found, batch, stop)
    except OvertakenError:
        return
    except (StoppedError, *_TROUBLE):
        raise
    except Exception as error:  # noqa: BLE001 (the worker's edge: tried again, a few times)
        _log.warning("a batch broke", job=found.job.id, batch=batch.ref, exc_info=error)


async def _take_batch(account: Account, found: Found, batch: _Waiting, stop: asyncio.Event) -> None:
    """Count the rows that are not done; a large batch is judged by the index."""
    knowledge = account.knowledge
    pools = await knowledge.database.run(account.schema, lambda tx: tx.fetch(BULK_SQL.pools_by_ref))
    subject = found.subject(dict(pools), RETAIL_POOL_ID)
    read = await asyncio.to_thread(_read, account, found, subject, batch)
    read = without_superseded(await learn_skus(knowledge, subject.catalogue_id, read))
    read = after(read, batch.rows_done) if batch.rows_done else read
    feed = Feed(account, subject, _BatchKeeper(found, batch, stop), found.job.id)
    if len(read.rows) > FEW_ROWS:
        await feed.mark()
    await feed.count(read)


def _read(account: Account, found: Found, subject: Subject, batch: _Waiting) -> StockRows:
    counted_us = microseconds(found.job.counted_at)
    return read_counts(batch_block(batch.body), refs_of(account.knowledge, subject, counted_us))


class _BatchKeeper:
    """How far a batch is, and what became of each of its rows."""

    def __init__(self, found: Found, batch: _Waiting, stop: asyncio.Event) -> None:
        self._found = found
        self._batch = batch
        self._stop = stop

    @property
    def wants_positions(self) -> bool:
        return self._found.job.mode == "full"

    async def keep(self, tx: Pass, done: Done) -> Callable[[], None]:
        _refuse_when(self._stop)
        job_id, known = self._found.job.id, self._batch.rows_done
        if await tx.fetch_one(SQL.share_stock_job, (job_id,)) != ("running", None):
            raise OvertakenError("the job has ended meanwhile")
        first_row = known + 1
        outcomes = np.zeros(done.rows_done - known, dtype=np.uint8)
        outcomes[done.rows - first_row] = done.outcomes
        moved: Any = _moved(self._batch.id, known, done, outcomes)
        if await tx.execute(SQL.advance_batch, moved | {"now": tx.now}) != 1:
            raise OvertakenError("somebody else goes on with the batch")
        faults = [(fault.row, fault.field, fault.reason, fault.code) for fault in done.faults]
        result = (self._batch.id, first_row, outcomes.tobytes(), msgspec.json.encode(faults))
        await tx.execute(SQL.add_results, (*result[:3], result[3].decode()))
        await note_mentioned(tx, job_id, done.position_ids)
        return lambda: self._committed(done.rows_done)

    def _committed(self, rows_done: int) -> None:
        self._batch.rows_done = rows_done


def _moved(batch_id: int, known: int, done: Done, outcomes: Any) -> dict[str, Any]:
    changed = int((outcomes == Outcome.CHANGED).sum())
    unchanged = int((outcomes == Outcome.UNCHANGED).sum())
    return {
        "id": batch_id,
        "known": known,
        "rows_done": done.rows_done,
        "changed": changed,
        "unchanged": unchanged,
        "failed": len(outcomes) - changed - unchanged,
    }


async def _retire(account: Account, found: Found, stop: asyncio.Event) -> None:
    knowledge = account.knowledge
    try:
        await retire(
            knowledge, found.scope, found.job.retire_at_most or 0, lambda: _refuse_when(stop)
        )
    except Refusal as refusal:
        await _fail(account, found, refusal.message)
        return

    async def end(tx: Pass) -> bool:
        return await end_stock_job(tx, found.job.id, "finished", None, tx.now)

    await knowledge.run_pass("feed", end)


async def _fail(account: Account, found: Found, error: str) -> None:
    async def work(tx: Pass) -> bool:
        return await end_stock_job(tx, found.job.id, "failed", error, tx.now)

    await account.knowledge.run_pass("feed", work)


def _refuse_when(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise StoppedError("told to stop")
