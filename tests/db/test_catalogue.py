"""Products: made and changed in lists, and what a process holds of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.db.in_account import all_of, overlap, revision, run, told
from tests.db.stock_moves import account

from penstock.access.attribute_types import AttributeTypeInput, upsert_attribute_types
from penstock.catalogue import products as held_products
from penstock.catalogue.categories import categories_of
from penstock.catalogue.commands import upsert_categories, upsert_products
from penstock.catalogue.model import (
    CategoryInput,
    ComponentInput,
    Outcome,
    PriceInput,
    ProductInput,
)
from penstock.catalogue.products import Products, load_products, refresh_products
from penstock.catalogue.views import Search, find_products, search_products
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


def test_a_change_that_no_process_holds_does_not_bump_the_revision(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        await put(tx, ProductInput("A"), ProductInput("B"))
        before = await revision(tx, "catalogue")
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


def kit(ref: str, **components: int) -> ProductInput:
    parts = [ComponentInput(sku, qty) for sku, qty in components.items()]
    return ProductInput(ref, kind="group", components=parts)


def test_relatives_may_be_in_the_same_list_and_have_to_be_of_the_right_kind(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        variant = ProductInput("A-red", kind="variant", parent_ref="A")
        assert (
            await put(tx, variant, kit("K", **{"A-red": 2}), ProductInput("A")) == ["created"] * 3
        )
        bad = [
            (ProductInput("V", kind="variant", parent_ref="A-red"), "parent_ref"),
            (ProductInput("V", kind="variant", parent_ref="nowhere"), "parent_ref"),
            (kit("L", K=1), "components[0].sku"),
            (kit("L", A=1, nowhere=1), "components[1].sku"),
            (kit("A-red", A=1), "kind"),
            (ProductInput("A", kind="variant", parent_ref="A"), "kind"),
        ]
        for product, field in bad:
            (outcome,) = await upsert_products(tx, "main", [product])
            assert outcome.refusal is not None, product
            assert outcome.refusal.data["field"] in {field, "parent_ref"}
        whole = await upsert_products(tx, "main", [kit("M", N=1), kit("N", Q=1)])
        assert [one.status for one in whole] == ["refused", "refused"]
        (held,) = await find_products(tx, "main", ["K"])
        assert held.components == [ComponentInput("A-red", 2)]

    run(database, schema, work)


def test_a_process_takes_in_only_what_changed_since_its_revision(
    database: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_products, "PAGE", 3)

    async def work(tx: Tx) -> None:
        await put(tx, *(ProductInput(f"S{n}") for n in range(10)))
        held, since = await load_products(tx), await revision(tx, "catalogue")
        read: list[int] = []
        add = held.add
        monkeypatch.setattr(
            held, "add", lambda rows: read.append(sum(len(r[2]) for r in rows)) or add(rows)
        )
        await put(tx, *(ProductInput(f"S{n}", weight_g=7) for n in range(4)))
        await put(tx, ProductInput("S1", weight_g=9), kit("K", S1=2))
        await put(tx, ProductInput("V", kind="variant", parent_ref="S5"))
        await put(tx, ProductInput("S5", is_on=False))
        await refresh_products(tx, held, since)
        assert sum(read) == 7
        ids = held.by_sku(1)
        weights = [int(held.weight_g[ids[f"S{n}"]]) for n in range(10)]
        assert weights == [7, 9, 7, 7, 0, 0, 0, 0, 0, 0]
        assert not held.is_on[ids["V"]], "a variant is on while its parent is"
        found = held.kit(ids["K"])
        assert found is not None
        assert held.parts(found) == [(ids["S1"], 2)]
        since = await revision(tx, "catalogue")
        await put(tx, ProductInput("S5"), ProductInput("K"))
        await refresh_products(tx, held, since)
        assert held.is_on[ids["V"]]
        assert held.kit(ids["K"]) is None

    run(database, schema, work)


def test_categories_nest_and_one_cannot_be_within_itself(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        async def cats(*asked: CategoryInput) -> list[str]:
            results = await upsert_categories(tx, "main", asked)
            return [one if isinstance(one, str) else one.code for one in results]

        assert await cats(CategoryInput("b", parent="a"), CategoryInput("a")) == ["created"] * 2
        assert await cats(CategoryInput("a", parent="b")) == ["category_cycle"]
        assert await cats(CategoryInput("c", parent="nowhere")) == ["unknown_category"]
        assert await cats(CategoryInput("/c")) == ["invalid_category"]
        assert await cats(CategoryInput("x/y/z", "deep"), CategoryInput("a")) == [
            "created",
            "unchanged",
        ]
        await put(tx, ProductInput("P", category_ref="b/new"), ProductInput("Q", category_ref="z"))
        within = {one.ref: one.within for one in await categories_of(tx, "main")}
        assert within["x/y/z"] == ["x/y/z", "x/y", "x"]
        assert within["b/new"] == ["b/new", "b", "a"]
        assert await cats(CategoryInput("b", parent="x")) == ["updated"]
        within = {one.ref: one.within for one in await categories_of(tx, "main")}
        assert within["b/new"] == ["b/new", "b", "x"], "what is below moves with it"
        page = await search_products(tx, Search("main", category="x"))
        assert [one.ref for one in page.products] == ["P"]

    run(database, schema, work)


def test_products_are_searched_page_by_page(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        price = PriceInput("GBP", Decimal("19.99"), qty_from=10)
        named = [ProductInput(f"S{n}", name=f"Blue {n}", is_on=n > 2) for n in range(5)]
        await put(tx, *named, ProductInput("T", gtin="4006381333931", prices=[price]))
        first = await search_products(tx, Search("main", q="blu", limit=2))
        assert ([one.ref for one in first.products], first.next) == (["S0", "S1"], "S1")
        rest = await search_products(tx, Search("main", q="blu", after="S1", limit=3))
        assert ([one.ref for one in rest.products], rest.next) == (["S2", "S3", "S4"], None)
        off = await search_products(tx, Search("main", is_on=False))
        assert [one.ref for one in off.products] == ["S0", "S1", "S2"]
        (by_gtin,) = (await search_products(tx, Search("main", q="4006381333931"))).products
        assert (by_gtin.ref, by_gtin.prices) == ("T", [price])
        with pytest.raises(Refusal, match="A page has"):
            await search_products(tx, Search("main", limit=0))

    run(database, schema, work)


def test_an_attribute_is_checked_against_what_is_declared(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        declared = [
            AttributeTypeInput("product", "colour", "option", options=["blue", "red"]),
            AttributeTypeInput("product", "alcohol", "decimal", unit="%", is_required=True),
            AttributeTypeInput("product", "Bad name", "text"),
            AttributeTypeInput("product", "size", "option"),
        ]
        assert told(await upsert_attribute_types(tx, declared)) == [
            "created",
            "created",
            *["invalid_attribute_type"] * 2,
        ]
        assert told(await upsert_attribute_types(tx, declared[:1])) == ["unchanged"]
        outcomes = await upsert_products(
            tx,
            "main",
            [
                ProductInput("A", attributes={"alcohol": "12.5", "colour": "red", "own": [1]}),
                ProductInput("B"),
                ProductInput("C", attributes={"alcohol": 5, "colour": "green"}),
            ],
        )
        fields = [one.refusal and one.refusal.data["field"] for one in outcomes]
        assert fields == [None, "attributes.alcohol", "attributes.colour"]

    run(database, schema, work)
