"""Buffers proposed from confidence: how much to hold back where the last units are often not there.

Pure. A buffer lets an allocation happen only where so much is left behind it, so its effect is read
off the trials: those that left less would not have been. Where more behind does not help, no buffer
is proposed, and the reason says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.confidence import MOST_LEFT, Confidence, Evidence


class Shelfful(msgspec.Struct, frozen=True):
    """A location as a channel sees it: `floor` others keep, `own` the buffer proposed before.

    `free` are the units of each position beyond what others keep.
    """

    location_id: int
    ref: str
    floor: int
    own: int
    free: NDArray[np.int64]


class Proposal(msgspec.Struct, frozen=True):
    """A buffer for a location (None: none would help), why, and what it is expected to do.

    `confidence` is the chance now that the last unit promised is there, `confidence_then` that of
    the last unit still promised; `avoided_per_week` are missed picks that do not happen.
    """

    location: str
    qty: int | None
    was: int
    confidence: float
    confidence_then: float
    seen: int
    missed: int
    units_hidden: int
    avoided_per_week: float
    reason: str


def propose(
    confidence: Confidence,
    evidence: Evidence,
    places: Sequence[Shelfful],
    wanted: tuple[float, float],
) -> list[Proposal]:
    """Propose a buffer for each location with trials; `wanted`: the chance aimed at, and the weeks.

    The smallest buffer counts with which the last unit still promised is there with that chance.
    """
    found: list[Proposal] = []
    for place in places:
        mine = evidence.location_ids == place.location_id
        if mine.any():
            found.append(_proposal(confidence, _of(evidence, mine), place, wanted))
    return found


def _of(evidence: Evidence, mine: NDArray[np.bool_]) -> Evidence:
    return Evidence(*(getattr(evidence, name)[mine] for name in evidence.__struct_fields__))


def _proposal(
    confidence: Confidence, trials: Evidence, place: Shelfful, wanted: tuple[float, float]
) -> Proposal:
    target, weeks = wanted
    chances = [_chance(confidence, trials, place, left) for left in range(MOST_LEFT + 1)]
    start = min(place.floor, MOST_LEFT)
    reach = [left for left in range(start, MOST_LEFT + 1) if chances[left] >= target]
    qty = reach[0] - start if reach else None
    then = chances[reach[0] if reach else start]
    below = trials.lefts < start + (qty or 0)
    missed = np.array([_miss(confidence, trials, n) for n in range(len(trials.lefts))])
    avoided = float((trials.seen * missed)[below & (trials.lefts >= start)].sum()) / weeks
    hidden = int(np.minimum(place.free, qty or 0).sum())
    told = (int(trials.seen.sum()), int(trials.missed.sum()))
    proposal = Proposal(place.ref, qty, place.own, chances[start], then, *told, hidden, avoided, "")
    best = max(chances[start:])
    reason = _reason(proposal, target, weeks, best)
    return msgspec.structs.replace(proposal, reason=reason)


def _chance(confidence: Confidence, trials: Evidence, place: Shelfful, left: int) -> float:
    """Return the chance of a unit with so many left behind it, at the ages promises are made."""
    ages, weights = np.unique(trials.ages, return_inverse=True)
    shares = np.bincount(weights, trials.trials) + 1e-12
    chances = [confidence.there(place.location_id, int(age), left) or 0.0 for age in ages]
    return float(np.average(chances, weights=shares))


def _miss(confidence: Confidence, trials: Evidence, n: int) -> float:
    where = (int(trials.location_ids[n]), int(trials.ages[n]), int(trials.lefts[n]))
    return 1.0 - (confidence.there(*where) or 0.0)


def _reason(one: Proposal, target: float, weeks: float, best: float) -> str:
    seen = (
        f"{one.missed:,} of {one.seen:,} promised lines were not there in {weeks:.1f} weeks; "
        f"the last unit is there with {one.confidence:.0%}"
    )
    if one.qty is None:
        return (
            f"{seen}. Holding stock back does not help enough: {best:.0%} is the most. Have it "
            "counted, or exclude the location."
        )
    if one.qty == 0:
        return f"{seen}, which is enough."
    return (
        f"{seen}. With {one.qty} held back it is {one.confidence_then:.0%} (at least {target:.0%} "
        f"is wanted): {one.units_hidden:,} units are hidden, and some {one.avoided_per_week:.1f} "
        "missed picks a week do not happen."
    )
