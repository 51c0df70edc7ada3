"""Who counts stock, and which stock is kept apart: stock sources and pools, made or changed by ref.

Owns tables `stock_source`, `stock_acknowledgement` and `pool`. A source is a name that feeds count
under: one feed of it runs at a time. It says what it counts (`basis`) and when stock leaves it; one
that counts `net` acknowledges until when it has taken orders into account. Only pools of condition
`new` are for sale; processes hold which those are with the controls, so that changing a pool bumps
revision `control`. The two called `default` are there from the start.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.records import MAX_REF, Result, answers, check_ref, sift

SQL = Queries("penstock.inventory", "sources.sql")
DEFAULT_SOURCE = "default"
BASES = ("on_hand", "net")
LEAVES_AT = ("pick", "ship")
KEPT = timedelta(days=7)  # acknowledgements, for counts that arrive late
MAX_AHEAD = timedelta(minutes=5)  # of a source's clock
CONDITIONS = ("new", "used", "damaged")


class SourceInput(msgspec.Struct, forbid_unknown_fields=True):
    """A stock source to make or change, by ref; what is not given stays as it is.

    `basis`: `on_hand` (what lies there; a new one's), or `net`, less the orders it acknowledged;
    `leaves_at`: stock leaves when it is shipped (`ship`; a new one's), or already when picked.
    """

    ref: str
    basis: str | None = None
    leaves_at: str | None = None


class SourceView(msgspec.Struct):
    """A stock source, and its newest acknowledgement: when it was made, and until when it goes."""

    ref: str
    basis: str
    leaves_at: str
    acknowledged_at: datetime | None
    handed_until: datetime | None


class Acknowledgement(msgspec.Struct, frozen=True):
    """That from an instant on a source counts net of what was handed over until another.

    `location_ids` None: at any location.
    """

    acknowledged_at: datetime
    handed_until: datetime
    location_ids: Sequence[int] | None = None


class PoolInput(msgspec.Struct, forbid_unknown_fields=True):
    """A pool to make or change, by ref; `catalogue` and `owner` are the account's own words."""

    ref: str
    catalogue: str = "retail"
    condition: str = "new"
    owner: str = ""


async def upsert_sources(tx: Tx, sources: Sequence[SourceInput]) -> list[Result]:
    """Make or change stock sources; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_source`, `superseded` (a later record of the list has the same ref).
    """
    refusals, good, body = sift(sources, check_source, _ref, "invalid_source")
    rows = await tx.fetch(SQL.upsert_sources, (body,)) if good else []
    written: dict[Hashable, str] = {ref: "created" if is_new else "updated" for ref, is_new in rows}
    return answers(sources, refusals, written, _ref)


async def list_sources(tx: Tx) -> list[SourceView]:
    """Return every stock source, by ref."""
    return [SourceView(*row) for row in await tx.fetch(SQL.sources)]


async def acknowledge(tx: Tx, source: str, said: Acknowledgement, now: datetime) -> None:
    """Keep what a source has acknowledged; of two at one instant the later told one stands.

    What is older than `KEPT` is let go of but for the newest. Refuses with `unknown_source`, and
    with `instant_unusable` what has no time zone, or is acknowledged before it is handed over.
    """
    row = await tx.fetch_one(SQL.source_id, (source,))
    if row is None:
        raise Refusal("unknown_source", f"There is no stock source {source!r}.", field="source")
    check_acknowledgement(said, now)
    locations = [None] if said.location_ids is None else sorted(set(said.location_ids))
    params = (row[0], said.acknowledged_at, said.handed_until, locations)
    await tx.execute(SQL.acknowledge, params)
    await tx.execute(SQL.forget_acknowledgements, (row[0], now - KEPT, now - KEPT))


def check_acknowledgement(said: Acknowledgement, now: datetime) -> None:
    """Refuse with `instant_unusable` what cannot have been acknowledged."""
    for field in ("acknowledged_at", "handed_until"):
        if getattr(said, field).tzinfo is None:
            raise Refusal("instant_unusable", "An instant needs a time zone.", field=field)
    if said.acknowledged_at > now + MAX_AHEAD:
        sentence = "Nobody has acknowledged anything in the future."
        raise Refusal("instant_unusable", sentence, field="acknowledged_at")
    if said.handed_until > said.acknowledged_at:
        sentence = "What is handed over after it was acknowledged is not acknowledged."
        raise Refusal("instant_unusable", sentence, field="handed_until")


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
    for field, known in (("basis", BASES), ("leaves_at", LEAVES_AT)):
        if getattr(source, field) not in (None, *known):
            sentence = f"{field}: It is one of {', '.join(known)}."
            raise Refusal("invalid_source", sentence, field=field)


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
