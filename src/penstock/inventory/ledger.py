"""The ledger of a pass: locked positions and capacities, and every movement made on them.

Pure. Admission is decided here, in memory, in arrival order: `on_hand - reserved - floor >= qty`.
Movements are kept one per position and cause, and become journal entries with running results, so
that versions have no gap and journal sums equal positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.errors import invariant
from penstock.inventory.model import Cause, UseKey


class Position(msgspec.Struct, gc=False):
    """One locked position: the values in the database, moved on as the pass decides."""

    id: int
    product_id: int
    location_id: int
    pool_id: int
    on_hand: int
    reserved: int
    version: int
    journal_id: int
    counted_us: int


class Entries(msgspec.Struct):
    """Journal entries as parallel columns, in order of writing."""

    position_ids: NDArray[np.int32]
    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int16]
    cause_kinds: NDArray[np.int16]
    cause_ids: Sequence[str]
    on_hand_deltas: NDArray[np.int32]
    reserved_deltas: NDArray[np.int32]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    versions: NDArray[np.int32]
    previous_ids: NDArray[np.int64]
    counted_ats: NDArray[np.int64]

    def slice(self, start: int, stop: int) -> Entries:
        """Return the entries from `start` up to `stop`."""
        fields = (getattr(self, name)[start:stop] for name in self.__struct_fields__)
        return Entries(*fields)


class Ledger:
    """Locked positions by id, counted capacities by key, movements by position and cause."""

    def __init__(self, positions: Iterable[Position]) -> None:
        self.positions = {position.id: position for position in positions}
        self.first_versions = {p.id: p.version for p in self.positions.values()}
        self.moves: dict[tuple[int, int, str], list[int]] = {}
        self.noted: set[tuple[int, int, str]] = set()
        self.capacity_used: dict[tuple[int, str, date], int] = {}
        self.capacity_moved: dict[tuple[int, str, date], int] = {}
        self.uses: dict[UseKey, int] = {}
        self.use_moves: dict[UseKey, list[int]] = {}

    def available(self, position_id: int, floor: int) -> int:
        """Return what of a position may still be promised, the floor kept; 0 if it is not here."""
        position = self.positions.get(position_id)
        if position is None:
            return 0
        return position.on_hand - position.reserved - floor

    def move(
        self, position_id: int, on_hand_delta: int, reserved_delta: int, cause: tuple[Cause, str]
    ) -> None:
        """Move a locked position for a cause (kind and id of what caused it)."""
        position = self.positions[position_id]
        position.on_hand += on_hand_delta
        position.reserved += reserved_delta
        invariant(position.reserved >= 0, f"position {position_id}: reserved below 0")
        key = (position_id, int(cause[0]), cause[1])
        move = self.moves.get(key)
        if move is None:
            self.moves[key] = [on_hand_delta, reserved_delta]
        else:
            move[0] += on_hand_delta
            move[1] += reserved_delta

    def note(self, position_id: int, cause: tuple[Cause, str]) -> None:
        """Keep an entry for the cause even if it moves nothing (a movement before the count)."""
        key = (position_id, int(cause[0]), cause[1])
        self.noted.add(key)
        self.moves.setdefault(key, [0, 0])

    def take_capacity(self, key: tuple[int, str, date], orders: int) -> None:
        """Count orders (negative: give back) on a location's service and day."""
        self.capacity_used[key] = self.capacity_used.get(key, 0) + orders
        self.capacity_moved[key] = self.capacity_moved.get(key, 0) + orders

    def take_use(self, key: UseKey, reserved_delta: int, shipped_delta: int = 0) -> None:
        """Count units on a cap or ring-fence (negative: give back)."""
        self.uses[key] = self.uses.get(key, 0) + reserved_delta + shipped_delta
        move = self.use_moves.setdefault(key, [0, 0])
        move[0] += reserved_delta
        move[1] += shipped_delta

    def close(self, journal_base: int, entries_per_row: int) -> Entries | None:
        """Turn the movements into entries and set each position's final version and journal row.

        Results run from the first values forward, entry by entry. Movements that cancelled out
        within their cause are dropped unless noted. The n-th journal row has id `journal_base + n`.
        """
        moves = [
            (key, move)
            for key, move in self.moves.items()
            if move[0] or move[1] or key in self.noted
        ]
        if not moves:
            return None
        running: dict[int, list[int]] = {}
        for (position_id, _, _), (on_hand_delta, reserved_delta) in moves:
            first = running.setdefault(position_id, self._first_values(position_id))
            first[0] -= on_hand_delta
            first[1] -= reserved_delta
        rows = [
            self._entry(key, move, running[key[0]], journal_base + place // entries_per_row)
            for place, (key, move) in enumerate(moves)
        ]
        return _columns(rows, [key[2] for key, _ in moves])

    def _first_values(self, position_id: int) -> list[int]:
        position = self.positions[position_id]
        return [position.on_hand, position.reserved]

    def _entry(
        self, key: tuple[int, int, str], move: list[int], values: list[int], journal_id: int
    ) -> tuple[int, ...]:
        position = self.positions[key[0]]
        values[0] += move[0]
        values[1] += move[1]
        position.version += 1
        previous_id, position.journal_id = position.journal_id, journal_id
        return (
            position.id,
            position.product_id,
            position.location_id,
            position.pool_id,
            key[1],
            move[0],
            move[1],
            values[0],
            values[1],
            position.version,
            previous_id,
            position.counted_us,
        )

    def changed(self) -> list[Position]:
        """Return the positions that have entries, by id. Call after `close`."""
        moved = [p for p in self.positions.values() if p.version != self.first_versions[p.id]]
        return sorted(moved, key=lambda position: position.id)


def _columns(rows: list[tuple[int, ...]], cause_ids: list[str]) -> Entries:
    table = np.array(rows, dtype=np.int64)
    i32 = table[:, [0, 1, 2, 5, 6, 7, 8, 9]].astype(np.int32)
    i16 = table[:, [3, 4]].astype(np.int16)
    return Entries(
        position_ids=i32[:, 0],
        product_ids=i32[:, 1],
        location_ids=i32[:, 2],
        pool_ids=i16[:, 0],
        cause_kinds=i16[:, 1],
        cause_ids=cause_ids,
        on_hand_deltas=i32[:, 3],
        reserved_deltas=i32[:, 4],
        on_hands=i32[:, 5],
        reserveds=i32[:, 6],
        versions=i32[:, 7],
        previous_ids=table[:, 10],
        counted_ats=table[:, 11],
    )
