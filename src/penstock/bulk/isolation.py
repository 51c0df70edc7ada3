"""Isolation: one record that breaks its chunk must not keep the others out.

Owns the halving. A refusal is no break: the verbs answer it for the record it concerns. What is no
record's fault (a lost connection, a full disk) is raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import structlog

from penstock.bulk.model import Fault
from penstock.bulk.records import Chunk, sliced
from penstock.errors import Refusal, Transient

T = TypeVar("T")
_log = structlog.get_logger(__name__)


async def by_halves(chunk: Chunk[T], work: Callable[[Chunk[T]], Awaitable[None]]) -> None:
    """Do the work for a chunk; if it breaks, for its halves; a record alone becomes a fault."""
    try:
        await work(chunk)
    except (Refusal, Transient, psycopg.OperationalError, OSError):
        raise
    except Exception as error:
        if not chunk.values:
            raise
        if len(chunk.values) == 1:
            _log.warning("a record broke", row=chunk.rows[0], exc_info=error)
            faults = [*chunk.faults, _broken(chunk.rows[0], error)]
            await work(Chunk([], [], faults, chunk.rows_done))
            return
        for half in sliced(iter([chunk]), 0, (len(chunk.values) + 1) // 2):
            await by_halves(half, work)


def _broken(row: int, error: Exception) -> Fault:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return Fault(row, "", f"The record cannot be kept: {said[0][:200]}", "record_broken")
