"""Doing jobs: claim what is due, call, write what came of it; beside a worker, never in a pass.

Owns how many calls are in flight and when they are made. A call holds no connection and no lock of
the database. Bounds: `MAX_CALLS` at a time in a process, `MAX_CALLS_PER_PEER` of one peer, one of a
peer that was silent last, so that slow peers delay their own jobs only.

Told to stop, it begins nothing more, waits `STOP_S` for what is in flight, and leaves the rest to
whoever finds its lease ended.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Any

import msgspec
import psycopg
import structlog

from penstock.connectors.model import MAX_CALL_S, Answer, Call, Connector, Failure
from penstock.db import Tx
from penstock.engine.condition import expression
from penstock.engine.jobs import Claimed, Outcome, Room, claim_jobs, end_attempts, wait_after
from penstock.errors import Refusal, Transient
from penstock.rules.knowledge import Knowledge

ENTRY_POINTS = "penstock.connectors"
MAX_CALLS = 32
MAX_CALLS_PER_PEER = 8
LEASE = timedelta(seconds=MAX_CALL_S + 25)
IDLE_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25
TROUBLE_PAUSE_S = 1.0
MAX_SILENT_PEERS = 1_000
_TROUBLE = (Transient, psycopg.OperationalError, psycopg.InterfaceError)
STOP_S = 10.0
_log = structlog.get_logger(__name__)
_Attempt = asyncio.Task[Outcome]


def load_connectors() -> dict[str, Connector]:
    """Make the connectors of every installed package, by the kind of jobs they do."""
    return {entry.name: entry.load()() for entry in entry_points(group=ENTRY_POINTS)}


async def run_jobs(knowledge: Knowledge, stop: asyncio.Event) -> None:
    """Do the account's jobs as they come due, until told to stop."""
    connectors = load_connectors()
    runner = Runner(knowledge, connectors)
    try:
        await runner.run(stop)
    finally:
        for connector in connectors.values():
            await connector.close()


