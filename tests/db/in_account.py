"""What tests of master data share: one transaction in an account, and its revisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from penstock.db import Database, Tx
from penstock.errors import Refusal

T = TypeVar("T")
PATIENCE_S = 20.0


def run(conninfo: str, schema: str, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run work in one transaction of the account and return its result."""

    async def whole() -> T:
        database = Database(conninfo, size=1)
        await database.open()
        try:
            return await database.run(schema, work)
        finally:
            await database.close()

    return asyncio.run(whole())


def overlap(
    conninfo: str,
    schema: str,
    first: Callable[[Tx], Awaitable[T]],
    second: Callable[[Tx], Awaitable[T]],
) -> tuple[T, T]:
    """Run two transactions so that the second begins before the first, which is done, commits.

    Fails unless the second waits for the first.
    """

    async def whole() -> tuple[T, T]:
        database = Database(conninfo, size=2)
        await database.open()
        try:
            async with asyncio.TaskGroup() as group:

                async def work(tx: Tx) -> tuple[T, asyncio.Task[T]]:
                    done = await first(tx)
                    task = group.create_task(database.run(schema, second))
                    await _until_it_waits(tx, task)
                    return done, task

                done, task = await database.run(schema, work)
            return done, task.result()
        finally:
            await database.close()

    return asyncio.run(whole())


async def _until_it_waits(tx: Tx, task: asyncio.Task[Any]) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    deadline = time.monotonic() + PATIENCE_S
    while (await all_of(tx, query)) == [(0,)]:
        assert not task.done(), "the second did not wait for the first"
        assert time.monotonic() < deadline, "the second neither waits nor ends"


async def revision(tx: Tx, name: str) -> int:
    rows = await tx.fetch(b"SELECT value FROM revision WHERE name = %s", (name,))
    return int(rows[0][0])


async def all_of(tx: Tx, query: str) -> list[tuple[Any, ...]]:
    return await tx.fetch(query.encode())


def told(results: Sequence[str | Refusal]) -> list[str]:
    """Return results as words: a refusal by its code."""
    return [one.code if isinstance(one, Refusal) else one for one in results]
