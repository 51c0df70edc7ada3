"""Dead letters: events that failed for good, kept for a person to retry or skip.

Owns turning events of the inbox into dead letters. Whether one has failed for good is for the
worker to judge, or for an intake that met a refused event waiting before a client's.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from penstock.db import Tx
from penstock.engine import inbox
from penstock.engine.inbox import SQL
from penstock.errors import Refusal
from penstock.rules.knowledge import Knowledge

_log = structlog.get_logger(__name__)


async def bury(tx: Tx, knowledge: Knowledge, event_id: str, error: str, lines: str) -> None:
    """Make an event of the inbox a dead letter, with the error and its traceback."""
    await tx.execute(SQL.bury_event, (error, lines, knowledge.clock.now(), event_id))
    await inbox.remove(tx, [event_id])
    _log.error("dead letter", event_id=event_id, error=error)


async def bury_refused(knowledge: Knowledge, refusals: Mapping[str, Refusal]) -> None:
    """Bury events of the inbox that were refused, by event id."""

    async def work(tx: Tx) -> None:
        for event_id, refusal in refusals.items():
            await bury(tx, knowledge, event_id, f"{refusal.code}: {refusal.message}", "")

    await knowledge.database.run(knowledge.schema, work)
