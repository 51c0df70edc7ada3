"""Jobs: how far a file has come, kept where its rows are, and who may work on it.

Owns table `bulk_job`. A job is known by kind and digest (of the file and of the options that change
what its rows mean), so that the same command goes on where a killed one was. It moves on only from
where it is known to be, in the transaction that writes the rows: nothing is done twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec
import psycopg

from penstock.bulk.files import DIGEST_BYTES, Source
from penstock.bulk.model import Options
from penstock.db import Queries, Tx, session_options
from penstock.errors import Refusal, invariant
from penstock.ids import new_id

SQL = Queries("penstock.bulk", "bulk.sql")


class Job(msgspec.Struct):
    """A file's job: rows that are done, rows without effect, rows that changed nothing."""

    id: str
    rows_done: int
    rows_failed: int
    rows_unchanged: int
    is_finished: bool


def digest_of(source: Source, options: Options) -> bytes:
    """Return what a job is known by: the file's content and what the options make of it."""
    fields: tuple[object, ...] = (options.channel, options.catalogue, options.source, options.pool)
    fields += (options.counted_at, "full") if options.full else (options.counted_at,)
    digest = hashlib.blake2b(source.digest, digest_size=DIGEST_BYTES)
    digest.update(msgspec.json.encode(fields))
    return digest.digest()


async def begin_job(tx: Tx, kind: str, source: Source, options: Options, now: datetime) -> Job:
    """Begin a file's job, or return it as it is; `again` begins anew what is finished."""
    digest = digest_of(source, options)
    await tx.execute(SQL.begin_job, (new_id(), kind, source.path.name, digest, now))
    job = await _job(tx, kind, digest)
    if job.is_finished and options.again:
        await tx.execute(SQL.begin_job_again, (now, kind, digest))
        await tx.execute(SQL.begin_retiring_again, (job.id,))
        job = await _job(tx, kind, digest)
    return job


async def _job(tx: Tx, kind: str, digest: bytes) -> Job:
    row = await tx.fetch_one(SQL.job_of_file, (kind, digest))
    invariant(row is not None, "a job was begun and is not there")
    return Job(*(row or ()))


async def advance_job(tx: Tx, job: Job, rows_done: int, failed: int, unchanged: int) -> Job:
    """Move a job on to a row, with what came of the rows since; returns it as it is then.

    Refuses with `import_overtaken` if somebody else has moved it.
    """
    moved = msgspec.structs.replace(
        job,
        rows_done=rows_done,
        rows_failed=job.rows_failed + failed,
        rows_unchanged=job.rows_unchanged + unchanged,
    )
    params = (rows_done, moved.rows_failed, moved.rows_unchanged, job.id, job.rows_done)
    _check(await tx.execute(SQL.advance_job, params))
    return moved


async def finish_job(tx: Tx, job: Job, now: datetime) -> None:
    """Note that all is done; refuses with `import_overtaken`."""
    _check(await tx.execute(SQL.finish_job, (now, job.id, job.rows_done)))


def _check(rows: int) -> None:
    if rows != 1:
        raise Refusal("import_overtaken", "Somebody else goes on with this import.")


@asynccontextmanager
async def locked(conninfo: str, schema: str, subject: str) -> AsyncGenerator[None]:
    """Hold the lock of a feed or file; refuses with `import_running` when somebody has it.

    It is a session's lock on a connection of its own: it goes with the process that holds it.
    """
    digest = hashlib.blake2b(f"penstock import {schema} {subject}".encode(), digest_size=8).digest()
    key = int.from_bytes(digest, "big", signed=True)
    connection = await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, options=session_options()
    )
    async with connection:
        row = await (await connection.execute(SQL.try_import_lock, (key,))).fetchone()
        if not (row and row[0]):
            sentence = f"Another import of {subject} is running; let it end first."
            raise Refusal("import_running", sentence, subject=subject)
        yield


async def catalogue_of_products(tx: Tx, options: Options) -> str:
    """Return the catalogue that products go to: the one named, the only one, or the first, `main`.

    Refuses with `catalogue_needed`.
    """
    if options.catalogue is not None:
        return options.catalogue
    refs = [row[0] for row in await tx.fetch(SQL.catalogues_by_ref)]
    if len(refs) > 1:
        known = ", ".join(refs)
        sentence = f"There is more than one product catalogue: name one of {known}."
        raise Refusal("catalogue_needed", sentence, field="catalogue")
    return refs[0] if refs else "main"
