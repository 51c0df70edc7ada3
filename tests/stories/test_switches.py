"""Switched off: every process obeys with its next order, and work in progress stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.shop import (
    Shop,
    assert_clean,
    count,
    locations_of,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
    until,
)

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.network.commands import switch_locations, switch_networks
from penstock.network.model import SwitchInput

MONDAY = datetime(2026, 3, 2, 10, tzinfo=UTC)
NETWORKS = """
INSERT INTO network (id, ref) VALUES (1, 'near'), (2, 'far');
INSERT INTO network_location SELECT CASE WHEN id <= 2 THEN 1 ELSE 2 END, id FROM location;
INSERT INTO channel_network VALUES (1, 1), (1, 2), (2, 2);
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "switches", NETWORKS) as one:
        yield one


def available(account: Account, channel_id: int = 1) -> int:
    """Return what the channel may promise of P1, from memory."""
    catalogue = account.availability.catalogue(channel_id, "deliver")
    return int(catalogue.totals_of(np.array([1], dtype=np.int32))[0])


async def switch(account: Account, kind: str, ref: str, *, is_on: bool, **more: Any) -> None:
    verb = switch_locations if kind == "location" else switch_networks
    asked = [SwitchInput(ref, "deliver", is_on, **more)]
    now = account.knowledge.clock.now()
    await account.database.run(account.schema, lambda tx: verb(tx, asked, now))


@pytest.mark.parametrize(
    ("kind", "ref", "next_one"), [("location", "L1", "L2"), ("network", "near", "L3")]
)
def test_the_next_order_in_another_process_obeys_at_once(
    lent: Shop, kind: str, ref: str, next_one: str
) -> None:
    async def story() -> None:
        async with opened(lent) as one, opened(lent) as other:
            await count(one, ("P1", "L1", 5), ("P1", "L2", 5), ("P1", "L3", 5))
            (before,) = await place(other, order("before", ("P1", 1)))
            assert locations_of(before) == ["L1"]
            await until(lambda: available(other) == 14, "availability does not follow")
            await switch(one, kind, ref, is_on=False)
            (during,) = await place(other, order("during", ("P1", 1)))
            assert locations_of(during) == [next_one]
            left = {"location": 9, "network": 4}[kind]
            await until(lambda: available(one) == left, "it still promises what is off")
            await until(lambda: available(other) == left, "it still promises what is off")
            (fulfilment,) = before["fulfilments"]
            shipped = await tell(
                other, before["id"], "fulfilment.shipped", fulfilment_id=fulfilment["id"]
            )
            assert shipped["status"] == "shipped"
            await switch(one, kind, ref, is_on=True)
            (after,) = await place(other, order("after", ("P1", 1)))
            assert locations_of(after) == ["L1"]
            await until(lambda: available(one) == 12, "what is on again is not promised")
            assert stock_of(lent, "P1")["L1"] == (4, 1)
            await assert_clean(lent, one)

    asyncio.run(story())


def test_a_switch_with_an_hour_is_obeyed_at_that_hour(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(MONDAY)
        async with opened(lent, clock) as account:
            await count(account, ("P1", "L1", 5), ("P1", "L2", 5))
            hours = {
                "off_from": MONDAY + timedelta(hours=1),
                "off_until": MONDAY + timedelta(hours=2),
            }
            await switch(account, "location", "L1", is_on=False, **hours)
            taken: list[str] = []
            for minutes in (0, 59, 60, 119, 120):
                clock.advance_to(MONDAY + timedelta(minutes=minutes))
                (document,) = await place(account, order(f"at-{minutes}", ("P1", 1)))
                taken += locations_of(document)
            assert taken == ["L1", "L1", "L2", "L2", "L1"]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_channel_is_served_by_its_own_networks_only(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5), ("P1", "L5", 1))
            first, second = await place(
                account,
                order("m1", ("P1", 1), channel="market"),
                order("m2", ("P1", 1), channel="market"),
            )
            assert (locations_of(first), second["status"]) == (["L5"], "unsourced")
            assert (available(account, 1), available(account, 2)) == (5, 0)
            await switch(account, "network", "far", is_on=False)
            await count(account, ("P1", "L5", 9))
            retried = await tell(account, second["id"], "order.sourcing_retried")
            assert retried["status"] == "unsourced"
            await assert_clean(lent, account)

    asyncio.run(story())
