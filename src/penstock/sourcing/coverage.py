"""What each location could send of each demand, vectorised over a batch.

Lines of one demand that want the same product become one *item*, so that they never count the
same units twice. Owns the filters (not serving, pinned elsewhere, excluded, capacity full) and the
arrays everything else works on. An *entry* is an item's stock at one location, all pools together;
entries are ordered by item, then by location row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.errors import invariant
from penstock.geo import cosines_upto, unit_vectors
from penstock.sourcing.entries import Entries, entries_of, without_items
from penstock.sourcing.model import Candidates, Demand, DemandLine, Profile, Stock

_DISTANCE_SLACK_KM = 1e-6


class Item(msgspec.Struct, gc=False):
    """One product of one demand: its lines, quantity and weight of a unit."""

    lines: list[DemandLine]
    qty: int
    unit_weight_g: int


class Coverage(msgspec.Struct):
    """A batch's arrays, by item, by entry, or by demand and location row as shapes say.

    `first_item[d]:first_item[d + 1]` are a demand's items. `covers[entry]`: it may serve and has
    the item whole; `is_whole[item]`: somebody covers it. `allowed[d, row]`: may serve the demand;
    `band[d, row]`: distance band; `cosine`: of the angle between them.
    """

    items: list[Item]
    first_item: list[int]
    demand_of: NDArray[np.int64]
    entries: Entries
    covers: NDArray[np.bool_]
    is_whole: NDArray[np.bool_]
    allowed: NDArray[np.bool_]
    band: NDArray[np.uint8]
    cosine: NDArray[np.float64]
    removed: list[dict[str, int]]
    considered: list[int]
    without_stock: list[int]

    def seen(self, item: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return rows that may serve and have some of an item, and how much they have."""
        start, stop = self.entries.start[item : item + 2]
        rows, have = self.entries.rows[start:stop], self.entries.have[start:stop]
        kept = self.allowed[self.demand_of[item], rows] & (have > 0)
        return rows[kept], have[kept].astype(np.int64)


def cover(
    demands: Sequence[Demand], candidates: Candidates, stock: Stock, profile: Profile
) -> Coverage:
    """Work out a batch's coverage; a demand's part does not depend on the others'."""
    items, first_item, is_first = _items(demands)
    demand_of = np.repeat(np.arange(len(demands)), _lengths(first_item))
    entries = entries_of(stock)
    if not all(is_first):
        entries = without_items(entries, np.array(is_first))
    allowed, removed = _allowed(demands, candidates)
    size = allowed.shape[1]
    cell = (demand_of * size)[entries.item] + entries.rows
    serving = allowed.reshape(-1)[cell]
    wanted = np.array([item.qty for item in items], dtype=np.int64)
    covers = (entries.have >= wanted[entries.item]) & serving
    stocked = np.zeros(len(demands) * size, dtype=bool)
    stocked[cell[serving & (entries.have > 0)]] = True
    considered = allowed.sum(axis=1)
    with_stock = stocked.reshape(-1, size).sum(axis=1)
    cosine = (
        unit_vectors([d.latitude for d in demands], [d.longitude for d in demands])
        @ candidates.locations.unit_xyz.T
    )
    return Coverage(
        items=items,
        first_item=first_item,
        demand_of=demand_of,
        entries=entries,
        covers=covers,
        is_whole=_any_in(covers, entries.start),
        allowed=allowed,
        band=_bands(cosine, profile),
        cosine=cosine,
        removed=removed,
        considered=considered.tolist(),
        without_stock=(considered - with_stock).tolist(),
    )


def _lengths(starts: list[int]) -> list[int]:
    return [stop - start for start, stop in pairwise(starts)]


def _items(demands: Sequence[Demand]) -> tuple[list[Item], list[int], list[bool]]:
    """Return items, each demand's first, and per line whether it is the first of its item."""
    items: list[Item] = []
    first_item = [0]
    is_first: list[bool] = []
    for demand in demands:
        by_product: dict[int, Item] = {}
        for line in demand.lines:
            invariant(line.qty > 0, "a line to be sourced wants nothing")
            item = by_product.get(line.product_id)
            is_first.append(item is None)
            if item is None:
                by_product[line.product_id] = Item([line], line.qty, line.unit_weight_g)
            else:
                item.lines.append(line)
                item.qty += line.qty
        items += by_product.values()
        first_item.append(len(items))
    return items, first_item, is_first


def _bands(cosine: NDArray[np.float64], profile: Profile) -> NDArray[np.uint8]:
    """Return each pair's distance band, compared in cosine space: no trigonometry per pair."""
    band = np.zeros(cosine.shape, dtype=np.uint8)
    for limit in cosines_upto(profile.rate_card.distance_km_upto[:-1] + _DISTANCE_SLACK_KM):
        band += cosine < limit
    return band


def _any_in(flags: NDArray[np.bool_], start: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each range of entries whether any flag is set."""
    result = np.zeros(len(start) - 1, dtype=bool)
    filled = start[1:] > start[:-1]
    if len(flags):
        result[filled] = np.logical_or.reduceat(flags, start[:-1][filled])
    return result


def _allowed(
    demands: Sequence[Demand], candidates: Candidates
) -> tuple[NDArray[np.bool_], list[dict[str, int]]]:
    """Filter locations per demand, and count what removed how many."""
    pairs = [(demand.channel_id, demand.service) for demand in demands]
    by_key = {key: _allowed_for(key, candidates) for key in set(pairs)}
    allowed = np.array([by_key[key][0] for key in pairs])
    removed = [by_key[key][1] for key in pairs]
    ids = candidates.locations.ids
    for place, demand in enumerate(demands):
        if demand.excluded_location_ids:
            out = np.isin(ids, list(demand.excluded_location_ids))
            _remove(allowed[place], out, "excluded", removed, place)
        if demand.pinned_location_id is not None:
            out = ids != demand.pinned_location_id
            _remove(allowed[place], out, "pinned elsewhere", removed, place)
    return allowed, removed


def _remove(
    allowed: NDArray[np.bool_],
    out: NDArray[np.bool_],
    why: str,
    removed: list[dict[str, int]],
    place: int,
) -> None:
    gone = int(np.count_nonzero(out & allowed))
    if gone:
        removed[place] = {**removed[place], why: gone}
        allowed &= ~out


def _allowed_for(
    key: tuple[int, str], candidates: Candidates
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    serving = candidates.serving[key]
    codes = np.bincount(candidates.removed_by[key], minlength=4).tolist()
    counts = {"off": codes[1], "no capability": codes[2], "not in network": codes[3]}
    left = candidates.capacity_left.get(key[1])
    if left is not None:
        counts["capacity full"] = int(np.count_nonzero(serving & (left <= 0)))
        serving = serving & (left > 0)
    return serving, {why: count for why, count in counts.items() if count}
