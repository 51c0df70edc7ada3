"""Workers that die where they are told: `crash_process.py CONNINFO ACCOUNT SOCKET AHEAD_S`.

For each line on standard input this process, which has imported everything, forks a worker. The
worker connects to the socket, opens the account, says `ready`, and is told a place and a visit. It
works until it is there, says `here`, and dies when it is answered; or says `idle` when nothing is
left to do. Its clock is ahead, so that timers of days are due.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import traceback
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from psycopg import AsyncConnection
from tests.engine.crash_points import die_at, write_ahead

from penstock.app import open_account
from penstock.rules.work import run_due


class ClockAhead:
    """The machine's clock, and so much later."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Order(msgspec.Struct):
    """Where to die, at which visit of that place, and whether rows are written early."""

    place: str
    visit: int
    is_ahead: bool


async def main(conninfo: str, name: str, line: socket.socket, ahead: timedelta) -> None:
    """Run a worker that dies where it is told."""
    account = await open_account(conninfo, name, ClockAhead(ahead))
    line.sendall(b"ready\n")
    line.setblocking(False)
    order = msgspec.json.decode(
        await asyncio.get_running_loop().sock_recv(line, 10_000), type=Order
    )
    line.setblocking(True)

    def hold() -> None:
        line.sendall(b"here\n")
        line.recv(1)

    if order.is_ahead:
        write_ahead()
    die_at(order.place, order.visit, hold)
    async with await AsyncConnection.connect(conninfo) as connection:
        while await run_due(account.knowledge, connection.info.backend_pid):
            pass
    line.sendall(b"idle\n")
    line.recv(1)
    os._exit(0)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that have died
    for _ in sys.stdin:
        if os.fork() == 0:
            try:
                line_to_test = socket.socket(socket.AF_UNIX)
                line_to_test.connect(sys.argv[3])
                wait_s = timedelta(seconds=float(sys.argv[4]))
                asyncio.run(main(sys.argv[1], sys.argv[2], line_to_test, wait_s))
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(1)
