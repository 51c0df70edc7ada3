"""What dates are made from: carriers, lanes, locations, and what was learnt, in this process.

Owns the snapshot that promises read without the database. Carriers, lanes and locations are read
again when their revision changes; what was learnt, once a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class Dates(msgspec.Struct, frozen=True):
    """Carriers with lanes and histograms, locations by id, handling by service and location id."""

    carriers: Carriers = Carriers({}, {}, {})
    locations: Mapping[int, KnownLocation] = {}
    handling: Mapping[str, Handling] = {}

    def origin(self, location_id: int, service: str) -> Origin:
        """Return the calendar and the handling of a location's service."""
        seen = self.handling.get(service, {}).get(location_id)
        return self.locations[location_id].origin(service, seen)


async def load_dates(tx: Tx, refs: Sequence[str]) -> Dates:
    """Load everything, for the locations of the refs."""
    known = await known_locations(tx, refs)
    handling = {service: await load_handling(tx, service) for service in SERVICES}
    return Dates(await load_carriers(tx), {one.id: one for one in known.values()}, handling)
