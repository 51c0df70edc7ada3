"""Stock jobs: one feed of a source in any number of batches, and what became of every row.

Owns tables `stock_job`, `stock_batch` and `stock_batch_result`. A job is running, finished or
failed. A batch is kept before it is answered for, so that whoever lives takes it in (`stock_work`);
sent again under its ref it has one effect. A job ends when it is told to and no batch waits; a full
one then retires what no batch mentioned, if that is no more than was expected.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from penstock.bulk.model import Options
from penstock.bulk.stock import Subject, subject_of
from penstock.bulk.stock_batch import count_rows
from penstock.bulk.stock_retire import (
    SQL,
    Retirement,
    Scope,
    check_limit,
    foresee,
    forget_mentioned,
)
from penstock.db import Tx
from penstock.errors import Refusal, invariant
from penstock.ids import new_id
from penstock.inventory.causes import note_cause
from penstock.inventory.counts import Outcome, microseconds
from penstock.inventory.sources import Acknowledgement, acknowledge
from penstock.passes import Pass
from penstock.rules.knowledge import Knowledge

MAX_WAITING = 1_000  # batches of a job
MAX_AHEAD = timedelta(minutes=5)  # of a counter's clock
MAX_REF = 100
Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REF)]
Status = Literal["running", "finished", "failed"]


class StockJobInput(msgspec.Struct, forbid_unknown_fields=True):
    """A job to open; `ref` is the client's own name for it, which opens it once.

    `handed_until` acknowledges, at the instant of the count, what was handed over until then.
    """

    ref: Ref
    source: Ref | None = None
    pool: Ref | None = None
    channel: Ref | None = None
    counted_at: datetime | None = None
    mode: Literal["partial", "full"] = "partial"
    handed_until: datetime | None = None


class Ending(msgspec.Struct, forbid_unknown_fields=True):
    """How a job is to end: a dry run tells what a full feed would retire."""

    dry_run: bool = False
    retire_at_most: Annotated[int, msgspec.Meta(ge=0)] | None = None


class StockJob(msgspec.Struct):
    """A job and what came of it so far; `retire_at_most` is there once it has been told to end."""

    id: str
    ref: str
    source: str
    pool: str | None
    mode: str
    counted_at: datetime
    status: Status
    retire_at_most: int | None
    error: str | None
    opened_at: datetime
    ended_at: datetime | None
    batches: int
    batches_waiting: int
    rows: int
    rows_done: int
    changed: int
    unchanged: int
    failed: int
    retired: int
    units_retired: int


class Batch(msgspec.Struct):
    """A batch and what came of it so far; `id` orders a job's batches as they arrived."""

    id: int
    ref: str
    rows: int
    rows_done: int
    changed: int
    unchanged: int
    failed: int
    received_at: datetime
    done_at: datetime | None


class RowResult(msgspec.Struct, omit_defaults=True):
    """What became of a row, by its place in the batch, from 0."""

    row: int
    result: str
    code: str = ""
    detail: str = ""
    field: str = ""


class Found(msgspec.Struct):
    """A job with the ids that its feed needs."""

    job: StockJob
    source_id: int
    pool_id: int | None
    catalogue_id: int

    @property
    def scope(self) -> Scope:
        """What the job is about, if it is full."""
        return Scope(self.job.id, self.source_id, self.pool_id, microseconds(self.job.counted_at))

    def subject(self, pools: dict[str, int], default_pool_id: int) -> Subject:
        """Return what its rows count."""
        pool_id = self.pool_id or default_pool_id
        return Subject(self.source_id, self.job.source, pools, pool_id, self.catalogue_id)


async def open_stock_job(tx: Pass, asked: StockJobInput) -> tuple[StockJob, bool]:
    """Open a job; returns it and whether it is new: the same ref opens it once.

    Refuses with `stock_job_ref_taken`, `instant_unusable`, and as `subject_of` does.
    """
    body_hash = hashlib.blake2b(msgspec.json.encode(asked), digest_size=16).digest()
    row = await tx.fetch_one(SQL.stock_job_of_ref, (asked.ref,))
    if row is None:
        job_id = await _open(tx, asked, body_hash)
        row = await tx.fetch_one(SQL.stock_job_of_ref, (asked.ref,))
        if row is not None and row[0] == job_id:
            return (await find_stock_job(tx, job_id)).job, True
    invariant(row is not None, "a job was opened and is not there")
    job_id, known_hash = row or ("", b"")
    if bytes(known_hash) != body_hash:
        sentence = f"There is a job {asked.ref!r} that was opened otherwise: take another ref."
        raise Refusal("stock_job_ref_taken", sentence, job_id=job_id)
    return (await find_stock_job(tx, job_id)).job, False


