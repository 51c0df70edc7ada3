"""Stock rows: frames of text into columns of ids and numbers, and what is wrong with each row.

Pure and vectorised: no loop over rows but those that fail. A SKU, location or pool is looked up
once for each that is different. SKUs nobody knows yet are left for the caller, who asks the
database once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from penstock.bulk.blocks import Block
from penstock.bulk.files import Source
from penstock.bulk.model import Fault
from penstock.bulk.records import missing_column
from penstock.errors import Refusal
from penstock.inventory.counts import microseconds
from penstock.quantity import MAX_QTY

NEEDED = ("sku", "location", "on_hand")
OPTIONAL = ("pool", "counted_at")
UNKNOWN = -1
AHEAD_US = 5 * 60 * 1_000_000  # how far a counter's clock may be ahead


class Refs(msgspec.Struct, frozen=True):
    """What refs mean, and what rows mean that do not say: pool, and instant of the count."""

    products: Mapping[str, int]
    locations: Mapping[str, int]
    pools: Mapping[str, int]
    pool_id: int
    counted_us: int
    now_us: int


class StockRows(msgspec.Struct):
    """Rows that can be counted, as columns, and what is wrong with the others.

    `product_ids` is `UNKNOWN` where the SKU is one of `lacking`, by place in the columns. `named`
    are rows that say what they count but not how much: a full feed does not retire what they name.
    """

    rows: NDArray[np.int64]
    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int16]
    on_hands: NDArray[np.int32]
    counted_us: NDArray[np.int64]
    lacking: dict[int, str]
    faults: list[Fault]
    last_row: int
    named: StockRows | None = None

    def take(self, places: NDArray[np.int64]) -> StockRows:
        """Return the rows at the places, without faults."""
        return StockRows(
            rows=self.rows[places],
            product_ids=self.product_ids[places],
            location_ids=self.location_ids[places],
            pool_ids=self.pool_ids[places],
            on_hands=self.on_hands[places],
            counted_us=self.counted_us[places],
            lacking={},
            faults=[],
            last_row=self.last_row,
        )


def check_columns(source: Source, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that nobody reads; refuses with `missing_column`."""
    for name in NEEDED:
        if name not in names:
            raise missing_column(source, name, names)
    return tuple(name for name in names if name not in (*NEEDED, *OPTIONAL))


class _Sieve:
    """The rows of a frame that are still good, and faults of those that are not."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.good = np.ones(block.frame.height, dtype=bool)
        self.faults = list(block.faults)
        for fault in block.faults:
            self.good[fault.row - block.first_row] = False

    def refuse(
        self, wrong: NDArray[np.bool_], field: str, code: str, reason: Callable[[int], str]
    ) -> None:
        """Take out the rows that are wrong, and say why of those that were good so far."""
        for place in np.flatnonzero(wrong & self.good).tolist():
            self.faults.append(Fault(self.block.first_row + place, field, reason(place), code))
        self.good &= ~wrong


def read_counts(block: Block, refs: Refs) -> StockRows:
    """Read a block's rows; of several faults of a row the first is told."""
    frame = block.frame
    sieve = _Sieve(block)
    sieve.good &= ~_is_blank(frame)
    _refuse_missing(sieve, "sku")
    _refuse_missing(sieve, "location")
    skus, product_ids = _look_up(frame["sku"], refs.products)
    locations, location_ids = _look_up(frame["location"], refs.locations)
    sieve.refuse(
        location_ids == UNKNOWN,
        "location",
        "unknown_location",
        lambda place: f"There is no location {locations[place]!r}.",
    )
    pool_ids = _pool_ids(frame, refs, sieve)
    is_named = ~_missing(frame["sku"]) & (location_ids != UNKNOWN) & (pool_ids != UNKNOWN)
    _refuse_missing(sieve, "on_hand")
    on_hands = _quantities(frame["on_hand"], sieve)
    counted_us = _instants(frame, refs, sieve)

    def rows_at(places: NDArray[np.int64]) -> StockRows:
        lacking = np.flatnonzero(product_ids[places] == UNKNOWN)
        return StockRows(
            rows=places + block.first_row,
            product_ids=product_ids[places],
            location_ids=location_ids[places],
            pool_ids=pool_ids[places].astype(np.int16),
            on_hands=on_hands[places].astype(np.int32),
            counted_us=counted_us[places],
            lacking={place: skus[int(places[place])] for place in lacking.tolist()},
            faults=[],
            last_row=block.last_row,
        )

    read = rows_at(np.flatnonzero(sieve.good))
    read.faults = sieve.faults
    named = np.flatnonzero(is_named & ~sieve.good)
    read.named = rows_at(named) if len(named) else None
    return read


def _refuse_missing(sieve: _Sieve, name: str) -> None:
    missing = _missing(sieve.block.frame[name])
    sieve.refuse(missing, name, "missing_value", lambda _: f"{name} is missing.")


