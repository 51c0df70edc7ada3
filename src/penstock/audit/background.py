"""The audit that never ends: in the worker, a little at a time, at most a tenth of one connection.

A run goes on from the checkpoint: it adds up the journal of new passes, looks at the positions and
orders these have moved, at what is still open, and at some more positions, so that each has its
turn again and again. Capacities, counted controls, limits, carts and lots are compared whole, ever
more rarely as they take longer. One process at a time has the audit; who dies leaves it to another
within two minutes. Whatever is wrong becomes a finding; nothing is repaired by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import psycopg
import structlog

from penstock.audit import findings, forward
from penstock.audit.controls import audit_controls
from penstock.audit.demand import MOST_ROOTS, audit_capacity, audit_roots
from penstock.audit.findings import OF_ROOTS, SQL, seen_by
from penstock.audit.forward import CLAIM_S, Known
from penstock.audit.limits import audit_limits
from penstock.audit.lots import audit_lots
from penstock.audit.report import MAX_EXAMPLES, empty_report
from penstock.audit.run import write_run
from penstock.audit.slots import audit_slots
from penstock.audit.snapshots import Piece
from penstock.db import Database, Tx
from penstock.errors import PenstockError
from penstock.events.session import pause

REST = 9  # a piece that took a second is followed by so many of rest
LONGEST_REST_S = 20.0
POSITIONS_A_PIECE = 10_000
POSITIONS_A_RUN = 20_000  # beside those that were moved
MOST_TOUCHED = 100_000
WHOLE_SHARE = 100  # checks of everything take a hundredth of the time
WHOLE_CHECKS = ("capacity", "controls", "limits", "carts", "lots")
LOOKS = 4  # so often within an interval a process asks whether it may audit

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Stopped(Exception):
    """The process is told to stop."""


class Auditor:
    """One process's audit of one account."""

    def __init__(self, database: Database, schema: str, every_s: float) -> None:
        self._database = database
        self._schema = schema
        self._every_s = every_s
        self._stop = asyncio.Event()
        self._whole_at = float("-inf")
        self._whole_took_s = 0.0
        self._claimed_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Audit every so often, if nobody else does, until told to stop."""
        self._stop = stop
        while not await pause(stop, self._every_s / LOOKS):
            try:
                await self.run_once()
            except Stopped:
                return
            except (PenstockError, psycopg.Error) as error:
                _log.warning("audit not ended", error=str(error).strip())
            except Exception:  # noqa: BLE001 (a worker works on whatever its audit comes to)
                _log.exception("audit failed")

    async def run_once(self) -> bool:
        """Run if the last run is long enough ago and nobody else is at it; tells whether it did."""
        if not await self._database.run(self._schema, _claim):
            return False
        self._claimed_at = time.monotonic()
        left_for = 0.0
        try:
            await self._audit()
            left_for = self._every_s
        finally:
            await self._hold(left_for)
        return True

    async def _hold(self, seconds: float) -> None:
        async def hold(tx: Tx) -> None:
            await tx.execute(SQL.hold, (seconds,))

        await self._database.run(self._schema, hold)
        self._claimed_at = time.monotonic()

    async def _audit(self) -> None:
        started_at = datetime.now(UTC)
        first, next_position = await self._database.run(self._schema, forward.checkpoint)
        known = Known(first)
        await self._read_on(known)
        open_keys = [one.key for one in await self._database.run(self._schema, _open)]
        known.touched |= {_number(key) for key in open_keys if key.startswith("position:")}
        known.roots |= {_of(key) for key in open_keys if key.startswith("root:")}
        await self._look_at(known, known.touched)
        next_position = await self._look_further(known, next_position)
        await self._roots(known)
        await self._whole()

        async def keep(tx: Tx) -> None:
            await tx.execute(SQL.advance_positions, (next_position,))
            more = (first, len(known.roots))
            await write_run(tx, ("background", started_at), known, more)

        await self._database.run(self._schema, keep)

    async def _read_on(self, known: Known) -> None:
        """Add up what is there now: the next run goes on with what writers add meanwhile."""
        newest = await self._database.run(self._schema, forward.newest_number)
        piece = Piece(forward.PASSES_A_PIECE, forward.MOST_PASSES_A_PIECE)
        while known.number < newest:
            step = await self._paced(
                lambda: forward.read_step(
                    self._database, self._schema, piece, known.number, roots=True
                )
            )
            if step is None:
                return
            known.number = await forward.write_step(
                self._database, self._schema, known.number, step
            )
            known.entries += step.entries
            known.touched |= set(step.folded.states.ids.tolist())
            known.roots |= set(step.roots)
            if max(len(known.touched), len(known.roots)) > MOST_TOUCHED:
                await self._look_at(known, known.touched)
                await self._roots(known)
                known.touched, known.roots = set(), set()

    async def _look_at(self, known: Known, ids: set[int]) -> None:
        every = np.array(sorted(ids), dtype=np.int32)
        for start in range(0, len(every), POSITIONS_A_PIECE):
            part = every[start : start + POSITIONS_A_PIECE].tolist()
            await self._paced(
                lambda part=part: forward.compare(self._database, self._schema, known, part)
            )

    async def _look_further(self, known: Known, first: int) -> int:
        """Look at some more positions by id; returns where the next run goes on."""
        most = await self._database.run(self._schema, forward.newest_position)
        if first > most:
            first = 1
        last = min(first + POSITIONS_A_RUN - 1, most)
        await self._look_at(known, set(range(first, last + 1)) - known.touched)
        return last + 1

    async def _roots(self, known: Known) -> None:
        every = sorted(known.roots)
        for start in range(0, len(every), MOST_ROOTS):
            part = every[start : start + MOST_ROOTS]
            seen = await self._paced(
                lambda part=part: audit_roots(self._database, self._schema, part)
            )
            keys = [f"root:{root}" for root in part]
            await self._database.run(
                self._schema,
                lambda tx, seen=seen, keys=keys: findings.settle(tx, OF_ROOTS, keys, seen),
            )

    async def _whole(self) -> None:
        """Compare what can only be compared whole, if that is not too often."""
        if time.monotonic() < self._whole_at + WHOLE_SHARE * self._whole_took_s:
            return
        started = time.monotonic()
        report = empty_report(self._schema)
        await audit_capacity(self._database, self._schema, report)
        await audit_slots(self._database, self._schema, report)
        await audit_controls(self._database, self._schema, report)
        await audit_limits(self._database, self._schema, report)
        await audit_lots(self._database, self._schema, report)
        self._whole_at = time.monotonic()
        self._whole_took_s = self._whole_at - started
        for check in report.checks:
            if check.name in WHOLE_CHECKS and check.breaches <= MAX_EXAMPLES:
                seen = [seen_by(check.name, text) for text in check.examples]
                name = check.name
                await self._database.run(
                    self._schema,
                    lambda tx, name=name, seen=seen: findings.settle(tx, [name], None, seen),
                )

    async def _paced(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do a piece of work, and rest in proportion to what it took."""
        started = time.monotonic()
        done = await work()
        if started > self._claimed_at + CLAIM_S / LOOKS:
            await self._hold(CLAIM_S)
        rest_s = min(REST * (time.monotonic() - started), LONGEST_REST_S)
        if await pause(self._stop, rest_s):
            raise Stopped
        return done


async def _claim(tx: Tx) -> bool:
    return await tx.fetch_one(SQL.claim, (CLAIM_S,)) is not None


async def _open(tx: Tx) -> list[findings.Finding]:
    return await findings.open_findings(tx)


def _of(key: str) -> str:
    return key.partition(":")[2]


def _number(key: str) -> int:
    return int(_of(key))
