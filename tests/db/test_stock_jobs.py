"""Stock jobs worked off: late batches, two workers, killed workers, and what is retired."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.db.bulk_imports import FREE_IDS, counts
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    opened,
    order,
    place,
    shop,
    stock_of,
    until,
    work,
)

from penstock.app import Account
from penstock.bulk import stock_jobs, stock_work
from penstock.bulk.jobs import locked
from penstock.bulk.stock_jobs import Ending, StockJob, StockJobInput
from penstock.bulk.stock_retire import Retirement
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.counts import adjust_stock
from penstock.inventory.model import Adjustment

MANY_PRODUCTS = """
INSERT INTO product (catalogue_id, ref, weight_g)
    SELECT 1, 'M' || n, 100 FROM generate_series(1, 5000) AS n;
INSERT INTO stock_source (ref) VALUES ('till'), ('erp');
UPDATE revision SET value = value + 1;
"""
HOUR = timedelta(hours=1)
_CHILD = """
import asyncio, sys
from penstock.app import open_account
from penstock.bulk import stock_work
from penstock.bulk.stock_work import run_stock_jobs

async def main(conninfo, name):
    account = await open_account(conninfo, name)
    keeper = stock_work._BatchKeeper
    before = keeper._committed
    def told(self, rows_done):
        before(self, rows_done)
        print("done:", rows_done, flush=True)
    keeper._committed = told
    await run_stock_jobs(account, asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "stock_jobs", FREE_IDS + MANY_PRODUCTS) as one:
        yield one


async def job_of(account: Account, ref: str, **more: Any) -> str:
    """Open a job of the source `till`, unless `more` says otherwise; returns its id."""
    fields: dict[str, Any] = {"source": "till", **more}
    asked = StockJobInput(ref, **fields)
    job, _ = await account.knowledge.run_pass(
        "stock", lambda tx: stock_jobs.open_stock_job(tx, asked)
    )
    return job.id


async def send(
    account: Account, job_id: str, ref: str, rows: Sequence[dict[str, Any]]
) -> stock_jobs.Batch:
    """Send a batch."""
    body = msgspec.json.encode(list(rows))

    async def add(tx: Tx) -> stock_jobs.Batch:
        batch, _ = await stock_jobs.add_batch(tx, job_id, ref, body, datetime.now(UTC))
        return batch

    return await account.database.run(account.schema, add)


async def read(account: Account, job_id: str) -> StockJob:
    found = await account.database.run(
        account.schema, lambda tx: stock_jobs.find_stock_job(tx, job_id)
    )
    return found.job


async def done(account: Account, job_id: str) -> tuple[int, ...]:
    """Work off what is due; returns rows done, changed, unchanged, failed of the job."""
    await stock_work.work_off(account, asyncio.Event())
    job = await read(account, job_id)
    assert job.batches_waiting == 0
    return job.rows_done, job.changed, job.unchanged, job.failed


async def end(account: Account, job_id: str, at_most: int) -> StockJob:
    """Tell a job to end, and work it off."""
    await stock_jobs.finish_stock_job(account.knowledge, job_id, Ending(retire_at_most=at_most))
    await stock_work.work_off(account, asyncio.Event())
    return await read(account, job_id)


async def foresee(account: Account, job_id: str) -> Retirement:
    answer = await stock_jobs.finish_stock_job(account.knowledge, job_id, Ending(dry_run=True))
    assert isinstance(answer, Retirement)
    return answer


def test_jobs_that_come_late_or_in_another_order_never_undo_newer_counts(lent: Shop) -> None:
    seed = random.randrange(1000)  # noqa: S311 (told on failure)
    chance = random.Random(seed)  # noqa: S311 (told on failure)

    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            feeds = list(range(1, 7))
            chance.shuffle(feeds)
            newest = 0
            for n in feeds:
                job_id = await job_of(account, f"feed {n}", counted_at=now - (10 - n) * HOUR)
                await send(account, job_id, "all", counts(("P1", "L1", n), ("P2", "L2", 10 * n)))
                came = await done(account, job_id)
                assert came == ((2, 2, 0, 0) if n > newest else (2, 0, 0, 2)), (seed, feeds)
                newest = max(newest, n)
            assert stock_of(lent, "P1") == {"L1": (6, 0)}, (seed, feeds)
            assert stock_of(lent, "P2") == {"L2": (60, 0)}, (seed, feeds)
            await assert_clean(lent, account)

    asyncio.run(story())


