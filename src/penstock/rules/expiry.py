"""Ending what is over in the background: holds whose time has passed, their carts, expired lots.

Owns the loop: so many holds a pass, pass after pass while there are more, so that no transaction is
long and orders get their turn between. Nobody's root is locked: a hold ends under its position's
lock alone, and carts are marked apart from that, but for those that somebody is at.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from penstock.errors import PenstockError
from penstock.events.session import pause
from penstock.inventory.decide import expire_holds, holds_have_expired
from penstock.inventory.limits import drop_ended_entries
from penstock.inventory.lots import block_expired, lots_have_expired
from penstock.orders.cart_store import expire_carts

if TYPE_CHECKING:
    from penstock.db import Tx
    from penstock.rules.knowledge import Knowledge

EVERY_S = 0.5
HOLDS_PER_PASS = 5_000
CARTS_AT_A_TIME = 5_000
LOTS_EVERY_S = 60.0
LOTS_PER_PASS = 1_000  # positions
LOTS_PASSES = 100
_log = structlog.get_logger(__name__)


async def run_expiry(knowledge: Knowledge, stop: asyncio.Event) -> None:
    """End what is over until told to stop; a database that is busy is tried again."""
    lots_at = float("-inf")
    while not await pause(stop, EVERY_S):
        try:
            await end_what_is_over(knowledge, stop)
            if time.monotonic() - lots_at > LOTS_EVERY_S:
                lots_at = time.monotonic()
                await block_expired_lots(knowledge)
        except PenstockError as error:
            _log.warning("holds or lots not ended", error=str(error))


async def block_expired_lots(knowledge: Knowledge) -> None:
    """Keep lots that have expired from everybody, where lots are kept at all."""
    if not len(knowledge.lot_products):
        return
    have_expired = lots_have_expired(knowledge.clock.now())
    for _ in range(LOTS_PASSES):
        if not await knowledge.database.run(knowledge.schema, have_expired):
            return
        await knowledge.run_pass("expiry", lambda tx: block_expired(tx, LOTS_PER_PASS))


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
