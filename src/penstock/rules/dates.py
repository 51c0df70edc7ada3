"""What dates are made from: carriers, lanes, locations, and what was learnt, in this process.

Owns the snapshot that promises read without the database. Carriers, lanes and locations are read
again when their revision changes; what was learnt, once a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.db import Tx
from penstock.network.carriers import (
    KnownLocation,
    known_locations,
    load_carriers,
    load_handling,
)
from penstock.network.hours import SERVICES
from penstock.network.lanes import Origin
from penstock.network.routes import Carriers

Handling = Mapping[int, Mapping[int, int]]
Postcodes = tuple[Sequence[int], frozenset[str]]  # how long they are, and which there are


class Dates(msgspec.Struct, frozen=True):
    """Carriers with lanes and histograms, locations by id, handling by service and location id.

    `postcodes` are those that lanes go to, by country, and `bands_km` the limits of all distance
    bands, ascending: what destinations are told apart by. `kept` and `minutes` are what
    `rules/dating.py` has made from all this.
    """

    carriers: Carriers = Carriers({}, {}, {})
    locations: Mapping[int, KnownLocation] = {}
    handling: Mapping[str, Handling] = {}
    postcodes: Mapping[str, Postcodes] = {}
    bands_km: Sequence[float] = ()
    kept: dict[tuple[Any, ...], Any] = {}
    minutes: dict[tuple[int, str, float], int] = {}

    def is_like(self, other: Dates) -> bool:
        """Tell whether dates made from either are the same."""
        mine = (self.carriers, self.locations, self.handling)
        return mine == (other.carriers, other.locations, other.handling)

    def origin(self, location_id: int, service: str) -> Origin:
        """Return the calendar and the handling of a location's service."""
        seen = self.handling.get(service, {}).get(location_id)
        return self.locations[location_id].origin(service, seen)


async def load_dates(tx: Tx, refs: Sequence[str]) -> Dates:
    """Load everything, for the locations of the refs."""
    known = await known_locations(tx, refs)
    handling = {service: await load_handling(tx, service) for service in SERVICES}
    carriers = await load_carriers(tx)
    return Dates(
        carriers,
        {one.id: one for one in known.values()},
        handling,
        _postcodes(carriers),
        sorted({band.upto_km for one in carriers.services.values() for band in one.transit_days}),
    )


def _postcodes(carriers: Carriers) -> dict[str, Postcodes]:
    """Return how the postcodes begin that lanes go to, by country."""
    found: dict[str, set[str]] = {}
    for lanes in carriers.lanes.values():
        for _, destination in lanes:
            country, colon, postcode = destination.partition(":")
            if colon:
                found.setdefault(country, set()).add(postcode)
    return {
        country: (sorted({len(one) for one in postcodes}), frozenset(postcodes))
        for country, postcodes in found.items()
    }
