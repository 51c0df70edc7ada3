"""What a source that counts net has acknowledged: the units its numbers are already less.

Owns turning a net count into what is on hand (docs/adr/net-sources.md). Of a position counted at an
instant it is what is handed to its location and still reserved, if it was handed over before the
instant up to which the source had acknowledged when it counted, and what of that was shipped since.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.db import Queries, Tx
from penstock.inventory.counts import Counts, Known
from penstock.inventory.model import ReservationKind

SQL = Queries("penstock.rules", "acknowledged.sql")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def counts_of_source(tx: Tx, counts: Counts) -> Counts:
    """Return counts as their source means them: those of a net one with what is to be added."""
    row = await tx.fetch_one(SQL.basis_of_source, (counts.source_id,))
    if row is None or row[0] != "net":
        return counts
    return msgspec.structs.replace(counts, adding=acknowledged_units)


async def acknowledged_units(tx: Tx, counts: Counts, known: Known) -> NDArray[np.int64]:
    """Return the units per row that the source had acknowledged when it counted."""
    until_us = await _handed_until(tx, counts)
    units = np.zeros(len(known.ids), dtype=np.int64)
    asked = np.flatnonzero(until_us > 0)
    if len(asked) == 0:
        return units
    ids, mine, until = known.ids[asked], np.zeros(len(asked), dtype=np.int64), until_us[asked]
    counted_us = counts.counted_us[asked]
    reserved = await tx.fetch_one(SQL.handed_over, (ids, int(ReservationKind.ALLOCATION)))
    if reserved is not None and reserved[0] is not None:
        places = np.searchsorted(ids, reserved[0])
        heard = reserved[2] <= until[places]
        np.add.at(mine, places[heard], reserved[1][heard])
    since = _EPOCH + timedelta(microseconds=int(counted_us.min()))
    left = await tx.fetch_one(SQL.left_since, (ids, since))
    if left is not None and left[0] is not None:
        places = np.searchsorted(ids, left[0])
        heard = (left[2] <= until[places]) & (left[3] > counted_us[places])
        np.add.at(mine, places[heard], left[1][heard])
    units[asked] = mine
    return units


async def _handed_until(tx: Tx, counts: Counts) -> NDArray[np.int64]:
    """Return until when the source had acknowledged at each row's instant; 0: never."""
    pairs = np.stack([counts.location_ids.astype(np.int64), counts.counted_us])
    different, places = np.unique(pairs, axis=1, return_inverse=True)
    keys = (different[0].astype(np.int32), np.ascontiguousarray(different[1]))
    row = await tx.fetch_one(SQL.handed_until, (*keys, counts.source_id, counts.source_id))
    until: NDArray[np.int64] = np.zeros(len(keys[0]), dtype=np.int64) if row is None else row[0]
    return until[places.reshape(-1)]
