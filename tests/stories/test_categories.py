"""Controls and rules that name a category mean all below it in the tree, whatever its ref is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.shop import Shop, assert_clean, count, counters, opened, order, place
from tests.stories.test_product_rules import teach

from penstock.app import Account
from penstock.availability.control_input import ControlInput
from penstock.catalogue.commands import upsert_categories, upsert_products
from penstock.catalogue.model import CategoryInput, ProductInput
from penstock.passes import Pass
from penstock.rules.controls import put_controls
from penstock.rules.promise import PromiseInput, promise

# Refs without slashes: food > fruit > citrus > lemons, and drinks > wine beside it.
TREE = [
    CategoryInput("food"),
    CategoryInput("fruit", parent="food"),
    CategoryInput("citrus", parent="fruit"),
    CategoryInput("lemons", parent="citrus"),
    CategoryInput("drinks"),
    CategoryInput("wine", parent="drinks"),
]
PRODUCTS = [
    ProductInput("P1", category_ref="lemons"),
    ProductInput("P2", category_ref="fruit"),
    ProductInput("P3", category_ref="wine"),
]


async def grow(account: Account, *tree: CategoryInput) -> None:
    async def work(tx: Pass) -> None:
        results = await upsert_categories(tx, "main", tree)
        assert set(results) <= {"created", "updated", "unchanged"}
        await upsert_products(tx, "main", PRODUCTS)

    await account.knowledge.run_pass("import", work)


async def put(account: Account, *controls: ControlInput) -> None:
    async def work(tx: Pass) -> None:
        results: Sequence[Any] = await put_controls(
            tx, account.knowledge.workflows, controls, tx.now
        )
        assert set(results) == {"created"}

    await account.knowledge.run_pass("controls", work)
    await account.knowledge.run_pass("look", lambda tx: asyncio.sleep(0))


async def gets(account: Account, sku: str, qty: int = 10) -> int:
    """Return how many of a SKU an order gets."""
    ref = f"{sku}-{account.knowledge.clock.now().isoformat()}"
    (document,) = await place(account, order(ref, (sku, qty)))
    return counters(document)[0]


def test_of_buffers_the_category_that_is_deeper_in_the_tree_counts(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await grow(account, *TREE)
            await count(account, *((f"P{n}", "L1", 10) for n in (1, 2, 3)))
            await put(
                account,
                ControlInput(2, ref="low", category="citrus"),
                ControlInput(7, ref="high", category="food"),
            )
            assert [await gets(account, sku) for sku in ("P1", "P2", "P3")] == [8, 3, 10]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_exclusions_and_caps_of_a_category_hold_for_all_below_it(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await grow(account, *TREE)
            await count(account, *((f"P{n}", "L1", 10) for n in (1, 2, 3)))
            await put(
                account,
                ControlInput(ref="dry", kind="exclusion", category="drinks"),
                ControlInput(4, ref="few", kind="cap", category="fruit"),
            )
            assert [await gets(account, sku) for sku in ("P1", "P2", "P3")] == [4, 4, 0]
            assert await gets(account, "P1") == 0, "the cap has counted"
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_branch_that_moves_takes_its_controls_with_it(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await grow(account, *TREE)
            await count(account, ("P1", "L1", 10))
            await put(account, ControlInput(ref="dry", kind="exclusion", category="drinks"))
            asked = PromiseInput(channel="web", lines=order("x", ("P1", 10)).lines)
            asked.destination = order("x").destination
            assert promise(account.knowledge, asked, (1, 0)).choices[0].lacking == []
            await grow(account, CategoryInput("citrus", parent="drinks"))
            await account.knowledge.run_pass("look", lambda tx: asyncio.sleep(0))
            (lacking,) = promise(account.knowledge, asked, (1, 0)).choices[0].lacking
            assert lacking.qty == 10
            assert await gets(account, "P1") == 0

    asyncio.run(story())


def test_a_slash_in_a_ref_means_nothing_where_the_tree_says_otherwise(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await grow(account, *TREE, CategoryInput("drinks/lemonade", parent="food"))
            made = [ProductInput("P4", category_ref="drinks/lemonade")]
            await account.knowledge.run_pass("import", lambda tx: upsert_products(tx, "main", made))
            await count(account, ("P4", "L1", 10))
            await put(account, ControlInput(ref="dry", kind="exclusion", category="drinks"))
            assert await gets(account, "P4") == 10

    asyncio.run(story())


def test_a_workflow_that_asks_for_a_category_means_all_below_it(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await teach(account)  # marks orders with something of `drinks`
            await grow(account, *TREE)
            await count(account, ("P1", "L1", 9), ("P3", "L1", 9))
            await place(account, order("wine", ("P3", 1)), order("lemons", ("P1", 1)))
            kept = dict(lent.sql("SELECT ref, attributes FROM orders"))
            assert kept == {"wine": {"is_drink": True}, "lemons": {}}

    asyncio.run(story())