async def _open(tx: Pass, asked: StockJobInput, body_hash: bytes) -> str:
    counted_at = asked.counted_at or tx.now
    if counted_at.tzinfo is None or counted_at > tx.now + MAX_AHEAD:
        sentence = "The instant of the count needs a time zone, and must not be to come."
        raise Refusal("instant_unusable", sentence, field="counted_at")
    options = Options(channel=asked.channel, source=asked.source, pool=asked.pool)
    subject = await subject_of(tx, tx.knowledge, options)
    pool_id = None if asked.pool is None else subject.pool_id
    if asked.handed_until is not None:
        said = Acknowledgement(counted_at, asked.handed_until)
        await acknowledge(tx, subject.source_ref, said, tx.now)
    job_id = new_id()
    of_what = (subject.source_id, pool_id, subject.catalogue_id)
    params = (job_id, asked.ref, body_hash, *of_what, asked.mode, counted_at, tx.now)
    await tx.execute(SQL.open_stock_job, params)
    await note_cause(tx, job_id, "feed", subject.source_ref, asked.ref)
    return job_id


async def find_stock_job(tx: Tx, job_id: str) -> Found:
    """Read a job; refuses with `unknown_stock_job`."""
    rows = await tx.fetch(SQL.stock_jobs, _asked(job_id, None, 1))
    if not rows:
        raise _unknown(job_id)
    return _found(rows[0])


async def list_stock_jobs(tx: Tx, status: Status | None, limit: int) -> list[StockJob]:
    """Return jobs, the newest first."""
    rows = await tx.fetch(SQL.stock_jobs, _asked(None, status, limit))
    return [_found(row).job for row in rows]


def _asked(job_id: str | None, status: str | None, limit: int) -> Any:
    return {"id": job_id, "status": status, "limit": limit}


def _found(row: tuple[Any, ...]) -> Found:
    counted = [int(number) for number in row[11:20]]
    return Found(StockJob(*row[:11], *counted), *row[20:23])


def _unknown(job_id: str) -> Refusal:
    return Refusal("unknown_stock_job", f"There is no stock job {job_id}.", job_id=job_id)


async def add_batch(
    tx: Tx, job_id: str, ref: str, body: bytes, now: datetime
) -> tuple[Batch, bool]:
    """Take a batch in; returns it and whether it is new: the same ref has one effect.

    Refuses with `unknown_stock_job`, `batch_ref_taken`, `stock_job_ended`, `overloaded`,
    `too_many_rows`, `invalid_json`.
    """
    rows = count_rows(body)
    body_hash = hashlib.blake2b(body, digest_size=16).digest()
    job = await tx.fetch_one(SQL.share_stock_job, (job_id,))
    if job is None:
        raise _unknown(job_id)
    known = await _batch(tx, job_id, ref)
    if known is None:
        await _refuse_batch(tx, job_id, has_ended=job != ("running", None))
        await tx.execute(SQL.add_batch, (job_id, ref, body_hash, body, rows, now))
        known, is_new = await _batch(tx, job_id, ref), True
    else:
        is_new = False
    invariant(known is not None, "a batch was taken in and is not there")
    if known is None or known[1] != body_hash:
        sentence = f"The job has a batch {ref!r} with other rows: take another ref."
        raise Refusal("batch_ref_taken", sentence, batch=ref)
    return known[0], is_new


async def _refuse_batch(tx: Tx, job_id: str, *, has_ended: bool) -> None:
    if has_ended:
        raise Refusal("stock_job_ended", "The job takes no more batches: open another one.")
    row = await tx.fetch_one(SQL.waiting_batches, (job_id,))
    if row is not None and row[0] >= MAX_WAITING:
        raise Refusal("overloaded", f"{MAX_WAITING:,} batches wait: send this one later.")


async def _batch(tx: Tx, job_id: str, ref: str) -> tuple[Batch, bytes] | None:
    asked: Any = {"job_id": job_id, "after": 0, "ref": ref, "limit": 1}
    rows = await tx.fetch(SQL.batches_of_job, asked)
    return (Batch(*rows[0][:9]), bytes(rows[0][9])) if rows else None


async def list_batches(tx: Tx, job_id: str, after: int, limit: int) -> list[Batch]:
    """Return a job's batches in the order in which they arrived, after one."""
    asked: Any = {"job_id": job_id, "after": after, "ref": None, "limit": limit}
    return [Batch(*row[:9]) for row in await tx.fetch(SQL.batches_of_job, asked)]


