"""Moving entities in flight to another version of their workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.engine.test_entities import PARCEL, make, put, send, timers
from tests.shop import Shop, assert_clean, count, opened, order, place, shop, tell

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.engine.document import read_document
from penstock.engine.jobs import Decision
from penstock.engine.workflows import shipped_document
from penstock.errors import Refusal
from penstock.rules.migrate import Migration, migrate, plan, usage

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
# Version 2: `packed` is called `boxed`, and its timer is another.
NEWER = (
    PARCEL.replace("name: parcel\n", "name: parcel\nversion: 2\n", 1)
    .replace("packed", "boxed")
    .replace("{name: overdue, event: parcel.overdue, statuses: [boxed], after: 2h}",
             "{name: slow, event: parcel.overdue, statuses: [boxed], after: 5h}")
)  # fmt: skip


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "migrate") as one:
        yield one


def decision(account: Account) -> Decision:
    return Decision("anna", "a new flow", account.knowledge.clock.now())


async def planned(account: Account, migration: Migration) -> list[tuple[str, str, int]]:
    knowledge = account.knowledge
    found = await account.database.run(account.schema, lambda tx: plan(tx, knowledge, migration))
    return found.moves


def statuses(lent: Shop) -> list[Any]:
    return lent.sql("""SELECT w.version, e.status, count(*) FROM entity e
                       JOIN workflow w ON w.id = e.workflow_id GROUP BY 1, 2 ORDER BY 1, 2""")


def test_entities_move_with_a_mapping_their_timers_follow_and_ended_ones_stay(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent, ManualClock(NOON)) as account:
            await put(account, PARCEL)
            parcels = [await make(account, f"p{n}") for n in range(7)]
            for parcel in parcels[:2]:
                await send(account, parcel, "parcel.fetched")
            await put(account, NEWER)
            await make(account, "new")
            asked = Migration("parcel", 1, 2)
            with pytest.raises(Refusal) as caught:
                await planned(account, asked)
            assert (caught.value.code, caught.value.data["statuses"]) == (
                "status_without_place",
                ["packed"],
            )
            asked = Migration("parcel", 1, 2, {"packed": "boxed"})
            assert await planned(account, asked) == [("packed", "boxed", 5)]
            assert statuses(lent) == [(1, "gone", 2), (1, "packed", 5), (2, "boxed", 1)]
            assert await migrate(account.knowledge, asked, decision(account)) == 5
            assert statuses(lent) == [(1, "gone", 2), (2, "boxed", 6)]
            assert timers(lent) == [("slow", NOON + timedelta(hours=5))] * 6
            assert await migrate(account.knowledge, asked, decision(account)) == 0
            assert len(timers(lent)) == 6
            moved = await send(account, parcels[3], "parcel.fetched")
            assert moved["status"] == "gone"
            kept = lent.sql("SELECT by, reason, subject ->> 'count' FROM intervention ORDER BY 3")
            assert kept == [("anna", "a new flow", "0"), ("anna", "a new flow", "5")]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_orders_in_flight_move_and_go_on_in_the_new_version(lent: Shop) -> None:
    newer: Any = msgspec.to_builtins(read_document(shipped_document("home_delivery")))
    newer["version"] = 50

    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 50))
            placed = await place(account, *(order(f"o{n}", ("P1", 1)) for n in range(12)))
            await put(account, msgspec.json.encode(newer).decode())
            asked = Migration("home_delivery", 2, 50)
            assert await planned(account, asked) == [("allocated", "allocated", 12)]
            assert await migrate(account.knowledge, asked, decision(account)) == 12
            first = placed[0]
            fulfilment_id = first["fulfilments"][0]["id"]
            done = await tell(
                account, first["id"], "fulfilment.shipped", fulfilment_id=fulfilment_id
            )
            assert done["status"] == "shipped"
            found = await account.database.run(
                account.schema, lambda tx: usage(tx, "home_delivery")
            )
            assert [(one.version, one.status, one.count) for one in found] == [
                (50, "allocated", 11),
                (50, "shipped", 1),
            ]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_fulfilments_move_under_the_lock_of_their_orders(lent: Shop) -> None:
    newer: Any = msgspec.to_builtins(read_document(shipped_document("fulfilment")))
    newer["version"] = 9

    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 50))
            (placed,) = await place(account, order("a", ("P1", 1)))
            await put(account, msgspec.json.encode(newer).decode())
            moved = await migrate(
                account.knowledge, Migration("fulfilment", 1, 9), decision(account)
            )
            assert moved == 1
            version = (
                """SELECT w.version FROM fulfilment f JOIN workflow w ON w.id = f.workflow_id"""
            )
            assert lent.value(version) == 9
            shipped = await tell(
                account,
                placed["id"],
                "fulfilment.shipped",
                fulfilment_id=placed["fulfilments"][0]["id"],
            )
            assert shipped["status"] == "shipped"
            await assert_clean(lent, account)

    asyncio.run(story())