def test_of_two_rows_of_a_batch_about_one_position_the_newer_counts(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            rows = counts(("P1", "L1", 1), ("P1", "L1", 2), ("P2", "L1", 3), ("P1", "L1", 4))
            rows[1]["counted_at"] = now.isoformat()
            job_id = await job_of(account, "twice", counted_at=now - HOUR)
            await send(account, job_id, "a", rows)
            assert await done(account, job_id) == (4, 2, 0, 2)
            batch = await account.database.run(
                account.schema, lambda tx: stock_jobs.find_batch(tx, job_id, "a")
            )
            results = await account.database.run(
                account.schema, lambda tx: stock_jobs.read_results(tx, batch, -1, 10)
            )
            superseded = ("failed", "count_superseded")
            assert [(one.result, one.code) for one in results] == [
                superseded,
                ("changed", ""),
                ("changed", ""),
                superseded,
            ]
            assert stock_of(lent, "P1") == {"L1": (2, 0)}

    asyncio.run(story())


def test_a_count_below_what_is_reserved_sheds_through_a_job_too(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (document,) = await place(account, order("O1", ("P1", 4)))
            assert counters(document) == (4, 0, 0, 0)
            job_id = await job_of(account, "short")
            await send(account, job_id, "a", counts(("P1", "L1", 1), ("P1", "L2", 4)))
            assert await done(account, job_id) == (2, 2, 0, 0)
            await work(account)
            assert stock_of(lent, "P1") == {"L1": (1, 0), "L2": (4, 4)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_two_workers_take_each_batch_of_a_source_once_and_in_order(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            ids = [await job_of(one, f"of {ref}", source=ref) for ref in ("till", "erp")]
            for n in range(1, 13):
                rows = counts(*((f"M{m}", f"L{1 + n % 2}", n) for m in range(1, 300)))
                await send(one, ids[n % 2], f"batch {n}", rows)
            stop = asyncio.Event()
            workers = [
                asyncio.create_task(stock_work.run_stock_jobs(account, stop))
                for account in (one, other)
            ]
            waiting = "SELECT count(*) FROM stock_batch WHERE done_at IS NULL"
            await until(lambda: lent.value(waiting) == 0, "the batches are not taken in")
            stop.set()
            await asyncio.gather(*workers)
            for job_id in ids:
                job = await read(one, job_id)
                assert (job.rows_done, job.changed, job.failed) == (6 * 299, 6 * 299, 0)
            await assert_index_equals_database(lent, other)
            await assert_clean(lent, one)

    asyncio.run(story())
    found = lent.sql(
        "SELECT location_id, on_hand, version, count(*) FROM position GROUP BY 1, 2, 3"
    )
    assert sorted(found) == [(1, 12, 6, 299), (2, 11, 6, 299)]


def test_a_source_that_a_file_is_feeding_waits_and_others_do_not(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            waiting = await job_of(account, "waits", counted_at=now)
            going = await job_of(account, "goes", source="erp", counted_at=now)
            for job_id in (waiting, going):
                await send(account, job_id, "a", counts(("P1", "L1", 1), ("P2", "L2", 2)))
            subject = "stock as source 'till' counts it"
            async with locked(lent.conninfo, lent.schema, subject):
                await stock_work.work_off(account, asyncio.Event())
                assert (await read(account, waiting)).rows_done == 0
                assert (await read(account, going)).rows_done == 2
            assert await done(account, waiting) == (2, 0, 2, 0)

    asyncio.run(story())


def test_a_batch_whose_worker_is_killed_is_gone_on_with_by_another(lent: Shop) -> None:
    seed = random.randrange(1000)  # noqa: S311 (told on failure)
    chance = random.Random(seed)  # noqa: S311 (told on failure)
    rows = [(f"M{1 + n % 5000}", f"L{1 + n // 5000}", chance.randrange(90)) for n in range(40_000)]
    for n in (10, 1_999, 2_000, 30_000, 39_999):
        rows[n] = ("NONE", "L1", 1)

    async def begin() -> str:
        async with opened(lent) as account:
            job_id = await job_of(account, "killed", mode="full")
            await send(account, job_id, "all", counts(*rows))
            return job_id

    async def go_on(job_id: str) -> None:
        async with opened(lent) as account:
            before = await read(account, job_id)
            assert 0 < before.rows_done < 40_000, seed
            came = await done(account, job_id)
            assert (came[0], came[1] + came[2], came[3]) == (40_000, 39_995, 5), seed
            assert (await foresee(account, job_id)).positions == 0
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    job_id = asyncio.run(begin())
    _kill_worker(lent, after=chance.randrange(1, 4))
    asyncio.run(go_on(job_id))
    assert lent.sql("SELECT count(*), min(version), max(version) FROM position") == [
        (39_995, 1, 1)
    ], seed
    covered = lent.sql("SELECT first_row, length(outcomes) FROM stock_batch_result ORDER BY 1")
    ends = [first + length for first, length in covered]
    assert [first for first, _ in covered] == [1, *ends[:-1]], seed
    assert ends[-1] == 40_001


def _kill_worker(lent: Shop, after: int) -> None:
    """Run a worker in a process that is killed once it has committed so many chunks."""
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, lent.conninfo, lent.name],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    told = (line for line in child.stdout if line.startswith("done:"))
    for _ in range(after):
        next(told)
    child.kill()
    child.wait(timeout=30)
    child.stdout.close()


def test_a_full_job_retires_exactly_what_its_dry_run_said(lent: Shop) -> None:
    seed = random.randrange(1000)  # noqa: S311 (told on failure)
    chance = random.Random(seed)  # noqa: S311 (told on failure)
    rows = [(f"M{n}", f"L{1 + n % 8}", chance.randrange(-3, 30)) for n in range(1, 3_001)]
    kept = set(chance.sample(range(3_000), 2_000))

    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            first = await job_of(account, "first", counted_at=now - 5 * HOUR)
            await send(account, first, "a", counts(*rows))
            await done(account, first)
            other = await job_of(account, "other", source="erp", counted_at=now - 5 * HOUR)
            await send(account, other, "a", counts(("P1", "L1", 40), ("P2", "L1", 50)))
            newer = await job_of(account, "newer", counted_at=now)
            gone = sorted(set(range(3_000)) - kept)
            later = [rows[n] for n in gone[:50]]
            await send(account, newer, "a", counts(*((s, p, on + 1) for s, p, on in later)))
            await done(account, newer)
            await _adjust(lent, account, rows[gone[60]], now - HOUR)
            full = await job_of(account, "full", mode="full", counted_at=now - 3 * HOUR)
            await send(account, full, "a", counts(*(rows[n] for n in sorted(kept))))
            assert (await done(account, full))[2] == 2_000
            foreseen = await foresee(account, full)
            retired = await end(account, full, foreseen.positions)
            assert retired.status == "finished", seed
            assert (retired.retired, retired.units_retired) == (
                foreseen.positions,
                foreseen.units,
            ), seed
            going = [rows[n] for n in gone[50:] if rows[n][2] or n == gone[60]]
            assert foreseen.positions == len(going), seed
            assert stock_of(lent, rows[gone[60]][0]) == {rows[gone[60]][1]: (-2, 0)}, seed
            assert stock_of(lent, "P1") == {"L1": (40, 0)}
            assert lent.value("SELECT count(*) FROM stock_mention") == 0
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())


async def _adjust(lent: Shop, account: Account, row: tuple[str, str, int], at: datetime) -> None:
    """Break two pieces of a position, so that a count of 0 from before leaves -2."""
    sku, location, _ = row
    product_id = lent.value(f"SELECT id FROM product WHERE ref = '{sku}'")
    change = Adjustment(product_id, int(location[1:]), -2, at)
    cause_id = new_id()
    await account.knowledge.run_pass("stock", lambda tx: adjust_stock(tx, [change], cause_id))


def test_a_full_job_that_would_retire_more_than_expected_retires_nothing(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            first = await job_of(account, "first", counted_at=now - HOUR)
            await send(account, first, "a", counts(("P1", "L1", 4), ("P2", "L1", 5)))
            await done(account, first)
            full = await job_of(account, "full", mode="full")
            await send(account, full, "a", counts(("P3", "L1", 1)))
            with pytest.raises(Refusal) as early:
                await end(account, full, 9)
            assert early.value.code == "batches_waiting"
            await done(account, full)
            with pytest.raises(Refusal) as many:
                await end(account, full, 1)
            assert many.value.code == "too_many_to_retire"
            assert many.value.data == {"positions": 2, "units": 9}
            assert stock_of(lent, "P1") == {"L1": (4, 0)}
            assert (await read(account, full)).status == "running"
            assert (await end(account, full, 2)).status == "finished"
            assert stock_of(lent, "P1") == {"L1": (0, 0)}

    asyncio.run(story())


def test_a_job_that_finds_more_to_retire_than_when_it_was_told_to_fails_and_says_so(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            full = await job_of(account, "full", mode="full", counted_at=now)
            await send(account, full, "a", counts(("P3", "L1", 1)))
            await done(account, full)
            ending = Ending(retire_at_most=0)
            await stock_jobs.finish_stock_job(account.knowledge, full, ending)
            late = await job_of(account, "late", counted_at=now - HOUR)
            await send(account, late, "a", counts(("P1", "L1", 4)))
            await stock_work.work_off(account, asyncio.Event())
            job = await read(account, full)
            assert job.status == "failed"
            assert job.error is not None
            assert job.error.startswith("1 positions with 4 units")
            assert stock_of(lent, "P1") == {"L1": (4, 0)}

    asyncio.run(story())


def test_a_batch_that_never_comes_further_fails_its_job(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            job_id = await job_of(account, "broken")
            await send(account, job_id, "a", counts(("P1", "L1", 4)))
            await send(account, job_id, "b", counts(("P1", "L1", 5)))
            lent.sql("UPDATE stock_batch SET body = '\\x00' WHERE ref = 'a'")
            await stock_work.work_off(account, asyncio.Event())
            job = await read(account, job_id)
            assert (job.status, job.rows_done) == ("failed", 0)
            assert job.error == "Batch 'a' was tried 5 times and came no further."
            assert lent.value("SELECT count(*) FROM stock_batch WHERE body IS NOT NULL") == 0

    asyncio.run(story())
