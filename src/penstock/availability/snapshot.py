"""Snapshots: every position of an account into an index, in one REPEATABLE READ transaction.

Owns reading the positions and the cursor that belongs to them, and telling one server's history
from another's (`Origin`). Positions are read as arrays, some blocks of the heap at a time: 2.5
times as fast as binary COPY, whose rows arrive one by one, and bounded in memory by the page.

Invariant: every pass numbered up to the cursor is in what was read; passes in it that are numbered
later are followed again, which changes nothing.
"""

from __future__ import annotations

import asyncio

import msgspec
import psycopg

from penstock.availability.index import Index, Rows
from penstock.db import Connection, Queries, Row, roll_back
from penstock.errors import invariant

BLOCKS_PER_PAGE = 512  # some 30,000 positions, 2 MB

SQL = Queries("penstock.availability", "availability.sql")


class Cursor(msgspec.Struct, frozen=True):
    """How far an index is: the newest pass number in it, and that pass's id as an anchor."""

    number: int = 0
    pass_id: str | None = None


class Origin(msgspec.Struct, frozen=True):
    """Which history of which server: a failover or a restored copy has another."""

    system_id: str = ""
    timeline: str = ""


async def read_origin(connection: Connection) -> Origin:
    """Read the server's system identifier and timeline; blank where the role may not ask.

    What stays undetected then is caught by the cursor's anchor.
    """
    system_id = await _ask(connection, b"SELECT system_identifier::text FROM pg_control_system()")
    timeline = await _ask(connection, b"SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
    return Origin(system_id, timeline)


async def _ask(connection: Connection, query: bytes) -> str:
    try:
        row = await (await connection.execute(query)).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return row[0] if row else ""


async def load(connection: Connection, schema: str, index: Index) -> Cursor:
    """Bring an index up to what is committed now and return the cursor to follow from.

    An empty index is filled; another is brought forward where the database is newer, while it goes
    on answering. Other tasks run between two pages.
    """
    is_empty = index.size == 0
    begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {schema}"
    await connection.execute(begin.encode())
    try:
        cursor = await _read(connection, index, is_empty=is_empty)
    except BaseException:
        await roll_back(connection)
        raise
    await connection.execute(b"COMMIT")
    if is_empty:
        await asyncio.to_thread(index.map.build, index.size)
    return cursor


async def _read(connection: Connection, index: Index, *, is_empty: bool) -> Cursor:
    reader = connection.cursor(binary=True)
    await reader.execute(SQL.snapshot_head)
    head = await reader.fetchone()
    invariant(head is not None, "a snapshot has no head")
    number, pass_id, highest_id, blocks = head or (0, None, 0, 0)
    if highest_id:
        index.reserve_room(highest_id)
    for first in range(0, blocks, BLOCKS_PER_PAGE):
        await reader.execute(SQL.snapshot_page, (f"({first},0)", f"({first + BLOCKS_PER_PAGE},0)"))
        columns = await reader.fetchone()
        if columns is None or columns[0] is None:
            continue
        rows = Rows(*columns)
        if is_empty:
            index.fill(rows)
        else:
            index.apply(rows)
    await _read_notes(reader, index)
    return Cursor(number, pass_id)


async def _read_notes(reader: psycopg.AsyncCursor[Row], index: Index) -> None:
    last_id = 0
    while True:
        await reader.execute(SQL.snapshot_count_notes, (last_id,))
        notes = await reader.fetchall()
        if not notes:
            return
        for _, position_ids, counted_ats in notes:
            index.note_counts(position_ids, counted_ats)
        last_id = notes[-1][0]
