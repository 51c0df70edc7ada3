"""Confidence learnt and kept: evidence read in one statement, the fit stored, buffers proposed.

Owns table `learnt_confidence`, which every process reads now and then, and what counts as a trial
(`confidence.sql`): journal, fulfilments and the stream meet here. A rejection counts whatever its
reason; the age of a count is that of the last one that changed the position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from penstock.availability.atp import Availability
from penstock.availability.confidence import AGE_HOURS, MOST_LEFT, Confidence, Evidence, learn
from penstock.availability.control_input import ControlInput
from penstock.availability.neighbours import rows_of
from penstock.availability.proposals import Proposal, Shelfful, propose
from penstock.db import Queries, Tx

SQL = Queries("penstock.rules", "confidence.sql")
GROUP = "learnt"
_POSITIONS_AT_A_TIME = 200_000
_decode = msgspec.json.Decoder(Confidence).decode


class Span(msgspec.Struct, frozen=True):
    """The days that are learnt from, up to now; after `half_life_days` a trial counts half."""

    now: datetime
    days: int = 90
    half_life_days: float = 30.0

    @property
    def since(self) -> datetime:
        """Return the instant at which they begin."""
        return self.now - timedelta(days=self.days)


async def read_evidence(tx: Tx, span: Span) -> Evidence:
    """Read what became of allocations, in one statement."""
    params = (span.now, span.since, span.half_life_days, list(AGE_HOURS), MOST_LEFT)
    rows = await tx.fetch(SQL.evidence, params)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 7).T
    location_ids, ages, lefts = (column.astype(np.int64) for column in table[:3])
    return Evidence(location_ids, ages, lefts, *table[3:])


async def learn_confidence(
    tx: Tx, kinds_of: Mapping[int, str], span: Span
) -> tuple[Confidence, Evidence]:
    """Learn from what became of allocations and store it; `kinds_of` are locations' kinds by id."""
    evidence = await read_evidence(tx, span)
    confidence = learn(evidence, kinds_of)
    body = msgspec.json.encode(confidence).decode()
    await tx.execute(SQL.put_confidence, (span.now, body))
    return confidence, evidence


async def load_confidence(tx: Tx) -> Confidence:
    """Read what was learnt last; nothing, if nothing was."""
    row = await tx.fetch_one(SQL.confidence)
    return Confidence() if row is None else _decode(row[0])


def propose_buffers(
    availability: Availability,
    channel: tuple[int, str],
    learnt: tuple[Confidence, Evidence],
    wanted: tuple[float, float],
) -> list[Proposal]:
    """Propose a buffer a location for a channel (its id and ref), from what was learnt of it.

    `wanted` is the chance aimed at, and the weeks that were learnt from.
    """
    channel_id, ref = channel
    own = {
        rule.ref: rule.qty for rule in availability.controls.rules if rule.channel_id == channel_id
    }
    places = _places(availability, channel_id, own, ref)
    return sorted(propose(*learnt, places, wanted), key=lambda one: one.confidence)


def control_of(channel: str, proposal: Proposal) -> ControlInput:
    """Return the control that a proposal means."""
    return ControlInput(
        qty=proposal.qty or 0,
        channel=channel,
        location=proposal.location,
        ref=_ref(channel, proposal.location),
        group=GROUP,
    )


def _ref(channel: str, location: str) -> str:
    return f"learnt {channel}@{location}"[:100]


def _places(
    availability: Availability, channel_id: int, own: Mapping[str, int], channel: str
) -> Sequence[Shelfful]:
    """Look at every position a channel sells from: what is free beyond what others keep."""
    index, locations = availability.index, availability.locations
    catalogue = availability.catalogue(channel_id, "deliver")
    terms = catalogue.terms
    mine = np.array([own.get(_ref(channel, ref), 0) for ref in locations.refs] + [0])
    free: list[list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = [[] for _ in locations.refs]
    least = np.full(len(mine), np.iinfo(np.int64).max)
    for first in range(1, index.size, _POSITIONS_AT_A_TIME):
        ids = np.arange(first, min(first + _POSITIONS_AT_A_TIME, index.size), dtype=np.int32)
        held = catalogue.held(ids, with_on_hand=True)
        rows = rows_of(terms.row_of, held.location_ids)
        floors = np.zeros(len(ids), dtype=np.int64)
        if not terms.floors.is_zero:
            floors += terms.floors.at(held.product_ids, rows, held.on_hand)
        floors = np.maximum(floors - mine[rows], 0)
        there = np.maximum(held.net.astype(np.int64) - floors, 0)
        sold = terms.controls.sells(held.pool_ids) & (held.product_ids > 0) & (rows >= 0)
        np.minimum.at(least, rows[sold], floors[sold])
        for row in np.unique(rows[sold]).tolist():
            free[row].append(there[sold & (rows == row)])
    nothing = np.zeros(0, dtype=np.int64)
    return [
        Shelfful(
            location_id=int(locations.location_ids[row]),
            ref=ref,
            floor=int(least[row]) if free[row] else 0,
            own=int(mine[row]),
            free=np.concatenate(free[row]) if free[row] else nothing,
        )
        for row, ref in enumerate(locations.refs)
        if terms.serves[row]
    ]