class Runner:
    """The jobs that a process is at: attempts in flight, and outcomes that are not written yet."""

    def __init__(self, knowledge: Knowledge, connectors: Mapping[str, Connector]) -> None:
        self._knowledge = knowledge
        self._connectors = connectors
        self._attempts: dict[_Attempt, Claimed] = {}
        self._outcomes: list[Outcome] = []
        self._silent: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Claim, call and write in turn until told to stop; nothing is left running then."""
        stopping = asyncio.create_task(stop.wait())
        pause_s = IDLE_PAUSE_S
        try:
            while not stop.is_set():
                try:
                    is_busy = await self._turn()
                except _TROUBLE as error:
                    _log.warning("jobs wait for the database", error=str(error))
                    await asyncio.wait([stopping], timeout=TROUBLE_PAUSE_S)
                    continue
                if not is_busy:
                    await asyncio.wait(
                        [stopping, *self._attempts],
                        timeout=pause_s,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                pause_s = IDLE_PAUSE_S if is_busy else min(pause_s * 2, LONGEST_PAUSE_S)
            await self._finish()
        finally:
            await _cancel([stopping, *self._attempts])

    async def _turn(self) -> bool:
        """Write what has ended, begin what is due; tells whether there was either."""
        self._collect()
        ended = len(self._outcomes)
        await self._write()
        return await self._begin() + ended > 0

    async def _begin(self) -> int:
        now = self._knowledge.clock.now()
        room = self._room()
        if room.total == 0:
            return 0

        async def work(tx: Tx) -> list[Claimed]:
            return await claim_jobs(tx, room, now, now + LEASE)

        claimed = await self._knowledge.database.run(self._knowledge.schema, work)
        for job in claimed:
            self._attempts[asyncio.create_task(self._attempt(job))] = job
        return len(claimed)

    def _room(self) -> Room:
        in_flight = Counter(job.peer for job in self._attempts.values())
        of_peers = {
            peer: max((1 if peer in self._silent else MAX_CALLS_PER_PEER) - in_flight[peer], 0)
            for peer in {*in_flight, *self._silent}
        }
        return Room(MAX_CALLS - len(self._attempts), MAX_CALLS_PER_PEER, of_peers)

    def _collect(self) -> None:
        for task in [task for task in self._attempts if task.done()]:
            del self._attempts[task]
            self._outcomes.append(task.result())

    async def _write(self) -> None:
        """Write outcomes in one transaction; those it fails to write are written next time."""
        outcomes = list(self._outcomes)
        if not outcomes:
            return
        now = self._knowledge.clock.now()

        async def work(tx: Tx) -> int:
            return await end_attempts(tx, outcomes, now)

        await self._knowledge.database.run(self._knowledge.schema, work)
        del self._outcomes[: len(outcomes)]

    async def _finish(self) -> None:
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=STOP_S)
        self._collect()
        try:
            await self._write()
        except _TROUBLE as error:
            _log.warning("jobs are called again", jobs=len(self._outcomes), error=str(error))

    async def _attempt(self, job: Claimed) -> Outcome:
        """Do a job once and judge what came of it; an error is a failure like any other."""
        if job.attempts > job.retry.attempts:
            result: Answer | Failure = Failure("whoever was at it died, every time", is_final=True)
        else:
            result = await self._call(job)
        self._heard(job.peer, is_silent=isinstance(result, Failure) and result.is_silent)
        outcome = judge(job, result, self._knowledge.clock.now())
        _log.info("job attempted", id=job.id, kind=job.kind, peer=job.peer, status=outcome.status,
                  attempt=job.attempts, error=outcome.error)  # fmt: skip
        return outcome

    def _heard(self, peer: str, *, is_silent: bool) -> None:
        if not is_silent:
            self._silent.discard(peer)
        elif len(self._silent) < MAX_SILENT_PEERS:
            self._silent.add(peer)

    async def _call(self, job: Claimed) -> Answer | Failure:
        connector = self._connectors.get(job.kind)
        if connector is None:
            return Failure(f"no connector does jobs of kind {job.kind}")
        knowledge = self._knowledge
        now = knowledge.clock.now()
        call = Call(job.id, job.kind, job.request, job.attempts, now, knowledge.settings)
        try:
            async with asyncio.timeout(MAX_CALL_S):
                return await connector.call(call)
        except TimeoutError:
            return Failure(f"no_answer: none within {MAX_CALL_S:g} s", is_silent=True)
        except Exception as error:  # noqa: BLE001 (an outside job; its text may hold a secret)
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("connector failed", kind=job.kind, error=type(error).__name__,
                       file=place.filename, line=place.lineno)  # fmt: skip
            return Failure(f"connector_failed: {type(error).__name__}")


def judge(job: Claimed, result: Answer | Failure, now: datetime) -> Outcome:
    """Return what an attempt came to: done or failed, with the event that tells, or due again."""
    if isinstance(result, Answer):
        try:
            payload = answer_payload(job.answer_fields, result)
        except Refusal as refusal:
            text = f"answer_not_understood: {refusal.message}"
            result = Failure(text, result.status, is_final=True)
        else:
            event = job.event(job.answer_event, payload) if job.answer_event else None
            return Outcome(job, "done", now, event=event)
    chance = random.random()  # noqa: S311 (jitter)
    wait = wait_after(job.retry, job.attempts, chance, result.retry_after_s)
    if wait is not None and not result.is_final:
        return Outcome(job, "due", now + wait, result.error)
    payload = {"error": result.error, "status": result.status, "attempts": job.attempts}
    event = job.event(job.failed_event, payload) if job.failed_event else None
    return Outcome(job, "failed", now, result.error, event)


def answer_payload(fields: Mapping[str, str], answer: Answer) -> dict[str, Any]:
    """Return what an answer's event carries; refuses with `condition_failed` what has no value."""
    views = {"answer": {"status": answer.status, "body": answer.body}}
    values = {name: expression(text).value(views) for name, text in fields.items()}
    try:
        msgspec.json.encode(values)
    except (ValueError, TypeError, RecursionError) as error:
        raise Refusal("condition_failed", f"a field is no JSON: {error}") from None
    return {"status": answer.status, **msgspec.to_builtins(values)}


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
