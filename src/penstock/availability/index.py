"""The availability index: every position of an account, as numpy columns addressed by position id.

Owns the columns, their growth, and the rule by which a journal entry is taken: its version is
higher than the one known. It does not know where entries come from (`snapshot.py`, `follow.py`, or
a pass of this very process) nor what is promised from them (`atp.py` watches changes). Nothing here
waits: every call is a bounded piece of array work.

Invariants: a row with product 0 is no position; product, location and pool of a position never
change; the instant of the last count never goes back; applying the same entries and notes again, or
in another order, gives the same index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.product_map import Ints, ProductMap

SPARE_SHARE = 8  # room for an eighth more; pages never written cost no memory
MIN_SPARE = 65_536


class EntryColumns(Protocol):
    """Journal entries as parallel columns; later entries of a position have higher versions."""

    @property
    def position_ids(self) -> Ints: ...  # noqa: D102 (columns speak for themselves)
    @property
    def product_ids(self) -> Ints: ...  # noqa: D102
    @property
    def location_ids(self) -> Ints: ...  # noqa: D102
    @property
    def pool_ids(self) -> Ints: ...  # noqa: D102
    @property
    def on_hands(self) -> Ints: ...  # noqa: D102
    @property
    def reserveds(self) -> Ints: ...  # noqa: D102
    @property
    def versions(self) -> Ints: ...  # noqa: D102
    @property
    def counted_ats(self) -> Ints: ...  # noqa: D102


class Rows(msgspec.Struct):
    """Positions as parallel columns: what `Index.fill` and `Index.apply` take."""

    position_ids: NDArray[np.int32]
    product_ids: NDArray[np.int32]
    location_ids: NDArray[np.int32]
    pool_ids: NDArray[np.int16]
    on_hands: NDArray[np.int32]
    reserveds: NDArray[np.int32]
    versions: NDArray[np.int32]
    counted_ats: NDArray[np.int64]


class Change(msgspec.Struct):
    """What one `apply` changed, one row per position: `on_hand - reserved` before and after.

    On hand too, because a buffer may be a share of it.
    """

    position_ids: Ints
    product_ids: Ints
    location_ids: Ints
    pool_ids: Ints
    net_before: Ints
    net_after: Ints
    on_hand_before: Ints
    on_hand_after: Ints


Watcher: TypeAlias = Callable[[Change], None]


class Index:
    """All positions by id; `size` is one more than the highest id seen."""

    def __init__(self) -> None:
        self.size = 0
        self.product: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        # Narrow until a value needs more: 100 MB saved in 10 M positions.
        self.location: Ints = np.zeros(0, dtype=np.uint16)
        self.pool: Ints = np.zeros(0, dtype=np.uint8)
        self.reserved: Ints = np.zeros(0, dtype=np.uint16)
        self.on_hand: Ints = np.zeros(0, dtype=np.int16)
        self.version: Ints = np.zeros(0, dtype=np.uint16)
        self.counted_at: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.map = ProductMap(self)
        self.watchers: list[Watcher] = []

    def reserve_room(self, highest_id: int) -> None:
        """Make room for positions up to this id, column by column, with some to spare."""
        if highest_id >= len(self.product):
            capacity = highest_id + 1 + max(highest_id // SPARE_SHARE, MIN_SPARE)
            for name in _COLUMNS:
                column: NDArray[Any] = getattr(self, name)
                grown = np.zeros(capacity, dtype=column.dtype)  # untouched pages stay unmapped
                grown[: self.size] = column[: self.size]
                setattr(self, name, grown)
                del column
        self.size = max(self.size, highest_id + 1)

    def fill(self, rows: EntryColumns) -> None:
        """Put positions in as they are, without the map: for a snapshot, ended by `map.build`."""
        if not len(rows.position_ids):
            return
        self.reserve_room(int(rows.position_ids.max()))
        self._widen_for(rows)
        self._place(rows.position_ids, rows)
        self._value(rows.position_ids, rows, slice(None))

    def apply(self, entries: EntryColumns) -> int:
        """Take the entries whose version is higher than the known one; returns how many.

        Several entries of a position in one call: the one of the highest version wins. Positions
        not known yet are taken in. Watchers are told once, with one row per position.
        """
        if not len(entries.position_ids):
            return 0
        self.reserve_room(int(entries.position_ids.max()))
        picked = self._newest(entries.position_ids, entries.versions)
        if not len(picked):
            return 0
        self._widen_for(entries)
        ids = entries.position_ids[picked]
        unknown = picked[self.product[ids] == 0]
        if len(unknown):
            self._take_in(entries, unknown)
        on_hand_before = self.on_hand[ids]
        net_before = on_hand_before - self.reserved[ids].astype(np.int32)
        self._value(ids, entries, picked)
        if self.watchers:
            self._tell(ids, net_before, on_hand_before)
        return len(ids)

    def _newest(self, ids: Ints, versions: Ints) -> NDArray[np.intp]:
        """Choose the entries to take: newer than known, and the newest of each position."""
        picked = np.flatnonzero(versions > self.version[ids])
        chosen = ids[picked]
        if (chosen[1:] > chosen[:-1]).all():
            return picked
        by_version = ((chosen.astype(np.int64) << 32) | versions[picked]).argsort()
        chosen = chosen[by_version]
        is_last = np.append(chosen[1:] != chosen[:-1], True)
        return picked[by_version[is_last]]

    def _take_in(self, entries: EntryColumns, rows: NDArray[np.intp]) -> None:
        new = Rows(*(getattr(entries, name)[rows] for name in Rows.__struct_fields__))
        self._place(new.position_ids, new)
        self.map.add(new.position_ids, new.product_ids, new.location_ids, new.pool_ids)

    def _place(self, ids: Ints, rows: EntryColumns) -> None:
        self.product[ids] = rows.product_ids
        self.location[ids] = rows.location_ids
        self.pool[ids] = rows.pool_ids

    def _value(self, ids: Ints, rows: EntryColumns, picked: NDArray[np.intp] | slice) -> None:
        self.on_hand[ids] = rows.on_hands[picked]
        self.reserved[ids] = rows.reserveds[picked]
        self.version[ids] = rows.versions[picked]
        self.counted_at[ids] = np.maximum(self.counted_at[ids], rows.counted_ats[picked])

    def note_counts(self, position_ids: Ints, counted_ats: Ints) -> None:
        """Take the instants (µs since 1970) of counts that changed nothing."""
        if len(position_ids):
            self.reserve_room(int(position_ids.max()))
            np.maximum.at(self.counted_at, position_ids, counted_ats)

    def _widen_for(self, rows: EntryColumns) -> None:
        self.location = _widened(self.location, rows.location_ids)
        self.pool = _widened(self.pool, rows.pool_ids)
        self.reserved = _widened(self.reserved, rows.reserveds)
        self.on_hand = _widened(self.on_hand, rows.on_hands)
        self.version = _widened(self.version, rows.versions)

    def _tell(self, ids: Ints, net_before: Ints, on_hand_before: Ints) -> None:
        change = Change(
            ids,
            self.product[ids],
            self.location[ids],
            self.pool[ids],
            net_before,
            self.net(ids),
            on_hand_before,
            self.on_hand[ids],
        )
        for watcher in self.watchers:
            watcher(change)

    def net(self, position_ids: Ints) -> NDArray[np.int32]:
        """Return on hand less reserved of each position; negative where more is promised."""
        return self.on_hand[position_ids] - self.reserved[position_ids].astype(np.int32)

    def positions_of(self, product_ids: Ints) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return the positions of each product as (line_start, position_ids), CSR form."""
        return self.map.positions_of(product_ids)

    def find(self, product_ids: Ints, location_ids: Ints, pool_ids: Ints) -> NDArray[np.int32]:
        """Return the position id of each (product, location, pool); -1 where there is none."""
        return self.map.find(product_ids, location_ids, pool_ids)


def _widened(column: Ints, values: Ints) -> Ints:
    """Return the column in a type that holds the values as well."""
    holds = np.iinfo(column.dtype)
    if values.max() > holds.max or values.min() < holds.min:
        return column.astype(np.int32)
    return column


_COLUMNS = ("product", "location", "pool", "reserved", "on_hand", "version", "counted_at")
