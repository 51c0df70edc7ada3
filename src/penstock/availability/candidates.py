"""Candidates for sourcing: where each demand line's product is, and how much may be taken there.

Owns the stock part of sourcing's candidates, in CSR form over the lines of a whole batch, from the
index (a proposal, perhaps late) or from the rows a pass has locked (the decision). Which location
may serve a demand, at what cost, is sourcing's. Only pools for sale appear, and only positions with
something left after the floor of the demand's channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.controls import Controls
from penstock.availability.index import Index
from penstock.availability.neighbours import rows_of
from penstock.availability.product_map import Ints
from penstock.sourcing.model import Demand


class LockedPosition(Protocol):
    """One position as its pass holds it, what the pass has already moved included."""

    id: int
    product_id: int
    location_id: int
    pool_id: int
    on_hand: int
    reserved: int


class LockedRows(msgspec.Struct, frozen=True):
    """Locked positions as columns, sorted by product, location and pool."""

    position_ids: NDArray[np.int32]
    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int32]
    net: NDArray[np.int32]


class Stock(msgspec.Struct):
    """Line i may be met at places line_start[i] up to the next; `available` is net of the floor."""

    line_start: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


class Wanted(msgspec.Struct, frozen=True):
    """The lines of a batch of demands: product and channel of each."""

    product_ids: NDArray[np.int32]
    channel_ids: NDArray[np.int32]


def wanted_by(demands: Iterable[Demand]) -> Wanted:
    """List the lines of all demands, in order."""
    lines = [(line.product_id, demand.channel_id) for demand in demands for line in demand.lines]
    product_ids, channel_ids = np.array(lines, dtype=np.int32).reshape(len(lines), 2).T
    return Wanted(product_ids, channel_ids)


def locked_rows(positions: Iterable[LockedPosition]) -> LockedRows:
    """Turn locked positions into columns."""
    rows = sorted(
        (p.product_id, p.location_id, p.pool_id, p.id, p.on_hand - p.reserved) for p in positions
    )
    table = np.array(rows, dtype=np.int32).reshape(len(rows), 5)
    product_ids, location_ids, pool_ids, position_ids, net = np.ascontiguousarray(table.T)
    return LockedRows(position_ids, product_ids, location_ids, pool_ids, net)


def stock_of(source: Index | LockedRows, wanted: Wanted, controls: Controls, row_of: Ints) -> Stock:
    """Gather what may be taken for each line, ordered by location and pool within a line.

    A position may appear for several lines: what they take together is the caller's to bound.
    """
    if isinstance(source, LockedRows):
        line_start, places = _locked_lines(source, wanted.product_ids)
        position_ids = source.position_ids[places]
        location_ids, pool_ids = source.location_ids[places], source.pool_ids[places]
        available = source.net[places]
    else:
        line_start, position_ids = source.positions_of(wanted.product_ids)
        location_ids, pool_ids = source.location[position_ids], source.pool[position_ids]
        available = source.net(position_ids)
    rows = rows_of(row_of, location_ids)
    available -= _floors(controls, wanted, line_start, rows)
    kept = np.flatnonzero((available > 0) & (rows >= 0) & controls.sells(pool_ids))
    return Stock(
        line_start=np.searchsorted(kept, line_start).astype(np.int32),
        position_ids=position_ids[kept],
        location_rows=rows[kept].astype(np.int32),
        available=available[kept],
    )


def shelves_of(
    source: Index | LockedRows, demand: Demand, controls: Controls, row_of: Ints
) -> dict[int, dict[tuple[int, int], int]]:
    """Return by product of a demand what may be taken where: by location row and position."""
    product_ids = sorted(demand.product_ids())
    channel_ids = np.full(len(product_ids), demand.channel_id, dtype=np.int32)
    wanted = Wanted(np.array(product_ids, dtype=np.int32), channel_ids)
    stock = stock_of(source, wanted, controls, row_of)
    rows, ids = stock.location_rows.tolist(), stock.position_ids.tolist()
    places = list(zip(zip(rows, ids, strict=True), stock.available.tolist(), strict=True))
    bounds = stock.line_start.tolist()
    return {
        product_id: dict(places[bounds[n] : bounds[n + 1]])
        for n, product_id in enumerate(product_ids)
    }


def _locked_lines(rows: LockedRows, product_ids: Ints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first = np.searchsorted(rows.product_ids, product_ids, side="left")
    counts = np.searchsorted(rows.product_ids, product_ids, side="right") - first
    line_start = np.append(0, np.cumsum(counts))
    places = np.arange(line_start[-1]) + np.repeat(first - line_start[:-1], counts)
    return line_start, places


def _floors(
    controls: Controls, wanted: Wanted, line_start: NDArray[np.intp], rows: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return each place's floor, by the channel of its line: one look-up per channel there is."""
    floors = np.zeros(len(rows), dtype=np.int32)
    channels = np.unique(wanted.channel_ids).tolist()
    ruled = [channel_id for channel_id in channels if not controls.floors(channel_id).is_zero]
    if not ruled:
        return floors
    lines = np.repeat(np.arange(len(line_start) - 1), np.diff(line_start))
    channel_ids, product_ids = wanted.channel_ids[lines], wanted.product_ids[lines]
    for channel_id in ruled:
        mine = np.flatnonzero(channel_ids == channel_id)
        floors[mine] = controls.floor(channel_id, product_ids[mine], rows[mine])
    return floors
