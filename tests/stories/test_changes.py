"""What changed since a cursor is the difference of two full answers, in every process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from tests.shop import Shop, assert_numbered, count, opened, order, place, shop, until

from penstock.api.changes import get_changes
from penstock.api.exchange import Request
from penstock.app import Account
from penstock.availability.control_input import ControlInput
from penstock.availability.threshold_input import ThresholdInput
from penstock.availability.thresholds import put_thresholds
from penstock.availability.views import AvailabilityRequest, Sight, answer
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.errors import Refusal
from penstock.network.commands import switch_locations
from penstock.network.model import SwitchInput
from penstock.records import insist
from penstock.rules.controls import put_controls

SKUS = [f"P{n}" for n in range(1, 61)]


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "changes") as one:
        yield one


async def changes(account: Account, **query: Any) -> dict[str, Any]:
    """Ask over the route's function for changes in channel `web`."""
    request = Request(urlencode({"channel": "web", **query}), {}, b"")
    return msgspec.json.decode((await get_changes(account, request)).body)


async def all_changes(account: Account, cursor: str, limit: int) -> tuple[dict[str, int], str]:
    """Read changes page by page; returns the last value of each SKU, and the next cursor."""
    found: dict[str, int] = {}
    more = True
    while more:
        page = await changes(account, after=cursor, limit=limit)
        assert not page.get("resync")
        assert len(page["items"]) <= limit
        for item in page["items"]:
            found[item["sku"]] = item["available"]
        cursor, more = page["cursor"], page.get("more", False)
    return found, cursor


def full(account: Account) -> dict[str, int]:
    knowledge = account.knowledge
    sight = Sight(account.follower, account.availability, knowledge.channels, knowledge.products)
    items = msgspec.json.decode(answer(sight, AvailabilityRequest("web", SKUS)))["items"]
    return {item["sku"]: item["available"] for item in items}


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {sku: there for sku, there in after.items() if before[sku] != there}


async def current(lent: Shop, account: Account) -> None:
    """Wait until a process holds every pass and every revision."""
    await assert_numbered(lent)
    number = lent.value("SELECT coalesce(max(number), 0) FROM pass")
    await asyncio.wait_for(account.follower.reached(number), 20)
    newest = dict(lent.sql("SELECT name, value FROM revision"))
    await until(lambda: account.follower.revisions == newest, "revisions are not followed")


async def some_business(account: Account, chance: random.Random, name: str) -> None:
    for step in range(chance.randint(1, 5)):
        rows = [
            (sku, f"L{chance.randint(1, 4)}", chance.choice((0, 3, 8)))
            for sku in chance.sample(SKUS, chance.randint(1, 25))
        ]
        await count(account, *rows)
        wanted = chance.sample(SKUS, 2)
        await place(account, order(f"{name}-{step}", *((sku, 1) for sku in wanted)))


def test_changes_are_the_difference_of_two_full_answers_in_any_process(lent: Shop) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)  # noqa: S311 (not for secrets)

    async def story() -> None:
        async with opened(lent) as first, opened(lent) as second:
            await some_business(first, chance, "begin")
            cursor, before, after = "", full(first), ""
            for turn in range(12):
                teller, reader = chance.sample([first, second], 2)
                await current(lent, reader)
                cursor, before = (await changes(reader))["cursor"], full(reader)
                await some_business(teller, chance, str(turn))
                listener = chance.choice([first, second])
                await current(lent, listener)
                found, after = await all_changes(listener, cursor, chance.choice((1, 7, 1_000)))
                assert found == difference(before, full(listener)), f"seed {seed}, turn {turn}"
                assert await all_changes(listener, after, 9) == ({}, after)
        async with opened(lent) as third:
            await current(lent, third)
            assert await all_changes(third, after, 9) == ({}, after)
            found, _ = await all_changes(third, cursor, 1_000)
            assert found == difference(before, full(third)), f"seed {seed}"

    asyncio.run(story())


async def switch(account: Account, location: str, *, is_on: bool) -> None:
    async def work(tx: Any) -> None:
        switches = [SwitchInput(location, "deliver", is_on=is_on)]
        insist(await switch_locations(tx, switches, account.knowledge.clock.now()))

    await account.database.run(account.schema, work)


def test_switches_and_controls_are_told_by_who_saw_them_others_say_read_anew(lent: Shop) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)  # noqa: S311 (not for secrets)

    async def story() -> None:
        async with opened(lent) as seeing, opened(lent) as other:
            await count(seeing, *((sku, f"L{n % 4 + 1}", 5) for n, sku in enumerate(SKUS)))
            await current(lent, seeing)
            await current(lent, other)
            cursor, before = (await changes(seeing))["cursor"], full(seeing)
            await some_business(seeing, chance, "before")
            await switch(seeing, "L1", is_on=False)
            await current(lent, seeing)
            await some_business(seeing, chance, "after")
            await put_buffer(seeing)
            await current(lent, seeing)
            found, _ = await all_changes(seeing, cursor, 10)
            now = full(seeing)
            assert difference(before, now).items() <= found.items(), f"seed {seed}"
            assert found.items() <= now.items(), f"seed {seed}"
            await current(lent, other)
            told = await changes(other, after=cursor)
            assert told["resync"]
            assert told["items"] == []
            before = full(other)
            await switch(other, "L1", is_on=True)
            await switch(other, "L2", is_on=False)
            await current(lent, other)
            found, _ = await all_changes(other, told["cursor"], 10)
            assert found == difference(before, full(other))

    asyncio.run(story())