def with_learnt(read: StockRows, known: Mapping[str, int]) -> StockRows:
    """Return the rows with SKUs that were learnt since; the others are faults then."""
    if read.named is not None:  # what is wrong with these is told already
        named = msgspec.structs.replace(with_learnt(read.named, known), faults=[])
        read = msgspec.structs.replace(read, named=named)
    if not read.lacking:
        return read
    faults = list(read.faults)
    for place, sku in read.lacking.items():
        product_id = known.get(sku, UNKNOWN)
        read.product_ids[place] = product_id
        if product_id == UNKNOWN:
            row = int(read.rows[place])
            faults.append(Fault(row, "sku", f"There is no SKU {sku!r}.", "unknown_sku"))
    rows = read.take(np.flatnonzero(read.product_ids != UNKNOWN))
    return msgspec.structs.replace(rows, faults=faults, named=read.named)


def _is_blank(frame: pl.DataFrame) -> NDArray[np.bool_]:
    return frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()


def _missing(column: pl.Series) -> NDArray[np.bool_]:
    missing = column.is_null()
    if column.dtype == pl.String:
        missing |= (column.str.strip_chars() == "").fill_null(value=True)
    return missing.to_numpy()


def _look_up(column: pl.Series, known: Mapping[str, int]) -> tuple[pl.Series, NDArray[np.int32]]:
    """Return the column as text, and the id of each value, `UNKNOWN` where there is none."""
    texts = column.cast(pl.String).str.strip_chars()
    different = texts.unique()
    ids = [UNKNOWN if text is None else known.get(text, UNKNOWN) for text in different.to_list()]
    found = texts.replace_strict(different, pl.Series(ids, dtype=pl.Int32))
    return texts, found.to_numpy().astype(np.int32)


def _pool_ids(frame: pl.DataFrame, refs: Refs, sieve: _Sieve) -> NDArray[np.int32]:
    if "pool" not in frame.columns:
        return np.full(frame.height, refs.pool_id, dtype=np.int32)
    pools, pool_ids = _look_up(frame["pool"], refs.pools)
    missing = _missing(frame["pool"])
    pool_ids = np.where(missing, refs.pool_id, pool_ids)
    sieve.refuse(
        pool_ids == UNKNOWN,
        "pool",
        "unknown_pool",
        lambda place: f"There is no pool {pools[place]!r}.",
    )
    return pool_ids


def _quantities(column: pl.Series, sieve: _Sieve) -> NDArray[np.int64]:
    """Return whole numbers; `3.0` is one, `3.5` is none."""
    column = column.str.strip_chars() if column.dtype == pl.String else column
    whole = column.cast(pl.Int64, strict=False)
    quantities = whole.to_numpy()
    if whole.null_count() or column.dtype.is_float():
        numbers = column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        is_whole = np.isfinite(numbers) & (numbers == np.rint(numbers))
        sieve.refuse(
            ~is_whole,
            "on_hand",
            "not_an_integer",
            lambda place: f"{column[place]!r} is no whole number.",
        )
        bounded = np.clip(numbers, -MAX_QTY - 1, MAX_QTY + 1)
        quantities = np.where(is_whole, bounded, 0).astype(np.int64)
    sieve.refuse(
        np.abs(quantities) > MAX_QTY,
        "on_hand",
        "quantity_out_of_range",
        lambda place: f"on_hand is {column[place]}; it must be from {-MAX_QTY} to {MAX_QTY}.",
    )
    return quantities


def _instants(frame: pl.DataFrame, refs: Refs, sieve: _Sieve) -> NDArray[np.int64]:
    """Return microseconds since 1970; text is ISO 8601 with a time zone."""
    if "counted_at" not in frame.columns:
        return np.full(frame.height, refs.counted_us, dtype=np.int64)
    column = frame["counted_at"]
    missing = _missing(column)
    instants = _as_microseconds(column, refs.now_us)
    sieve.refuse(
        (instants == UNKNOWN) & ~missing,
        "counted_at",
        "instant_unusable",
        lambda place: f"{column[place]!r} is no instant with a time zone, or it is to come.",
    )
    return np.where(missing, refs.counted_us, instants)


def _as_microseconds(column: pl.Series, now_us: int) -> NDArray[np.int64]:
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None:
            raise Refusal(
                "instant_unusable", "counted_at has no time zone: give one.", field="counted_at"
            )
        instants = column.dt.epoch("us").fill_null(UNKNOWN).to_numpy()
    else:
        texts = column.cast(pl.String)
        different = texts.unique()
        known = pl.Series([_microseconds(text) for text in different.to_list()], dtype=pl.Int64)
        instants = texts.replace_strict(different, known).to_numpy()
    return np.where(instants > now_us + AHEAD_US, UNKNOWN, instants)


def _microseconds(text: str | None) -> int:
    try:
        instant = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return UNKNOWN
    return UNKNOWN if instant.tzinfo is None else microseconds(instant.astimezone(UTC))
