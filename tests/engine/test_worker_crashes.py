"""Workers are killed at any moment, and every order ends exactly once all the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.processes import Workers, workers
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    opened,
    order,
    place,
    shop,
    stock_of,
    until,
)

from penstock.app import Account
from penstock.orders.intake import OrderInput

ORDERS = 2_000
SEED = 20_260_302
PORTION = 200
PATIENCE_S = 60.0


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "worker_crashes") as one:
        yield one


async def _place_and_kill(account: Account, asked: list[OrderInput], running: Workers) -> int:
    """Place orders a portion at a time and kill workers at seeded moments while they are run.

    Sometimes both are dead or loading when the next portion comes. Returns how many were killed.
    """
    chance = random.Random(SEED)  # noqa: S311 (seeded)
    kills = 0
    for first in range(0, len(asked), PORTION):
        await place(account, *asked[first : first + PORTION], wait=False)
        for _ in range(chance.choice((1, 1, 2))):
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            running.kill(chance.choice(running.running))
            running.start()
            kills += 1
        if chance.random() < 0.8:
            await asyncio.to_thread(running.wait_ready, running.running[-1])
    return kills


@pytest.mark.slow
def test_orders_end_exactly_once_while_workers_are_killed(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            skus = [f"P{n}" for n in range(1, 41)]
            rows = [(sku, f"L{n}", 40) for sku in skus for n in (1, 2)]
            await count(account, *rows)
            chance = random.Random(SEED)  # noqa: S311 (seeded)
            asked = [
                order(f"o{n}", *((s, 1) for s in chance.sample(skus, 2))) for n in range(ORDERS)
            ]
            with workers(lent, tmp_path / "workers.log", 2) as running:
                kills = await _place_and_kill(account, asked, running)
                await until(
                    lambda: lent.value("SELECT count(*) FROM inbox") == 0,
                    f"seed {SEED}: events are left over",
                    PATIENCE_S,
                )
            assert kills >= ORDERS / PORTION
            wanted = "SELECT count(*) FROM order_line"
            assert lent.value(wanted) == 2 * ORDERS
            doubled = (
                "SELECT count(*) FROM (SELECT order_id, choice_id FROM sourcing_decision "
                "GROUP BY 1, 2 HAVING count(*) > 1) AS twice"
            )
            assert lent.value(doubled) == 0
            decided = "SELECT count(DISTINCT order_id) FROM sourcing_decision"
            assert lent.value(decided) == ORDERS
            left = "SELECT count(*) FROM orders WHERE status = 'created'"
            assert lent.value(left) == 0
            assert lent.value("SELECT count(*) FROM dead_letter") == 0
            units = "SELECT sum(qty_allocated) FROM order_line"
            reserved = sum(pair[1] for sku in skus for pair in stock_of(lent, sku).values())
            assert lent.value(units) == reserved == lent.value("SELECT sum(qty) FROM reservation")
            assert reserved == sum(
                min(80, lent.value(f"SELECT count(*) FROM order_line WHERE sku = '{sku}'"))
                for sku in skus
            )
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())
