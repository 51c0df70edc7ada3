"""What tests of master data share: one transaction in an account, and its revisions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from penstock.db import Database, Tx
from penstock.errors import Refusal

T = TypeVar("T")


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


async def revision(tx: Tx, name: str) -> int:
    rows = await tx.fetch(b"SELECT value FROM revision WHERE name = %s", (name,))
    return int(rows[0][0])


async def all_of(tx: Tx, query: str) -> list[tuple[Any, ...]]:
    return await tx.fetch(query.encode())


def told(results: Sequence[str | Refusal]) -> list[str]:
    """Return results as words: a refusal by its code."""
    return [one.code if isinstance(one, Refusal) else one for one in results]
