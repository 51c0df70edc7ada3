"""The follower: keeps one process's index of one account as fresh as the journal.

Owns the cursor and the loop: a pulse (newest number, revisions), then the journal rows of the
passes in between, in order, applied one by one so that readers are never kept waiting. When
following is no use (far behind, a gap, another server history) it loads a snapshot: into the index
in place where positions are the same ones, into a new index where they may not be.

Invariants: `version` never runs ahead of what is in the index; `age_s` counts from before the pulse
that found nothing left to apply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from penstock.availability.index import Index, Rows
from penstock.availability.snapshot import SQL, Cursor, Origin, load, read_origin
from penstock.db import Connection
from penstock.errors import invariant
from penstock.events.session import keep_connected, pause

PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.1  # of an account where nothing happens
MAX_PASSES_BEHIND = 20_000
_LAST_ROW = 2**63 - 1
_ROWS_PER_PAGE = 16  # as in the queries; a row has up to 5,000 entries, a note 20,000
# A few passes at a time, whatever the statistics say of a table that grows by the second.
_OPTIONS = "-c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off"

_log = structlog.get_logger(__name__)

OnRevisions = Callable[[Mapping[str, int]], Awaitable[None]]
OnIndex = Callable[[Index], Awaitable[None]]


async def _ignore(_: object) -> None:
    pass


class Follower:
    """The index of one account in this process, and how far and how fresh it is.

    `on_revisions` is awaited with all revisions, first before anything is loaded, then whenever one
    has changed; `on_index` before `index` becomes another object than it was.
    """

    def __init__(
        self,
        conninfo: str,
        schema: str,
        on_revisions: OnRevisions = _ignore,
        on_index: OnIndex = _ignore,
        max_passes_behind: int = MAX_PASSES_BEHIND,
    ) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self._on_revisions = on_revisions
        self._on_index = on_index
        self._max_passes_behind = max_passes_behind
        self._cursor = Cursor()
        self._origin: Origin | None = None
        self._verified_at = 0.0
        self._changed = asyncio.Condition()
        self.index = Index()
        self.history = ""  # of which server the version counts passes
        self.revisions: dict[str, int] = {}
        self.is_ready = asyncio.Event()
        self.snapshots = 0

    @property
    def version(self) -> int:
        """The number of the newest pass that is wholly in the index."""
        return self._cursor.number

    @property
    def age_s(self) -> float:
        """Seconds since the index was last known to hold everything numbered."""
        return time.monotonic() - self._verified_at

    async def run(self, stop: asyncio.Event) -> None:
        """Load, then follow until `stop` is set, over a connection that outlives failures."""

        async def session(connection: Connection) -> None:
            await self._session(connection, stop)

        await keep_connected(self._conninfo, session, stop, _OPTIONS)

    async def reached(self, number: int) -> None:
        """Wait until the index holds the pass of this number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version >= number and self.is_ready.is_set())

    async def _session(self, connection: Connection, stop: asyncio.Event) -> None:
        await connection.execute(f"SET search_path TO {self._schema}".encode())
        await self._pulse(connection)
        origin = await read_origin(connection)
        self.history = f"{origin.system_id}/{origin.timeline}"
        if origin != self._origin or not await self._is_anchored(connection):
            await self._load_anew(connection)
            self._origin = origin
        pause_s = PAUSE_S
        while not stop.is_set():
            moved = await self._tick(connection)
            pause_s = PAUSE_S if moved else min(pause_s * 1.3, LONGEST_PAUSE_S)
            await pause(stop, pause_s)

    async def _is_anchored(self, connection: Connection) -> bool:
        """Tell whether the pass the cursor stands on may still be the pass of that number.

        One that is not there was pruned, or is ahead of the server: the next pulse tells which.
        """
        row = await (await connection.execute(SQL.pass_at, (self._cursor.number,))).fetchone()
        return row is None or row[0] == self._cursor.pass_id

    async def _load_anew(self, connection: Connection) -> None:
        started_at = time.monotonic()
        index = Index()
        cursor = await load(connection, self._schema, index)
        await self._on_index(index)
        self.index = index
        await self._loaded(cursor, started_at)

    async def _load_in_place(self, connection: Connection) -> None:
        started_at = time.monotonic()
        await self._loaded(await load(connection, self._schema, self.index), started_at)

    async def _loaded(self, cursor: Cursor, started_at: float) -> None:
        self.snapshots += 1
        took_s = round(time.monotonic() - started_at, 3)
        _log.info("index loaded", schema=self._schema, version=cursor.number, took_s=took_s)
        self._verified_at = started_at
        self.is_ready.set()
        await self._move_to(cursor)

    async def _move_to(self, cursor: Cursor) -> None:
        self._cursor = cursor
        async with self._changed:
            self._changed.notify_all()

    async def _tick(self, connection: Connection) -> bool:
        """Take in what was numbered since the last tick; tells whether there was anything."""
        started_at = time.monotonic()
        oldest, newest, newest_id = await self._pulse(connection)
        number = self._cursor.number
        if newest < number:
            await self._load_anew(connection)
        elif newest - number > self._max_passes_behind or oldest > number + 1:
            await self._load_in_place(connection)
        elif newest > number:
            await self._follow(connection, newest)
            await self._move_to(Cursor(newest, newest_id))
        self._verified_at = max(self._verified_at, started_at)
        return newest != number

    async def _pulse(self, connection: Connection) -> tuple[int, int, str | None]:
        """Read oldest and newest number and the newest pass; tell what revisions changed."""
        row = await (await connection.execute(SQL.pulse)).fetchone()
        invariant(row is not None, "the pulse of an account is empty")
        oldest, newest, newest_id, revisions = row or (0, 0, None, {})
        if revisions != self.revisions:
            await self._on_revisions(revisions)
            self.revisions = revisions
        return oldest, newest, newest_id

    async def _follow(self, connection: Connection, newest: int) -> None:
        """Take in what the passes after the cursor up to `newest` wrote."""
        number = self._cursor.number
        async for position_columns in _pages(connection, SQL.journal_page, number, newest):
            self.index.apply(Rows(*position_columns))
            await asyncio.sleep(0)  # readers first
        async for position_ids, counted_ats in _pages(
            connection, SQL.count_notes_page, number, newest
        ):
            self.index.note_counts(position_ids, counted_ats)
            await asyncio.sleep(0)


async def _pages(
    connection: Connection, query: bytes, number: int, newest: int
) -> AsyncIterator[Sequence[Any]]:
    """Read the columns of each row of the passes in between, a bounded page at a time."""
    reader = connection.cursor(binary=True)
    row_id = _LAST_ROW
    while True:
        await reader.execute(query, {"number": number, "row": row_id, "last": newest})
        rows = await reader.fetchall()
        for row in rows:
            yield row[2:]
        if len(rows) < _ROWS_PER_PAGE:
            return
        number, row_id = rows[-1][0], rows[-1][1]
