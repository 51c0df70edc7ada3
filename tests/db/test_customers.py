"""Customers: made, changed and found by ref."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.db.in_account import all_of, run, told
from tests.db.stock_moves import account

from penstock.customers.commands import upsert_customers
from penstock.customers.model import CustomerInput
from penstock.customers.store import find_customers
from penstock.db import Tx


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "customers_test") as name:
        yield name


def test_customers_are_made_and_changed_by_ref_and_keep_their_id(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        gold = CustomerInput("a", tier="gold", address={"town": "Bath"})
        assert await upsert_customers(tx, [gold, CustomerInput("b")]) == ["created"] * 2
        before = await find_customers(tx, ["a", "b", "c", "\0"])
        tiers = {ref: customer.view["tier"] for ref, customer in before.items()}
        assert tiers == {"a": "gold", "b": "standard"}
        silver = CustomerInput("a", tier="silver")
        assert await upsert_customers(tx, [silver, CustomerInput("b")]) == ["updated", "unchanged"]
        after = await find_customers(tx, ["a"])
        assert (after["a"].id, after["a"].view["tier"]) == (before["a"].id, "silver")
        assert await find_customers(tx, []) == {}

    run(database, schema, work)


def test_one_bad_customer_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        customers = [
            CustomerInput(""),
            CustomerInput("a", tier=""),
            CustomerInput("b", name="\0"),
            CustomerInput("c", email="old@example.org"),
            CustomerInput("c", email="new@example.org"),
            CustomerInput("d"),
        ]
        results = await upsert_customers(tx, customers)
        assert told(results) == ["invalid_customer"] * 3 + ["superseded", "created", "created"]
        rows = await all_of(tx, "SELECT ref, email FROM customer ORDER BY ref")
        assert rows == [("c", "new@example.org"), ("d", None)]

    run(database, schema, work)
