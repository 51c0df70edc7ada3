"""`penstock stock-job`: look at feeds of many batches, row by row if need be; give one up.

Owns the look. Jobs are opened, fed and ended over HTTP; a file is fed by `penstock import stock`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.bulk.stock_jobs import Batch, RowResult, StockJob
    from penstock.db import Tx

commands = typer.Typer(
    no_args_is_help=True, help="Look at feeds of stock that come in many batches."
)


class Status(StrEnum):
    """What a job is."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="At most so many.")]
OfStatus = Annotated[
    Status | None,
    typer.Option("--status", "-s", metavar="STATUS", help="running, finished or failed."),
]
OfBatch = Annotated[
    str | None,
    typer.Option("--batch", metavar="REF", help="Rows of this batch that had no effect, and why."),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept.")]


@commands.command("list")
def list_all(
    status: OfStatus = None,
    limit: Limit = 50,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from penstock.bulk.stock_jobs import list_stock_jobs

    async def work(tx: Tx) -> list[StockJob]:
        return await list_stock_jobs(tx, status.value if status else None, limit)

    jobs = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"jobs": jobs})
    elif not jobs:
        say("There is no stock job.")
    else:
        titles = ("job", "ref", "source", "mode", "status", "batches", "rows", "done", "failed")
        draw_table(titles, [_row(job) for job in jobs])


def _row(job: StockJob) -> list[str]:
    counted = [f"{n:,}" for n in (job.batches, job.rows, job.rows_done, job.failed)]
    return [job.id, job.ref, job.source, job.mode, job.status, *counted]


@commands.command()
def show(
    job: JobId,
    batch: OfBatch = None,
    limit: Limit = 50,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show a job with its batches, or the rows of one batch that had no effect."""
    from penstock.bulk import stock_jobs

    job_id = _checked(job)

    async def work(tx: Tx) -> tuple[StockJob, list[Batch], list[RowResult]]:
        found = await stock_jobs.find_stock_job(tx, job_id)
        if batch is None:
            return found.job, await stock_jobs.list_batches(tx, job_id, 0, limit), []
        one = await stock_jobs.find_batch(tx, job_id, batch)
        rows = await stock_jobs.read_results(tx, one, -1, limit, result="failed")
        return found.job, [one], rows

    found, batches, rows = run_in_transaction(read_settings(account=account), work)
    if as_json:
        results = {} if batch is None else {"results": rows}
        print_json({"job": found, "batches": batches, **results})
        return
    _tell(found, batches)
    if rows:
        titles = ("row", "code", "field", "why")
        draw_table(titles, [[str(one.row), one.code, one.field, one.detail] for one in rows])


def _tell(job: StockJob, batches: list[Batch]) -> None:
    say(f"{job.ref}: a {job.mode} feed of source {job.source!r}, {job.status}.")
    if job.error:
        say(job.error)
    say(
        f"{job.rows_done:,} of {job.rows:,} rows are done: {job.changed:,} changed, "
        f"{job.unchanged:,} unchanged, {job.failed:,} without effect."
    )
    if job.retired:
        say(f"Retired: {job.retired:,} positions, {job.units_retired:,} units.")
    if batches:
        titles = ("batch", "rows", "done", "changed", "unchanged", "failed")
        draw_table(titles, [_batch_row(one) for one in batches])


def _batch_row(one: Batch) -> list[str]:
    counted: tuple[Any, ...] = (one.rows, one.rows_done, one.changed, one.unchanged, one.failed)
    return [one.ref, *(f"{n:,}" for n in counted)]


@commands.command()
def abandon(job: JobId, reason: Reason, account: AccountName = None) -> None:
    """Give a job up that nobody ends: it has failed; what it has counted stays counted."""
    from penstock.bulk.stock_jobs import abandon_stock_job

    job_id = _checked(job)

    async def work(tx: Tx) -> StockJob:
        return await abandon_stock_job(tx, job_id, reason, datetime.now(UTC))

    say(f"{run_in_transaction(read_settings(account=account), work).ref} is given up.")


def _checked(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Refusal("invalid_id", f"{text[:60]!r} is no id: it is a UUID.") from None
