"""A worker dies before or after any step of a pass, and everything ends as if it had not.

In every round events of every shipped workflow wait. One worker dies at the n-th visit of a place;
a second one works while the first holds still there, with its locks and its notes, and goes on when
it is dead. A round without a death says what each has to come to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from psycopg import AsyncConnection
from tests.engine.crash_points import AGAIN, PLACES
from tests.engine.crash_process import ClockAhead, Order
from tests.engine.crash_round import (
    ENDS,
    PRODUCTS,
    Round,
    activate_optional,
    ends_of,
    outcome,
    stage,
)
from tests.shop import Shop, assert_clean, count, opened, shop

from penstock.app import Account
from penstock.rules.work import run_due

AHEAD = timedelta(weeks=5)  # past every timer of the shipped workflows
PATIENCE_S = 120.0
# Every unit that is reserved is counted, so that counts are at stake wherever a worker dies.
COUNTED = "INSERT INTO control (kind, qty, ref) VALUES ('cap', 1000000, 'all');"
SHARED_AT = (("P1", 1), ("P1", 2), ("P1", 3), ("P2", 1), ("P3", 2))


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "crash_points", PRODUCTS + COUNTED) as one:
        yield one


class Victims:
    """Workers that wait, with the account open, to be told where to die; one is always ready."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )
        self._writers: list[asyncio.StreamWriter] = []
        self._joining: set[asyncio.Task[None]] = set()

    async def joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take in a worker that has connected; one that is killed meanwhile is let go."""
        task = asyncio.current_task()
        assert task is not None
        self._joining.add(task)
        self._writers.append(writer)
        if await reader.readline() == b"ready\n":
            await self._lines.put((reader, writer))
        self._joining.discard(task)

    async def let_go(self) -> None:
        """Wait for those that are killed, and close every line: nothing of them is left."""
        await asyncio.gather(*self._joining)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def fork(self) -> None:
        """Have one more worker begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    async def send(self, order: Order) -> Victim:
        """Send the next worker to where it is to die; returns when it is there, or idle."""
        reader, writer = await asyncio.wait_for(self._lines.get(), PATIENCE_S)
        self.fork()
        writer.write(msgspec.json.encode(order))
        said = await asyncio.wait_for(reader.readline(), PATIENCE_S)
        return Victim(reader, writer, was_there=said == b"here\n")


class Victim(msgspec.Struct):
    """A worker that holds still; `was_there` tells whether it came to where it is to die."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    was_there: bool

    async def die(self) -> None:
        self.writer.write(b"!")
        assert await asyncio.wait_for(self.reader.read(), PATIENCE_S) == b""
        self.writer.close()


@contextlib.asynccontextmanager
async def victims(lent: Shop) -> AsyncGenerator[Victims]:
    """Lend workers that die."""
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        path = str(Path(folder) / "line")
        with forking(lent, path) as process:
            lending = Victims(process)
            async with await asyncio.start_unix_server(lending.joined, path):
                lending.fork()
                try:
                    yield lending
                finally:
                    os.killpg(process.pid, signal.SIGKILL)
                    await lending.let_go()


@contextlib.contextmanager
def forking(lent: Shop, path: str) -> Generator[subprocess.Popen[bytes]]:
    """Run the process that forks workers; it ends, and they with it."""
    script = str(Path(__file__).with_name("crash_process.py"))
    command = [sys.executable, script, lent.conninfo, lent.name, path, str(AHEAD.total_seconds())]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):  # most often it is gone by then
                os.killpg(process.pid, signal.SIGKILL)


class Survivor:
    """The worker that does not die."""

    def __init__(self, lent: Shop, account: Account, clock: ClockAhead, pid: int) -> None:
        self._lent = lent
        self._account = account
        self._clock = clock
        self._pid = pid

    async def stage(self, number: int) -> Round:
        self._clock.ahead = timedelta()
        one = await stage(self._lent, self._account, number)
        self._clock.ahead = AHEAD
        return one

    async def work(self) -> int:
        """Run what may be run now; returns how many events that were."""
        done = 0
        while events := await run_due(self._account.knowledge, self._pid):
            done += events
        return done

    async def finish(self) -> None:
        """Run until nothing is due: who has just died may count as alive for a moment."""
        now = self._clock.now().isoformat()
        due = f"SELECT count(*) FROM inbox WHERE due_at <= '{now}'"
        deadline = time.monotonic() + PATIENCE_S
        while self._lent.value(due):
            await self.work()
            assert time.monotonic() < deadline, "events are left over"


@contextlib.asynccontextmanager
async def survivor(lent: Shop) -> AsyncGenerator[tuple[Survivor, Account]]:
    """Lend the worker that does not die."""
    clock = ClockAhead()
    async with (
        opened(lent) as first,
        await AsyncConnection.connect(lent.conninfo) as connection,
    ):
        await count(first, *((sku, f"L{n}", 900) for sku, n in SHARED_AT))
        await activate_optional(first)
        async with opened(lent, clock) as account:
            yield Survivor(lent, account, clock, connection.info.backend_pid), account


def differences(wanted: dict[str, list[str]], found: dict[str, list[str]]) -> list[str]:
    """Return what two outcomes do not share, as sentences."""
    return [
        f"{name}: lacks {sorted(set(wanted[name]) - set(found[name]))}, "
        f"has {sorted(set(found[name]) - set(wanted[name]))}, {len(found[name])} rows"
        for name in wanted
        if wanted[name] != found[name]
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("visit", "places"), [(1, PLACES), (2, AGAIN)])
def test_a_worker_that_dies_at_any_step_of_a_pass_changes_nothing(
    lent: Shop, visit: int, places: tuple[str, ...]
) -> None:
    """On the second visit rows are being written already while others are made."""

    async def story() -> None:
        async with survivor(lent) as (worker, account), victims(lent) as dying:
            plain = await worker.stage(0)
            await worker.finish()
            assert ends_of(lent, plain) == ENDS
            wanted = outcome(lent, plain)
            wrong: list[str] = []
            for number, where in enumerate(places, start=1):
                one = await worker.stage(number)
                victim = await dying.send(Order(where, visit, is_ahead=visit > 1))
                await worker.work()
                await victim.die()
                await worker.finish()
                found = differences(wanted, outcome(lent, one))
                wrong += [f"{where}: {sentence}" for sentence in found]
                if not victim.was_there:
                    wrong.append(f"{where}: nobody came there")
            assert not wrong, "\n".join(wrong)
            await assert_clean(lent, account)

    asyncio.run(story())
