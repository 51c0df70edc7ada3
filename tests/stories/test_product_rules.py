"""Rules that read the products of an order: a category with what is below it, an attribute."""

from __future__ import annotations

import asyncio
from importlib.resources import files

from tests.shop import Shop, assert_clean, count, opened, order, place, tell

from penstock.app import Account
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import put_workflow

RULES = """rulesets:
  - name: mark wine
    event: order.created
    statuses: [created]
    if: order.lines.exists(l, "drinks" in l.product.categories)
    rules:
      - set_attribute: {name: is_drink, value: "true"}

  - name: hold what is strong
    event: order.created
    statuses: [created]
    if: >-
      order.lines.exists(l, has(l.product.attributes.alcohol)
      && l.product.attributes.alcohol > 20)
    rules:
      - place_hold: {kind: age}

  - name: look again
    event: order.looked_at
    statuses: [held, allocated]
    if: order.lines.exists(l, l.product.tax_class == "high")
    rules:
      - set_attribute: {name: is_high, value: "order.lines[0].qty"}
"""


async def teach(account: Account) -> None:
    shipped = files("penstock.workflows") / "home_delivery.yaml"
    document = shipped.read_text("utf-8")
    document = document.replace("rulesets:\n", RULES, 1).replace("version: 2", "version: 3", 1)
    vocabulary = load_vocabulary()
    await account.knowledge.run_pass("workflow", lambda tx: put_workflow(tx, document, vocabulary))
    products = [
        ProductInput("P1", category_ref="drinks/wine", attributes={"alcohol": 12.5}),
        ProductInput("P2", category_ref="drinks/spirits", attributes={"alcohol": 40.0}),
        ProductInput("P3", category_ref="drinks-cabinets"),
    ]
    await account.knowledge.run_pass("import", lambda tx: upsert_products(tx, "main", products))


def test_rules_test_the_category_and_attributes_of_an_orders_products(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await teach(account)
            await count(account, *((f"P{n}", "L1", 9) for n in (1, 2, 3)))
            wine, spirits, cabinet = await place(
                account,
                order("wine", ("P1", 1), ("P3", 1)),
                order("spirits", ("P2", 1)),
                order("cabinet", ("P3", 2)),
            )
            assert [one["status"] for one in (wine, spirits, cabinet)] == [
                "allocated",
                "held",
                "allocated",
            ]
            kept = dict(lent.sql("SELECT ref, attributes FROM orders"))
            assert kept == {
                "wine": {"is_drink": True},
                "spirits": {"is_drink": True},
                "cabinet": {},
            }
            taxed = ProductInput("P3", category_ref="drinks-cabinets", tax_class="high")
            await account.knowledge.run_pass(
                "import", lambda tx: upsert_products(tx, "main", [taxed])
            )
            await tell(account, cabinet["id"], "order.looked_at")
            kept = dict(lent.sql("SELECT ref, attributes FROM orders"))
            assert kept["cabinet"] == {"is_high": 2}, "orders that were there read products too"
            await assert_clean(lent, account)

    asyncio.run(story())
