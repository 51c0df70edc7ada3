"""A wire to PostgreSQL that breaks where a test says: between two round trips of a pass.

Stands between a client and the server's socket and reads along. A pass begins with the statement
that inserts its row; from there on, every message the server has to answer is a step. At the step
that was asked for, the wire breaks once: the server's answer is lost (to an earlier step than the
last, that is as if the next one was never sent), or the server's backend is terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

How = Literal["answer lost", "terminated"]
PATIENCE_S = 10.0
_ANSWERED = b"QS"  # Query and Sync: what the server answers with ReadyForQuery


class Break(msgspec.Struct):
    """Where to break: at which step of the next pass of a kind, and how. `has_fired` tells."""

    kind: str
    step: int
    how: How
    has_fired: bool = False


class Wire:
    """The listening side: `conninfo` goes through the wire, `real` does not."""

    def __init__(self, real: str, folder: Path) -> None:
        fields = conninfo_to_dict(real)
        self.real = real
        self.target = f"{fields['host']}/.s.PGSQL.{fields.get('port') or 5432}"
        self.path = folder / ".s.PGSQL.5432"
        user = fields.get("user") or "postgres"
        self.conninfo = f"postgresql://{user}@/{fields['dbname']}?host={quote(str(folder), '')}"
        self.plan: Break | None = None
        self.carrying: set[asyncio.Task[None]] = set()
        self.lines: list[_Line] = []
        self.loses_lookups = False
        self.is_down = False

    def break_at(self, kind: str, step: int, how: How) -> Break:
        """Plan the next break."""
        self.plan = Break(kind, step, how)
        return self.plan

    def cut(self, kind: str) -> None:
        """Cut the lines that have carried a pass of a kind, whatever the server is doing."""
        for line in self.lines:
            if line.kind == kind:
                line.near.close()

    async def take_down(self) -> None:
        """Cut every line, and let nobody in while `is_down`."""
        self.is_down = True
        for line in self.lines:
            line.near.close()
        await asyncio.wait_for(asyncio.gather(*self.carrying), PATIENCE_S)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until one side ends or it breaks."""
        if self.is_down:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self.carrying.add(task)
        task.add_done_callback(self.carrying.discard)
        far_reader, far_writer = await asyncio.open_unix_connection(self.target)
        line = _Line(self, far_writer, writer)
        self.lines.append(line)
        ways = [
            asyncio.create_task(line.forth(reader)),
            asyncio.create_task(line.back(far_reader)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for one in (writer, far_writer):
            one.close()
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()


class _Line:
    def __init__(self, wire: Wire, far: asyncio.StreamWriter, near: asyncio.StreamWriter) -> None:
        self._wire = wire
        self._far = far
        self.near = near
        self.kind = ""
        self._step = 0
        self._backend_pid = 0
        self._is_answer_lost = False

    async def forth(self, reader: asyncio.StreamReader) -> None:
        """Carry what the client says, until the break."""
        length = await reader.readexactly(4)
        self._far.write(length + await reader.readexactly(int.from_bytes(length) - 4))
        async for message in _messages(reader):
            self._count_step(message)
            self._far.write(message)
            await self._far.drain()

    def _count_step(self, message: bytes) -> None:
        """Count steps; at the planned one, do what was planned."""
        if b"'lookup'" in message and self._wire.loses_lookups:
            self.near.close()
        if b"INSERT INTO pass (id, kind) VALUES ('" in message:
            kind = message.split(b"VALUES", 1)[1].split(b"'")[3]
            self.kind, self._step = kind.decode(), 0
        if not self.kind or message[0] not in _ANSWERED:
            return
        self._step += 1
        plan = self._wire.plan
        if plan is None or (plan.kind, plan.step) != (self.kind, self._step):
            return
        self._wire.plan = None
        plan.has_fired = True
        if plan.how == "terminated":
            self._terminate()
        else:
            self._is_answer_lost = True

    def _terminate(self) -> None:
        with psycopg.connect(self._wire.real) as connection:
            connection.execute(b"SELECT pg_terminate_backend(%s, 5000)", (self._backend_pid,))

    async def back(self, reader: asyncio.StreamReader) -> None:
        """Carry what the server says, until the answer that gets lost."""
        async for message in _messages(reader):
            if message[:1] == b"K":
                self._backend_pid = int.from_bytes(message[5:9])
            if self._is_answer_lost:
                if message[:1] in {b"Z", b"G"}:  # ready, or waiting for the rows of a COPY
                    return
                continue
            self.near.write(message)
            await self.near.drain()


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Read messages of a type byte and a length, until the connection ends."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readexactly(5)
            yield head + await reader.readexactly(int.from_bytes(head[1:]) - 4)


@asynccontextmanager
async def faulty_wire(conninfo: str, folder: Path) -> AsyncGenerator[Wire]:
    """Lend a wire to the server of `conninfo`, listening in a folder (a short path)."""
    wire = Wire(conninfo, folder)
    server = await asyncio.start_unix_server(wire.serve, wire.path)
    try:
        yield wire
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*wire.carrying), PATIENCE_S)
