"""A batch of counts as JSON: its rows as columns, and what cannot be read of them. Pure.

A batch is a list of objects with `sku`, `location`, `on_hand` and, if wanted, `pool` and
`counted_at`; a row that does not fit is a fault of its own. Rows are counted from 1 in here.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import polars as pl

from penstock.bulk.blocks import Block
from penstock.bulk.model import Fault
from penstock.bulk.records import fault_of
from penstock.bulk.stock_rows import StockRows
from penstock.errors import Refusal
from penstock.inventory.counts import newest_rows

MAX_BATCH_ROWS = 100_000
_Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
_COLUMNS = {
    "sku": pl.String(),
    "location": pl.String(),
    "on_hand": pl.Int64(),
    "pool": pl.String(),
    "counted_at": pl.String(),
}


class BatchRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What was counted of a SKU at a location; an instant is read with the other columns."""

    sku: str
    location: str
    on_hand: _Whole
    pool: str | None = None
    counted_at: str | None = None


class _Named(msgspec.Struct, gc=False):
    """What a row names that cannot be counted: a full feed does not retire it."""

    sku: str
    location: str
    pool: str | None = None


_items = msgspec.json.Decoder(list[msgspec.Raw])
_rows = msgspec.json.Decoder(list[BatchRow])
_row = msgspec.json.Decoder(BatchRow)
_named = msgspec.json.Decoder(_Named)


def count_rows(body: bytes) -> int:
    """Return how many rows a batch has; refuses with `invalid_json` and `too_many_rows`."""
    try:
        rows = len(_items.decode(body))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal("invalid_json", f"The body is no JSON array: {error}.") from None
    if rows > MAX_BATCH_ROWS:
        sentence = f"A batch has at most {MAX_BATCH_ROWS:,} rows: send several."
        raise Refusal("too_many_rows", sentence, most=MAX_BATCH_ROWS)
    return rows


def batch_block(body: bytes) -> Block:
    """Read a batch into a frame; of rows that do not fit no more than what they name is there."""
    faults: list[Fault] = []
    try:
        rows: list[BatchRow | _Named | None] = list(_rows.decode(body))
    except msgspec.ValidationError:
        items = _items.decode(body)
        rows = [_read(item, place, faults) for place, item in enumerate(items, 1)]
    cells = {
        name: pl.Series(name, [getattr(row, name, None) for row in rows], dtype=kind)
        for name, kind in _COLUMNS.items()
    }
    return Block(pl.DataFrame(cells), 1, faults)


def _read(item: msgspec.Raw, row: int, faults: list[Fault]) -> BatchRow | _Named | None:
    try:
        return _row.decode(item)
    except msgspec.ValidationError as error:
        faults.append(fault_of(row, error))
    try:
        return _named.decode(item)
    except msgspec.ValidationError:
        return None


def without_superseded(read: StockRows) -> StockRows:
    """Return the rows without those that a newer row of the batch counts again; these are told."""
    newest = newest_rows((read.product_ids, read.location_ids, read.pool_ids), read.counted_us)
    if len(newest) == len(read.rows):
        return read
    old = np.setdiff1d(np.arange(len(read.rows)), newest)
    sentence = "Another row of the batch counts the same position."
    faults = [Fault(row, "", sentence, "count_superseded") for row in read.rows[old].tolist()]
    kept = read.take(newest)
    return msgspec.structs.replace(kept, faults=[*read.faults, *faults], named=read.named)
