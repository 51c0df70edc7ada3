"""Reading in pieces: each in a short snapshot of its own, none open longer than five seconds.

Owns the read-only REPEATABLE READ transaction and the size of a piece, which follows the time the
last one took. An open snapshot holds back cleaning up on the whole server, so nothing is computed
inside one that can be computed after it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from psycopg import errors as pg_errors

from penstock.db import Database, Queries, Tx, begin, retry, roll_back
from penstock.errors import Broken

SQL = Queries("penstock.audit", "audit.sql")
AIM_S = 1.0
_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
    "SET LOCAL statement_timeout = '4s'; SET LOCAL work_mem = '64MB';"
    "SET LOCAL plan_cache_mode = force_custom_plan"
)

T = TypeVar("T")
Progress: TypeAlias = Callable[[str, int, int], None]  # stage, done, total (0: not known)


class Piece:
    """How many rows to read at once: fewer after a slow piece, more after a quick one."""

    def __init__(self, first: int, most: int) -> None:
        self.size = first
        self._most = most
        self._least = max(first // 50, 1)

    def took(self, duration_s: float) -> None:
        """Follow the time that a piece of the present size took."""
        factor = min(max(AIM_S / max(duration_s, 0.001), 0.25), 2.0)
        self.size = int(min(max(self.size * factor, self._least), self._most))

    def is_least(self) -> bool:
        """Tell that the size cannot become smaller."""
        return self.size <= self._least


async def read(database: Database, schema: str, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run `work`, which only reads and may be run again, in one snapshot of the account."""

    async def once() -> T:
        async with database.connection() as connection:
            try:
                await begin(connection, schema, _SETTINGS)
                return await work(Tx(connection, schema))
            finally:
                await roll_back(connection)

    return await retry(once)


async def read_piece(
    database: Database, schema: str, piece: Piece, work: Callable[[Tx, int], Awaitable[T]]
) -> T:
    """Read a piece of the present size; one that takes too long is read again as a smaller one."""
    while True:
        size = piece.size
        started = time.perf_counter()
        try:
            result = await read(database, schema, lambda tx, size=size: work(tx, size))
        except pg_errors.QueryCanceled as error:
            if piece.is_least():
                raise Broken(f"{size} rows cannot be read in four seconds") from error
        else:
            piece.took(time.perf_counter() - started)
            return result
        piece.took(time.perf_counter() - started)
