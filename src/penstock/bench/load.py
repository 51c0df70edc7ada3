"""The load generator: many clients over HTTP, one request outstanding each, in its own process.

Requests are prebuilt bytes and only status and body of a response are looked at, so that a
request costs the generator some ten microseconds and the measured server is the bottleneck.
Clients are closed loops: each sends its next request when the last is answered.

A *shopper* load follows orders up: some of those that were allocated are cancelled by the client
that placed them, as its next request.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal, cast

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

from penstock.errors import invariant

CREATED = 201
LATEST_ANSWER_S = 60.0
_ORDER_ID = re.compile(rb'"id":"([0-9a-f-]{36})"')
_CANCEL = b"POST /v1/orders/%s/cancel HTTP/1.1\r\nhost: localhost\r\ncontent-type: "
_CANCEL_END = b"application/json\r\ncontent-length: 2\r\n\r\n{}"
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Load(msgspec.Struct, kw_only=True):
    """What to send where: until `seconds` have passed or, unless `again`, nothing is left.

    Of orders answered whole, `cancel_share` are cancelled. `keeps` says which bodies are kept.
    """

    port: int
    clients: int
    seconds: float
    requests: list[bytes]
    again: bool = False
    cancel_share: float = 0.0
    keeps: Literal["none", "failures", "all"] = "failures"
    seed: int = 1


class _Wire(msgspec.Struct):
    sent_at: bytes
    taken_s: bytes
    status: bytes
    request: bytes
    bodies: dict[int, bytes]


class Answers(msgspec.Struct):
    """What came back, in the order of answers: instants (s since 1970), durations, statuses.

    `request` is the place of the request in the load, -1 for a cancellation; `bodies` by place in
    these arrays.
    """

    sent_at: NDArray[np.float64]
    taken_s: NDArray[np.float64]
    status: NDArray[np.int64]
    request: NDArray[np.int64]
    bodies: dict[int, bytes]

    def after(self, warm_up_s: float) -> NDArray[np.bool_]:
        """Mark what was sent after the warm-up, which is at most the first quarter."""
        first, last = self.sent_at.min(), self.sent_at.max()
        return self.sent_at >= first + min(warm_up_s, (last - first) / 4)

    def rate(self, counted: NDArray[np.bool_]) -> float:
        """Return how many of the marked answers came in a second."""
        if not counted.any():
            return 0.0
        sent = self.sent_at[counted]
        span = float((sent + self.taken_s[counted]).max() - sent.min())
        return float(counted.sum()) / span


def post(path: str, body: bytes) -> bytes:
    """Write a POST request of JSON out as bytes."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def run_load(load: Load) -> Answers:
    """Run a load in a process of its own and return what it saw."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        asked, seen = Path(folder) / "load", Path(folder) / "answers"
        asked.write_bytes(msgspec.msgpack.encode(load))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "penstock.bench.load", str(asked), str(seen)
        )
        try:
            async with asyncio.timeout(load.seconds + LATEST_ANSWER_S):
                await process.wait()
        except BaseException:
            process.kill()
            raise
        invariant(process.returncode == 0, f"the load generator ended with {process.returncode}")
        wire = msgspec.msgpack.decode(seen.read_bytes(), type=_Wire)
    return Answers(
        np.frombuffer(wire.sent_at, dtype=np.float64),
        np.frombuffer(wire.taken_s, dtype=np.float64),
        np.frombuffer(wire.status, dtype=np.int64),
        np.frombuffer(wire.request, dtype=np.int64),
        wire.bodies,
    )


# ── in the generator's process ───────────────────────────────────────────────────────────────────


class _Run:
    """The state that all clients share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.next_place = 0
        self.ends_at = 0.0
        self.open_clients = load.clients
        self.done = asyncio.Event()
        self.rows: list[tuple[float, float, int, int]] = []
        self.bodies: dict[int, bytes] = {}
        self.random = random.Random(load.seed)  # noqa: S311 (a load, no secret)

    def take(self) -> int:
        """Return the place of the next request, -1 when there is none left."""
        place = self.next_place
        if place >= len(self.load.requests):
            if not self.load.again:
                return -1
            place = 0
        self.next_place = place + 1
        return place


class _Client(asyncio.Protocol):
    """One client: a connection with one request outstanding."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self._needed = 0
        self._place = -1
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._send_next()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        if not self._needed:
            end = data.find(_END)
            if end >= 0:
                self._needed = end + len(_END) + _content_length(data, end)
        if not self._needed or len(data) < self._needed:
            self._buffer = data
            return
        self._buffer = b""
        self._needed = 0
        self._answered(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's)
        if self._transport is not None:
            self._run.rows.append((self._sent_at, time.time() - self._sent_at, 0, self._place))
            self._leave()

    def _answered(self, data: bytes) -> None:
        run = self._run
        now = time.time()
        status = int(data[9:12])
        keeps = run.load.keeps
        if keeps == "all" or (keeps == "failures" and status >= 300):  # noqa: PLR2004 (HTTP)
            run.bodies[len(run.rows)] = data[data.find(_END) + 4 :]
        run.rows.append((self._sent_at, now - self._sent_at, status, self._place))
        if now >= run.ends_at:
            self._leave()
        elif self._place >= 0 and run.load.cancel_share and self._wants_to_cancel(data, status):
            self._cancel(data)
        else:
            self._send_next()

    def _wants_to_cancel(self, data: bytes, status: int) -> bool:
        is_whole = status == CREATED and b'"status":"allocated"' in data
        return is_whole and self._run.random.random() < self._run.load.cancel_share

    def _cancel(self, data: bytes) -> None:
        found = _ORDER_ID.search(data, data.find(_END))
        if found is None:
            self._send_next()
            return
        self._place = -1
        self._write(_CANCEL % found[1] + _CANCEL_END)

    def _send_next(self) -> None:
        self._place = self._run.take()
        if self._place < 0:
            self._leave()
            return
        self._write(self._run.load.requests[self._place])

    def _write(self, request: bytes) -> None:
        self._sent_at = time.time()
        if self._transport is not None:
            self._transport.write(request)

    def _leave(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.close()
            self._run.open_clients -= 1
            if self._run.open_clients == 0:
                self._run.done.set()


def _content_length(data: bytes, end: int) -> int:
    head = data[:end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        return 0
    stop = head.find(b"\r\n", at)
    return int(head[at + len(_LENGTH) : stop if stop >= 0 else end])


async def _generate(load: Load) -> _Wire:
    run = _Run(load)
    loop = asyncio.get_running_loop()
    run.ends_at = time.time() + load.seconds
    for _ in range(load.clients):
        await loop.create_connection(lambda: _Client(run), "127.0.0.1", load.port)
    await run.done.wait()
    table = np.array(run.rows, dtype=np.float64).reshape(len(run.rows), 4)
    sent_at, taken_s, status, request = table.T
    return _Wire(
        sent_at.tobytes(),
        taken_s.tobytes(),
        status.astype(np.int64).tobytes(),
        request.astype(np.int64).tobytes(),
        run.bodies,
    )


if __name__ == "__main__":
    wanted = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Load)
    Path(sys.argv[2]).write_bytes(msgspec.msgpack.encode(uvloop.run(_generate(wanted))))
