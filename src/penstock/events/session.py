"""A connection of one's own that outlives failures: for the tasks that follow or number passes.

Owns connecting, reconnecting with a bounded pause, and pausing until a stop event. What is done
over the connection is the caller's. Such a task holds no transaction while it pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import structlog

from penstock.db import Connection, register, session_options
from penstock.errors import Transient

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
CONNECT_TIMEOUT_S = 5

_log = structlog.get_logger(__name__)


async def keep_connected(
    conninfo: str,
    work: Callable[[Connection], Awaitable[None]],
    stop: asyncio.Event,
    more_options: str = "",
) -> None:
    """Run `work` over an autocommit connection until it returns or `stop` is set.

    A lost connection (and every other operational error) starts `work` again over a new one, after
    a pause that doubles to `LONGEST_PAUSE_S`; any other error is raised.
    """
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        try:
            async with await _connect(conninfo, more_options) as connection:
                pause_s = FIRST_PAUSE_S
                await work(connection)
                return
        except (psycopg.OperationalError, psycopg.InterfaceError, Transient) as error:
            _log.warning("connection lost", error=str(error).strip(), retry_in_s=pause_s)
        await pause(stop, pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def _connect(conninfo: str, more_options: str) -> Connection:
    connection = await psycopg.AsyncConnection.connect(
        conninfo,
        autocommit=True,
        options=f"{session_options()} {more_options}",
        connect_timeout=CONNECT_TIMEOUT_S,
        prepare_threshold=1,
    )
    register(connection)
    return connection


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until `stop` is set; tells whether it is."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
