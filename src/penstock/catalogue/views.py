"""Products as they are stored, for who asks by SKU. What processes decide by is `products.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.catalogue.model import KINDS, ComponentInput, PriceInput
from penstock.catalogue.products import SQL
from penstock.db import Row, Tx
from penstock.errors import Refusal

MAX_PRODUCTS_A_PAGE = 500


class Product(msgspec.Struct, frozen=True):
    """A product with all its fields; weight in grams, size in mm, `price_minor` in minor units."""

    id: int
    ref: str
    name: str
    kind: str
    is_stocked: bool
    is_on: bool
    unit: str
    gtin: str | None
    weight_g: int
    category_ref: str | None
    price_minor: int | None
    attributes: dict[str, Any]
    parent_ref: str | None
    tax_class: str | None
    length_mm: int | None
    width_mm: int | None
    height_mm: int | None
    prices: list[PriceInput]
    components: list[ComponentInput]
    may_ship_apart: bool


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which products: `q` is the beginning of a SKU, a part of a name, or a GTIN.

    A `category` means those below it too. `after` is the last SKU of the page before.
    """

    catalogue: str
    q: str | None = None
    category: str | None = None
    kind: str | None = None
    parent: str | None = None
    is_on: bool | None = None
    after: str = ""
    limit: int = 50


class Page(msgspec.Struct, frozen=True):
    """Some products in order of SKU; `next` is the `after` of the next page, None on the last."""

    products: list[Product]
    next: str | None


async def find_products(tx: Tx, catalogue_ref: str, skus: Sequence[str]) -> list[Product]:
    """Return the products of a catalogue that have these SKUs, in order of SKU."""
    storable = [sku for sku in skus if "\0" not in sku]
    rows = await tx.fetch(SQL.find_products, (storable, catalogue_ref))
    return [_product(row) for row in rows]


async def product_facts(tx: Tx, product_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return what rules may read of products, by id (`orders.model.OrderView`)."""
    names = ("kind", "category", "categories", "tax_class", "weight_g", "attributes")
    rows = await tx.fetch(SQL.product_facts, (product_ids,))
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}


async def search_products(tx: Tx, search: Search) -> Page:
    """Return a page of products; refuses with `invalid_query` a filter that cannot be."""
    if not 1 <= search.limit <= MAX_PRODUCTS_A_PAGE:
        sentence = f"A page has 1 to {MAX_PRODUCTS_A_PAGE} products."
        raise Refusal("invalid_query", sentence, field="limit")
    if search.kind is not None and search.kind not in KINDS:
        raise Refusal("invalid_query", f"A kind is one of {', '.join(KINDS)}.", field="kind")
    texts = (search.catalogue, search.q, search.category, search.parent, search.after)
    if any("\0" in text for text in texts if text):
        raise Refusal("invalid_query", "Text must not hold the character NUL.", field="q")
    asked = {**msgspec.structs.asdict(search), "words": search.q, "limit": search.limit + 1}
    rows = await tx.fetch(SQL.search_products, asked)  # pyright: ignore[reportArgumentType] (a mapping is as good)
    found = [_product(row) for row in rows[: search.limit]]
    return Page(found, found[-1].ref if len(rows) > search.limit else None)


def _product(row: Row) -> Product:
    prices = msgspec.convert(row[17], list[PriceInput])
    components = msgspec.convert(row[18], list[ComponentInput])
    return Product(*row[:17], prices=prices, components=components, may_ship_apart=row[19])
