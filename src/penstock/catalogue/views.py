"""Products as they are stored, for who asks by SKU. What processes decide by is `products.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.catalogue.products import SQL
from penstock.db import Tx


class Product(msgspec.Struct, frozen=True):
    """A product with all its fields; weight in grams, price in minor units."""

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


async def find_products(tx: Tx, catalogue_ref: str, skus: Sequence[str]) -> list[Product]:
    """Return the products of a catalogue that have these SKUs, in order of SKU."""
    storable = [sku for sku in skus if "\0" not in sku]
    rows = await tx.fetch(SQL.find_products, (storable, catalogue_ref))
    return [Product(*row) for row in rows]
