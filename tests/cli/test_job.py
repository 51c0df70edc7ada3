"""`penstock job`: what a person sees of outside effects, and decides about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.cli.conftest import Command
from tests.shop import Shop, shop

from penstock.db import Database
from penstock.engine.jobs import Job, write_jobs
from penstock.ids import new_id

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HEADERS = {"authorization": "Bearer env:PENSTOCK_SECRET_ERP"}


@pytest.fixture
def lent(server: str) -> Iterator[Shop]:
    with shop(server, "job_commands") as one:
        yield one


def write(lent: Shop, *statuses: str) -> list[str]:
    """Write a job in each of the statuses; returns their ids."""
    parcel = new_id()
    asked = {"method": "POST", "url": "https://erp.example/orders", "headers": HEADERS}
    jobs = [
        Job("http", "parcel", parcel, "parcel", parcel, asked, peer="erp.example:443")
        for _ in statuses
    ]

    async def run() -> None:
        database = Database(lent.conninfo, size=1)
        await database.open()
        await database.run(lent.schema, lambda tx: write_jobs(tx, jobs, NOON))
        await database.close()

    asyncio.run(run())
    for job, status in zip(jobs, statuses, strict=True):
        lent.sql(
            f"UPDATE job SET status = '{status}', attempts = 10, last_error = 'status 503' "
            f"WHERE id = '{job.id}'"
        )
    return [job.id for job in jobs]


def test_jobs_are_listed_shown_retried_and_skipped(lent: Shop, penstock: Command) -> None:
    of = ("--account", lent.name)
    failed, other, done = write(lent, "failed", "failed", "done")
    listed = json.loads(penstock("job", "list", "--json", *of).stdout)["jobs"]
    assert [one["id"] for one in listed] == [other, failed]
    text = penstock("job", "list", "--status", "done", *of).stdout
    assert done[:8] in text.replace("\n", "")
    assert failed not in text
    shown = json.loads(penstock("job", "show", failed, "--json", *of).stdout)
    assert shown["last_error"] == "status 503"
    assert shown["request"]["headers"] == HEADERS

    said = penstock("job", "retry", failed, "--reason", "the ERP is back", *of)
    assert (said.returncode, said.stdout) == (0, "1 job is due again.\n"), said.stderr
    said = penstock("job", "skip", other, "--reason", "typed in by hand", *of)
    assert said.stdout == "1 job is skipped.\n"
    rows = lent.sql("SELECT id::text, status, attempts FROM job ORDER BY id")
    assert rows == [(failed, "due", 0), (other, "skipped", 10), (done, "done", 10)]
    kept = lent.sql(
        "SELECT action, reason, subject ->> 'job_id' FROM intervention ORDER BY done_at"
    )
    assert kept == [
        ("retry job", "the ERP is back", failed),
        ("skip job", "typed in by hand", other),
    ]


def test_a_job_that_is_done_is_not_tried_again(lent: Shop, penstock: Command) -> None:
    of = ("--account", lent.name)
    failed, done = write(lent, "failed", "done")
    refused = penstock("job", "retry", failed, done, "--reason", "why not", *of)
    assert refused.returncode == 2
    assert "is done" in refused.stderr
    assert lent.value(f"SELECT status FROM job WHERE id = '{failed}'") == "failed"
    assert lent.value("SELECT count(*) FROM intervention") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "0198c2f0-0000-7000-8000-000000000000"), "There is no job"),
        (("show", "first"), "is no id"),
        (("list", "--status", "lost"), "No job is 'lost'"),
        (("skip", "0198c2f0-0000-7000-8000-000000000000", "--reason", "x"), "There is no job"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(
    lent: Shop, penstock: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    refused = penstock("job", *arguments, "--account", lent.name)
    assert refused.returncode == 2
    assert sentence in refused.stderr
