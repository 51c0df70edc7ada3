"""Orders while a feed of 200,000 rows runs: nothing is lost, and nobody waits for its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.shop import (
    LOCATIONS,
    Shop,
    answered,
    assert_clean,
    assert_index_equals_database,
    opened,
    order,
    shop,
)

from penstock.app import Account
from penstock.ids import new_id
from penstock.inventory.counts import (
    Counts,
    Known,
    Outcome,
    microseconds,
    set_known_stock,
    set_stock,
)
from penstock.passes import Pass
from penstock.rules.take import NewOrder, RootEvent

Outcomes = NDArray[np.int8]
POSITIONS = 100_000
CHUNK = 2_000
MORE_PRODUCTS = f"""
INSERT INTO product (id, catalogue_id, ref) SELECT n, 1, 'Q' || n
FROM generate_series(62, {61 + POSITIONS // LOCATIONS}) AS n;
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "feed", MORE_PRODUCTS) as one:
        yield one


def rows(account: Account, first: int, on_hand: int) -> Counts:
    """Return a chunk of counts: product by product, every location."""
    places: NDArray[np.int64] = np.arange(first, first + CHUNK)
    return Counts(
        (places // LOCATIONS + 1).astype(np.int32),
        (places % LOCATIONS + 1).astype(np.int32),
        np.ones(CHUNK, dtype=np.int16),
        np.full(CHUNK, on_hand, dtype=np.int32),
        np.full(CHUNK, microseconds(account.knowledge.clock.now()), dtype=np.int64),
        1,
        new_id(),
    )


async def _feed(account: Account, on_hand: int) -> None:
    """Count every position, making it."""
    for first in range(0, POSITIONS, CHUNK):
        chunk = rows(account, first, on_hand)

        async def work(tx: Pass, chunk: Counts = chunk) -> Outcomes:
            return await set_stock(tx, chunk)

        outcomes = await account.knowledge.run_pass("stock", work)
        assert set(outcomes.tolist()) <= {Outcome.CHANGED, Outcome.UNCHANGED}


async def _feed_known(account: Account, on_hand: int) -> int:
    """Count every position again as the index knows it; returns how many were lost to a race."""
    lost = 0
    index = account.knowledge.index
    ids = np.zeros(POSITIONS, dtype=np.int32)
    there = np.flatnonzero(index.product[: index.size] > 0)
    place = (index.product[there] - 1) * LOCATIONS + index.location[there] - 1
    ids[place] = there
    for first in range(0, POSITIONS, CHUNK):
        chunk, mine = rows(account, first, on_hand), ids[first : first + CHUNK]
        known = Known(
            mine,
            index.on_hand[mine].astype(np.int32),
            index.reserved[mine].astype(np.int32),
            index.version[mine].astype(np.int32),
            index.counted_at[mine].astype(np.int64),
        )

        async def work(tx: Pass, chunk: Counts = chunk, known: Known = known) -> Outcomes:
            return await set_known_stock(tx, chunk, known)

        outcomes = await account.knowledge.run_pass("stock", work)
        again = np.flatnonzero(outcomes == Outcome.LOST)
        lost += len(again)
        if len(again):
            rest = chunk.rows(again)
            await account.knowledge.run_pass("stock", lambda tx, rest=rest: set_stock(tx, rest))
    return lost


async def _order_until(account: Account, feeding: asyncio.Task[object], name: str) -> int:
    """Place orders on the products that are being fed; every third is cancelled again."""
    n = 0
    while not feeding.done():
        asked = order(f"{name}-{n}", (f"P{1 + n % 60}", 1), (f"P{1 + (n * 7 + 1) % 60}", 1))
        document = answered((await account.grouping.submit([NewOrder(asked)]))[0])
        if n % 3 == 0:
            event = RootEvent(document["id"], "order.cancellation_requested", {})
            answered((await account.grouping.submit([event]))[0])
        n += 1
    return n


@pytest.mark.slow
def test_orders_and_a_feed_of_200_000_rows_lose_nothing_to_each_other(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            feeding = asyncio.create_task(_feed(one, 500))
            placed = await _order_until(other, feeding, "first")
            await feeding
            again = asyncio.create_task(_feed_known(one, 501))
            placed += await _order_until(other, again, "second")
            await again
            assert placed > 50
            assert lent.value("SELECT count(*) FROM orders") == placed
            assert lent.sql("SELECT count(*), min(on_hand), max(on_hand) FROM position") == [
                (POSITIONS, 501, 501)
            ]
            reserved = "SELECT sum(qty_allocated) FROM order_line"
            assert lent.value("SELECT sum(reserved) FROM position") == lent.value(reserved)
            await assert_index_equals_database(lent, one)
            await assert_index_equals_database(lent, other)
            await assert_clean(lent, one)

    asyncio.run(story())
