"""`penstock import stock --full` and `penstock stock-job`, as a person types them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Command

from penstock.app import open_account
from penstock.bulk import stock_jobs, stock_work
from penstock.bulk.stock_jobs import StockJobInput

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/own_account"


@pytest.fixture
def acme(penstock: Command) -> None:
    """Make an account with the example's master data."""
    penstock("account", "create", "acme")
    for kind in ("locations", "networks", "channels", "products"):
        (path,) = EXAMPLE.glob(f"{kind}.*")
        done = penstock("import", kind, str(path), PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("acme")
def test_a_full_file_says_what_it_would_retire_before_it_does(
    penstock: Command, tmp_path: Path
) -> None:
    def feed(name: str, *rows: str, more: tuple[str, ...] = ()) -> tuple[int, str, str]:
        path = tmp_path / name
        path.write_text("\n".join(["sku,location,on_hand", *rows]), encoding="utf-8")
        done = penstock("import", "stock", str(path), *more, PENSTOCK_ACCOUNT="acme")
        return done.returncode, done.stdout, done.stderr

    assert feed("first.csv", "TEAPOT,BATH,4", "MUG-RED,BATH,7")[0] == 0
    rows = ("MUG-RED,BATH,7",)
    status, told, _ = feed("all.csv", *rows, more=("--full", "--dry-run"))
    assert status == 0
    assert told.startswith("1 positions would be retired, with 4 units on hand.\n")
    assert "TEAPOT" in told
    _, text, _ = feed("all.csv", *rows, more=("--full", "--dry-run", "--json"))
    assert json.loads(text) == {
        "positions": 1,
        "units": 4,
        "examples": [{"sku": "TEAPOT", "location": "BATH", "pool": "default", "on_hand": 4}],
    }
    status, _, error = feed("all.csv", *rows, more=("--full",))
    assert (status, "dry run" in error) == (2, True)
    status, _, error = feed("all.csv", *rows, more=("--full", "--retire-at-most", "0"))
    assert (status, "1 positions with 4 units" in error) == (2, True)
    status, told, _ = feed("all.csv", *rows, more=("--full", "--retire-at-most", "1"))
    assert (status, "Retired: 1 positions, 4 units." in told) == (0, True)
    status, _, error = feed("all.csv", *rows, more=("--dry-run",))
    assert (status, "go with --full" in error) == (2, True)


@pytest.mark.usefixtures("acme")
def test_stock_jobs_are_listed_shown_and_given_up(penstock: Command, server: str) -> None:
    job_id = asyncio.run(_job(server))

    def told(*words: str) -> str:
        done = penstock("stock-job", *words, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, done.stderr
        return done.stdout

    (job,) = json.loads(told("list", "--status", "running", "--json"))["jobs"]
    assert (job["ref"], job["rows"], job["changed"], job["failed"]) == ("nightly", 2, 1, 1)
    assert "nightly" in told("list")
    shown = told("show", job_id)
    assert "2 of 2 rows are done: 1 changed, 0 unchanged, 1 without effect." in shown
    assert "unknown_sku" in told("show", job_id, "--batch", "one")
    assert told("abandon", job_id, "--reason", "a test") == "nightly is given up.\n"
    assert "a test" in told("show", job_id)
    again = penstock("stock-job", "abandon", job_id, "-r", "x", PENSTOCK_ACCOUNT="acme")
    assert again.returncode == 2
    assert penstock("stock-job", "show", "x", PENSTOCK_ACCOUNT="acme").returncode == 2


async def _job(server: str) -> str:
    rows = [
        {"sku": "MUG-RED", "location": "BATH", "on_hand": 5},
        {"sku": "NONE", "location": "BATH", "on_hand": 5},
    ]
    account = await open_account(server, "acme")
    try:
        job, _ = await account.knowledge.run_pass(
            "stock", lambda tx: stock_jobs.open_stock_job(tx, StockJobInput("nightly"))
        )
        body, now = msgspec.json.encode(rows), datetime.now(UTC)
        await account.database.run(
            account.schema, lambda tx: stock_jobs.add_batch(tx, job.id, "one", body, now)
        )
        await stock_work.work_off(account, asyncio.Event())
    finally:
        await account.close()
    return job.id
