"""What tests of the index share: accounts of their own, and passes that move stock by plain SQL.

Moves positions and journals them as the inventory room does, independent of it. A position that is
not there is made, with the id the test says.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg

from penstock.access.accounts import create_account, drop_account, schema_of
from penstock.availability.index import Index
from penstock.passes import Pass

CLOCK = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOCATIONS = 5

_MAKE = """
INSERT INTO position (id, product_id, location_id, pool_id, on_hand, reserved, version, journal_id)
VALUES (%s, %s, %s, 1, 0, 0, 0, 0) ON CONFLICT DO NOTHING
"""
_MOVE = """
UPDATE position SET on_hand = %s, reserved = %s, version = version + 1, journal_id = %s,
    counted_at = greatest(counted_at, %s)
WHERE id = %s RETURNING product_id, location_id, version,
    coalesce((date_part('epoch', counted_at) * 1e6)::bigint, 0)
"""
_JOURNAL = """
INSERT INTO journal (id, pass_id, occurred_at, position_ids, product_ids, location_ids, pool_ids,
    cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands, reserveds, versions,
    previous_ids, counted_ats, moves_on_hand)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, true)
"""
_TRUTH = """
SELECT id, product_id, location_id, pool_id, on_hand, reserved, version,
       coalesce((date_part('epoch', counted_at) * 1e6)::bigint, 0)
FROM position ORDER BY id
"""


@contextmanager
def account(conninfo: str, name: str) -> Generator[str]:
    """Lend the schema of a fresh account, dropped afterwards."""
    create_account(conninfo, name)
    try:
        yield schema_of(name)
    finally:
        drop_account(conninfo, name)


def place_of(position_id: int) -> tuple[int, int]:
    """Return the (product, location) that tests give to a position id."""
    return 1 + position_id // LOCATIONS, 1 + position_id % LOCATIONS


async def move_stock(tx: Pass, values: Mapping[int, tuple[int, int]], ordinal: int = 0) -> None:
    """Set (on hand, reserved) of positions and write one journal row about it."""
    journal_id = tx.journal_base + ordinal
    rows: list[tuple[int, ...]] = []
    for position_id, (on_hand, reserved) in sorted(values.items()):
        await tx.connection.execute(_MAKE, (position_id, *place_of(position_id)))
        counted_at = CLOCK + timedelta(microseconds=on_hand) if on_hand % 2 else None
        params = (on_hand, reserved, journal_id, counted_at, position_id)
        cursor = await tx.connection.execute(_MOVE, params)
        moved = await cursor.fetchone()
        assert moved is not None
        rows.append((position_id, moved[0], moved[1], on_hand, reserved, *moved[2:]))
    columns = [np.array(column, dtype=np.int32) for column in list(zip(*rows, strict=True))[:6]]
    zeros, ones = np.zeros(len(rows), dtype=np.int32), np.ones(len(rows), dtype=np.int16)
    row = (
        *(journal_id, tx.id, CLOCK, *columns[:3], ones, ones, [tx.id] * len(rows), zeros, zeros),
        *(*columns[3:], zeros.astype(np.int64), np.array([r[6] for r in rows], dtype=np.int64)),
    )
    await tx.connection.execute(_JOURNAL, row)


def positions_in_database(conninfo: str, schema: str) -> list[tuple[int, ...]]:
    """Read every position, by id, as the index should know it."""
    with psycopg.connect(conninfo, options=f"-c search_path={schema}") as connection:
        return [row for row in connection.execute(_TRUTH).fetchall() if row[6] > 0]


def positions_in_index(index: Index) -> list[tuple[int, ...]]:
    """List every position of an index, by id."""
    ids = np.flatnonzero((index.product[: index.size] > 0) & (index.version[: index.size] > 0))
    columns = (
        *(ids, index.product, index.location, index.pool),
        *(index.on_hand, index.reserved, index.version, index.counted_at),
    )
    lists = [column.tolist() if column is ids else column[ids].tolist() for column in columns]
    return list(zip(*lists, strict=True))
