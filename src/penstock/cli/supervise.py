"""Watching over child processes: start them, start again what died, stop them in order.

Owns the life of processes and nothing of what they do. A child that died is started again after a
pause that doubles up to `LONGEST_PAUSE_S`, and that is said in the log; one that lived for
`HEALTHY_S` begins with the shortest pause again.

Invariant: on SIGTERM or SIGINT the tiers are stopped one after the other, each child with time to
finish, and no child is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import structlog

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 60.0
STOP_TIMEOUT_S = 60.0
_log = structlog.get_logger(__name__)


class Child(msgspec.Struct, frozen=True):
    """A process to be kept running: its name in the log, its command, its environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


async def supervise(
    tiers: Sequence[Sequence[Child]], announce: Callable[[], Awaitable[None]]
) -> None:
    """Keep every child running until a signal comes, then stop tier after tier.

    `announce` is awaited beside them; it says when everything is up, and is cancelled at the end.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stops = [asyncio.Event() for _ in tiers]
    running = [
        [asyncio.create_task(_keep_running(child, tier_stop)) for child in tier]
        for tier, tier_stop in zip(tiers, stops, strict=True)
    ]
    announcing = asyncio.ensure_future(announce())
    await stop.wait()
    announcing.cancel()
    for tier, tier_stop in zip(running, stops, strict=True):
        tier_stop.set()
        await asyncio.gather(*tier)


async def _keep_running(child: Child, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        started_at = loop.time()
        status = await _run(child, stop)
        if stop.is_set():
            return
        if loop.time() - started_at > HEALTHY_S:
            pause_s = FIRST_PAUSE_S
        _log.error("process died", process=child.name, status=status, restart_in_s=pause_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def _run(child: Child, stop: asyncio.Event) -> int:
    """Run a child until it ends, or end it when `stop` is set; returns its exit status."""
    process = await asyncio.create_subprocess_exec(
        *child.command, env=child.environment, start_new_session=True
    )
    _log.info("process started", process=child.name, pid=process.pid)
    ended = asyncio.ensure_future(process.wait())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        await _end(child, process, ended)
    return await ended


async def _end(
    child: Child, process: asyncio.subprocess.Process, ended: asyncio.Future[int]
) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    done, _ = await asyncio.wait([ended], timeout=STOP_TIMEOUT_S)
    if not done:
        _log.error("process did not stop and was killed", process=child.name)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
