"""`penstock import`: one file of master data, stock or orders, from look to summary.

Owns the order of things: look at the file as a whole, take the lock, begin or take up its job, do
the rows, finish. What a kind's rows mean is in `master_data.py`, `stock.py` and `orders.py`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from penstock.bulk.errors_file import path_for
from penstock.bulk.files import Source, examine
from penstock.bulk.jobs import (
    Job,
    begin_job,
    catalogue_of_products,
    digest_of,
    finish_job,
    locked,
)
from penstock.bulk.master_data import import_categories, import_products, import_records
from penstock.bulk.model import KINDS, Options, Summary, Tell, tell_nobody
from penstock.bulk.orders import import_orders
from penstock.bulk.run import Account, Run
from penstock.bulk.stock import Subject, import_stock, subject_of
from penstock.bulk.stock_full import foresee_file, retire_rest
from penstock.bulk.stock_retire import Retirement, retired_by
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.passes import Pass

_NO_OPTIONS = Options()


async def import_file(
    account: Account,
    kind: str,
    path: Path,
    *,
    options: Options = _NO_OPTIONS,
    progress: Tell = tell_nobody,
) -> Summary:
    """Import a file, from where an earlier run of it ended; returns what came of it.

    Rows that cannot be taken go into `<file>.errors.csv`. Refusals of the whole: `unknown_kind`,
    `file_unreadable`, `file_empty`, `wrong_encoding`, `missing_column`, `unknown_column`,
    `duplicate_column`, `import_running`, `import_overtaken`, `errors_file_unwritable`,
    `instant_unusable`, `catalogue_needed`, `channel_needed`, `unknown_source`, `unknown_pool`,
    `unknown_channel`; of a full feed `retire_at_most_needed`, `too_many_to_retire`.
    """
    _check(account, kind, options)
    if options.full and options.retire_at_most is None:
        sentence = "Say how many positions may be retired; a dry run tells how many would be."
        raise Refusal("retire_at_most_needed", sentence, field="retire_at_most")
    source = await asyncio.to_thread(examine, path)
    target = await account.knowledge.run_pass("import", lambda tx: _target(tx, kind, options))
    if isinstance(target, Subject):
        subject = f"stock as source {target.source_ref!r} counts it"
    else:
        subject = f"{kind} from {path.name} ({digest_of(source, options).hex()[:8]})"
    async with locked(account.conninfo, account.schema, subject):
        return await _import(account, kind, source, (options, target, progress))


async def foresee_import(account: Account, path: Path, options: Options) -> Retirement:
    """Return what a full feed of stock from this file would retire now; writes nothing.

    Refuses as `import_file` does.
    """
    _check(account, "stock", options)
    source = await asyncio.to_thread(examine, path)

    async def target(tx: Tx) -> Subject:
        return await subject_of(tx, account.knowledge, options)

    subject = await account.knowledge.database.run(account.schema, target)
    return await foresee_file(account, source, options, subject)


def _check(account: Account, kind: str, options: Options) -> None:
    if kind not in KINDS:
        sentence = f"{kind!r} cannot be imported; {', '.join(KINDS)} can."
        raise Refusal("unknown_kind", sentence, kind=kind)
    if options.full and kind != "stock":
        sentence = "Only a stock file can be a full feed."
        raise Refusal("option_unusable", sentence, field="full")
    counted_at = options.counted_at
    if counted_at is None:
        return
    if counted_at.tzinfo is None:
        sentence = "The instant of the count needs a time zone."
        raise Refusal("instant_unusable", sentence, field="counted_at")
    if counted_at > account.knowledge.clock.now():
        sentence = "The instant of the count is to come."
        raise Refusal("instant_unusable", sentence, field="counted_at")


async def _target(tx: Pass, kind: str, options: Options) -> Subject | str | None:
    """Resolve what the options name: a feed's subject, or the catalogue of products."""
    if kind == "stock":
        return await subject_of(tx, tx.knowledge, options)
    if kind in {"products", "categories"}:
        return await catalogue_of_products(tx, options)
    if kind == "orders" and options.channel is not None:
        tx.knowledge.channel_id(options.channel)
    return None


async def _import(
    account: Account, kind: str, source: Source, how: tuple[Options, Subject | str | None, Tell]
) -> Summary:
    options, target, progress = how
    knowledge = account.knowledge

    async def begin(tx: Pass) -> Job:
        return await begin_job(tx, kind, source, options, tx.now)

    job = await knowledge.run_pass("import", begin)
    if job.is_finished:
        return await _retired(account, job, _summary(kind, source, job, was_finished=True))
    run = Run(account, source, options, job, progress)
    if isinstance(target, Subject):
        await import_stock(run, target)
        await retire_rest(run, target)
    elif kind == "orders":
        await import_orders(run)
    elif kind == "products":
        await import_products(run, target or "")
    elif kind == "categories":
        await import_categories(run, target or "")
    else:
        await import_records(run, kind)
    await knowledge.run_pass("import", lambda tx: finish_job(tx, run.job, tx.now))
    return await _retired(account, run.job, _summary(kind, source, run.job, run))


async def _retired(account: Account, job: Job, summary: Summary) -> Summary:
    async def work(tx: Tx) -> Retirement:
        return await retired_by(tx, job.id)

    total = await account.knowledge.database.run(account.schema, work)
    return msgspec.structs.replace(summary, retired=total.positions, units_retired=total.units)


def _summary(
    kind: str, source: Source, job: Job, run: Run | None = None, *, was_finished: bool = False
) -> Summary:
    errors_file = path_for(source.path)
    return Summary(
        kind=kind,
        file=source.path.name,
        rows=job.rows_done,
        rows_failed=job.rows_failed,
        rows_unchanged=job.rows_unchanged,
        seconds=run.seconds if run else 0.0,
        rows_per_s=run.rows_per_s if run else 0.0,
        errors_file=errors_file if job.rows_failed and errors_file.exists() else None,
        resumed_at=run.resumed_at if run else job.rows_done,
        was_finished=was_finished,
        ignored=run.ignored if run else (),
    )
