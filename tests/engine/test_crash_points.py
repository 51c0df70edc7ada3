"""A worker dies before or after any step of a pass, and everything ends as if it had not.

In every round events of every shipped workflow wait. One worker dies at the n-th visit of a place;
a second one works while the first holds still there, with its locks and its notes, and goes on when
it is dead. A round without a death says what each has to come to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from psycopg import AsyncConnection
from tests.engine.crash_points import PLACES
from tests.engine.crash_process import ClockAhead, Order
from tests.engine.crash_round import (
    PRODUCTS,
    Round,
    activate_optional,
    outcome,
    stage,
    waiting_of,
)
from tests.shop import Shop, assert_clean, opened, shop, until

from penstock.app import Account
from penstock.rules.work import run_due

AHEAD = timedelta(weeks=5)  # past every timer of the shipped workflows
PATIENCE_S = 30.0


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "crash_points", PRODUCTS) as one:
        yield one


class Victims:
    """Workers that wait, with the account open, to be told where to die; one is always ready."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lines: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take in a worker that has connected."""
        assert await reader.readline() == b"ready\n"
        await self._lines.put((reader, writer))

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
        script = Path(__file__).with_name("crash_process.py")
        command = [sys.executable, str(script), lent.conninfo, lent.name, path]
        with subprocess.Popen(
            [*command, str(AHEAD.total_seconds())],
            stdin=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        ) as process:
            lending = Victims(process)
            async with await asyncio.start_unix_server(lending.joined, path):
                lending.fork()
                yield lending
            process.kill()


class Survivor:
    """The worker that does not die."""

    def __init__(self, lent: Shop, account: Account, clock: ClockAhead, pid: int) -> None:
        self._lent = lent
        self._account = account
        self._clock = clock
        self._pid = pid

    async def stage(self, number: int) -> Round:
        self._clock.ahead = timedelta()
        one = await stage(self._account, number)
        self._clock.ahead = AHEAD
        return one

    async def work(self) -> int:
        """Run what may be run now; returns how many events that were."""
        done = 0
        while events := await run_due(self._account.knowledge, self._pid):
            done += events
        return done

    async def finish(self) -> None:
        """Run until nothing is due; who has just died may be missed for a moment."""
        await self.work()
        now = self._clock.now().isoformat()

        def is_done() -> bool:
            return waiting_of(self._lent, now) == 0

        while not is_done():
            await until(lambda: True, "")
            await self.work()


@contextlib.asynccontextmanager
async def survivor(lent: Shop) -> AsyncGenerator[tuple[Survivor, Account]]:
    """Lend the worker that does not die."""
    clock = ClockAhead()
    async with (
        opened(lent) as first,
        await AsyncConnection.connect(lent.conninfo) as connection,
    ):
        await activate_optional(first)
        async with opened(lent, clock) as account:
            yield Survivor(lent, account, clock, connection.info.backend_pid), account


def differences(wanted: dict[str, list[Any]], found: dict[str, list[Any]]) -> list[str]:
    """Return what two outcomes do not share, as sentences."""
    return [
        f"{name}: lacks {sorted(set(wanted[name]) - set(found[name]))}, "
        f"has {sorted(set(found[name]) - set(wanted[name]))}, {len(found[name])} rows"
        for name in wanted
        if wanted[name] != found[name]
    ]


def test_x(lent: Shop) -> None:
    async def story() -> None:
        import time
        async with survivor(lent) as (worker, account), victims(lent) as dying:
            t=time.perf_counter()
            plain = await worker.stage(0)
            print("stage", time.perf_counter()-t); t=time.perf_counter()
            await worker.finish()
            print("finish", time.perf_counter()-t); t=time.perf_counter()
            wanted = outcome(lent, plain)
            print("outcome", time.perf_counter()-t)
            for n, rows in wanted.items():
                print(n)
                for r in rows: print("   ", r)
            number = 0
            for visit in (1, 2):
                for place in PLACES:
                    number += 1
                    t0=time.perf_counter()
                    one = await worker.stage(number)
                    t1=time.perf_counter()
                    victim = await dying.send(Order(place, visit, visit == 2))
                    t2=time.perf_counter()
                    n = await worker.work()
                    t3=time.perf_counter()
                    await victim.die()
                    await worker.finish()
                    t4=time.perf_counter()
                    got = outcome(lent, one)
                    t5=time.perf_counter()
                    print(place, visit, victim.was_there, n, *(round(x,3) for x in (t1-t0,t2-t1,t3-t2,t4-t3,t5-t4)), flush=True)
                    for d in differences(wanted, got): print("    DIFF", d)
            await assert_clean(lent, account)
    asyncio.run(story())
