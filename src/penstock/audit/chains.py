"""The journal of every position, summed up in 24 bytes each, whatever the order it is read in.

Pure. An entry is a step from a state (version - 1, values before, previous journal row) to a state
(version, values after, its own row). A position's entries form one unbroken chain from nothing to
its row if and only if, as multisets, states after = states before, less nothing, plus its row:
steps rise by one version, so what balances is one path. Each state is hashed to 64 bits and
each position keeps sum(after) - sum(before), modulo 2^64 (a multiset hash: Clarke, Devadas, van
Dijk, Gassend and Suh, 2003). A gap, a duplicate, a wrong delta, result or link leaves a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
_MAX_LISTED = 5

# Cause kinds as the journal stores them; the audit shares no code with those who write them.
COUNT = 1  # set_stock
ADJUSTMENT = 2
_BASELINE = 9
BLOCK = 15  # what has expired, or lies in a blocked area, is there no more for anybody
CAUSES = {
    COUNT: "count",
    ADJUSTMENT: "adjustment",
    3: "order allocation",
    4: "cart hold",
    5: "unreserve or cancel",
    6: "shipment",
    7: "reassign",
    8: "expiry",
    9: "baseline",
    10: "shed",
    11: "pick",
    12: "put back",
    BLOCK: "block",
    20: "repair",
}


class Entries(msgspec.Struct):
    """Journal entries as parallel columns, in any order; results are those after the entry."""

    journal_ids: NDArray[np.int64]
    position_ids: NDArray[np.int32]
    cause_kinds: NDArray[np.int16]
    on_hand_deltas: NDArray[np.int32]
    reserved_deltas: NDArray[np.int32]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    versions: NDArray[np.int32]
    previous_ids: NDArray[np.int64]

    def rows(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> Entries:
        """Return the entries at the places."""
        return Entries(*(getattr(self, name)[places] for name in self.__struct_fields__))


class Positions(msgspec.Struct):
    """Rows of positions as parallel columns, by id."""

    ids: NDArray[np.int32]
    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int16]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    versions: NDArray[np.int32]
    journal_ids: NDArray[np.int64]

    def rows(self, places: NDArray[np.int64]) -> Positions:
        """Return the rows at the places."""
        return Positions(*(getattr(self, name)[places] for name in self.__struct_fields__))


class Floors(msgspec.Struct):
    """Where the kept journals of positions begin: what they were at a version, as columns by id."""

    ids: NDArray[np.int32]
    versions: NDArray[np.int32]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    journal_ids: NDArray[np.int64]
    lack_causes: NDArray[np.int32]

    def as_entries(self) -> Entries:
        """Return them as entries that lead from nothing there."""
        kinds = np.full(len(self.ids), _BASELINE, dtype=np.int16)
        values = (self.on_hands, self.reserveds)
        none = np.zeros(len(self.ids), dtype=np.int64)
        return Entries(self.journal_ids, self.ids, kinds, *values, *values, self.versions, none)


class Chains:
    """What the journal says of the positions 1 to `size`, each in 24 bytes."""

    def __init__(self) -> None:
        self.entry_count = 0
        self.strangers: list[str] = []  # entries of positions beyond the last one there is
        self._differences = np.zeros(1, dtype=np.uint64)
        self._last_clear = np.zeros(1, dtype=np.int32)  # last version that lacked nothing
        self._last_ours = np.zeros(1, dtype=np.int32)  # last version at which we took too much
        self._last_count = np.zeros(1, dtype=np.int32)  # last version at which a count did
        self._floors = np.zeros(1, dtype=np.int32)  # versions up to it are not added up

    def grow(self, max_position_id: int) -> None:
        """Make room up to a position id."""
        more = max_position_id + 1 - len(self._differences)
        if more > 0:
            self._differences = _padded(self._differences, more)
            self._last_clear = _padded(self._last_clear, more)
            self._last_ours = _padded(self._last_ours, more)
            self._last_count = _padded(self._last_count, more)
            self._floors = _padded(self._floors, more)

    def begin(self, floors: Floors) -> None:
        """Let journals begin after a version, once, before their entries are added."""
        ids = floors.ids
        self._floors[ids] = floors.versions
        state = _states(floors.versions, floors.on_hands, floors.reserveds, floors.journal_ids)
        self._differences[ids] += state - _NOTHING
        lack = lacking(floors.on_hands, floors.reserveds)
        for column, is_it in (
            (self._last_clear, lack == 0),
            (self._last_ours, (lack > 0) & (floors.lack_causes > 0)),
            (self._last_count, (lack > 0) & (floors.lack_causes == 0)),
        ):
            column[ids[is_it]] = floors.versions[is_it]

    def add(self, entries: Entries) -> None:
        """Add journal entries; each has to be added exactly once, in any order."""
        self.entry_count += len(entries.position_ids)
        entries = self._without_strangers(entries)
        entries = entries.rows(entries.versions > self._floors[entries.position_ids])
        ids = entries.position_ids
        on_hands_before = entries.on_hands.astype(np.int64) - entries.on_hand_deltas
        reserveds_before = entries.reserveds.astype(np.int64) - entries.reserved_deltas
        after = _states(entries.versions, entries.on_hands, entries.reserveds, entries.journal_ids)
        before = _states(
            entries.versions - 1, on_hands_before, reserveds_before, entries.previous_ids
        )
        np.add.at(self._differences, ids, after - before)
        self._add_lack(entries, on_hands_before, reserveds_before)

    def _add_lack(
        self,
        entries: Entries,
        on_hands_before: NDArray[np.int64],
        reserveds_before: NDArray[np.int64],
    ) -> None:
        lack = lacking(entries.on_hands, entries.reserveds)
        rose = lack > lacking(on_hands_before, reserveds_before)
        by_count = np.isin(entries.cause_kinds, (COUNT, ADJUSTMENT, BLOCK))
        for column, is_it in (
            (self._last_clear, lack == 0),
            (self._last_ours, rose & ~by_count),
            (self._last_count, rose & by_count),
        ):
            np.maximum.at(column, entries.position_ids[is_it], entries.versions[is_it])

    def _without_strangers(self, entries: Entries) -> Entries:
        ids = entries.position_ids
        strange = (ids < 1) | (ids >= len(self._differences))
        if not strange.any():
            return entries
        self.strangers += [
            f"Journal row {journal_id} moves position {position_id}, which does not exist."
            for journal_id, position_id in zip(
                entries.journal_ids[strange].tolist(), ids[strange].tolist(), strict=True
            )
        ]
        return entries.rows(~strange)

    def broken(self, positions: Positions) -> NDArray[np.bool_]:
        """Tell which positions are not the end of one unbroken chain."""
        end = _states(
            positions.versions, positions.on_hands, positions.reserveds, positions.journal_ids
        )
        return self._differences[positions.ids] != end - _NOTHING

    def missing(self, first_id: int, ids: NDArray[np.int32], last_id: int) -> list[int]:
        """Return the ids from first to last that the journal knows and `ids` does not have."""
        known = self._differences[first_id : last_id + 1] != 0
        known[ids - first_id] = False
        return (np.flatnonzero(known) + first_id).tolist()

    def oversold_by(self, positions: Positions) -> NDArray[np.int32]:
        """Return per position the version at which we took too much since it last lacked nothing.

        0 where a count or an adjustment took whatever it lacks; -1 where nothing explains a lack.
        """
        ids = positions.ids
        ours, by_count, clear = self._last_ours[ids], self._last_count[ids], self._last_clear[ids]
        return np.where(ours > clear, ours, np.where(by_count > clear, 0, -1)).astype(np.int32)


def lacking(
    on_hands: NDArray[np.int32] | NDArray[np.int64],
    reserveds: NDArray[np.int32] | NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return how many reserved units are not there; a negative stock has nothing."""
    return np.maximum(reserveds.astype(np.int64) - np.maximum(on_hands, 0), 0)


