"""The journal added up forwards: from what positions were at a checkpoint to what they are.

Pure. Entries of passes in the order of their numbers are whole: a pass that waited for another has
the higher number, so that of each position they are the next versions, none missing. Each entry is
held against the one before, or against the checkpoint: version, values, link. What is found wrong
is told once, and adding up goes on from what the entry says. A lack of stock remembers its cause:
the version at which too much was promised, or 0 where a count took stock away.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.audit.chains import ADJUSTMENT, BLOCK, COUNT, Entries, lacking

MARK_EVERY = 256  # entries of a position: where a walk into the past may begin
MAX_FAULTS = 1_000  # told of one piece


class States(msgspec.Struct):
    """What positions are, as parallel columns by id; all 0 is what has no entry yet."""

    ids: NDArray[np.int32]
    versions: NDArray[np.int32]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    journal_ids: NDArray[np.int64]
    lack_causes: NDArray[np.int32]

    def rows(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> States:
        """Return the rows at the places."""
        return States(*(getattr(self, name)[places] for name in self.__struct_fields__))


class Fault(msgspec.Struct, frozen=True):
    """An entry that does not follow the one before it."""

    position_id: int
    version: int
    sentence: str


class Folded(msgspec.Struct):
    """What positions are after entries, what is wrong with these, and marks worth leaving.

    A mark is the place of an entry in the entries that were given.
    """

    states: States
    faults: list[Fault]
    marks: NDArray[np.int64]


def nothing(ids: NDArray[np.int32]) -> States:
    """Return the states of positions without an entry; ids come sorted."""
    zeros = np.zeros(len(ids), dtype=np.int32)
    return States(ids, zeros, zeros, zeros, zeros.astype(np.int64), zeros)


def on_top(states: States, known: States) -> States:
    """Return `states` (by sorted id) with those of `known` put in their places."""
    places = np.searchsorted(states.ids, known.ids)
    columns: list[NDArray[np.int32] | NDArray[np.int64]] = [states.ids]
    for name in states.__struct_fields__[1:]:
        column = getattr(states, name).copy()
        column[places] = getattr(known, name)
        columns.append(column)
    return States(*columns)  # pyright: ignore[reportArgumentType] (each keeps its type)


def fold(before: States, entries: Entries) -> Folded:
    """Add entries up on top of `before`, which has every position they name, by sorted id."""
    if len(entries.position_ids) == 0:
        return Folded(before, [], np.empty(0, dtype=np.int64))
    order = np.lexsort((entries.versions, entries.position_ids))
    own = entries.rows(order)
    places = np.searchsorted(before.ids, own.position_ids)
    is_known = own.versions <= before.versions[places]
    faults = _repeated(own, np.flatnonzero(is_known))
    fresh = np.flatnonzero(~is_known)
    own, places, order = own.rows(fresh), places[fresh], order[fresh]
    if len(fresh) == 0:
        return Folded(before, faults, np.empty(0, dtype=np.int64))
    faults += _unconnected(before, own, places)
    marks = order[own.versions % MARK_EVERY == 0]
    return Folded(_after(before, own, places), faults[:MAX_FAULTS], marks)


def _repeated(own: Entries, places: NDArray[np.int64]) -> list[Fault]:
    return [
        Fault(
            int(own.position_ids[n]),
            int(own.versions[n]),
            f"its journal has version {own.versions[n]} more than once "
            f"(again in journal row {own.journal_ids[n]})",
        )
        for n in places[:MAX_FAULTS].tolist()
    ]


def _unconnected(before: States, own: Entries, places: NDArray[np.int64]) -> list[Fault]:
    """Find entries that do not go on from the one before; `own` is by position and version."""
    is_first = np.append(True, own.position_ids[1:] != own.position_ids[:-1])

    def last(column: str, known: str) -> NDArray[np.int64]:
        values: NDArray[np.int64] = getattr(own, column).astype(np.int64)
        earlier = np.append(np.int64(0), values[:-1])
        return np.where(is_first, getattr(before, known)[places], earlier)

    versions, journal_ids = last("versions", "versions"), last("journal_ids", "journal_ids")
    on_hands, reserveds = last("on_hands", "on_hands"), last("reserveds", "reserveds")
    made = on_hands + own.on_hand_deltas, reserveds + own.reserved_deltas
    is_gap = own.versions != versions + 1
    is_off = (own.on_hands != made[0]) | (own.reserveds != made[1])
    is_astray = own.previous_ids != journal_ids
    faults: list[Fault] = []
    for n in np.flatnonzero(is_gap | is_off | is_astray)[:MAX_FAULTS].tolist():
        at = f"version {own.versions[n]} (journal row {own.journal_ids[n]})"
        if own.versions[n] == versions[n]:
            what = f"its journal has version {versions[n]} more than once"
        elif is_gap[n]:
            what = f"after version {versions[n]} its journal has {at}"
        elif is_off[n]:
            what = (
                f"{at} says {own.on_hands[n]} on hand and {own.reserveds[n]} reserved, "
                f"the entries up to it make {made[0][n]} and {made[1][n]}"
            )
        else:
            what = (
                f"{at} names {own.previous_ids[n]} as the journal row before, "
                f"which is {journal_ids[n]}"
            )
        faults.append(Fault(int(own.position_ids[n]), int(own.versions[n]), what))
    return faults


def _after(before: States, own: Entries, places: NDArray[np.int64]) -> States:
    is_last = np.append(own.position_ids[1:] != own.position_ids[:-1], True)
    ends = np.flatnonzero(is_last)
    known = States(
        ids=own.position_ids[ends],
        versions=own.versions[ends],
        on_hands=own.on_hands[ends],
        reserveds=own.reserveds[ends],
        journal_ids=own.journal_ids[ends],
        lack_causes=_lack_causes(before, own, places)[places[ends]],
    )
    return on_top(before, known)


def _lack_causes(before: States, own: Entries, places: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return per position of `before` why it lacks stock now, if it does."""
    on_hands_before = own.on_hands.astype(np.int64) - own.on_hand_deltas
    reserveds_before = own.reserveds.astype(np.int64) - own.reserved_deltas
    lack = lacking(own.on_hands, own.reserveds)
    is_ours = (lack > lacking(on_hands_before, reserveds_before)) & ~np.isin(
        own.cause_kinds, (COUNT, ADJUSTMENT, BLOCK)
    )
    clear = np.zeros(len(before.ids), dtype=np.int32)
    ours = np.zeros(len(before.ids), dtype=np.int32)
    np.maximum.at(clear, places[lack == 0], own.versions[lack == 0])
    np.maximum.at(ours, places[is_ours], own.versions[is_ours])
    still = np.where(clear > 0, 0, before.lack_causes)
    return np.where(ours > clear, ours, still).astype(np.int32)
