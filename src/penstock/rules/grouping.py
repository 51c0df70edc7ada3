"""Grouping: what arrives at the same time is decided in the same pass.

One group is in flight per process and account; the next one grows while it commits, and what needs
no pass of it is done meanwhile. A lone item waits for nothing. An item that breaks its group (a
bug, not a refusal) is found by halving, so that the others are decided.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from penstock.errors import OutcomeUnknown, Refusal, Transient
from penstock.rules.knowledge import Knowledge
from penstock.rules.take import Result, Work, prepare, take

MAX_WAITING = 20_000
_log = structlog.get_logger(__name__)
_Submitted = tuple[Sequence[Work], "asyncio.Future[list[Result]]"]


class Grouping:
    """Takes work from many clients of one account and decides it in groups."""

    def __init__(self, knowledge: Knowledge, max_items: int = 1_000) -> None:
        self._knowledge = knowledge
        self._max_items = max_items
        self._waiting: deque[_Submitted] = deque()
        self._waiting_items = 0
        self._task: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[Work]) -> list[Result]:
        """Decide items in the next group; returns their results once they are durable.

        Refuses with `overloaded` when too much is waiting already.
        """
        if self._waiting_items + len(items) > MAX_WAITING:
            raise Refusal("overloaded", "Too much is waiting to be decided; try again shortly.")
        prepare(self._knowledge, items)
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        self._waiting_items += len(items)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Wait until everything submitted is decided."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._decide(self._next_group())
        finally:
            self._task = None

    def _next_group(self) -> list[_Submitted]:
        group: list[_Submitted] = []
        total = 0
        while self._waiting and (not group or total + len(self._waiting[0][0]) <= self._max_items):
            submitted = self._waiting.popleft()
            total += len(submitted[0])
            group.append(submitted)
        self._waiting_items -= total
        return group

    async def _decide(self, group: list[_Submitted]) -> None:
        items = [item for submitted, _ in group for item in submitted]
        try:
            results = await take(self._knowledge, items)
        except Exception as error:  # noqa: BLE001 (the request edge: one must not fail the others)
            await self._isolate(group, error)
            return
        start = 0
        for submitted, future in group:
            if not future.done():
                future.set_result(results[start : start + len(submitted)])
            start += len(submitted)

    async def _isolate(self, group: list[_Submitted], error: Exception) -> None:
        if len(group) == 1 or isinstance(error, (Transient, OutcomeUnknown)):
            _log.error("a group failed", items=len(group), error=repr(error), exc_info=error)
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        half = len(group) // 2
        await self._decide(group[:half])
        await self._decide(group[half:])
