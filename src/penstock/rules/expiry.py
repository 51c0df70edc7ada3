"""Ending what is over in the background: holds whose time has passed, the carts they were of.

Owns the loop: so many holds a pass, pass after pass while there are more, so that no transaction is
long and orders get their turn between. Nobody's root is locked: a hold ends under its position's
lock alone, and carts are marked apart from that, but for those that somebody is at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from penstock.errors import PenstockError
from penstock.events.session import pause
from penstock.inventory.decide import expire_holds, holds_have_expired
from penstock.inventory.limits import drop_ended_entries
from penstock.orders.cart_store import expire_carts

if TYPE_CHECKING:
    from penstock.db import Tx
    from penstock.rules.knowledge import Knowledge

EVERY_S = 0.5
HOLDS_PER_PASS = 5_000
CARTS_AT_A_TIME = 5_000
_log = structlog.get_logger(__name__)


async def run_expiry(knowledge: Knowledge, stop: asyncio.Event) -> None:
    """End what is over until told to stop; a database that is busy is tried again."""
    while not await pause(stop, EVERY_S):
        try:
            await end_what_is_over(knowledge, stop)
        except PenstockError as error:
            _log.warning("holds not ended", error=str(error))


async def end_what_is_over(knowledge: Knowledge, stop: asyncio.Event | None = None) -> int:
    """End every hold that is over now and mark its cart; returns how many holds ended."""
    now = knowledge.clock.now()
    total = 0
    if await knowledge.database.run(knowledge.schema, holds_have_expired(now)):
        ended = HOLDS_PER_PASS
        while ended == HOLDS_PER_PASS and not (stop is not None and stop.is_set()):
            ended = await knowledge.run_pass("expiry", lambda tx: expire_holds(tx, HOLDS_PER_PASS))
            total += ended

    async def mark(tx: Tx) -> int:
        return await expire_carts(tx, now, CARTS_AT_A_TIME)

    while await knowledge.database.run(knowledge.schema, mark) == CARTS_AT_A_TIME:
        continue
    if knowledge.limits:
        await knowledge.database.run(
            knowledge.schema, lambda tx: drop_ended_entries(tx, now, CARTS_AT_A_TIME)
        )
    return total