async def find_batch(tx: Tx, job_id: str, ref: str) -> Batch:
    """Read a batch; refuses with `unknown_batch`."""
    found = await _batch(tx, job_id, ref)
    if found is None:
        raise Refusal("unknown_batch", f"The job has no batch {ref!r}.", batch=ref)
    return found[0]


_NAMES = {Outcome.CHANGED: "changed", Outcome.UNCHANGED: "unchanged"}


async def read_results(
    tx: Tx, batch: Batch, after: int, limit: int, *, result: str | None = None
) -> list[RowResult]:
    """Return what became of rows that are done, after a place; `result` picks one kind."""
    found: list[RowResult] = []
    for first_row, outcomes, faults in await tx.fetch(SQL.results_of_batch, (batch.id, after + 2)):
        reasons = {row: rest for row, *rest in faults}
        names = [_NAMES.get(Outcome(code), "failed") if code else "failed" for code in outcomes]
        rows = np.arange(first_row, first_row + len(names)).tolist()
        for row, name in zip(rows, names, strict=True):
            if row <= after + 1 or (result is not None and name != result):
                continue
            field, detail, code = reasons.get(row, ("", "", ""))
            found.append(RowResult(row - 1, name, code, detail, field))
            if len(found) == limit:
                return found
    return found


async def finish_stock_job(
    knowledge: Knowledge, job_id: str, ending: Ending
) -> StockJob | Retirement:
    """End a job, or tell what a full one would retire; one that was told before is as it is.

    Refuses with `unknown_stock_job`, `stock_job_ended` (it failed), `batches_waiting`,
    `retire_at_most_needed`, `too_many_to_retire`.
    """
    database, schema = knowledge.database, knowledge.schema
    found = await database.run(schema, lambda tx: find_stock_job(tx, job_id))
    if found.job.status == "finished" or found.job.retire_at_most is not None:
        return found.job
    _refuse_ending(found.job, ending)
    if found.job.mode == "full":
        retirement = await foresee(knowledge, found.scope)
        if ending.dry_run:
            return retirement
        check_limit(retirement, ending.retire_at_most or 0)
    elif ending.dry_run:
        return Retirement(examples=[])

    async def end(tx: Tx) -> StockJob:
        return await _end(tx, found, ending, knowledge.clock.now())

    return await database.run(schema, end)


def _refuse_ending(job: StockJob, ending: Ending) -> None:
    if job.status == "failed":
        raise Refusal("stock_job_ended", "The job has failed: open another one.")
    if job.batches_waiting:
        sentence = f"{job.batches_waiting:,} batches are not done: ask again when none waits."
        raise Refusal("batches_waiting", sentence, waiting=job.batches_waiting)
    if job.mode == "full" and not ending.dry_run and ending.retire_at_most is None:
        sentence = "Say how many positions may be retired; a dry run tells how many would be."
        raise Refusal("retire_at_most_needed", sentence, field="retire_at_most")


async def _end(tx: Tx, found: Found, ending: Ending, now: datetime) -> StockJob:
    job = found.job
    locked = await tx.fetch_one(SQL.lock_stock_job, (job.id,))
    if locked == ("running", None):
        row = await tx.fetch_one(SQL.waiting_batches, (job.id,))
        waiting = msgspec.structs.replace(job, batches_waiting=row[0] if row else 0)
        _refuse_ending(waiting, ending)
        if job.mode == "full":
            await tx.execute(SQL.tell_retiring, (ending.retire_at_most, job.id))
        else:
            await end_stock_job(tx, job.id, "finished", None, now)
    return (await find_stock_job(tx, job.id)).job


async def end_stock_job(
    tx: Tx, job_id: str, status: Status, error: str | None, now: datetime
) -> bool:
    """End a job that runs, and let go of what it held; tells whether it did."""
    if await tx.execute(SQL.end_stock_job, (status, error, now, job_id)) == 0:
        return False
    await tx.execute(SQL.drop_bodies, (job_id,))
    await forget_mentioned(tx, job_id)
    return True


async def abandon_stock_job(tx: Tx, job_id: str, reason: str, now: datetime) -> StockJob:
    """Give a job up: it has failed, and what it has counted stays counted.

    Refuses with `unknown_stock_job`, `stock_job_ended`.
    """
    if not await end_stock_job(tx, job_id, "failed", reason, now):
        await find_stock_job(tx, job_id)
        raise Refusal("stock_job_ended", "The job has ended already.")
    return (await find_stock_job(tx, job_id)).job
