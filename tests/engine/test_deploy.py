"""A new version of a workflow goes live while orders come in: each is wholly of one version."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.processes import workers
from tests.shop import (
    Shop,
    answered,
    assert_clean,
    count,
    opened,
    order,
    place,
    shop,
    tell,
    until,
)

from penstock.app import Account
from penstock.engine.document import read_document
from penstock.engine.workflows import put_workflow, shipped_document
from penstock.orders.intake import OrderInput
from penstock.rules.take import NewOrder

ORDERS = 5_000
PUSHED_BY = 3_000  # it is pushed while these are placed; if not, before those behind them
LAST = 1_000  # of them, placed a second after the new version went live
PORTION = 25
NAME = "deployed"
PATIENCE_S = 120.0
SOON_S = 5.0  # of a second that is promised: a busy machine has its hiccups


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "deploy") as one:
        yield one


def document(version: int) -> str:
    """Return a version of the workflow: in the second, what is allocated is called confirmed."""
    whole: Any = msgspec.to_builtins(read_document(shipped_document("home_delivery")))
    whole |= {"name": NAME, "type": NAME, "version": version}
    if version > 1:
        whole = renamed(whole, "allocated", "confirmed")
    return msgspec.json.encode(whole).decode()


def renamed(value: Any, old: str, new: str) -> Any:
    """Return a document in which a status has another name."""
    if isinstance(value, dict):
        return {key: renamed(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, old, new) for one in value]
    return new if value == old else value


async def put_first(account: Account) -> None:
    text, vocabulary = document(1), account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, text, vocabulary))


async def push_second(lent: Shop, folder: Path) -> float:
    """Push the second version as a person does, from a process of its own; returns when it was."""
    file = folder / "deployed.json"
    file.write_text(document(2), "utf-8")
    command = (sys.executable, "-m", "penstock.cli.main", "workflow", "push", str(file))
    process = await asyncio.create_subprocess_exec(
        *command,
        "--account",
        lent.name,
        env=os.environ | {"PENSTOCK_DATABASE_URL": lent.conninfo},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return time.monotonic()


def orders(first: int, last: int) -> list[OrderInput]:
    return [
        order(f"o{n}", (f"P{1 + n % 20}", 1), (f"P{21 + n % 20}", 1), type=NAME)
        for n in range(first, last)
    ]


async def place_all(account: Account, asked: Sequence[OrderInput], *, wait: bool) -> None:
    """Place orders, a portion after the other."""
    for start in range(0, len(asked), PORTION):
        items = [NewOrder(one, wait=wait) for one in asked[start : start + PORTION]]
        for result in await account.grouping.submit(items):
            answered(result)


async def place_between(account: Account, other: Account, first: int, last: int) -> None:
    """Place orders in two processes: one decides its own at once, one leaves them to a worker."""
    middle = (first + last) // 2
    await asyncio.gather(
        place_all(account, orders(first, middle), wait=True),
        place_all(other, orders(middle, last), wait=False),
    )


@pytest.mark.slow
def test_a_version_that_goes_live_among_5000_orders_leaves_each_wholly_of_one(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await put_first(account)
            await count(account, *((f"P{n}", "L1", ORDERS) for n in range(1, 41)))
            (oldest,) = await place(account, *orders(0, 1))
            with workers(lent, tmp_path / "worker.log", 1):
                pushing = asyncio.create_task(push_second(lent, tmp_path))
                await place_between(account, other, 1, PUSHED_BY)
                pushed_at = await pushing
                await place_between(account, other, PUSHED_BY, ORDERS - LAST)
                await until(lambda: time.monotonic() > pushed_at + 1.0, "time stands still")
                await place_between(account, other, ORDERS - LAST, ORDERS)
                left = "SELECT count(*) FROM inbox"
                await until(lambda: lent.value(left) == 0, "work is left", PATIENCE_S)
            assert_each_of_one_version(lent)
            await assert_old_version_goes_on(account, oldest)
            await assert_clean(lent, account)

    asyncio.run(story())


def assert_each_of_one_version(lent: Shop) -> None:
    """Assert that all orders have ended well, each under the version it began with alone."""
    version = "JOIN workflow w ON w.id = o.workflow_id"
    found = lent.sql(f"SELECT w.version, o.status, count(*) FROM orders o {version} GROUP BY 1, 2")
    counts = {(number, status): rows for number, status, rows in found}
    assert set(counts) == {(1, "allocated"), (2, "confirmed")}, counts
    assert sum(counts.values()) == ORDERS
    assert counts[2, "confirmed"] >= ORDERS - PUSHED_BY
    late = f"substr(o.ref, 2)::int >= {ORDERS - LAST}"
    assert lent.sql(f"SELECT DISTINCT w.version FROM orders o {version} WHERE {late}") == [(2,)]
    mixed = (
        "SELECT o.ref, one->>'workflow' FROM trace t, json_array_elements(t.detail) AS one, "
        f"orders o {version} WHERE o.id = t.root_id AND one->>'entity' IS NULL "
        "AND (one->>'workflow')::int <> w.id"
    )
    assert lent.sql(mixed) == []
    told = f"""
        SELECT w.version, array_agg(DISTINCT e.name ORDER BY e.name)
        FROM event e JOIN orders o ON o.id = e.root_id {version}
        WHERE e.entity = 'order' GROUP BY 1 ORDER BY 1"""
    assert lent.sql(told) == [
        (1, ["order.allocated", "order.created"]),
        (2, ["order.confirmed", "order.created"]),
    ]
    for table in ("dead_letter", "unhandled_event", "work_note"):
        assert lent.value(f"SELECT count(*) FROM {table}") == 0


async def assert_old_version_goes_on(account: Account, oldest: Any) -> None:
    """Assert that an order of the old version goes on by it, and a new one by the new."""
    shipped = await tell(
        account, oldest["id"], "fulfilment.shipped", fulfilment_id=oldest["fulfilments"][0]["id"]
    )
    assert (oldest["status"], shipped["status"]) == ("allocated", "shipped")
    (newest,) = await place(account, *orders(ORDERS, ORDERS + 1))
    assert newest["status"] == "confirmed"


def test_what_another_process_pushes_serves_new_orders_within_a_second(
    lent: Shop, tmp_path: Path
) -> None:
    """No order comes in meanwhile: a process hears of it all the same, and without a restart."""

    async def story() -> None:
        async with opened(lent) as account:
            await put_first(account)
            await count(account, ("P1", "L1", 5), ("P21", "L1", 5))
            (before,) = await place(account, *orders(0, 1))

            def version() -> int:
                workflow = account.knowledge.workflow_of("order", NAME, 1)
                return workflow.version if workflow else 0

            assert (before["status"], version()) == ("allocated", 1)
            pushing = asyncio.create_task(push_second(lent, tmp_path))
            await until(lambda: version() == 2, "the new version is not taken up", PATIENCE_S)
            seen_at = datetime.now(UTC)
            await pushing
            pushed_at = lent.value("SELECT max(activated_at) FROM workflow_activation")
            took_s = (seen_at - pushed_at).total_seconds()
            assert 0 < took_s < SOON_S, f"taken up after {took_s:.2f} s"
            (after,) = await place(account, *orders(20, 21))
            assert after["status"] == "confirmed"
            await assert_clean(lent, account)

    asyncio.run(story())
