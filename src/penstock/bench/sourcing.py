"""`bench sourcing`: choosing locations alone, in this process: 5 lines, 1,000 locations.

Stock is gathered beforehand; what is timed is `source`, in batches as the engine has them and one
by one. Rates are per processor second of this process, so that they are per core whatever else
runs. On a sample of small networks the cost is compared with that of trying every assignment of
lines to locations, which is written here a second time, from the rate card alone.
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.bench.report import Budget, Figure, Options, percentiles
from penstock.bench.retailer import RATE_CARD
from penstock.geo import haversine_km, unit_vectors
from penstock.network.profiles import read_profile
from penstock.sourcing.model import Candidates, Demand, DemandLine, Locations
from penstock.sourcing.source import source

LOCATIONS = 1_000
LINES = 5
BATCH = 100
SECONDS = 5.0
STOCKED_SHARE = 0.3
SAMPLE = 60
SAMPLE_LOCATIONS = 7
KEY = (1, "deliver")

SOURCING_BUDGETS = (Budget("orders_per_core_s", 3_000), Budget("dearer_than_best", 0, "most"))


class Places(msgspec.Struct, frozen=True):
    """A made network: coordinates in degrees, and the locations as sourcing has them."""

    latitudes: NDArray[np.float64]
    longitudes: NDArray[np.float64]
    locations: Locations


class Rows(msgspec.Struct):
    """Stock per line in CSR form, as sourcing takes it."""

    line_start: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


async def bench_sourcing(_conninfo: str, options: Options) -> tuple[int, dict[str, Figure]]:
    """Measure sourcing alone; the server is not used."""
    places = _make_places(np.random.default_rng(1), LOCATIONS)
    seconds = options.seconds or SECONDS
    rate, taken = _rate(places, BATCH, seconds)
    alone_rate, _ = _rate(places, 1, seconds / 3)
    figures: dict[str, Figure] = {
        "orders_per_core_s": round(rate, 1),
        "alone_orders_per_core_s": round(alone_rate, 1),
        **percentiles(taken, "batch_"),
        "compared_with_brute_force": SAMPLE,
        "dearer_than_best": _dearer_than_best(),
    }
    return 1, {"orders_per_s": figures["orders_per_core_s"], **figures}


def _make_places(draw: np.random.Generator, size: int) -> Places:
    latitudes, longitudes = draw.uniform(50, 58, size), draw.uniform(-5, 1, size)
    locations = Locations(
        np.arange(1, size + 1, dtype=np.int32),
        unit_vectors(latitudes, longitudes),
        draw.integers(0, 300, size),
        draw.integers(0, 600, size).astype(np.int32),
    )
    return Places(latitudes, longitudes, locations)


def _make_demands(draw: np.random.Generator, count: int, lines: int) -> list[Demand]:
    demands: list[Demand] = []
    for number in range(count):
        wanted = tuple(
            DemandLine(f"{number}-{line}", number * lines + line + 1, 1, int(weight_g))
            for line, weight_g in enumerate(draw.integers(100, 3_000, lines))
        )
        latitude, longitude = float(draw.uniform(50, 58)), float(draw.uniform(-5, 1))
        demands.append(Demand(str(number), wanted, latitude, longitude, KEY[1], KEY[0]))
    return demands


def _make_stock(draw: np.random.Generator, lines: int, locations: int, share: float) -> Rows:
    has = draw.random((lines, locations)) < share
    has[np.arange(lines), draw.integers(0, locations, lines)] = True  # somebody has it
    line, row = np.nonzero(has)
    return Rows(
        np.searchsorted(line, np.arange(lines + 1)).astype(np.int32),
        (line * locations + row + 1).astype(np.int32),
        row.astype(np.int32),
        draw.integers(1, 20, len(row)).astype(np.int32),
    )


def _candidates(places: Places, stock: Rows) -> Candidates:
    size = len(places.locations.ids)
    return Candidates(
        places.locations,
        {KEY: np.ones(size, dtype=np.bool_)},
        {KEY: np.zeros(size, dtype=np.uint8)},
        {},
        stock,
    )


def _rate(places: Places, batch: int, seconds: float) -> tuple[float, NDArray[np.float64]]:
    """Source batches for so long; returns orders per processor second, and seconds per batch."""
    profile = read_profile("bench", 1, msgspec.to_builtins(RATE_CARD))
    draw = np.random.default_rng(2)
    now = datetime.now(UTC)
    used_s, done = 0.0, 0
    taken: list[float] = []
    while used_s < seconds:
        demands = _make_demands(draw, batch, LINES)
        stock = _make_stock(draw, batch * LINES, LOCATIONS, STOCKED_SHARE)
        candidates = _candidates(places, stock)
        started = time.process_time()
        source(demands, candidates, profile, now)
        taken.append(time.process_time() - started)
        used_s += taken[-1]
        done += batch
    return done / used_s, np.array(taken)


# ── trying everything ────────────────────────────────────────────────────────────────────────────


def _dearer_than_best() -> int:
    """Return how many plans of the sample cost anything else than the best assignment."""
    profile = read_profile("bench", 1, msgspec.to_builtins(RATE_CARD))
    draw = np.random.default_rng(3)
    now = datetime.now(UTC)
    wrong = 0
    for number in range(SAMPLE):
        places = _make_places(draw, SAMPLE_LOCATIONS)
        lines = 2 + number % (LINES - 1)
        demands = _make_demands(draw, 1, lines)
        stock = _make_stock(draw, lines, SAMPLE_LOCATIONS, 0.6)
        plan = source(demands, _candidates(places, stock), profile, now)[0]
        wrong += plan.cost_minor != _best_cost(places, demands[0], stock) or bool(plan.unsourced)
    return wrong


def _best_cost(places: Places, demand: Demand, stock: Rows) -> int:
    weights = [line.unit_weight_g for line in demand.lines]
    starts = stock.line_start.tolist()
    rows = [stock.location_rows[a:b].tolist() for a, b in itertools.pairwise(starts)]
    km = haversine_km(
        places.latitudes, places.longitudes, demand.latitude, demand.longitude
    ).tolist()
    handling = places.locations.handling_cost_minor.tolist()
    best = -1
    for assigned in itertools.product(*rows):
        weight_g: dict[int, int] = {}
        for row, weight in zip(assigned, weights, strict=True):
            weight_g[row] = weight_g.get(row, 0) + weight
        cost = sum(handling[row] + _carriage(km[row], weight_g[row]) for row in weight_g)
        best = cost if best < 0 else min(best, cost)
    return best


def _carriage(km: float, weight_g: int) -> int:
    """Read one parcel's cost off the rate card."""
    card = RATE_CARD
    band = next(n for n, upto in enumerate(card.distance_km_upto) if km <= upto)
    fits = [n for n, upto in enumerate(card.weight_g_upto) if weight_g <= upto]
    if fits:
        return card.amount_minor[band][fits[0]]
    extra_kg = -(-(weight_g - card.weight_g_upto[-1]) // 1000)
    return card.amount_minor[band][-1] + extra_kg * card.per_extra_kg_minor[band]
