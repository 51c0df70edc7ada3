"""Jobs whose workers die, stop or come late: called again with the same key, told once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.engine.parcels import (
    NOON,
    STATUSES,
    TOKEN,
    calling_shop,
    http_call,
    make,
    put,
    running,
    until_jobs,
)
from tests.engine.peer import Asked, Said, peer
from tests.engine.processes import workers
from tests.shop import Shop, opened, until, work

from penstock.clock import ManualClock
from penstock.connectors.model import Answer, Call, Failure
from penstock.connectors.run import Runner, run_jobs
from penstock.engine.jobs import Job, write_jobs
from penstock.ids import new_id


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with calling_shop(database, "job_crashes") as one:
        yield one


def test_a_job_whose_worker_is_killed_is_called_again_and_told_once(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with peer() as fraud, opened(lent) as account:
            never = asyncio.Event()

            async def hang(_: Asked) -> Said:
                await never.wait()
                return Said()

            fraud.answering = hang
            await put(account, http_call(fraud.url, timeout_s=30))
            await make(account, "one")
            with workers(lent, tmp_path / "workers.log", 1) as lending:
                await until(lambda: len(fraud.asked) == 1, "the job is not called")
                lending.kill(lending.running[0], signal.SIGKILL)
                fraud.answering = fraud.say
                assert lent.sql("SELECT status, attempts FROM job") == [("due", 1)]
                lent.sql("UPDATE job SET due_at = now()")
                lending.wait_ready(lending.start())
                await until_jobs(lent, done=1)
                status = "SELECT status FROM entity"
                await until(lambda: lent.value(status) == "good", "the answer comes to nothing")
            assert len(fraud.keys) == 2
            assert len(set(fraud.keys)) == 1
            told = "SELECT count(*) FROM event WHERE name = 'parcel.good'"
            assert lent.value(told) == 1
            assert lent.value("SELECT count(*) FROM unhandled_event") == 0

    asyncio.run(story())


def test_an_outcome_that_comes_after_its_lease_changes_nothing(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        answers: list[asyncio.Event] = []

        async def wait(_: Asked) -> Said:
            answers.append(asyncio.Event())
            await answers[-1].wait()
            return Said()

        async with peer() as fraud, running(lent, clock) as account:
            fraud.answering = wait
            await put(account, http_call(fraud.url, timeout_s=30))
            await make(account, "one")
            await until(lambda: len(answers) == 1, "the job is not called")
            clock.advance_to(NOON + timedelta(minutes=5))
            await until(lambda: len(answers) == 2, "its lease has ended, and nobody called again")
            answers[0].set()
            answers[1].set()
            await until_jobs(lent, done=1)
            assert lent.value("SELECT count(*) FROM inbox") == 1
            assert await work(account) == 1
            assert len(set(fraud.keys)) == 1

    asyncio.run(story())


def test_a_job_that_kills_whoever_is_at_it_is_given_up(lent: Shop) -> None:
    async def story() -> None:
        async with peer() as fraud, opened(lent) as account:
            await put(account, http_call(fraud.url))
            await make(account, "one")
            lent.sql("UPDATE job SET attempts = 3")
            stop = asyncio.Event()
            jobs = asyncio.create_task(run_jobs(account.knowledge, stop))
            await until_jobs(lent, failed=1)
            stop.set()
            await jobs
            assert fraud.asked == []
            await work(account)
            assert lent.sql(STATUSES) == [("lost", 1)]

    asyncio.run(story())


def test_what_stops_finishes_what_is_in_flight(lent: Shop) -> None:
    async def story() -> None:
        async with peer() as fraud, opened(lent) as account:
            go = asyncio.Event()

            async def wait(_: Asked) -> Said:
                await go.wait()
                return Said()

            fraud.answering = wait
            await put(account, http_call(fraud.url))
            await make(account, "one")
            stop = asyncio.Event()
            jobs = asyncio.create_task(run_jobs(account.knowledge, stop))
            await until(lambda: len(fraud.asked) == 1, "the job is not called")
            stop.set()
            go.set()
            await asyncio.wait_for(jobs, 15)
            await until_jobs(lent, done=1)

    asyncio.run(story())


def test_two_runners_call_no_job_twice(lent: Shop) -> None:
    async def story() -> None:
        async with peer() as fraud, running(lent) as account, running(lent):
            await put(account, http_call(fraud.url))
            await make(account, *(f"p{n}" for n in range(200)))
            await until_jobs(lent, done=200)
            assert len(fraud.keys) == len(set(fraud.keys)) == 200

    asyncio.run(story())


class Careless:
    """A connector of a package's own that fails, and says too much."""

    async def call(self, call: Call) -> Answer | Failure:
        raise RuntimeError(f"{call.kind}: the password {TOKEN} is wrong")

    async def close(self) -> None:
        """Nothing is open."""


def test_a_connector_that_raises_is_tried_again_and_what_it_says_is_kept_nowhere(
    lent: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(NOON)) as account:
            parcel = new_id()
            jobs = [Job(kind, "parcel", parcel, "parcel", parcel, {}) for kind in ("erp", "fax")]
            await account.database.run(account.schema, lambda tx: write_jobs(tx, jobs, NOON))
            stop = asyncio.Event()
            running_jobs = asyncio.create_task(
                Runner(account.knowledge, {"erp": Careless()}).run(stop)
            )
            tried = "SELECT count(*) FROM job WHERE last_error IS NOT NULL"
            await until(lambda: lent.value(tried) == 2, "the jobs are not tried")
            stop.set()
            await running_jobs

    asyncio.run(story())
    assert lent.sql("SELECT kind, status, last_error FROM job ORDER BY kind") == [
        ("erp", "due", "connector_failed: RuntimeError"),
        ("fax", "due", "no connector does jobs of kind fax"),
    ]
    out, err = capfd.readouterr()
    assert TOKEN not in out + err
