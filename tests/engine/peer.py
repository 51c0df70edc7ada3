"""A peer that jobs call: an HTTP server on this machine that does as the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec


class Asked(msgspec.Struct):
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def fields(self) -> Any:
        return msgspec.json.decode(self.body)


class Said(msgspec.Struct):
    """What the peer answers."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = {}


Answering = Callable[[Asked], Awaitable[Said]]


class Peer:
    """A server on a port of its own; `asked` is what came in, `answering` what it does."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.in_flight = self.most_in_flight = 0
        self.said = Said()
        self.answering: Answering = self.say
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.asked]

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def say(self, _: Asked) -> Said:
        """Answer what `said` says."""
        return self.said

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(method, target, headers, body)
        self.asked.append(asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            said = await self.answering(asked)
        finally:
            self.in_flight -= 1
        lines = [f"{name}: {value}" for name, value in said.headers.items()]
        lines = [f"HTTP/1.1 {said.status} x", f"content-length: {len(said.body)}", *lines]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + said.body)
        await writer.drain()
        return True


@asynccontextmanager
async def peer() -> AsyncGenerator[Peer]:
    """Lend a peer that listens and answers 200 with an empty object until it is told otherwise."""
    one = Peer()
    await one.open()
    try:
        yield one
    finally:
        await one.close()
