"""Positions, products and controls are told of what happened to them, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.shop import Shop, count, opened, order, place, shop, work

from penstock.app import Account
from penstock.availability.control_input import ControlInput
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.engine.workflows import activate
from penstock.passes import Pass
from penstock.rules.controls import put_controls, remove_controls
from penstock.rules.crossings import Watcher
from penstock.rules.subjects import tell_changes

STATUSES = "SELECT ref, status FROM entity WHERE kind = '{}' ORDER BY ref"


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "subjects") as one:
        yield one


async def use(account: Account, name: str) -> None:
    async def work(tx: Any) -> None:
        await activate(tx, name, 2 if name == "position" else 1)

    await account.database.run(account.schema, work)


def test_a_position_is_told_that_more_is_promised_than_is_there_once(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await use(account, "position")
            await count(account, ("P1", "L1", 5), ("P2", "L1", 5))
            watcher = Watcher(account.knowledge, account.availability, account.follower)
            await watcher.step()
            await place(account, order("a", ("P1", 3)))
            assert lent.value("SELECT count(*) FROM inbox") == 0  # nothing has crossed anything
            await count(account, ("P1", "L1", 1))
            told = lent.sql("SELECT name, payload->>'lacking' FROM inbox WHERE entity = 'position'")
            assert told == [("position.short", "2")]
            await count(account, ("P1", "L1", 0))  # shorter still: it is told already
            assert lent.value("SELECT count(*) FROM inbox WHERE entity = 'position'") == 1
            await work(account)
            assert lent.sql(STATUSES.format("position")) == [("P1@L1", "out_of_stock")]
            assert await watcher.step() == 1
            await count(account, ("P1", "L1", 4))
            assert await watcher.step() == 1
            await work(account)
            assert lent.sql(STATUSES.format("position")) == [("P1@L1", "in_stock")]
            assert lent.value("SELECT count(*) FROM unhandled_event") == 0

    asyncio.run(story())


def test_products_and_controls_are_told_what_was_changed_of_them(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await use(account, "product")
            await use(account, "control")
            knowledge = account.knowledge

            async def change(tx: Pass, weight_g: int) -> None:
                asked = [ProductInput("P1", weight_g=weight_g), ProductInput("P2", weight_g=400)]
                outcomes = await upsert_products(tx, "main", asked)
                changes = [
                    (one.ref, outcome.refusal or outcome.status)
                    for one, outcome in zip(asked, outcomes, strict=True)
                ]
                await tell_changes(tx, knowledge.workflows, "product", changes, tx.now)

            for _ in range(2):  # the second time nothing is changed
                await knowledge.run_pass("products", lambda tx: change(tx, 500))
            await work(account)
            assert lent.sql(STATUSES.format("product")) == [("P1", "changed")]

            async def put(tx: Pass) -> None:
                controls = [ControlInput(2, ref="few", sku="P1"), ControlInput(-1, ref="wrong")]
                await put_controls(tx, knowledge.workflows, controls, tx.now)

            for _ in range(2):
                await knowledge.run_pass("controls", put)
            await work(account)
            assert lent.sql(STATUSES.format("control")) == [("few", "unseen")]
            await knowledge.run_pass(
                "controls",
                lambda tx: remove_controls(tx, knowledge.workflows, ["few", "none"], tx.now),
            )
            await work(account)
            assert lent.sql(STATUSES.format("control")) == [("few", "removed")]
            assert lent.value("SELECT count(*) FROM unhandled_event") == 0

    asyncio.run(story())


def test_without_a_workflow_nobody_is_told(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            await place(account, order("a", ("P1", 5)))
            await count(account, ("P1", "L1", 0))
            assert lent.value("SELECT count(*) FROM entity") == 0

    asyncio.run(story())
