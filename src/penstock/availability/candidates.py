"""Candidates for sourcing: where each demand line's product is, and how much may be taken there.

Owns the stock part of sourcing's candidates, in CSR form over the lines of a whole batch, from the
index (a proposal, perhaps late) or from the rows a pass has locked (the decision). Which location
may serve a demand, at what cost, is sourcing's. Only pools for sale appear, and only positions with
something left after the floor of the demand's channel, trimmed to what caps and ring-fences leave
(`heed_limits`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock import geo
from penstock.availability.controls import Controls, Moment
from penstock.availability.index import Index
from penstock.availability.limits import Places, limits_of, trimmed
from penstock.availability.neighbours import Bools, Locations, rows_of
from penstock.availability.product_map import Ints
from penstock.inventory.model import UseKey
from penstock.sourcing import model
from penstock.sourcing.model import UNLIMITED, Demand, DemandLine


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
    on_hand: NDArray[np.int32]


class Terms(msgspec.Struct, frozen=True):
    """The controls of an account, and what of them holds at the instant of planning."""

    controls: Controls
    moment: Moment


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
        (p.product_id, p.location_id, p.pool_id, p.id, p.on_hand - p.reserved, p.on_hand)
        for p in positions
    )
    table = np.array(rows, dtype=np.int32).reshape(len(rows), 6)
    product_ids, location_ids, pool_ids, position_ids, *qtys = np.ascontiguousarray(table.T)
    return LockedRows(position_ids, product_ids, location_ids, pool_ids, *qtys)


def stock_of(source: Index | LockedRows, wanted: Wanted, terms: Terms, row_of: Ints) -> Stock:
    """Gather what may be taken for each line, ordered by location and pool within a line.

    A position may appear for several lines: what they take together is the caller's to bound.
    """
    if isinstance(source, LockedRows):
        line_start, places = _locked_lines(source, wanted.product_ids)
        position_ids = source.position_ids[places]
        location_ids, pool_ids = source.location_ids[places], source.pool_ids[places]
        net, on_hand = source.net[places], (source.on_hand, places)
    else:
        line_start, position_ids = source.positions_of(wanted.product_ids)
        location_ids, pool_ids = source.location[position_ids], source.pool[position_ids]
        net, on_hand = source.net(position_ids), (source.on_hand, position_ids)
    rows = rows_of(row_of, location_ids)
    floors = _floors(terms.moment, wanted, line_start, rows, on_hand)
    available = net if floors is None else net - floors
    kept = np.flatnonzero((available > 0) & (rows >= 0) & terms.controls.sells(pool_ids))
    return Stock(
        line_start=np.searchsorted(kept, line_start).astype(np.int32),
        position_ids=position_ids[kept],
        location_rows=rows[kept].astype(np.int32),
        available=available[kept].astype(np.int32, copy=False),
    )


def apart(demand: Demand) -> Demand:
    """Return the demand with a line for each product that it may take, and no kits."""
    lines = tuple(DemandLine("", one, UNLIMITED, 0) for one in sorted(demand.product_ids()))
    return msgspec.structs.replace(demand, lines=lines, kits=())


def shelves_of(stock: model.Stock, demand: Demand) -> dict[int, dict[tuple[int, int], int]]:
    """Return by product of a demand what may be taken where: by location row and position.

    `stock` is that of the demand's products, each a line (`apart`).
    """
    rows, ids = stock.location_rows.tolist(), stock.position_ids.tolist()
    places = list(zip(zip(rows, ids, strict=True), stock.available.tolist(), strict=True))
    bounds = stock.line_start.tolist()
    return {
        line.product_id: dict(places[bounds[n] : bounds[n + 1]])
        for n, line in enumerate(demand.lines)
    }


def _locked_lines(rows: LockedRows, product_ids: Ints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first = np.searchsorted(rows.product_ids, product_ids, side="left")
    counts = np.searchsorted(rows.product_ids, product_ids, side="right") - first
    line_start = np.append(0, np.cumsum(counts))
    places = np.arange(line_start[-1]) + np.repeat(first - line_start[:-1], counts)
    return line_start, places


def _floors(
    moment: Moment,
    wanted: Wanted,
    line_start: NDArray[np.intp],
    rows: NDArray[np.int64],
    on_hand: tuple[Ints, Ints],
) -> NDArray[np.int64] | None:
    """Return each place's floor, by the channel of its line: one look-up per channel there is.

    `on_hand` is a column and where in it each place is: looked at for shares only.
    """
    channels = np.unique(wanted.channel_ids).tolist()
    ruled = [channel_id for channel_id in channels if not moment.floors(channel_id).is_zero]
    if not ruled:
        return None
    floors = np.zeros(len(rows), dtype=np.int64)
    lines = np.repeat(np.arange(len(line_start) - 1), np.diff(line_start))
    channel_ids, product_ids = wanted.channel_ids[lines], wanted.product_ids[lines]
    for channel_id in ruled:
        mine = np.flatnonzero(channel_ids == channel_id)
        found = moment.floors(channel_id)
        there = on_hand[0][on_hand[1][mine]] if found.needs_on_hand else None
        floors[mine] = found.at(product_ids[mine], rows[mine], there)
    return floors


class View(msgspec.Struct, frozen=True):
    """What trimming looks at: controls, what is used of them, places, and who serves a demand."""

    moment: Moment
    used: Callable[[UseKey], int]
    locations: Locations
    serving: Callable[[Demand], Bools]


def heed_limits(stock: Stock, demands: Sequence[Demand], view: View) -> Stock:
    """Trim what each demand may take to what caps and ring-fences leave it.

    Stock is kept where it serves the demand, the nearest first. A demand's lines of one product
    see the same; what demands take together is the decision's to bound.
    """
    if not view.moment.has_counted:
        return stock
    available = stock.available.copy()
    line = 0
    for demand in demands:
        wanted: dict[int, int] = {}
        for one in demand.lines:
            wanted[one.product_id] = wanted.get(one.product_id, 0) + one.qty
        for one in demand.lines:
            span = slice(int(stock.line_start[line]), int(stock.line_start[line + 1]))
            units = _trimmed(stock, span, (demand, one.product_id, wanted[one.product_id]), view)
            if units is not None:
                available[span] = units
            line += 1
    kept = np.flatnonzero(available > 0)
    return Stock(
        line_start=np.searchsorted(kept, stock.line_start).astype(np.int32),
        position_ids=stock.position_ids[kept],
        location_rows=stock.location_rows[kept],
        available=available[kept],
    )


def _trimmed(
    stock: Stock, span: slice, wanted: tuple[Demand, int, int], view: View
) -> NDArray[np.int64] | None:
    demand, product_id, qty = wanted
    counted = view.moment.counting(demand, product_id)
    if not counted:
        return None
    rows = stock.location_rows[span]
    here = geo.unit_vectors(demand.latitude, demand.longitude)
    places = Places(
        location_ids=view.locations.location_ids[rows],
        units=stock.available[span].astype(np.int64),
        may_serve=_may_serve(demand, view)[rows],
        nearness=geo.distances_km(view.locations.unit_xyz[rows] @ here),
    )
    limits = limits_of(counted, product_id, places, view.used)
    units = trimmed(places, limits, qty)
    return np.where(places.may_serve, units, 0)


def _may_serve(demand: Demand, view: View) -> Bools:
    serving = view.serving(demand).copy()
    rows = view.locations.row_of[list(demand.excluded_location_ids)]
    serving[rows[rows >= 0]] = False
    if demand.pinned_location_id is not None:
        serving &= view.locations.location_ids == demand.pinned_location_id
    return serving
