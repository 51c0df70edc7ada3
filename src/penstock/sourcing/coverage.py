"""What each location could send of each demand, vectorised over the whole batch.

Lines of one demand that want the same product become one *item*, so that they never count the
same units twice. Owns the filters (not serving, pinned elsewhere, excluded, capacity full) and the
arrays everything else works on. Entries of an item are sorted by location row.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.geo import cosines_upto, unit_vectors
from penstock.sourcing.model import Candidates, Demand, DemandLine, Profile

_DISTANCE_SLACK_KM = 1e-6


class Item(msgspec.Struct, gc=False):
    """One product of one demand: its lines, quantity and weight, and its entries' range."""

    lines: list[DemandLine]
    qty: int
    unit_weight_g: int
    start: int
    stop: int


class Coverage(msgspec.Struct):
    """A batch's arrays: demands by rows where a shape says so, entries where it does not.

    `allowed[demand, row]`: may serve it; `band[demand, row]`: distance band; `cosine`: of the
    angle between them. `rows`, `have`: per entry its location row and the quantity there, filtered
    entries 0. `positions[first[e]:first[e + 1]]` are an entry's positions.
    """

    items: list[list[Item]]
    allowed: NDArray[np.bool_]
    band: NDArray[np.int8]
    cosine: NDArray[np.float64]
    rows: NDArray[np.int32]
    have: NDArray[np.int64]
    first: NDArray[np.int64]
    position_ids: NDArray[np.int32]
    available: NDArray[np.int32]
    removed: list[dict[str, int]]
    considered: list[int]


def cover(demands: Sequence[Demand], candidates: Candidates, profile: Profile) -> Coverage:
    """Work out a batch's coverage; a demand's part does not depend on the others'."""
    allowed, removed = _allowed(demands, candidates)
    cosine = (
        unit_vectors([d.latitude for d in demands], [d.longitude for d in demands])
        @ candidates.locations.unit_xyz.T
    )
    limits = cosines_upto(profile.rate_card.distance_km_upto[:-1] + _DISTANCE_SLACK_KM)
    band = np.zeros(cosine.shape, dtype=np.int8)
    for limit in limits:
        band += cosine < limit
    stock = candidates.stock
    entries = _merge(stock.line_start, stock.location_rows)
    starts = np.searchsorted(entries, stock.line_start)
    items, demand_of_line = _items(demands, starts.tolist())
    rows = stock.location_rows[entries]
    have = _sums(stock.available, entries)
    demand_of_entry = np.repeat(demand_of_line, np.diff(starts))
    have[~allowed[demand_of_entry, rows]] = 0
    return Coverage(
        items=items,
        allowed=allowed,
        band=band,
        cosine=cosine,
        rows=rows,
        have=have,
        first=np.append(entries, len(stock.available)),
        position_ids=stock.position_ids,
        available=stock.available,
        removed=removed,
        considered=allowed.sum(axis=1).tolist(),
    )


def _allowed(
    demands: Sequence[Demand], candidates: Candidates
) -> tuple[NDArray[np.bool_], list[dict[str, int]]]:
    """Filter locations per demand, and count what removed how many."""
    keys = {(demand.channel_id, demand.service) for demand in demands}
    by_key = {key: _allowed_for(key, candidates) for key in keys}
    of_demands = [by_key[(demand.channel_id, demand.service)] for demand in demands]
    allowed = np.stack([mask for mask, _ in of_demands])
    removed = [counts for _, counts in of_demands]
    ids = candidates.locations.ids
    for place, demand in enumerate(demands):
        if demand.excluded_location_ids:
            out = np.isin(ids, list(demand.excluded_location_ids))
            removed[place] = {**removed[place], "excluded": int((out & allowed[place]).sum())}
            allowed[place] &= ~out
        if demand.pinned_location_id is not None:
            elsewhere = ids != demand.pinned_location_id
            gone = int((elsewhere & allowed[place]).sum())
            removed[place] = {**removed[place], "pinned elsewhere": gone}
            allowed[place] &= ~elsewhere
    return allowed, removed


def _allowed_for(
    key: tuple[int, str], candidates: Candidates
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    serving = candidates.serving[key]
    codes = np.bincount(candidates.removed_by[key], minlength=4).tolist()
    counts = {"off": codes[1], "no capability": codes[2], "not in network": codes[3]}
    left = candidates.capacity_left.get(key[1])
    if left is None:
        return serving, counts
    counts["capacity full"] = int((serving & (left <= 0)).sum())
    return serving & (left > 0), counts


def _merge(line_start: NDArray[np.int32], rows: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the first place of each run of equal rows within a line: one entry per location."""
    if len(rows) == 0:
        return np.zeros(0, dtype=np.int64)
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = rows[1:] != rows[:-1]
    begins[line_start[:-1][line_start[:-1] < len(rows)]] = True
    return np.flatnonzero(begins)


def _sums(available: NDArray[np.int32], entries: NDArray[np.int64]) -> NDArray[np.int64]:
    positive = available.clip(min=0).astype(np.int64)
    if len(entries) == len(available):
        return positive
    return np.add.reduceat(positive, entries) if len(entries) else positive


def _items(
    demands: Sequence[Demand], starts: list[int]
) -> tuple[list[list[Item]], NDArray[np.int64]]:
    items: list[list[Item]] = []
    line = 0
    for demand in demands:
        by_product: dict[int, Item] = {}
        for one in demand.lines:
            item = by_product.get(one.product_id)
            if item is None:
                by_product[one.product_id] = Item(
                    [one], one.qty, one.unit_weight_g, starts[line], starts[line + 1]
                )
            else:
                item.lines.append(one)
                item.qty += one.qty
            line += 1
        items.append(list(by_product.values()))
    counts = [len(demand.lines) for demand in demands]
    return items, np.repeat(np.arange(len(demands)), counts)
