"""Sourcing in words: demands, candidates, profile, plan, explanation.

Pure structs. Ids of entities are text, ids of products, locations and positions small integers;
a *row* is a location's place in `Locations`. Money is minor units, weight grams, distance km.
"""

from enum import IntEnum
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

UNLIMITED = int(np.iinfo(np.int32).max)


class Removed(IntEnum):
    """Why a location was not considered for a demand."""

    NOT = 0
    OFF = 1
    NO_CAPABILITY = 2
    NOT_IN_NETWORK = 3


class DemandLine(msgspec.Struct, frozen=True, gc=False):
    """A quantity of one product wanted on one line."""

    line_id: str
    product_id: int
    qty: int
    unit_weight_g: int


class KitParts(msgspec.Struct, frozen=True, gc=False):
    """A line that is a kit, placed whole: its components' (line id, product id, quantity a kit)."""

    line_id: str
    parts: tuple[tuple[str, int, int], ...]
    unit_weights_g: tuple[int, ...]


class Held(msgspec.Struct, frozen=True, gc=False):
    """A reservation of a cart that a demand takes over: it is met from there first.

    `counted_by` are the controls that count it, as in a reservation.
    """

    reservation_id: str
    position_id: int
    product_id: int
    location_id: int
    qty: int
    counted_by: tuple[int, ...] = ()


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a fulfilment choice wants, where it goes (degrees), and whose order it is part of.

    `tier` is the customer's, `basket_minor` the order's total in `currency`. `held` is reserved for
    it already; what of that it does not need is given back.
    """

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
    tier: str = "standard"
    basket_minor: int = 0
    currency: str = ""
    kits: tuple[KitParts, ...] = ()
    held: tuple[Held, ...] = ()

    def product_ids(self) -> set[int]:
        """Return the products whose stock it may take: of a kit those of its components."""
        if not self.kits:
            return {line.product_id for line in self.lines}
        kits = {kit.line_id for kit in self.kits}
        own = {line.product_id for line in self.lines if line.line_id not in kits}
        return own | {product_id for kit in self.kits for _, product_id, _ in kit.parts}


class Locations(msgspec.Struct, frozen=True):
    """Every location known, as columns ordered by id; `ready_min` until a fulfilment can leave."""

    ids: NDArray[np.int32]
    unit_xyz: NDArray[np.float64]
    handling_cost_minor: NDArray[np.int64]
    ready_min: NDArray[np.int32]


class Stock(Protocol):
    """Per line of all demands, in order: its places in CSR form, sorted by row, net of floors."""

    line_start: NDArray[np.int32]
    position_ids: NDArray[np.int32]
    location_rows: NDArray[np.int32]
    available: NDArray[np.int32]


Key = tuple[int, str]  # channel id and service


class Candidates(msgspec.Struct, frozen=True):
    """Where demands may be met: who serves what and why not, capacities left today, stock."""

    locations: Locations
    serving: dict[Key, NDArray[np.bool_]]
    removed_by: dict[Key, NDArray[np.uint8]]
    capacity_left: dict[str, NDArray[np.int32]]
    stock: Stock


class RateCard(msgspec.Struct, frozen=True):
    """What a parcel costs: `amount_minor[distance band, weight band]`, bands by upper bound.

    Above the last weight each begun kilogram costs `per_extra_kg_minor[distance band]`; beyond the
    last distance the last band counts.
    """

    distance_km_upto: NDArray[np.float64]
    weight_g_upto: NDArray[np.int64]
    amount_minor: NDArray[np.int64]
    per_extra_kg_minor: NDArray[np.int64]

    def carriage(self, weight_g: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cost of parcels of these weights by distance band: shape (bands, *weights)."""
        band = np.minimum(self.weight_g_upto.searchsorted(weight_g), len(self.weight_g_upto) - 1)
        extra_g = np.maximum(weight_g - self.weight_g_upto[-1], 0)
        extra_kg = -(-extra_g // 1000)
        amounts = self.amount_minor[:, band]
        per_kg = self.per_extra_kg_minor.reshape(-1, *([1] * np.ndim(weight_g)))
        return amounts + per_kg * extra_kg


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


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """A shipment as the explanation keeps it: who sends how many units, how far, for how much."""

    location_id: int
    cost_minor: int
    handling_minor: int
    carriage_minor: int
    distance_km: float
    weight_g: int
    units: int


class Outscored(msgspec.Struct, frozen=True, gc=False):
    """A location that could have sent a chosen shipment, and what it would have cost."""

    location_id: int
    instead_of: int
    cost_minor: int
    distance_km: float
    lost_by: str  # cost | later | tie


class Unsourced(msgspec.Struct, frozen=True, gc=False):
    """An item that is short: how much is lacking, how much was seen where it may come from."""

    product_id: int
    qty: int
    seen: int
    why: str  # a phrase of `plan`, such as "too little stock"


class HeldAt(msgspec.Struct, frozen=True, gc=False):
    """Units that a cart held at a location, and that were taken from there."""

    location_id: int
    units: int


class Explanation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why a plan is as it is: what was considered, removed, chosen, outscored, and not sourced.

    `locations` is `considered` and everything in `removed` (why to how many); of those considered
    `without_stock` have nothing of what is wanted. The method is `exact`, `split` (exact for each
    way tried to cut what no location holds whole) or `search`. `held` is what a cart had there.
    """

    method: str
    locations: int
    removed: dict[str, int]
    considered: int
    without_stock: int
    cost_minor: int
    chosen: list[Chosen]
    outscored: list[Outscored]
    unsourced: list[Unsourced]
    held: list[HeldAt] = []


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Where a demand is met, what is not, and why."""

    demand_id: str
    shipments: tuple[Shipment, ...]
    unsourced: tuple[tuple[str, int], ...]
    cost_minor: int
    explanation: Explanation | None