async def put_buffer(account: Account) -> None:
    async def work(tx: Any) -> None:
        buffer = ControlInput(1, ref="one", channel="web", sku="P7")
        now = account.knowledge.clock.now()
        insist(await put_controls(tx, account.knowledge.workflows, [buffer], now))

    await account.database.run(account.schema, work)


def test_products_switched_off_kits_and_crossings_are_told(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:

            async def change(tx: Any, **product: Any) -> None:
                (outcome,) = await upsert_products(tx, "main", [ProductInput(**product)])
                assert outcome.refusal is None

            parts = [{"sku": "P1", "qty": 2}]
            kit = msgspec.convert(
                {"ref": "PAIR", "kind": "group", "components": parts}, ProductInput
            )
            fields = {name: getattr(kit, name) for name in ("ref", "kind", "components")}
            await account.database.run(account.schema, lambda tx: change(tx, **fields))

            async def low(tx: Any) -> None:
                insist(await put_thresholds(tx, [ThresholdInput(at_risk=3, channel="web")]))

            await account.database.run(account.schema, low)
            await count(account, ("P1", "L1", 8), ("P2", "L1", 8), ("P3", "L1", 1))
            await current(lent, account)
            cursor = (await changes(account))["cursor"]
            await place(account, order("a", ("P1", 5), ("P2", 1)))
            await account.database.run(account.schema, lambda tx: change(tx, ref="P3", is_on=False))
            await current(lent, account)
            told = await changes(account, after=cursor)
            assert sorted(told["items"], key=lambda one: one["sku"]) == [
                {"sku": "P1", "available": 3, "crossing": "at_risk"},
                {"sku": "P2", "available": 7},
                {"sku": "P3", "available": 0, "status": "off"},
                {"sku": "PAIR", "available": 1},
            ]

    asyncio.run(story())


def test_who_waits_is_answered_when_something_happens(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 8))
            await current(lent, account)
            cursor = (await changes(account))["cursor"]
            assert (await changes(account, after=cursor))["items"] == []
            waiting = asyncio.create_task(changes(account, after=cursor, wait_s=15))
            await count(account, ("P1", "L1", 9))
            told = await asyncio.wait_for(waiting, 10)
            assert told["items"] == [{"sku": "P1", "available": 9}]
            waiting = asyncio.create_task(changes(account, after=told["cursor"], wait_s=15))
            await switch(account, "L1", is_on=False)
            told = await asyncio.wait_for(waiting, 10)
            assert told["items"] == [{"sku": "P1", "available": 0}]

    asyncio.run(story())


def test_a_cursor_that_cannot_be_answered_is_refused_with_the_way_out(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            for there in range(6):
                await count(account, ("P1", "L1", there))
            await current(lent, account)
            cursor = (await changes(account))["cursor"]
            number, _, rest = cursor.partition(".")
            old, ahead = f"1.{rest}", f"{int(number) + 100}.{rest}"
            told = (await changes(account, after=old))["items"]
            assert told == [{"sku": "P1", "available": 5, "crossing": "back_in_stock"}]
            with pytest.raises(Refusal) as refused:
                await changes(account, after=ahead)
            assert refused.value.code == "cursor_too_old"
            lent.sql("DELETE FROM pass WHERE number < 4")
            with pytest.raises(Refusal) as refused:
                await changes(account, after=old)
            assert refused.value.code == "cursor_too_old"
            assert "full export" in refused.value.message
            for wrong in ("7", "a.b.c", f"{cursor}~1.1", ""):
                with pytest.raises(Refusal) as refused:
                    await changes(account, after=wrong)
                assert refused.value.code == "invalid_cursor"
            with pytest.raises(Refusal) as refused:
                await changes(account, channel="nowhere")
            assert refused.value.code == "unknown_channel"
            with pytest.raises(Refusal) as refused:
                await changes(account, limit=0)
            assert refused.value.code == "invalid_request"

    asyncio.run(story())


def test_a_cursor_of_thousands_of_passes_ago_is_answered_in_full(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, *((sku, "L1", 5) for sku in SKUS))
            await current(lent, account)
            cursor, before = (await changes(account))["cursor"], full(account)
            # What 3,000 passes of one movement each leave behind, and the position they moved.
            lent.sql(
                "INSERT INTO pass (id, kind, stamp, number) SELECT gen_random_uuid(), 'moves', n, "
                "n + (SELECT max(number) FROM pass) FROM generate_series(1, 3000) AS n;"
                "INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, "
                "location_ids, pool_ids, cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, "
                "on_hands, reserveds, versions, previous_ids, counted_ats, moves_on_hand) "
                "SELECT 100000 + p.number, p.id, now(), ARRAY[o.id], ARRAY[o.product_id], "
                "ARRAY[o.location_id], ARRAY[o.pool_id], ARRAY[2], ARRAY[p.id], ARRAY[1], "
                "ARRAY[0], ARRAY[(o.on_hand + n)::int], ARRAY[o.reserved], "
                "ARRAY[(o.version + n)::int], ARRAY[0], ARRAY[0], false FROM position o, "
                "(SELECT id, number, row_number() OVER (ORDER BY number) AS n FROM pass "
                " WHERE kind = 'moves') AS p WHERE o.product_id = 7"
            )
            await current(lent, account)
            found, _ = await all_changes(account, cursor, 100)
            assert found == difference(before, full(account)) == {"P7": 3_005}

    asyncio.run(story())
