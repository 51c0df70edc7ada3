"""The sequencer: gives every committed pass a number, in one agreed order (DESIGN section 5).

Whoever holds the account's advisory lock numbers the visible passes every few milliseconds, in one
durable statement; every process of an account may run one, and another takes over within a second
when the holder dies or hangs (the server ends a session that is idle for a second, and with it the
lock). Passes seen in one tick are ordered by their stamps, taken after their last lock, so that who
waited for another is numbered after it.

Invariants: numbers are contiguous from 1, never change, and appear in order.
"""

from __future__ import annotations

import asyncio
import hashlib

import structlog

from penstock.db import Connection, Queries
from penstock.events.session import keep_connected, pause

TICK_S = 0.02
LONGEST_TICK_S = 0.06  # of an account where nothing happens
TRY_LEAD_S = 0.5
MAX_PASSES_PER_TICK = 5_000
# Plain index scans, whatever the statistics say of a table that grows by the second: they also
# mark the index entries of passes already numbered as dead, which bitmap scans do not.
_OPTIONS = (
    "-c enable_seqscan=off -c enable_bitmapscan=off "
    "-c enable_hashjoin=off -c enable_mergejoin=off "
    "-c idle_session_timeout=1000 "
    "-c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2"
)

SQL = Queries("penstock.events", "events.sql")
_log = structlog.get_logger(__name__)


def lock_key(schema: str) -> int:
    """Return the advisory lock key of a schema's sequencer: the same in every process."""
    digest = hashlib.blake2b(f"penstock sequencer {schema}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Sequencer:
    """One process's sequencer of one account; `is_leading` while this one numbers."""

    def __init__(self, conninfo: str, schema: str) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self.is_leading = False
        self.numbered = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Keep numbering passes, whenever the lock can be had, until `stop` is set."""

        async def session(connection: Connection) -> None:
            try:
                await self._session(connection, stop)
            finally:
                self.is_leading = False

        await keep_connected(self._conninfo, session, stop, _OPTIONS)

    async def _session(self, connection: Connection, stop: asyncio.Event) -> None:
        await connection.execute(f"SET search_path TO {self._schema}".encode())
        while not await self._try_lead(connection):
            if await pause(stop, TRY_LEAD_S):
                return
        _log.info("sequencer leads", schema=self._schema)
        tick_s = TICK_S
        while not stop.is_set():
            count = await number_passes(connection)
            self.numbered += count
            tick_s = TICK_S if count else min(tick_s * 1.2, LONGEST_TICK_S)
            if count < MAX_PASSES_PER_TICK:
                await pause(stop, tick_s)
        await number_passes(connection)  # what this process committed last

    async def _try_lead(self, connection: Connection) -> bool:
        cursor = await connection.execute(SQL.try_lead, (lock_key(self._schema),))
        row = await cursor.fetchone()
        self.is_leading = bool(row and row[0])
        return self.is_leading


async def number_passes(connection: Connection, limit: int = MAX_PASSES_PER_TICK) -> int:
    """Give numbers to up to `limit` visible passes of the connection's schema; returns how many.

    Only who holds the sequencer's lock may call this.
    """
    cursor = await connection.execute(SQL.number_passes, (limit,))
    return cursor.rowcount
