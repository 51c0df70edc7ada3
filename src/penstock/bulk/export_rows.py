"""What goes out: stock by position, or what a channel may promise, as frames of bounded size.

Owns which rows an export has and how they are read from memory: columns of the index, gathered with
the names of SKUs and locations; no object per row. The cursor is taken before the first frame, so
that whatever moves while the file is written is told again by the changes after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from penstock.availability.atp import Availability, VirtualCatalogue
from penstock.availability.categories import products_in
from penstock.availability.changes import changed_products, read_movements, refuse_old
from penstock.availability.cursor import AsOf, Cursor, Point, stock_point
from penstock.availability.feeds import Feeds
from penstock.availability.follow import Follower
from penstock.availability.kits import kits_by_row
from penstock.availability.neighbours import rows_of
from penstock.availability.product_map import Ints
from penstock.availability.views import AvailabilityRequest, Sight, items_of
from penstock.db import Database, Queries, Tx
from penstock.errors import Refusal
from penstock.rules.knowledge import Knowledge

POSITIONS_PER_FRAME = 100_000
PRODUCTS_PER_FRAME = {False: 50_000, True: 1_000}  # in total; by location
SQL = Queries("penstock.bulk", "export.sql")
STOCK_COLUMNS: dict[str, Any] = {
    "sku": pl.String,
    "location": pl.String,
    "pool": pl.String,
    "on_hand": pl.Int64,
    "reserved": pl.Int64,
    "available": pl.Int64,
    "counted_at": pl.Datetime("us", "UTC"),
}
TOTAL_COLUMNS: dict[str, Any] = {"sku": pl.String, "available": pl.Int64, "status": pl.String}
PLACE_COLUMNS: dict[str, Any] = {
    "sku": pl.String,
    "location": pl.String,
    "available": pl.Int64,
}


class Opened(Protocol):
    """An account that is open: what rows are read from."""

    @property
    def schema(self) -> str: ...  # noqa: D102 (what it says)
    @property
    def database(self) -> Database: ...  # noqa: D102
    @property
    def knowledge(self) -> Knowledge: ...  # noqa: D102
    @property
    def follower(self) -> Follower: ...  # noqa: D102
    @property
    def availability(self) -> Availability: ...  # noqa: D102
    @property
    def feeds(self) -> Feeds: ...  # noqa: D102


class Wanted(msgspec.Struct, frozen=True):
    """What is to go out; without `since` all of it. Locations and categories: only those."""

    kind: Literal["stock", "availability"]
    channel: str | None = None
    service: Literal["deliver", "collect"] = "deliver"
    by_location: bool = False
    locations: Sequence[str] = ()
    categories: Sequence[str] = ()
    only_available: bool = False
    since: Cursor | None = None


class Rows(msgspec.Struct):
    """What goes out: frames of these columns, and the cursor to go on from."""

    columns: dict[str, Any]
    frames: AsyncIterator[pl.DataFrame]
    cursor: str
    is_full: bool


async def open_rows(account: Opened, wanted: Wanted) -> Rows:
    """Return the rows of an export.

    Refuses with `unknown_channel`, `unknown_location`, `unknown_category`, `option_unusable`, and
    `cursor_too_old` where what changed since cannot be told.
    """
    if wanted.since is not None and wanted.only_available:
        sentence = "With --changed-since, what is not available any more has to be told too."
        raise Refusal("option_unusable", sentence)
    if wanted.since is not None and wanted.since.until is not None:
        raise Refusal("invalid_cursor", "This cursor is within a list of changes: read it on.")
    await account.availability.settle()
    if wanted.kind == "stock":
        return await _stock(account, wanted)
    return await _availability(account, wanted)


# ── stock ───────────────────────────────────────────────────────────────────────────────────────


async def _stock(account: Opened, wanted: Wanted) -> Rows:
    follower, since = account.follower, wanted.since
    now = stock_point(AsOf(follower.version, follower.revisions, follower.history))

    async def read(tx: Tx) -> tuple[NDArray[np.bool_] | None, dict[int, str], Ints | None]:
        pools = {row[0]: row[1] for row in await tx.fetch(SQL.pool_refs)}
        changed: Ints | None = None
        if since is not None:
            if since.point.number > now.number or since.point.epoch != now.epoch:
                raise refuse_old("The cursor is none of stock here.")
            rows = await read_movements(tx, since.point.number, now.number)
            moved = [row[0] for row in rows]
            changed = np.unique(np.concatenate(moved)) if moved else np.empty(0, dtype=np.int32)
        return await _concerned(tx, account, wanted), pools, changed

    concerned, pools, changed = await account.database.run(account.schema, read)
    frames = _stock_frames(account, wanted, (concerned, pools, changed))
    return Rows(STOCK_COLUMNS, frames, str(Cursor(now)), since is None)


async def _stock_frames(
    account: Opened,
    wanted: Wanted,
    chosen: tuple[NDArray[np.bool_] | None, dict[int, str], Ints | None],
) -> AsyncIterator[pl.DataFrame]:
    concerned, pools, changed = chosen
    index, names = account.knowledge.index, _Names(account.knowledge)
    is_place = _chosen_rows(account.knowledge, wanted.locations)
    pool_names = pl.Series([pools.get(n) for n in range(max(pools, default=0) + 1)], dtype=_TEXT)
    size = index.size if changed is None else len(changed)
    for first in range(0, size, POSITIONS_PER_FRAME):
        last = min(first + POSITIONS_PER_FRAME, size)
        ids = np.arange(first, last) if changed is None else changed[first:last]
        rows = rows_of(account.knowledge.directory.row_of, index.location[ids])
        kept = (index.product[ids] > 0) & is_place[rows]
        if concerned is not None:
            kept &= concerned.take(index.product[ids], mode="clip")
        available = np.maximum(index.net(ids), 0)
        if wanted.only_available:
            kept &= available > 0
        ids, rows, available = ids[kept], rows[kept], available[kept]
        counted_at = pl.Series(index.counted_at[ids]).cast(STOCK_COLUMNS["counted_at"])
        yield pl.DataFrame(
            {
                "sku": names.skus(index.product[ids]),
                "location": names.locations(rows),
                "pool": pool_names.gather(index.pool[ids].astype(np.int64)),
                "on_hand": index.on_hand[ids].astype(np.int64),
                "reserved": index.reserved[ids].astype(np.int64),
                "available": available.astype(np.int64),
                "counted_at": counted_at.set(pl.Series(index.counted_at[ids] == 0), None),
            }
        )
        await asyncio.sleep(0)


# ── availability ────────────────────────────────────────────────────────────────────────────────


async def _availability(account: Opened, wanted: Wanted) -> Rows:
    knowledge, follower, since = account.knowledge, account.follower, wanted.since
    channel_id = knowledge.channel_id(wanted.channel or "")
    while not (catalogue := account.availability.catalogue(channel_id, wanted.service)).is_built:
        await account.availability.settle()
    as_of = AsOf(follower.version, follower.revisions, follower.history)
    feed = account.feeds.feed(wanted.service, catalogue, knowledge.channels, as_of)
    now = Point(follower.version, follower.revisions.get("catalogue", 0), feed.epoch)
    sight = Sight(follower, account.availability, knowledge.channels, knowledge.products)

    async def read(tx: Tx) -> Ints:
        concerned = await _concerned(tx, account, wanted)
        if concerned is None:
            raise Refusal("unknown_channel", "Say which channel.", field="channel")
        products = concerned.nonzero()[0]
        if since is None:
            return products
        told = await changed_products(tx, sight, feed, (wanted.channel or "", since.point), now)
        if told is None:
            raise refuse_old("Switches or controls have changed since.")
        return np.intersect1d(products, told[0])

    products = await account.database.run(account.schema, read)
    by_location = wanted.by_location or bool(wanted.locations)
    columns = PLACE_COLUMNS if by_location else TOTAL_COLUMNS
    frames = _availability_frames(account, wanted, (sight, catalogue), products)
    return Rows(columns, frames, str(Cursor(now)), since is None)


async def _availability_frames(
    account: Opened, wanted: Wanted, seen: tuple[Sight, VirtualCatalogue], products: Ints
) -> AsyncIterator[pl.DataFrame]:
    names = _Names(account.knowledge)
    by_location = wanted.by_location or bool(wanted.locations)
    is_place = _chosen_rows(account.knowledge, wanted.locations)
    step = PRODUCTS_PER_FRAME[by_location]
    for first in range(0, len(products), step):
        part = products[first : first + step]
        if by_location:
            frame = _by_location(names, wanted, seen, part, is_place)
        else:
            frame = _totals(names, wanted, seen, part)
        if wanted.only_available:
            frame = frame.filter(pl.col("available") > 0)
        yield frame
        await asyncio.sleep(0)


def _totals(
    names: _Names, wanted: Wanted, seen: tuple[Sight, VirtualCatalogue], products: Ints
) -> pl.DataFrame:
    """Return what the API answers for these products: one row each."""
    sight, catalogue = seen
    available = catalogue.totals_of(products)
    status = np.zeros(len(products), dtype=np.int64)
    special = (~sight.products.is_plain[products]).nonzero()[0]
    if len(special):
        ids = products[special].tolist()
        skus = [names.sku(one) for one in ids]
        request = AvailabilityRequest(wanted.channel or "", skus, wanted.service)
        items = items_of(sight, request, ids)
        available[special] = [item.available for item in items]
        status[special] = [_STATUSES.index(item.status) for item in items]
    return pl.DataFrame(
        {
            "sku": names.skus(products),
            "available": available,
            "status": _STATUS_NAMES.gather(status),
        }
    )


def _by_location(
    names: _Names,
    wanted: Wanted,
    seen: tuple[Sight, VirtualCatalogue],
    products: Ints,
    is_place: NDArray[np.bool_],
) -> pl.DataFrame:
    """Return what each location may promise of these products; pools are taken together."""
    sight, catalogue = seen
    plain = products[sight.products.is_plain[products]]
    line_start, ids, available = catalogue.available_of(plain)
    lines = np.arange(len(plain)).repeat(np.diff(line_start))
    rows = rows_of(catalogue.terms.row_of, catalogue.index.location[ids])
    width = len(catalogue.terms.serves)
    keys, places = np.unique(lines * width + rows, return_inverse=True)
    sums = np.zeros(len(keys), dtype=np.int64)
    np.add.at(sums, places, available)
    columns = [(plain[keys // width], keys % width, sums)]
    columns += [
        _of_kit(seen, wanted, one) for one in products[~sight.products.is_plain[products]].tolist()
    ]
    of_products, at_rows, units = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    kept = is_place[at_rows] & catalogue.terms.serves[at_rows]
    return pl.DataFrame(
        {
            "sku": names.skus(of_products[kept]),
            "location": names.locations(at_rows[kept]),
            "available": units[kept],
        }
    )


def _of_kit(
    seen: tuple[Sight, VirtualCatalogue], wanted: Wanted, product_id: int
) -> tuple[Ints, Ints, Ints]:
    """Return whole kits by location; of what is off, or kept nowhere, nothing."""
    sight, catalogue = seen
    kit = sight.products.kit(product_id)
    none = np.empty(0, dtype=np.int64)
    if kit is None or not sight.products.is_on[product_id]:
        return none, none, none
    parts = sight.products.parts(kit)
    stocked = [part for part in parts if sight.products.is_stocked[part[0]]]
    if not stocked or not all(sight.products.is_on[part] for part, _ in parts):
        return none, none, none
    by_row, _ = kits_by_row(catalogue, stocked)
    rows = np.arange(len(by_row)) if wanted.since is not None else by_row.nonzero()[0]
    return np.full(len(rows), product_id), rows, by_row[rows]


# ── what rows are about, and names ──────────────────────────────────────────────────────────────


async def _concerned(tx: Tx, account: Opened, wanted: Wanted) -> NDArray[np.bool_] | None:
    """Tell by product id which are exported, the last for those beyond; None: all of them."""
    knowledge = account.knowledge
    if wanted.channel is None and not wanted.categories:
        return None
    concerned = np.ones(len(knowledge.products.skus) + 1, dtype=np.bool_)
    if wanted.channel is not None:
        catalogue_id = knowledge.channels.catalogue_id(knowledge.channel_id(wanted.channel))
        sold = knowledge.products.by_sku(catalogue_id)
        concerned[:] = False
        concerned[np.fromiter(sold.values(), dtype=np.int64, count=len(sold))] = True
    if wanted.categories:
        members = await products_in(tx, wanted.categories)
        lacking = [one for one in wanted.categories if one not in members]
        if lacking:
            sentence = f"No product is in category {lacking[0][:100]!r}."
            raise Refusal("unknown_category", sentence, category=lacking[0][:100])
        within = np.zeros_like(concerned)
        for ids in members.values():
            within[ids[ids < len(within)]] = True
        concerned &= within
    concerned[-1] = False
    return concerned


def _chosen_rows(knowledge: Knowledge, refs: Sequence[str]) -> NDArray[np.bool_]:
    """Tell by location row which are exported; a last False for row -1."""
    chosen = np.zeros(len(knowledge.directory.refs) + 1, dtype=np.bool_)
    if not refs:
        chosen[:-1] = True
    for ref in refs:
        chosen[knowledge.directory.row_of[knowledge.location_id(ref)]] = True
    return chosen


_TEXT = pl.String()
_STATUSES = [None, "off", "unstocked", "unknown"]
_STATUS_NAMES = pl.Series(_STATUSES, dtype=_TEXT)


class _Names:
    """SKUs and location refs as columns, to gather from."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._products = knowledge.products
        self._skus = pl.Series(knowledge.products.skus or [None], dtype=_TEXT)
        self._refs = pl.Series(list(knowledge.directory.refs) or [None], dtype=_TEXT)

    def skus(self, product_ids: Ints) -> pl.Series:
        """Return the SKUs of products; of one that is newer than this process none."""
        is_known = product_ids < len(self._skus)
        found = self._skus.gather(np.where(is_known, product_ids, 0).astype(np.int64))
        return found if is_known.all() else found.set(pl.Series(~is_known), None)

    def sku(self, product_id: int) -> str:
        """Return the SKU of one product."""
        return self._products.skus[product_id] or ""

    def locations(self, rows: Ints) -> pl.Series:
        """Return the refs of location rows."""
        return self._refs.gather(rows.astype(np.int64))
