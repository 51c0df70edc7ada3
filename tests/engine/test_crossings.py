"""Crossings of thresholds are told once, whoever tells them, dies, or repeats a feed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine.processes import workers
from tests.shop import Shop, count, opened, order, place, shop, until, until_true, work

from penstock.app import Account
from penstock.availability.control_input import ControlInput
from penstock.availability.threshold_input import ThresholdInput
from penstock.availability.thresholds import put_thresholds, remove_thresholds
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.engine.workflows import activate
from penstock.errors import Transient
from penstock.network.commands import switch_locations
from penstock.network.model import SwitchInput
from penstock.records import insist
from penstock.rules.controls import put_controls
from penstock.rules.crossings import Watcher

STATUSES = "SELECT ref, status FROM entity WHERE kind = '{}' ORDER BY ref"
TOLD = (
    "SELECT e.name, e.payload->>'sku', (e.payload->>'available')::int FROM event e JOIN pass p "
    "ON p.id = e.pass_id WHERE e.name ~ '^(inventory|availability)[.]' "
    "ORDER BY e.recorded_at, e.ordinal"
)


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "crossings") as one:
        yield one


async def use(account: Account, *names: str) -> None:
    async def put(tx: Any) -> None:
        for name in names:
            await activate(tx, name, 2 if name == "position" else 1)

    await account.database.run(account.schema, put)


async def declare(lent: Shop, account: Account, *thresholds: ThresholdInput) -> None:
    async def put(tx: Any) -> None:
        insist(await put_thresholds(tx, list(thresholds)))

    await account.database.run(account.schema, put)
    await settled(lent, account)


def watcher_of(account: Account) -> Watcher:
    return Watcher(account.knowledge, account.availability, account.follower)


async def settled(lent: Shop, account: Account) -> None:
    """Wait until this process knows the newest revisions, as its follower tells them."""
    newest = dict(lent.sql("SELECT name, value FROM revision"))
    await until(lambda: account.follower.revisions == newest, "revisions are not followed")


def test_a_position_is_told_each_level_it_crosses_once_and_its_workflow_follows(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await use(account, "position")
            await declare(lent, account, ThresholdInput(at_risk=3, sku="P1"))
            await count(account, ("P1", "L1", 10), ("P2", "L1", 10), ("P3", "L1", 0))
            watcher = watcher_of(account)
            assert await watcher.step() == 0
            await place(account, order("a", ("P1", 6), ("P2", 8)))
            assert await watcher.step() == 0
            await place(account, order("b", ("P1", 1)))
            assert await watcher.step() == 1
            await place(account, order("c", ("P1", 1)))  # lower still, on the same side
            assert await watcher.step() == 0
            await place(account, order("d", ("P1", 2)))
            assert await watcher.step() == 1
            await count(account, ("P1", "L1", 12))  # ten are reserved
            assert await watcher.step() == 1
            await count(account, ("P1", "L1", 50))
            assert await watcher.step() == 1
            assert lent.sql(TOLD) == [
                ("inventory.at_risk", "P1", 3),
                ("inventory.out_of_stock", "P1", 0),
                ("inventory.at_risk", "P1", 2),
                ("inventory.back_in_stock", "P1", 40),
            ]
            await work(account)
            assert lent.sql(STATUSES.format("position")) == [("P1@L1", "in_stock")]
            assert lent.value("SELECT count(*) FROM unhandled_event") == 0

    asyncio.run(story())


def test_what_crosses_there_and_back_between_two_looks_has_crossed_nothing(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await declare(lent, account, ThresholdInput(at_risk=3))
            await count(account, ("P1", "L1", 10))
            watcher = watcher_of(account)
            await watcher.step()
            for there in (2, 0, 10, 0, 9):
                await count(account, ("P1", "L1", there))
            assert await watcher.step() == 0
            for there in (2, 9, 0, 1):
                await count(account, ("P1", "L1", there))
            assert await watcher.step() == 1
            assert lent.sql(TOLD) == [("inventory.at_risk", "P1", 1)]

    asyncio.run(story())


def test_the_narrowest_level_holds_and_a_changed_level_is_told(lent: Shop) -> None:
    async def story() -> None:
        lent.sql("UPDATE product SET category_ref = 'mugs' WHERE ref IN ('P1', 'P2', 'P3')")
        async with opened(lent) as account:
            await declare(
                lent,
                account,
                ThresholdInput(at_risk=1),
                ThresholdInput(at_risk=4, category="mugs"),
                ThresholdInput(at_risk=6, sku="P2"),
                ThresholdInput(at_risk=8, out_of_stock=5, sku="P3", location="L2"),
            )
            every = ("P1", "P2", "P3", "P4")
            await count(account, *((sku, place, 20) for sku in every for place in ("L1", "L2")))
            watcher = watcher_of(account)
            assert await watcher.step() == 0
            await count(account, *((sku, place, 5) for sku in every for place in ("L1", "L2")))
            assert await watcher.step() == 3
            told = "SELECT name, payload->>'sku', payload->>'location' FROM event ORDER BY 2, 3"
            assert lent.sql(told) == [
                ("inventory.at_risk", "P2", "L1"),
                ("inventory.at_risk", "P2", "L2"),
                ("inventory.out_of_stock", "P3", "L2"),
            ]
            late = [ProductInput("LATE", category_ref="mugs")]
            await account.knowledge.run_pass(
                "products", lambda tx: upsert_products(tx, "main", late)
            )
            await settled(lent, account)
            await count(account, ("LATE", "L1", 20))
            assert await watcher.step() == 0
            await count(account, ("LATE", "L1", 4))
            assert await watcher.step() == 1
            await declare(
                lent, account, ThresholdInput(at_risk=5)
            )  # of P4: the others have their own
            assert await watcher.step() == 2

            async def remove(tx: Any) -> None:
                insist(await remove_thresholds(tx, ["position"]))

            await account.database.run(account.schema, remove)
            await settled(lent, account)
            assert await watcher.step() == 2
            assert lent.sql(TOLD)[-1] == ("inventory.back_in_stock", "P4", 5)

    asyncio.run(story())


def test_what_was_told_survives_a_restart_and_what_crossed_meanwhile_is_told(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await declare(lent, account, ThresholdInput(at_risk=3))
            await count(account, ("P1", "L1", 10), ("P2", "L1", 2), ("P3", "L1", 0))
            assert await watcher_of(account).step() == 1  # P2 came below its level
            assert await watcher_of(account).step() == 0
            await count(account, ("P1", "L1", 1), ("P3", "L1", 9))
        async with opened(lent) as account:
            assert await watcher_of(account).step() == 2
            assert await watcher_of(account).step() == 0
            assert sorted(lent.sql(TOLD)[1:]) == [
                ("inventory.at_risk", "P1", 1),
                ("inventory.back_in_stock", "P3", 9),
            ]

    asyncio.run(story())


def test_of_two_processes_that_both_believe_to_lead_one_tells(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await declare(lent, account, ThresholdInput(at_risk=3))
            await count(account, ("P1", "L1", 10))
            first, second = watcher_of(account), watcher_of(other)
            await first.step()
            await settled(lent, other)
            await asyncio.wait_for(other.follower.reached(account.follower.version), 20)
            await second.step()
            await count(account, ("P1", "L1", 2))
            newest = "SELECT count(*) FROM pass WHERE number IS NULL"
            await until(lambda: lent.value(newest) == 0, "passes stay without a number")
            number = lent.value("SELECT max(number) FROM pass")
            await asyncio.wait_for(other.follower.reached(number), 20)
            assert await first.step() == 1
            with pytest.raises(Transient):
                await second.step()
            second.forget()
            assert await second.step() == 0
            assert lent.sql(TOLD) == [("inventory.at_risk", "P1", 2)]

    asyncio.run(story())


def test_a_channel_is_told_what_its_totals_cross_by_sales_switches_and_controls(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await use(account, "virtual_position")
            await declare(
                lent,
                account,
                ThresholdInput(at_risk=5, channel="web"),
                ThresholdInput(at_risk=0, channel="market", watch="base"),
            )
            await count(account, ("P1", "L1", 6), ("P1", "L2", 6), ("P2", "L1", 50))
            await settled(lent, account)
            watcher = watcher_of(account)
            assert await watcher.step() == 0
            await place(account, order("a", ("P1", 6)))  # L1 has none left for anyone
            assert await watcher.step() == 1
            knowledge = account.knowledge
            off = SwitchInput("L2", "deliver", is_on=False, reason="flood")
            now = knowledge.clock.now()

            async def switch(tx: Any, one: SwitchInput) -> None:
                insist(await switch_locations(tx, [one], now))

            await account.database.run(account.schema, lambda tx: switch(tx, off))
            await settled(lent, account)
            assert await watcher.step() == 2
            await account.database.run(
                account.schema, lambda tx: switch(tx, SwitchInput("L2", "deliver", is_on=True))
            )
            await settled(lent, account)
            assert await watcher.step() == 2

            async def keep(tx: Any) -> None:
                buffer = ControlInput(2, ref="two", channel="web")
                insist(await put_controls(tx, knowledge.workflows, [buffer], now))

            await account.database.run(account.schema, keep)
            await settled(lent, account)
            assert await watcher.step() == 1
            web = "e.payload->>'channel' = 'web'"
            told = TOLD.replace("WHERE", f"WHERE {web} AND")
            assert lent.sql(told) == [
                ("availability.out_of_stock", "P1", 0),
                ("availability.back_in_stock", "P1", 6),
                ("availability.at_risk", "P1", 4),
            ]
            base = TOLD.replace("WHERE", "WHERE e.payload->>'channel' = 'market' AND")
            assert lent.sql(base.replace("'sku'", "'location'")) == [
                ("availability.out_of_stock", "L1", 0),
                ("availability.out_of_stock", "L2", 0),
                ("availability.back_in_stock", "L2", 6),
            ]
            await work(account)
            assert lent.sql(STATUSES.format("virtual_position")) == [("web/P1", "at_risk")]

    asyncio.run(story())


def test_every_crossing_is_told_once_though_processes_die_and_a_feed_repeats_itself(
    lent: Shop, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)  # noqa: S311 (not for secrets)

    async def feed(rounds: int, changed: int) -> None:
        async with opened(lent) as account:
            for _ in range(rounds):
                rows = [
                    (f"P{n}", f"L{chance.randint(1, 4)}", chance.choice((0, 2, 9)))
                    for n in chance.sample(range(1, 61), changed)
                ]
                for _ in range(2):  # once more, as it is
                    await count(account, *rows)

    async def begin() -> None:
        async with opened(lent) as account:
            await use(account, "position")
            await declare(lent, account, ThresholdInput(at_risk=3))
            every = [(f"P{n}", f"L{m}", 9) for n in range(1, 61) for m in range(1, 5)]
            await count(account, *every)

    asyncio.run(begin())
    with workers(lent, tmp_path / "log", 2) as running:
        known = "SELECT count(*) FROM crossing_state"
        until_true(lambda: lent.value(known) > 0, "nobody looks")
        for _ in range(3):
            asyncio.run(feed(5, 20))
            running.kill(running.running[0])
            asyncio.run(feed(2, 20))
            running.wait_ready(running.start())
        asyncio.run(feed(1, 60))
        until_true(lambda: _wrong(lent) == [], f"seed {seed}: {_wrong(lent)[:5]}")
        idle = "SELECT count(*) FROM inbox WHERE NOT is_timer"
        until_true(lambda: lent.value(idle) == 0, "events are left")
    assert _repeated(lent) == [], f"seed {seed}"
    assert lent.value("SELECT count(*) FROM dead_letter") == 0
    statuses = dict(lent.sql(STATUSES.format("position")))
    assert all(statuses.get(ref, "in_stock") == state for ref, state in _truth(lent).items())


def _truth(lent: Shop) -> dict[str, str]:
    rows = lent.sql(
        "SELECT p.ref || '@' || l.ref, o.on_hand - o.reserved FROM position o "
        "JOIN product p ON p.id = o.product_id JOIN location l ON l.id = o.location_id"
    )
    return {
        ref: "out_of_stock" if there <= 0 else "at_risk" if there <= 3 else "in_stock"
        for ref, there in rows
    }


def _told(lent: Shop) -> dict[str, list[tuple[str, str]]]:
    """Return what the stream tells of each position: (what it was, what it is), in order."""
    rows = lent.sql(
        "SELECT e.payload->>'sku' || '@' || (e.payload->>'location'), e.payload->>'was', e.name "
        "FROM event e JOIN pass p ON p.id = e.pass_id WHERE e.root_kind = 'position' "
        "AND e.name LIKE 'inventory.%' ORDER BY p.number, e.ordinal"
    )
    told: dict[str, list[tuple[str, str]]] = {}
    for ref, was, name in rows:
        state = name.removeprefix("inventory.").replace("back_", "")
        told.setdefault(ref, []).append((was, state))
    return told


def _wrong(lent: Shop) -> list[str]:
    """Return the positions of which something else was told last than what is true."""
    told = _told(lent)
    last = {ref: events[-1][1] for ref, events in told.items()}
    return [ref for ref, state in _truth(lent).items() if last.get(ref, "in_stock") != state]


def _repeated(lent: Shop) -> list[str]:
    """Return the positions whose events are no chain: told twice, or one of them lost."""
    wrong: list[str] = []
    for ref, events in _told(lent).items():
        states = ["in_stock", *(state for _, state in events)]
        if [was for was, _ in events] != states[:-1] or any(a == b for a, b in events):
            wrong.append(ref)
    return wrong
