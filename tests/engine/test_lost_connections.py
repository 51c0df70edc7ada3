"""The connection is lost before, after and in every step of a pass: all of it counts, or nothing.

Whatever breaks, the client is answered with the decision, and that decision was made once.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.engine.faulty_wire import How, Wire, faulty_wire
from tests.shop import (
    Shop,
    answered,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    event_for,
    opened,
    order,
    place,
    shop,
    stock_of,
    until,
    work,
)

from penstock.app import Account
from penstock.errors import OutcomeUnknown
from penstock.ids import new_id
from penstock.inventory.counts import adjust_stock
from penstock.inventory.model import Adjustment
from penstock.passes import Pass
from penstock.rules.take import NewOrder, RootEvent

MOST_STEPS = 150
HOW: tuple[How, ...] = ("answer lost", "terminated")


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "lost_connections") as one:
        yield one


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wire-") as name:
        yield Path(name)


async def _take_all_kinds(plain: Account, faulty: Account, ref: str) -> None:
    """Take an order, one for a worker, a cancellation and a shipment, over the faulty wire."""
    doomed, leaving = await place(plain, order(f"{ref}-x", ("P1", 2)), order(f"{ref}-y", ("P1", 1)))
    shipped = {"fulfilment_id": leaving["fulfilments"][0]["id"]}
    items = [
        NewOrder(order(f"{ref}-new", ("P1", 3), ("P2", 1)), key=ref),
        NewOrder(order(f"{ref}-later", ("P2", 1)), wait=False),
        RootEvent(doomed["id"], "order.cancellation_requested", {"reason": "test"}),
        event_for(leaving["id"], "fulfilment.shipped", shipped, key=f"{ref}-ship"),
    ]
    documents = [answered(result) for result in await faulty.grouping.submit(items)]
    statuses = [document["status"] for document in documents]
    assert statuses == ["allocated", "created", "cancelled", "shipped"]
    assert counters(documents[0]) == (3, 0, 0, 0)


@pytest.mark.parametrize("how", HOW)
def test_a_pass_of_orders_counts_once_wherever_its_connection_is_lost(
    lent: Shop, folder: Path, how: How
) -> None:
    async def story() -> None:
        async with faulty_wire(lent.conninfo, folder) as wire:
            through = Shop(wire.conninfo, lent.name)
            async with opened(lent) as plain, opened(through) as faulty:
                await count(plain, ("P1", "L1", 2_000), ("P2", "L1", 2_000))
                taken = 0
                for step in itertools.count(1):
                    plan = wire.break_at("orders", step, how)
                    await _take_all_kinds(plain, faulty, f"{step}")
                    taken += 1
                    if not plan.has_fired:
                        break
                    assert step < MOST_STEPS
                assert taken > 15, "too few steps: the wire does not read along"
                await work(plain)
                statuses = "SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1"
                assert lent.sql(statuses) == [
                    ("allocated", 2 * taken),
                    ("cancelled", taken),
                    ("shipped", taken),
                ]
                assert stock_of(lent, "P1") == {"L1": (2_000 - taken, 3 * taken)}
                assert stock_of(lent, "P2") == {"L1": (2_000, 2 * taken)}
                await assert_index_equals_database(lent, faulty)
                await assert_clean(lent, plain)

    asyncio.run(story())


async def _work_while_broken(lent: Shop, wire: Wire, faulty: Account) -> int:
    """Let a worker decide two orders at a time, its connection lost at each step in turn."""
    for step in itertools.count(1):
        asked = [order(f"{step}-{n}", ("P1", 1), ("P2", 1)) for n in range(2)]
        await place(faulty, *asked, wait=False)
        plan = wire.break_at("worker", step, "answer lost")
        await work(faulty)
        assert lent.value("SELECT count(*) FROM inbox") == 0
        if not plan.has_fired:
            return 2 * step
        assert step < MOST_STEPS
    return 0


def test_a_worker_s_pass_counts_once_wherever_its_connection_is_lost(
    lent: Shop, folder: Path
) -> None:
    async def story() -> None:
        async with (
            faulty_wire(lent.conninfo, folder) as wire,
            opened(Shop(wire.conninfo, lent.name)) as faulty,
        ):
            await count(faulty, ("P1", "L1", 2_000), ("P2", "L2", 2_000))
            taken = await _work_while_broken(lent, wire, faulty)
            assert taken > 20
            statuses = "SELECT status, count(*) FROM orders GROUP BY 1"
            assert lent.sql(statuses) == [("allocated", taken)]
            assert lent.value("SELECT count(*) FROM dead_letter") == 0
            assert stock_of(lent, "P1") == {"L1": (2_000, taken)}
            await assert_index_equals_database(lent, faulty)
            await assert_clean(lent, faulty)

    asyncio.run(story())


def test_a_count_counts_once_wherever_its_connection_is_lost(lent: Shop, folder: Path) -> None:
    async def story() -> None:
        async with (
            faulty_wire(lent.conninfo, folder) as wire,
            opened(Shop(wire.conninfo, lent.name)) as faulty,
        ):
            step = 0
            for step in itertools.count(1):
                plan = wire.break_at("stock", step, "answer lost")
                rows = [("P1", "L1", step), (f"P{step}", "L2", step), ("P1", "L3", 7)]
                await count(faulty, *rows)
                if not plan.has_fired:
                    break
                assert step < MOST_STEPS
            assert step > 5
            assert stock_of(lent, "P1")["L1"] == (step, 0)
            versions = "SELECT version FROM position WHERE product_id = 1 ORDER BY location_id"
            assert lent.sql(versions) == [(step,), (1,), (1,)]
            await assert_index_equals_database(lent, faulty)
            await assert_clean(lent, faulty)

    asyncio.run(story())


def test_a_server_that_ended_every_connection_costs_nobody_an_answer(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 100))
            inside = asyncio.Barrier(8)

            async def meet(tx: Pass) -> None:
                await asyncio.wait_for(inside.wait(), 20)

            passes = (account.knowledge.run_pass("test", meet) for _ in range(8))
            await asyncio.gather(*passes)  # the pool is as large as it gets
            lent.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            (placed,) = await place(account, order("a", ("P1", 1)))
            assert placed["status"] == "allocated"
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())


@pytest.fixture
def stuck_commits(lent: Shop) -> Iterator[Callable[[], None]]:
    """Let every COMMIT wait for a standby that is not there, until the given function is called."""

    def set_standby(name: str) -> None:
        with psycopg.connect(lent.conninfo, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'".encode())
            connection.execute(b"SELECT pg_reload_conf()")

    yield lambda: set_standby("nobody")
    set_standby("")


def _waiting(lent: Shop, kind: str) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event"
    return int(lent.value(f"{query} = '{kind}' AND query NOT LIKE '%number%'"))


@pytest.mark.parametrize("loses_lookups", [False, True])
def test_a_commit_still_on_its_way_when_its_connection_is_lost_counts_once(
    lent: Shop, folder: Path, stuck_commits: Callable[[], None], *, loses_lookups: bool
) -> None:
    async def story() -> None:
        async with (
            faulty_wire(lent.conninfo, folder) as wire,
            opened(Shop(wire.conninfo, lent.name)) as faulty,
        ):
            await count(faulty, ("P1", "L1", 10))
            more = [Adjustment(1, 1, 5, faulty.knowledge.clock.now())]

            async def adjust(tx: Pass) -> None:
                await adjust_stock(tx, more, new_id())

            stuck_commits()
            wire.loses_lookups = loses_lookups
            adjusting = asyncio.create_task(faulty.knowledge.run_pass("adjust", adjust))
            await until(lambda: _waiting(lent, "SyncRep") == 1, "no COMMIT waits")
            wire.cut("adjust")
            if loses_lookups:
                with pytest.raises(OutcomeUnknown):
                    await adjusting
            else:
                await until(
                    lambda: _waiting(lent, "SyncRep") > 1 or _waiting(lent, "transactionid") > 0,
                    "nobody looks the pass up",
                )
            with psycopg.connect(lent.conninfo, autocommit=True) as connection:
                connection.execute(b"ALTER SYSTEM RESET synchronous_standby_names")
                connection.execute(b"SELECT pg_reload_conf()")
            await asyncio.wait([adjusting])
            await until(lambda: _waiting(lent, "SyncRep") == 0, "a COMMIT still waits")
            assert stock_of(lent, "P1") == {"L1": (15, 0)}
            await assert_clean(lent, faulty)

    asyncio.run(story())
