"""Full feeds from a file: foreseen without writing anything, and ended by retiring the rest.

Owns how a file's feed becomes the scope of `stock_retire.py`. Rows that say what they count but not
how much are mentioned all the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from penstock.bulk.blocks import column_names, read_blocks
from penstock.bulk.files import Source
from penstock.bulk.model import Options
from penstock.bulk.reading import read_ahead
from penstock.bulk.run import Account, Run
from penstock.bulk.stock import Subject, counted_us_of, learn_skus, refs_of
from penstock.bulk.stock_retire import (
    Retirement,
    Scope,
    foresee,
    forget_mentioned,
    retire,
)
from penstock.bulk.stock_rows import NEEDED, OPTIONAL, StockRows, check_columns, read_counts
from penstock.db import Tx
from penstock.ids import new_id
from penstock.inventory.counts import find_positions

ROWS_A_QUERY = 20_000


async def retire_rest(run: Run, subject: Subject) -> None:
    """Retire what a full feed's file did not mention; refuses with `too_many_to_retire`.

    The rows are counted by then, and stay so: with a larger number the same command goes on here.
    """
    if not run.options.full:
        return
    scope = _scope(
        run.job.id, subject, run.options, counted_us_of(run.knowledge, run.source, run.options)
    )
    await retire(run.knowledge, scope, run.options.retire_at_most or 0)
    await run.knowledge.run_pass("import", lambda tx: forget_mentioned(tx, run.job.id))


async def foresee_file(
    account: Account, source: Source, options: Options, subject: Subject
) -> Retirement:
    """Return what a full feed would retire now; writes nothing.

    Refuses with `missing_column` and what reading refuses.
    """
    check_columns(source, column_names(source))
    knowledge = account.knowledge
    counted_us = counted_us_of(knowledge, source, options)
    refs = refs_of(knowledge, subject, counted_us)
    named: list[NDArray[np.int32]] = [np.zeros(0, dtype=np.int32)]

    async def find(read: StockRows) -> None:
        learnt = await learn_skus(knowledge, subject.catalogue_id, read)
        for rows in (learnt, learnt.named):
            if rows is not None:
                named.extend(await _positions_of(account, rows))

    blocks = read_blocks(source, (*NEEDED, *OPTIONAL))
    await read_ahead((read_counts(block, refs) for block in blocks), find)
    scope = _scope(new_id(), subject, options, counted_us)
    return await foresee(knowledge, scope, np.unique(np.concatenate(named)))


async def _positions_of(account: Account, rows: StockRows) -> list[NDArray[np.int32]]:
    found: list[NDArray[np.int32]] = []
    for start in range(0, len(rows.rows), ROWS_A_QUERY):
        part = rows.take(np.arange(start, min(start + ROWS_A_QUERY, len(rows.rows))))

        async def work(tx: Tx, part: StockRows = part) -> NDArray[np.int32]:
            return await find_positions(tx, part.product_ids, part.location_ids, part.pool_ids)

        found.append(await account.knowledge.database.run(account.schema, work))
    return found


def _scope(job_id: str, subject: Subject, options: Options, counted_us: int) -> Scope:
    pool_id = None if options.pool is None else subject.pool_id
    return Scope(job_id, subject.source_id, pool_id, counted_us)