def explain(positions: Positions, place: int, entries: Entries, floor: int = 0) -> str:
    """Say in a sentence or two why the position's journal is no unbroken chain to its row.

    A journal that begins after a version has one entry for it, which leads there from nothing.
    """
    own = entries.rows(entries.position_ids == positions.ids[place])
    own = own.rows(np.argsort(own.versions, kind="stable"))
    last = int(own.versions.max(initial=0))
    # Entries written after the breach was seen say nothing about it.
    own = own.rows(own.versions <= positions.versions[place])
    faults = [*_sum_faults(positions, place, own), *_version_faults(positions, place, own, floor)]
    if not faults:
        faults = _step_faults(own)
    if not faults and own.journal_ids[-1:].tolist() != [int(positions.journal_ids[place])]:
        last_id = own.journal_ids[-1] if len(own.journal_ids) else 0
        named = positions.journal_ids[place]
        faults = [f"it names {named} as its last journal row, which is {last_id}"]
    if not faults:
        version = positions.versions[place]
        faults = [f"it is at version {version}, but its journal goes on to version {last}"]
    where = (
        f"Position {positions.ids[place]} (product {positions.product_ids[place]}, "
        f"location {positions.location_ids[place]})"
    )
    return f"{where}: {'; '.join(faults[:3])}."


