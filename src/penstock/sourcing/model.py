"""Sourcing in words: demands, candidates, profile, plan.

Pure structs. Ids of entities are text, ids of products, locations and positions small integers.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class DemandLine(msgspec.Struct, frozen=True, gc=False):
    """A quantity of one product wanted on one line."""

    line_id: str
    product_id: int
    qty: int
    unit_weight_g: int


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a fulfilment choice wants and where it goes (degrees)."""

    id: str
    lines: tuple[DemandLine, ...]
    latitude: float
    longitude: float
    service: str
    channel_id: int
    excluded_location_ids: frozenset[int] = frozenset()
    pinned_location_id: int | None = None
    max_parcels: int | None = None
    ship_complete: bool = False


class Locations(msgspec.Struct, frozen=True):
    """Every location known, as columns ordered by id."""

    ids: NDArray[np.int32]
    unit_xyz: NDArray[np.float64]
    handling_cost_minor: NDArray[np.int64]
    ready_min: NDArray[np.int32]


class Stock(msgspec.Struct, frozen=True):
    """Per line of all demands, in order: its positions in CSR form, net of reserved and floor."""

    line_start: NDArray[np.int64]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


class Candidates(msgspec.Struct, frozen=True):
    """Where demands may be met: locations, who serves what, capacities left, stock by line."""

    locations: Locations
    serving: dict[tuple[int, str], NDArray[np.bool_]]
    removed_by: dict[tuple[int, str], NDArray[np.uint8]]
    capacity_left: dict[str, NDArray[np.int32]]
    stock: Stock


class RateCard(msgspec.Struct, frozen=True):
    """What a parcel costs by distance band and weight band."""

    distance_km_upto: NDArray[np.float64]
    weight_g_upto: NDArray[np.int64]
    amount_minor: NDArray[np.int64]
    per_extra_kg_minor: NDArray[np.int64]


class Profile(msgspec.Struct, frozen=True):
    """How to choose: a versioned document of the business."""

    ref: str
    version: int
    rate_card: RateCard
    search_lines_exact: int = 10


class Leg(msgspec.Struct, frozen=True, gc=False):
    """One way of stock: from a location to a location, or (None) to the customer."""

    from_location_id: int
    to_location_id: int | None


class Part(msgspec.Struct, frozen=True, gc=False):
    """A quantity of a line from one location: what it takes of which positions."""

    line_id: str
    location_id: int
    takes: tuple[tuple[int, int], ...]
    qty: int


class Shipment(msgspec.Struct, frozen=True, gc=False):
    """What one location sends, and what it costs."""

    location_id: int
    parts: tuple[Part, ...]
    cost_minor: int
    handling_minor: int
    carriage_minor: int
    distance_km: float
    weight_g: int
    legs: tuple[Leg, ...]


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Where a demand is met, what is not, and why."""

    demand_id: str
    shipments: tuple[Shipment, ...]
    unsourced: tuple[tuple[str, int], ...]
    cost_minor: int
    explanation: Any
