"""The figures of a batch's shipments, worked out at once: costs, distances, who was outscored.

Owns the arithmetic behind plans and explanations. Who could have sent a shipment, other than the
plan's own locations, is ordered like plans are: cost, then earlier, then lower id.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.geo import distances_km
from penstock.sourcing.coverage import Coverage
from penstock.sourcing.exact import NONE, Keys
from penstock.sourcing.model import Candidates, Profile


class Choosing(msgspec.Struct):
    """What every demand of a batch is chosen from."""

    coverage: Coverage
    candidates: Candidates
    profile: Profile
    keys: Keys


class Sent(msgspec.Struct, gc=False):
    """A chosen row, what it sends of which item, and the rows that could have sent just that."""

    row: int
    parts: list[tuple[int, int]]
    could: NDArray[np.bool_]


class Choice(msgspec.Struct, gc=False):
    """What was chosen for a demand of the batch, and how."""

    sent: list[Sent]
    method: str


class Figures(msgspec.Struct):
    """Per shipment of the batch, in order, and per part (`entry`); `ready` by row.

    `others`: row, cost and distance of the next best locations, best first.
    """

    rows: list[int]
    weight_g: list[int]
    handling: list[int]
    carriage: list[int]
    distance_km: list[float]
    others: list[list[tuple[int, int, float]]]
    entry: list[int]
    ready: list[int]


def figures_of(choosing: Choosing, choices: Sequence[Choice], most: int) -> Figures:
    """Work out the figures of all shipments of a batch, with up to `most` others each."""
    sent = [one for choice in choices for one in choice.sent]
    if not sent:
        return Figures([], [], [], [], [], [], [], [])
    coverage, keys = choosing.coverage, choosing.keys
    places = np.repeat(np.arange(len(choices)), [len(choice.sent) for choice in choices])
    rows = np.array([one.row for one in sent])
    items = coverage.items
    weights = np.array(
        [sum([items[i].unit_weight_g * qty for i, qty in one.parts]) for one in sent],
        dtype=np.int64,
    )
    by_band = choosing.profile.rate_card.carriage(weights).T
    every = np.arange(len(sent))
    return Figures(
        rows=rows.tolist(),
        weight_g=weights.tolist(),
        handling=(keys.key[rows] >> keys.cost_shift).tolist(),
        carriage=by_band[every, coverage.band[places, rows]].tolist(),
        distance_km=distances_km(coverage.cosine[places, rows]).round(3).tolist(),
        others=_others(choosing, sent, places, by_band << keys.cost_shift, most),
        entry=_entries(coverage, sent),
        ready=choosing.candidates.locations.ready_min.tolist(),
    )


def _entries(coverage: Coverage, sent: Sequence[Sent]) -> list[int]:
    """Return the entry of each part: entries ascend by item and row, so that one look-up does."""
    size = coverage.allowed.shape[1]
    wanted = [item * size + one.row for one in sent for item, _ in one.parts]
    entries = coverage.entries
    return (entries.item * size + entries.rows).searchsorted(wanted).tolist()


def _others(
    choosing: Choosing,
    sent: Sequence[Sent],
    places: NDArray[np.int64],
    by_band: NDArray[np.int64],
    most: int,
) -> list[list[tuple[int, int, float]]]:
    """Return the next best rows of each shipment, apart from those its plan uses."""
    coverage, keys = choosing.coverage, choosing.keys
    could = np.array([one.could for one in sent])
    first = places.searchsorted(places).tolist()
    for number, one in enumerate(sent):
        could[first[number] : number + 1, one.row] = False
        could[number, [other.row for other in sent[first[number] : number]]] = False
    offset = np.arange(0, by_band.size, by_band.shape[1])[:, None]
    cost = by_band.reshape(-1)[offset + coverage.band[places]]
    cost += keys.key
    cost[~could] = NONE
    most = min(most, cost.shape[1])
    if most < cost.shape[1]:
        cost = np.partition(cost, most - 1, axis=1)[:, :most]
    cost.sort(axis=1)
    other = keys.order[cost & keys.rank_mask]
    distance = distances_km(coverage.cosine[places[:, None], other]).round(3)
    counts = (cost < NONE).sum(axis=1).tolist()
    columns = zip(
        other.tolist(), (cost >> keys.cost_shift).tolist(), distance.tolist(), counts, strict=True
    )
    return [
        list(zip(rows[:count], costs[:count], kms[:count], strict=True))
        for rows, costs, kms, count in columns
    ]
