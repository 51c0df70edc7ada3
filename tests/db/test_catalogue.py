"""Products: made and changed in lists, and what a process holds of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.db.in_account import all_of, overlap, revision, run
from tests.db.stock_moves import account

from penstock.catalogue import products as held_products
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import Outcome, ProductInput
from penstock.catalogue.products import Products, load_products
from penstock.catalogue.views import find_products
from penstock.db import Database, Tx
from penstock.errors import Refusal


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "catalogue_test") as name:
        yield name


async def put(tx: Tx, *products: ProductInput) -> list[str]:
    outcomes = await upsert_products(tx, "main", products)
    return [one.refusal.code if one.refusal else one.status for one in outcomes]


def test_one_bad_product_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        products = [
            ProductInput("A", weight_g=5),
            ProductInput("B", weight_g=-1),
            ProductInput("C", gtin="4006381333932"),
            ProductInput("D", gtin="4006381333931", attributes={"colour": "blue"}),
            ProductInput("E", name="nul \0"),
            ProductInput("A", weight_g=7),
        ]
        outcomes = await upsert_products(tx, "main", products)
        assert [one.status for one in outcomes] == ["refused"] * 3 + [
            "created",
            "refused",
            "created",
        ]
        fields = [one.refusal and one.refusal.data["field"] for one in outcomes]
        assert fields == ["ref", "weight_g", "gtin", None, "name", None]
        assert outcomes[0].refusal is not None
        assert outcomes[0].refusal.code == "superseded"
        a, d = await find_products(tx, "main", ["D", "A", "E", "\0"])
        assert (a.weight_g, d.gtin, d.attributes) == (7, "4006381333931", {"colour": "blue"})

    run(database, schema, work)


def test_the_same_list_again_changes_nothing_and_takes_no_ids(database: str, schema: str) -> None:
    products = [ProductInput(f"S{n}", name="ü", weight_g=n) for n in range(100)]

    async def work(tx: Tx) -> None:
        assert set(await put(tx, *products)) == {"created"}
        before = await all_of(tx, "SELECT *, xmin, xmax FROM product ORDER BY id")
        assert set(await put(tx, *products)) == {"unchanged"}
        assert await all_of(tx, "SELECT *, xmin, xmax FROM product ORDER BY id") == before
        assert await put(tx, ProductInput("S7", name="other", weight_g=7)) == ["updated"]
        assert await put(tx, ProductInput("next")) == ["created"]
        (last,) = await find_products(tx, "main", ["next"])
        assert last.id == 101

    run(database, schema, work)


@pytest.mark.parametrize("field", ["weight_g", "is_stocked", "is_on"])
def test_a_change_that_processes_hold_bumps_the_revision(
    database: str, schema: str, field: str
) -> None:
    changed: dict[str, Any] = {"weight_g": 3, "is_stocked": False, "is_on": False}

    async def work(tx: Tx) -> None:
        await put(tx, ProductInput("A"))
        before = await revision(tx, "catalogue")
        product = msgspec.structs.replace(ProductInput("A"), **{field: changed[field]})
        assert await put(tx, product, ProductInput("B")) == ["updated", "created"]
        assert await revision(tx, "catalogue") == before + 1

    run(database, schema, work)


def test_new_products_and_other_changes_do_not_bump_the_revision(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        before = await revision(tx, "catalogue")
        await put(tx, ProductInput("A"), ProductInput("B"))
        assert await put(tx, ProductInput("A", name="new", price_minor=5)) == ["updated"]
        assert await put(tx, ProductInput("A", weight_g=-5)) == ["invalid_product"]
        assert await revision(tx, "catalogue") == before

    run(database, schema, work)


def test_a_sku_made_since_is_found_when_it_is_missed(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await put(tx, ProductInput("A", weight_g=1))
        held = await load_products(tx)
        catalogue = next(iter(await all_of(tx, "SELECT id FROM product_catalogue")))[0]
        await put(tx, ProductInput("B", weight_g=9, is_on=False))
        await upsert_products(tx, "other", [ProductInput("C")])
        a, b, c, nul, again = await held.resolve(tx, catalogue, ["A", "B", "C", "\0", "B"])
        assert (c, nul, again) == (-1, -1, b)
        assert held.weight_g[[a, b]].tolist() == [1, 9]
        assert held.is_on[[a, b]].tolist() == [True, False]
        assert held.skus[b] == "B"
        tx.connection = None  # type: ignore[assignment] (what is known is not asked for again)
        assert await held.resolve(tx, catalogue, ["B", "A"]) == [b, a]

    async def whole() -> None:
        pool = Database(database, size=1)
        await pool.open()
        async with pool.connection() as connection:
            await connection.execute(f"BEGIN; SET LOCAL search_path TO {schema}")
            await work(Tx(connection, schema))
            await connection.execute("COMMIT")
        await pool.close()

    asyncio.run(whole())


def test_products_are_loaded_page_by_page_in_every_catalogue(
    database: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_products, "PAGE", 7)

    async def work(tx: Tx) -> Products:
        for catalogue in ("one", "two"):
            products = [ProductInput(f"S{n}", weight_g=n, is_stocked=n > 3) for n in range(20)]
            await upsert_products(tx, catalogue, products)
        return await load_products(tx)

    held = run(database, schema, work)
    for catalogue in (1, 2):
        ids = np.array([held.by_sku(catalogue)[f"S{n}"] for n in range(20)])
        assert held.weight_g[ids].tolist() == list(range(20))
        assert held.is_stocked[ids].tolist() == [n > 3 for n in range(20)]
        assert held.is_on[ids].all()
        assert [held.skus[one] for one in ids.tolist()] == [f"S{n}" for n in range(20)]
    assert not held.is_on[0]


def test_an_empty_account_has_no_products(database: str, schema: str) -> None:
    held = run(database, schema, load_products)
    assert (held.by_sku(1), len(held.weight_g)) == ({}, 0)


def test_two_lists_at_once_in_opposite_order_both_end(database: str, schema: str) -> None:
    products = [ProductInput(f"S{n}") for n in range(300)]
    changed = [ProductInput(f"S{n}", weight_g=5) for n in reversed(range(300))]

    async def whole() -> list[list[Outcome]]:
        pool = Database(database, size=4)
        await pool.open()
        lists = [products, changed] * 4
        try:
            return await asyncio.gather(
                *(
                    pool.run(schema, lambda tx, one=one: upsert_products(tx, "m", one))
                    for one in lists
                )
            )
        finally:
            await pool.close()

    outcomes = asyncio.run(whole())
    statuses = [{one.status for one in each} for each in outcomes]
    assert all(len(each) == 1 for each in statuses)
    assert statuses.count({"created"}) == 1

    async def count(tx: Tx) -> list[tuple[Any, ...]]:
        return await all_of(tx, "SELECT count(*), max(id) FROM product")

    assert run(database, schema, count) == [(300, 300)]


def test_a_change_taken_back_by_another_who_waited_is_heard_of_too(
    database: str, schema: str
) -> None:
    run(database, schema, lambda tx: put(tx, ProductInput("A", weight_g=1)))
    before = run(database, schema, lambda tx: revision(tx, "catalogue"))
    results = overlap(
        database,
        schema,
        lambda tx: put(tx, ProductInput("A", weight_g=2)),
        lambda tx: put(tx, ProductInput("A", weight_g=1)),
    )
    assert results == (["updated"], ["updated"])
    assert run(database, schema, lambda tx: revision(tx, "catalogue")) == before + 2


@pytest.mark.parametrize("ref", ["", "x" * 101, "\0"])
def test_a_catalogue_needs_a_ref(database: str, schema: str, ref: str) -> None:
    async def work(tx: Tx) -> None:
        with pytest.raises(Refusal) as caught:
            await upsert_products(tx, ref, [ProductInput("A")])
        assert caught.value.code == "invalid_catalogue"

    run(database, schema, work)
