"""The category tree of a catalogue: nested, without cycles, each category with all it is within.

Owns table `category`. Who changes a catalogue's categories waits for who else changes the
catalogue. A category that a product names is made when it is not there; `a/b` is then below `a`.

Invariant: `within` is the category's ref and those above it, itself first.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec

from penstock.catalogue.model import CategoryInput, check_category
from penstock.catalogue.products import SQL
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.records import MAX_REF, Result, answers, sift


class Category(msgspec.Struct, frozen=True):
    """A category as it is kept; `within` are its own ref and those above it, itself first."""

    ref: str
    name: str
    parent_ref: str | None
    within: list[str]


Tree = Mapping[str, Category]


async def upsert_categories(
    tx: Tx, catalogue_id: int, categories: Sequence[CategoryInput]
) -> list[Result]:
    """Make or change categories; returns `created`, `updated`, `unchanged` or a refusal each.

    Parents may be in the same list, in any order; a ref `a/b` makes `a` if nothing is said of it.
    Refusals: `invalid_category`, `unknown_category` (a parent that is nowhere), `category_cycle`,
    `superseded`. The caller has locked the catalogue.
    """
    refusals, good, _ = sift(categories, check_category, _ref, "invalid_category")
    tree = await load_tree(tx, catalogue_id)
    asked = {one.ref: (one.name, one.parent or _above(one.ref)) for one in good}
    named = {one.ref: one.parent for one in good if one.parent is not None}
    implied = [above for one in good if one.parent is None and (above := _above(one.ref))]
    misplaced = _misplaced(tree, asked, named)
    kept = {ref: value for ref, value in asked.items() if ref not in misplaced}
    written: dict[Hashable, str] = {}
    written.update(await _write(tx, catalogue_id, tree, kept | _made(tree, kept, implied)))
    refusals = [r or misplaced.get(one.ref) for r, one in zip(refusals, categories, strict=True)]
    return answers(categories, refusals, written, _ref)


async def make_categories(tx: Tx, catalogue_id: int, refs: Iterable[str]) -> None:
    """Make the categories that products name and that are not there yet."""
    wanted = sorted(set(refs))
    if not wanted:
        return
    known = {row[0] for row in await tx.fetch(SQL.known_categories, (catalogue_id, wanted))}
    lacking = [ref for ref in wanted if ref not in known]
    if lacking:
        tree = await load_tree(tx, catalogue_id)
        await _write(tx, catalogue_id, tree, _made(tree, {}, lacking))


async def load_tree(tx: Tx, catalogue_id: int) -> dict[str, Category]:
    """Load the categories of a catalogue by ref."""
    return {row[0]: Category(*row) for row in await tx.fetch(SQL.categories, (catalogue_id,))}


async def categories_of(tx: Tx, catalogue_ref: str) -> list[Category]:
    """Return the categories of a catalogue in order of ref."""
    return [Category(*row) for row in await tx.fetch(SQL.categories_of, (catalogue_ref,))]


def _ref(category: CategoryInput) -> str:
    return category.ref


def _above(ref: str) -> str | None:
    return ref.rpartition("/")[0] or None


def _made(
    tree: Tree, asked: Mapping[str, tuple[str, str | None]], refs: Iterable[str]
) -> dict[str, tuple[str, str | None]]:
    """Return the categories to make so that each of the refs is there, with those above it."""
    made: dict[str, tuple[str, str | None]] = {}
    for ref in refs:
        one: str | None = ref
        while one and one not in tree and one not in asked and one not in made:
            made[one] = ("", _above(one))
            one = _above(one)
    return made


def _misplaced(
    tree: Tree, asked: Mapping[str, tuple[str, str | None]], named: Mapping[str, str]
) -> dict[str, Refusal]:
    """Return why categories cannot hang where they were asked to; each round finds some or ends."""
    refused: dict[str, Refusal] = {}
    while True:
        parents = {ref: one.parent_ref for ref, one in tree.items()}
        parents |= {ref: parent for ref, (_, parent) in asked.items() if ref not in refused}
        found: dict[str, Refusal] = {}
        for ref in asked:
            if ref in refused:
                continue
            refusal = _refusal(ref, named.get(ref), parents)
            if refusal is not None:
                found[ref] = refusal
        if not found:
            return refused
        refused |= found


def _refusal(ref: str, parent: str | None, parents: Mapping[str, str | None]) -> Refusal | None:
    if parent is not None and parent not in parents:
        sentence = f"There is no category {parent[:MAX_REF]!r}."
        return Refusal("unknown_category", sentence, field="parent", category=parent[:MAX_REF])
    above = parents[ref]
    seen: set[str] = set()
    while above is not None and above not in seen:
        if above == ref:
            sentence = f"Category {ref!r} would be within itself."
            return Refusal("category_cycle", sentence, field="parent", category=ref)
        seen.add(above)
        above = parents.get(above)
    return None


async def _write(
    tx: Tx, catalogue_id: int, tree: Tree, asked: Mapping[str, tuple[str, str | None]]
) -> dict[str, str]:
    """Write what differs, with everything below what moved; returns what became of those asked."""
    whole = {ref: (one.name, one.parent_ref) for ref, one in tree.items()} | dict(asked)
    rows = [
        Category(ref, name, parent, _within(ref, whole)) for ref, (name, parent) in whole.items()
    ]
    changed = [one for one in rows if tree.get(one.ref) != one]
    if changed:
        body = msgspec.json.encode(changed).decode()
        await tx.execute(SQL.put_categories, (catalogue_id, body))
    return {one.ref: "updated" if one.ref in tree else "created" for one in changed}


def _within(ref: str, whole: Mapping[str, tuple[str, str | None]]) -> list[str]:
    path = [ref]
    while (above := whole[path[-1]][1]) is not None:
        path.append(above)
    return path
