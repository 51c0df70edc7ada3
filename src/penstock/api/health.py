"""`/healthz` and `/readyz`: whether this process lives, and whether it may be sent requests."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import msgspec
import psycopg

from penstock.api.exchange import Reply
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal, Transient

MAX_INDEX_AGE_S = 5.0
DATABASE_TIMEOUT_S = 3.0
_encode = msgspec.json.Encoder().encode


def healthz() -> Reply:
    """Answer that the process lives."""
    return Reply(HTTPStatus.OK, b'{"status":"alive"}')


async def readyz(served: Served) -> Reply:
    """Answer with the index's version and age; refuses with `not_ready`, and says why."""
    follower = served.follower
    if not follower.is_ready.is_set():
        raise Refusal("not_ready", "The availability index is being loaded.")
    age_s = follower.age_s
    if age_s > MAX_INDEX_AGE_S:
        sentence = f"The availability index was last known to be current {age_s:.0f} s ago."
        raise Refusal("not_ready", sentence, index_age_ms=int(age_s * 1000))
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_S):
            await served.database.run(served.schema, _ask)
    except (TimeoutError, Transient, psycopg.Error) as error:
        raise Refusal("not_ready", "PostgreSQL does not answer.") from error
    document = {
        "status": "ready",
        "account": served.name,
        "index_version": follower.version,
        "index_age_ms": int(age_s * 1000),
    }
    return Reply(HTTPStatus.OK, _encode(document))


async def _ask(tx: Tx) -> None:
    await tx.execute(b"SELECT 1")
