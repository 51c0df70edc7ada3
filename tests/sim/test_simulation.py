"""A shop at work for some seconds, from a seed: nothing is lost, doubled or promised twice.

Several processes and workers of one account, clients who act on each other's orders and send things
twice, stock that is counted and adjusted, locations that go off, connections that are ended. Then
everybody goes home, and two auditors look: the house's own, and one that only counts units.
`PENSTOCK_SIM_SEED` repeats a run that failed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    opened,
    shop,
    tell,
    until,
)
from tests.sim.actors import ADJUSTED, COUNTED, LOCATIONS, Breaker, Client, StockTaker
from tests.sim.ledger import Ledger

from penstock.app import Account, run_worker
from penstock.errors import Refusal

DURATION_S = 8.0
UNITS = 12
CAPACITY = """UPDATE location SET daily_capacity = '{"deliver": 60}' WHERE ref IN ('L2', 'L3');"""


def seeds() -> list[int]:
    """Return the seeds to run: the one that was asked for, or the usual ones."""
    asked = os.environ.get("PENSTOCK_SIM_SEED")
    return [int(asked)] if asked else [1, 2]


class Actor(Protocol):
    """Somebody who does one thing after the other."""

    async def act(self) -> None: ...


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "simulation", CAPACITY) as one:
        yield one


async def _keep_acting(actor: Actor, deadline: float, pause_s: float) -> None:
    while time.monotonic() < deadline:
        await actor.act()
        await asyncio.sleep(pause_s)


async def _work_day(lent: Shop, accounts: list[Account], ledger: Ledger, seed: int) -> None:
    """Let everybody act for a while, then wait until the workers have nothing left to do."""
    stop = asyncio.Event()
    working = [asyncio.create_task(run_worker(account, stop)) for account in accounts[:2]]
    deadline = time.monotonic() + DURATION_S
    clients = [Client(accounts[n % 3], ledger, f"{seed}-client-{n}") for n in range(12)]
    takers = [StockTaker(accounts[n], ledger, f"{seed}-taker-{n}") for n in range(2)]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(_keep_acting(client, deadline, 0.0))
        for taker in takers:
            group.create_task(_keep_acting(taker, deadline, 0.02))
        group.create_task(_keep_acting(Breaker(lent, f"{seed}-breaker"), deadline, 0.25))
    await until(lambda: lent.value("SELECT count(*) FROM inbox") == 0, "work is left over")
    stop.set()
    await asyncio.gather(*working)


async def _close_shop(lent: Shop, account: Account) -> None:
    """Cancel whatever is open: nothing may stay reserved."""
    waiting = "SELECT id::text FROM orders WHERE status NOT IN ('shipped', 'cancelled')"
    for (order_id,) in lent.sql(waiting):
        document = await tell(account, order_id, "order.cancellation_requested")
        assert not isinstance(document, Refusal), document
        assert document["status"] in {"shipped", "cancelled"}
    assert lent.value("SELECT coalesce(sum(reserved), 0) FROM position") == 0
    assert lent.value("SELECT count(*) FROM reservation") == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds())
def test_a_shop_at_work_loses_and_doubles_nothing(lent: Shop, seed: int) -> None:
    async def story() -> None:
        ledger = Ledger()
        async with AsyncExitStack() as stack:
            accounts = [await stack.enter_async_context(opened(lent)) for _ in range(3)]
            skus = [*ADJUSTED, *COUNTED]
            await count(accounts[0], *((sku, one, UNITS) for sku in skus for one in LOCATIONS))
            ledger.units_in.update(dict.fromkeys(skus, UNITS * len(LOCATIONS)))
            await _work_day(lent, accounts, ledger, seed)
            assert len(ledger.placed) > 40, "hardly anything happened"
            assert lent.value("SELECT count(*) FROM dead_letter") == 0
            ledger.conserves(lent, set(COUNTED))
            for account in accounts:
                await assert_index_equals_database(lent, account)
            await assert_clean(lent, accounts[0])
            await _close_shop(lent, accounts[1])
            await assert_clean(lent, accounts[2])

    try:
        asyncio.run(story())
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
