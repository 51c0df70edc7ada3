"""Catalogue's verbs: make or change products and categories, many at once.

A fixed number of statements for any number of records. One bad record refuses itself only. Two
that change one catalogue wait for one another, so that what was compared is what is overwritten.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec

from penstock.access.attribute_types import checking, load_attribute_types
from penstock.catalogue import categories as tree
from penstock.catalogue.model import (
    CategoryInput,
    Outcome,
    ProductInput,
    check_product,
    refused,
)
from penstock.catalogue.products import SQL
from penstock.db import Tx
from penstock.errors import Refusal, invariant
from penstock.records import MAX_REF, Result, answers, sift


async def upsert_products(
    tx: Tx, catalogue_ref: str, products: Sequence[ProductInput]
) -> list[Outcome]:
    """Make or change products of a catalogue (made when missing); returns an outcome each.

    Bumps revision `catalogue` if one is new or changed in what processes hold of it (weight,
    stocked, on, kind, parent, components), and `control` where controls name categories. Parents
    and components may be in the same list; categories are made when they are not there. Refusals:
    `invalid_product`, `invalid_attribute`, `superseded` (a later record has the same ref);
    `invalid_catalogue` (its ref) refuses the whole list.
    """
    _check_catalogue(catalogue_ref)
    types = await load_attribute_types(tx, "product")
    check = checking(types, "product", check_product)
    refusals, good, body = sift(products, check, _ref, "invalid_product")
    written: dict[Hashable, str] = {}
    misfits: dict[str, Refusal] = {}
    if good:
        catalogue_id = await _lock_catalogue(tx, catalogue_ref)
        misfits = await _misfits(tx, catalogue_id, good)
        if misfits:
            good = [one for one in good if one.ref not in misfits]
            body = msgspec.json.encode(good).decode()
        named = (one.category_ref for one in good if one.category_ref is not None)
        await tree.make_categories(tx, catalogue_id, named)
        written = await _write(tx, catalogue_id, body)
        if written:
            await tx.execute(SQL.bump_controls_of_categories)
    refusals = [r or misfits.get(one.ref) for r, one in zip(refusals, products, strict=True)]
    return [_outcome(result) for result in answers(products, refusals, written, _ref)]


async def upsert_categories(
    tx: Tx, catalogue_ref: str, categories: Sequence[CategoryInput]
) -> list[Result]:
    """Make or change categories of a catalogue (made when missing); returns a result each.

    Refusals: those of `categories.upsert_categories`; `invalid_catalogue` refuses the whole list.
    """
    _check_catalogue(catalogue_ref)
    catalogue_id = await _lock_catalogue(tx, catalogue_ref)
    results = await tree.upsert_categories(tx, catalogue_id, categories)
    await tx.execute(SQL.bump_controls_of_categories)
    return results


def _check_catalogue(ref: str) -> None:
    if not 1 <= len(ref) <= MAX_REF or "\0" in ref:
        raise Refusal("invalid_catalogue", f"A catalogue's ref has 1 to {MAX_REF} characters.")


def _ref(product: ProductInput) -> str:
    return product.ref


def _outcome(result: Result) -> Outcome:
    return Outcome(result) if isinstance(result, str) else Outcome("refused", result)


async def _lock_catalogue(tx: Tx, ref: str) -> int:
    row = await tx.fetch_one(SQL.lock_catalogue, (ref,))
    if row is None:
        await tx.execute(SQL.make_catalogue, (ref,))
        row = await tx.fetch_one(SQL.lock_catalogue, (ref,))
    invariant(row, f"catalogue {ref!r} was made and is not there")
    return int(row[0]) if row else 0


async def _write(tx: Tx, catalogue_id: int, body: str) -> dict[Hashable, str]:
    """Write what differs under the next revision; returns what became of those."""
    row = await tx.fetch_one(SQL.lock_revision)
    invariant(row, "there is no revision of catalogues")
    following = int(row[0]) + 1 if row else 0
    params = (body, catalogue_id, catalogue_id, following)
    rows = await tx.fetch(SQL.upsert_products, params, prepare=False)  # the table grows fast
    held = [ref for ref, _, is_held in rows if is_held]
    if held:
        await tx.execute(SQL.touch_variants, (following, catalogue_id, held))
        await tx.execute(SQL.bump_catalogue, (following,))
    return {ref: "created" if is_new else "updated" for ref, is_new, _ in rows}


async def _misfits(
    tx: Tx, catalogue_id: int, products: Sequence[ProductInput]
) -> dict[str, Refusal]:
    """Return why products do not fit their parents and components, or those that need them.

    What is refused stays as it was, which may refuse others: each round finds some, or ends.
    """
    related = sorted({sku for one in products for sku in _related(one)})
    bound = [one.ref for one in products if one.kind != "standard"]
    if not related and not bound:
        return {}
    refs = sorted({*related, *bound})
    before = dict(await tx.fetch(SQL.kinds_of, (catalogue_id, refs)))
    params = (catalogue_id, bound, catalogue_id, bound)
    rows = await tx.fetch(SQL.needed_by_others, params) if bound else []
    users = {(ref, is_parent): user for ref, user, is_parent in rows}
    misfits: dict[str, Refusal] = {}
    while True:
        asked = [one for one in products if one.ref not in misfits]
        kinds = before | {one.ref: one.kind for one in asked}
        found = {one.ref: why for one in asked if (why := _misfit(one, kinds, users))}
        if not found:
            return misfits
        misfits |= found


def _related(product: ProductInput) -> list[str]:
    skus = [one.sku for one in product.components]
    return skus if product.parent_ref is None else [*skus, product.parent_ref]


def _misfit(
    product: ProductInput, kinds: Mapping[str, str], users: Mapping[tuple[str, bool], str]
) -> Refusal | None:
    if product.parent_ref is not None and kinds.get(product.parent_ref) != "standard":
        sentence = f"There is no standard product {product.parent_ref[:MAX_REF]!r}."
        return refused("parent_ref", sentence)
    for place, one in enumerate(product.components):
        kind = kinds.get(one.sku)
        if kind is None or kind == "group":
            what = "is a kit itself" if kind else "is not in the catalogue"
            return refused(f"components[{place}].sku", f"{one.sku[:MAX_REF]!r} {what}.")
    needed = users.get((product.ref, True)) if product.kind != "standard" else None
    if needed is None and product.kind == "group":
        needed = users.get((product.ref, False))
    if needed is not None:
        return refused("kind", f"{needed!r} has it as its parent or component.")
    return None