def _sum_faults(positions: Positions, place: int, own: Entries) -> list[str]:
    faults: list[str] = []
    for name, deltas, value in (
        ("on hand", own.on_hand_deltas, int(positions.on_hands[place])),
        ("reserved", own.reserved_deltas, int(positions.reserveds[place])),
    ):
        total = int(deltas.sum(dtype=np.int64))
        if total != value:
            faults.append(f"its journal adds up to {total} {name}, the row says {value}")
    return faults


def _version_faults(positions: Positions, place: int, own: Entries, floor: int) -> list[str]:
    version = int(positions.versions[place])
    there, counts = np.unique(own.versions, return_counts=True)
    missing = np.setdiff1d(np.arange(max(floor, 1), version + 1), there)
    twice = there[counts > 1]
    faults: list[str] = []
    if len(missing):
        faults.append(f"it is at version {version}, but its journal lacks {_listed(missing)}")
    if len(twice):
        faults.append(f"its journal has version {_listed(twice)} more than once")
    return faults


def _step_faults(own: Entries) -> list[str]:
    faults: list[str] = []
    on_hand = reserved = journal_id = 0
    for place in range(len(own.versions)):
        on_hand += int(own.on_hand_deltas[place])
        reserved += int(own.reserved_deltas[place])
        says = (int(own.on_hands[place]), int(own.reserveds[place]))
        at = f"version {own.versions[place]} (journal row {own.journal_ids[place]})"
        if says != (on_hand, reserved):
            faults.append(
                f"{at} says {says[0]} on hand and {says[1]} reserved, "
                f"the entries up to it make {on_hand} and {reserved}"
            )
        if int(own.previous_ids[place]) != journal_id:
            faults.append(
                f"{at} names {own.previous_ids[place]} as the journal row before, "
                f"which is {journal_id}"
            )
        journal_id = int(own.journal_ids[place])
    return faults


def _listed(numbers: NDArray[np.int32] | NDArray[np.int64]) -> str:
    rest = len(numbers) - _MAX_LISTED
    listed = ", ".join(str(number) for number in numbers[:_MAX_LISTED].tolist())
    return f"{listed} and {rest} more" if rest > 0 else listed


def joined(rows: Sequence[Sequence[NDArray[np.int32]]], journal_ids: Sequence[int]) -> Entries:
    """Join journal rows, each its eight columns after the id, into entries."""
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    lengths = [len(row[0]) for row in rows]
    return Entries(np.repeat(np.array(journal_ids, dtype=np.int64), lengths), *columns)


def _padded(column: NDArray[Number], more: int) -> NDArray[Number]:
    return np.concatenate([column, np.zeros(more, dtype=column.dtype)])


def _states(
    versions: NDArray[np.int32],
    on_hands: NDArray[np.int32] | NDArray[np.int64],
    reserveds: NDArray[np.int32] | NDArray[np.int64],
    journal_ids: NDArray[np.int64],
) -> NDArray[np.uint64]:
    """Hash states to 64 bits: a finalizer that is one to one, after each of three words."""
    values = (on_hands.astype(np.int64) << 32) ^ (reserveds.astype(np.int64) & 0xFFFF_FFFF)
    state = _mixed(versions.astype(np.uint64) + _START)
    state = _mixed(state ^ values.view(np.uint64))
    return _mixed(state ^ journal_ids.astype(np.uint64))


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix as SplitMix64 does (Steele, Lea and Flood, 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return words ^ (words >> np.uint64(31))


_START = np.uint64(0x9E37_79B9_7F4A_7C15)
_ZERO = np.zeros(1, dtype=np.int64)
_NOTHING = _states(_ZERO.astype(np.int32), _ZERO, _ZERO, _ZERO)
