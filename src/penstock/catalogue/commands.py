"""Catalogue's verbs: make or change products, many at once.

A fixed number of statements for any number of records. One bad record refuses itself only.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.catalogue.model import Outcome, ProductInput, checked
from penstock.catalogue.products import SQL
from penstock.db import Tx

_encode = msgspec.json.Encoder().encode


async def upsert_products(
    tx: Tx, catalogue_ref: str, products: Sequence[ProductInput]
) -> list[Outcome]:
    """Make or change products of a catalogue (made when missing); returns an outcome each.

    Bumps revision `catalogue` if a product changed that processes may hold; new SKUs are found
    when they are first missed. Refusals: `invalid_product`, `superseded`.
    """
    outcomes, good = checked(products)
    await tx.execute(SQL.make_catalogue, (catalogue_ref,))
    row = await tx.fetch_one(SQL.catalogue_id, (catalogue_ref,))
    catalogue_id = row[0] if row else 0
    written: dict[str, bool] = {}
    if good:
        rows = await tx.fetch(SQL.upsert_products, (catalogue_id, _encode(good).decode()))
        written = {ref: bool(is_new) for ref, is_new in rows}
    if not all(written.values()):
        await tx.execute(SQL.bump_catalogue)
    return [
        outcome or Outcome(_status(written.get(product.ref)))
        for product, outcome in zip(products, outcomes, strict=True)
    ]


def _status(is_new: bool | None) -> str:  # noqa: FBT001 (a column's value)
    if is_new is None:
        return "unchanged"
    return "created" if is_new else "updated"
