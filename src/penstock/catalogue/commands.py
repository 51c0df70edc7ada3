"""Catalogue's verbs: make or change products, many at once.

A fixed number of statements for any number of records. One bad record refuses itself only. Two
that change one catalogue wait for one another, so that what was compared is what is overwritten.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from penstock.catalogue.model import Outcome, ProductInput, check_product
from penstock.catalogue.products import SQL
from penstock.db import Tx
from penstock.errors import Refusal, invariant
from penstock.records import MAX_REF, answers, sift


async def upsert_products(
    tx: Tx, catalogue_ref: str, products: Sequence[ProductInput]
) -> list[Outcome]:
    """Make or change products of a catalogue (made when missing); returns an outcome each.

    Bumps revision `catalogue` if one changed in what processes hold of it (weight, stocked, on),
    and `control` where controls name categories; new SKUs are found when they are first missed.
    Refusals: `invalid_product`, `superseded` (a later record has the same ref); `invalid_catalogue`
    (its ref) refuses the whole list.
    """
    if not 1 <= len(catalogue_ref) <= MAX_REF or "\0" in catalogue_ref:
        raise Refusal("invalid_catalogue", f"A catalogue's ref has 1 to {MAX_REF} characters.")
    refusals, good, body = sift(products, check_product, _ref, "invalid_product")
    written: dict[Hashable, str] = {}
    if good:
        catalogue_id = await _lock_catalogue(tx, catalogue_ref)
        params = (body, catalogue_id, catalogue_id)
        rows = await tx.fetch(SQL.upsert_products, params, prepare=False)  # the table grows fast
        written = {ref: "created" if is_new else "updated" for ref, is_new, _ in rows}
        if any(is_held for _, _, is_held in rows):
            await tx.execute(SQL.bump_catalogue)
        if written:
            await tx.execute(SQL.bump_controls_of_categories)
    return [_outcome(result) for result in answers(products, refusals, written, _ref)]


def _ref(product: ProductInput) -> str:
    return product.ref


def _outcome(result: str | Refusal) -> Outcome:
    return Outcome(result) if isinstance(result, str) else Outcome("refused", result)


async def _lock_catalogue(tx: Tx, ref: str) -> int:
    row = await tx.fetch_one(SQL.lock_catalogue, (ref,))
    if row is None:
        await tx.execute(SQL.make_catalogue, (ref,))
        row = await tx.fetch_one(SQL.lock_catalogue, (ref,))
    invariant(row, f"catalogue {ref!r} was made and is not there")
    return int(row[0]) if row else 0
