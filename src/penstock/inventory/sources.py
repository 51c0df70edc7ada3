"""Who counts stock, and which stock is kept apart: stock sources and pools, made or changed by ref.

Owns tables `stock_source` and `pool`. A source is a name that feeds count under: one feed of it
runs at a time. Only pools of condition `new` are for sale; processes hold which those are with the
controls, so that changing a pool bumps revision `control`. The two called `default` are there from
the start.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.records import MAX_REF, Result, answers, check_ref, sift

SQL = Queries("penstock.inventory", "sources.sql")
DEFAULT_SOURCE = "default"
CONDITIONS = ("new", "used", "damaged")


class SourceInput(msgspec.Struct, forbid_unknown_fields=True):
    """A stock source to make, by ref."""

    ref: str


class PoolInput(msgspec.Struct, forbid_unknown_fields=True):
    """A pool to make or change, by ref; `catalogue` and `owner` are the account's own words."""

    ref: str
    catalogue: str = "retail"
    condition: str = "new"
    owner: str = ""


async def upsert_sources(tx: Tx, sources: Sequence[SourceInput]) -> list[Result]:
    """Make stock sources; returns `created`, `unchanged` or a refusal each.

    Refusals: `invalid_source`, `superseded` (a later record of the list has the same ref).
    """
    refusals, good, _ = sift(sources, check_source, _ref, "invalid_source")
    rows = await tx.fetch(SQL.make_sources, ([source.ref for source in good],))
    written: dict[Hashable, str] = {row[0]: "created" for row in rows}
    return answers(sources, refusals, written, _ref)


async def upsert_pools(tx: Tx, pools: Sequence[PoolInput]) -> list[Result]:
    """Make or change pools; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_pool`, `superseded` (a later record of the list has the same ref).
    """
    refusals, good, body = sift(pools, check_pool, _ref, "invalid_pool")
    written: dict[Hashable, str] = {}
    if good:
        await tx.execute(SQL.lock_pools)
        rows = await tx.fetch(SQL.upsert_pools, (body,))
        written = {ref: "created" if is_new else "updated" for ref, is_new in rows}
    if written:
        await tx.execute(SQL.bump_pools)
    return answers(pools, refusals, written, _ref)


def check_source(source: SourceInput) -> None:
    """Refuse a record that cannot be a stock source with `invalid_source`."""
    if not 1 <= len(source.ref) <= MAX_REF:
        raise Refusal("invalid_source", f"ref: A ref has 1 to {MAX_REF} characters.", field="ref")


def check_pool(pool: PoolInput) -> None:
    """Refuse a record that cannot be a pool with `invalid_pool`, naming the field."""
    check_ref(pool.ref, "invalid_pool")
    if pool.condition not in CONDITIONS:
        sentence = f"condition: Stock is one of {', '.join(CONDITIONS)}."
        raise Refusal("invalid_pool", sentence, field="condition")
    for field, text in (("catalogue", pool.catalogue), ("owner", pool.owner)):
        if len(text) > MAX_REF:
            sentence = f"{field}: It has at most {MAX_REF} characters."
            raise Refusal("invalid_pool", sentence, field=field)


def _ref(record: SourceInput | PoolInput) -> str:
    return record.ref
