"""Rows of stock that clients send: the list, its limits, and the refs that rows name.

Owns what counts (`stock.py`) and changes (`adjustments.py`) have in common: reading each row by
itself, and resolving channel, SKU, location, pool and source against what the process knows and,
for SKUs made since, the database. A row that cannot be taken is a `Problem`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import msgspec

from penstock.api.reading import is_list, read_items, read_json, refuse_nul
from penstock.db import Queries
from penstock.errors import Refusal
from penstock.inventory.model import DEFAULT_SOURCE_ID, RETAIL_POOL_ID
from penstock.passes import Pass
from penstock.rules.knowledge import Knowledge

SQL = Queries("penstock.api", "api.sql")
MAX_ROWS = 20_000
ROWS_PER_PASS = 2_000
LEAST_QTY = -2_000_000_000
MAX_AHEAD = timedelta(minutes=5)  # of a counter's clock

Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class StockRow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where a row's stock is."""

    sku: Ref
    location: Ref
    pool: Ref | None = None


Row = TypeVar("Row", bound=StockRow)


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """Rows with what they have in common."""

    items: list[msgspec.Raw]
    source: Ref | None = None
    counted_at: datetime | None = None
    channel: Ref | None = None


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a row had no effect; `row` is its place in the list, from 0."""

    row: int
    code: str
    detail: str
    field: str | None = None


class Resolved(msgspec.Struct):
    """Rows that can be taken, by their places, with the ids they mean."""

    places: list[int] = []
    product_ids: list[int] = []
    location_ids: list[int] = []
    pool_ids: list[int] = []


_envelope = msgspec.json.Decoder(Envelope)


def read_rows(body: bytes) -> Envelope:
    """Read a list of rows, bare or in an envelope; refuses with `too_many_rows`."""
    refuse_nul(body)
    envelope = Envelope(read_items(body)) if is_list(body) else read_json(_envelope, body)
    if len(envelope.items) > MAX_ROWS:
        raise Refusal("too_many_rows", f"Send at most {MAX_ROWS} rows at once.", most=MAX_ROWS)
    return envelope


def readable(
    items: Sequence[msgspec.Raw],
    decoder: msgspec.json.Decoder[Row],
    check: Callable[[Row], None],
    problems: list[Problem],
) -> dict[int, Row]:
    """Return by place the rows that can be read and pass the check; the others are problems."""
    rows: dict[int, Row] = {}
    for place, item in enumerate(items):
        try:
            row = read_json(decoder, item)
            check(row)
        except Refusal as refusal:
            problems.append(problem_of(place, refusal))
        else:
            rows[place] = row
    return rows


def problem_of(place: int, refusal: Refusal) -> Problem:
    """Return a row's refusal as a problem."""
    named = refusal.data.get("field")
    return Problem(place, refusal.code, refusal.message, str(named) if named else None)


def check_instant(instant: datetime, now: datetime, field: str) -> datetime:
    """Return the instant; refuses with `instant_unusable` one without time zone, or to come."""
    if instant.tzinfo is None:
        raise Refusal("instant_unusable", "An instant needs a time zone.", field=field)
    if instant > now + MAX_AHEAD:
        raise Refusal("instant_unusable", "The instant is in the future.", field=field)
    return instant


async def resolve(
    tx: Pass, rows: dict[int, Row], channel: str | None, problems: list[Problem]
) -> Resolved:
    """Give rows their ids; refuses with `unknown_channel` or `channel_needed`.

    Problems of rows: `unknown_sku`, `unknown_location`, `unknown_pool`.
    """
    knowledge: Knowledge = tx.knowledge
    skus = await _products(tx, _catalogue_id(knowledge, channel), rows)
    pools = await _pools(tx, rows)
    resolved = Resolved([], [], [], [])
    for place, row in rows.items():
        try:
            ids = (_id_of(row, skus), knowledge.location_id(row.location), _pool_id(row, pools))
        except Refusal as refusal:
            problems.append(problem_of(place, refusal))
            continue
        resolved.places.append(place)
        resolved.product_ids.append(ids[0])
        resolved.location_ids.append(ids[1])
        resolved.pool_ids.append(ids[2])
    return resolved


async def product_ids(tx: Pass, skus: Sequence[str], channel: str | None) -> list[int]:
    """Return the ids of SKUs; refuses with `unknown_sku`, `unknown_channel`, `channel_needed`."""
    rows = {place: StockRow(sku=sku, location="") for place, sku in enumerate(skus)}
    known = await _products(tx, _catalogue_id(tx.knowledge, channel), rows)
    return [_id_of(row, known) for row in rows.values()]


def _catalogue_id(knowledge: Knowledge, channel: str | None) -> int:
    """Return the catalogue that the SKUs are of: the channel's, or the account's only one."""
    channels = knowledge.channels
    if channel is not None:
        return channels.catalogue_id(knowledge.channel_id(channel))
    catalogue_ids = {one for one in channels.catalogues.values() if one is not None}
    if len(catalogue_ids) == 1:
        return catalogue_ids.pop()
    raise Refusal(
        "channel_needed",
        "There is more than one product catalogue: say with `channel` whose SKUs these are.",
        field="channel",
    )


async def _products(tx: Pass, catalogue_id: int, rows: dict[int, Row]) -> dict[str, int]:
    """Return product ids by SKU, asking the database once for those not known yet."""
    products = tx.knowledge.products
    known: dict[str, int] = products.by_sku(catalogue_id)
    lacking = sorted({row.sku for row in rows.values() if row.sku not in known})
    if lacking:
        await products.resolve(tx, catalogue_id, lacking)
        known = products.by_sku(catalogue_id)
    return known


def _id_of(row: StockRow, skus: dict[str, int]) -> int:
    product_id = skus.get(row.sku, -1)
    if product_id < 0:
        raise Refusal("unknown_sku", f"There is no SKU {row.sku!r}.", field="sku")
    return product_id


async def _pools(tx: Pass, rows: dict[int, Row]) -> dict[str, int]:
    if all(row.pool is None for row in rows.values()):
        return {}
    return dict(await tx.fetch(SQL.pools_by_ref))


def _pool_id(row: StockRow, pools: dict[str, int]) -> int:
    if row.pool is None:
        return RETAIL_POOL_ID
    if row.pool not in pools:
        raise Refusal("unknown_pool", f"There is no pool {row.pool!r}.", field="pool")
    return pools[row.pool]


async def source_id(tx: Pass, ref: str | None) -> int:
    """Return the id of a stock source; refuses with `unknown_source`."""
    if ref is None:
        return DEFAULT_SOURCE_ID
    sources = dict(await tx.fetch(SQL.sources_by_ref))
    if ref not in sources:
        raise Refusal("unknown_source", f"There is no stock source {ref!r}.", field="source")
    return sources[ref]
