"""Random sourcing cases, and a brute force that tries every assignment of lines to locations."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.geo import EARTH_RADIUS_KM, unit_vectors
from penstock.sourcing.model import (
    Candidates,
    Demand,
    DemandLine,
    Locations,
    Plan,
    Profile,
    RateCard,
)
from penstock.sourcing.source import source

KEY = (1, "deliver")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RATE_CARD = RateCard(
    np.array([50.0, 150.0, 400.0, 1500.0]),
    np.array([1000, 2000, 5000, 10000]),
    np.array(
        [[300, 350, 450, 600], [320, 380, 500, 700], [350, 420, 560, 800], [400, 500, 650, 900]]
    ),
    np.array([50, 60, 70, 80]),
)
PROFILE = Profile("test", 1, RATE_CARD)


class Rows(msgspec.Struct):
    """Stock by line in CSR form."""

    line_start: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


class Case(msgspec.Struct):
    """Demands, and stock as (product, row) to quantity."""

    demands: list[Demand]
    stock: dict[tuple[int, int], int]
    locations: Locations

    def candidates(self, demands: Sequence[Demand] | None = None) -> Candidates:
        """Return the candidates of the case's demands, or of some of them."""
        starts, ids, rows, available = [0], [], [], []
        size = len(self.locations.ids)
        for demand in demands or self.demands:
            for line in demand.lines:
                for row in range(size):
                    qty = self.stock.get((line.product_id, row), 0)
                    if qty > 0:
                        ids.append(line.product_id * size + row)
                        rows.append(row)
                        available.append(qty)
                starts.append(len(ids))
        columns = [np.array(column, dtype=np.int32) for column in (starts, ids, rows, available)]
        return Candidates(
            self.locations,
            {KEY: np.ones(size, dtype=bool)},
            {KEY: np.zeros(size, dtype=np.uint8)},
            {},
            Rows(*columns),
        )

    def plans(self, demands: Sequence[Demand] | None = None) -> list[Plan]:
        """Source the case's demands, or some of them."""
        wanted = list(demands or self.demands)
        return source(wanted, self.candidates(wanted), PROFILE, NOW)

    def distances_km(self, demand: Demand) -> NDArray[np.float64]:
        """Return the distance of every location to the demand."""
        to = unit_vectors([demand.latitude], [demand.longitude])[0]
        return EARTH_RADIUS_KM * np.arccos(np.clip(self.locations.unit_xyz @ to, -1, 1))


def make_case(seed: int, demands: int, lines: int, locations: int, share: float = 0.7) -> Case:
    """Make a random case; each line of a demand wants a product of its own."""
    draw = np.random.default_rng(seed)
    places = Locations(
        np.arange(1, locations + 1, dtype=np.int32),
        unit_vectors(draw.uniform(50, 58, locations), draw.uniform(-5, 1, locations)),
        draw.integers(0, 500, locations),
        draw.integers(0, 600, locations).astype(np.int32),
    )
    stock: dict[tuple[int, int], int] = {}
    wanted: list[Demand] = []
    for number in range(demands):
        of_demand: list[DemandLine] = []
        for place in range(lines):
            product_id = number * 100 + place + 1
            qty = int(draw.integers(1, 4))
            weight_g = int(draw.integers(100, 3000))
            of_demand.append(DemandLine(f"{number}-{place}", product_id, qty, weight_g))
            for row in np.flatnonzero(draw.random(locations) < share).tolist():
                stock[(product_id, row)] = int(draw.integers(0, 5))
        latitude, longitude = float(draw.uniform(50, 58)), float(draw.uniform(-5, 1))
        wanted.append(Demand(str(number), tuple(of_demand), latitude, longitude, "deliver", 1))
    return Case(wanted, stock, places)


def brute_force(
    case: Case, demand: Demand, max_parcels: int | None = None
) -> tuple[int, int] | None:
    """Return (cost, parcels) of the best way to send every line whole, None if there is none."""
    distances = case.distances_km(demand)
    covering = [
        [row for row in range(len(case.locations.ids)) if held(case, line, row) >= line.qty]
        for line in demand.lines
    ]
    best: tuple[int, int] | None = None
    for rows in itertools.product(*covering):
        parcels = len(set(rows))
        if max_parcels is not None and parcels > max_parcels:
            continue
        cost = (cost_of(case, demand, rows, distances), parcels)
        best = cost if best is None else min(best, cost)
    return best


def held(case: Case, line: DemandLine, row: int) -> int:
    """Return how many of a line's product a location has."""
    return case.stock.get((line.product_id, row), 0)


def cost_of(case: Case, demand: Demand, rows: Sequence[int], distances: NDArray[np.float64]) -> int:
    """Return the cost of sending each line from its row."""
    weights: dict[int, int] = {}
    for line, row in zip(demand.lines, rows, strict=True):
        weights[row] = weights.get(row, 0) + line.qty * line.unit_weight_g
    total = 0
    for row, weight_g in weights.items():
        band = min(int(np.searchsorted(RATE_CARD.distance_km_upto, distances[row])), 3)
        total += int(case.locations.handling_cost_minor[row])
        total += int(RATE_CARD.carriage(np.array(weight_g))[band])
    return total
