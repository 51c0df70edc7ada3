"""The processes that a benchmark starts beside itself: API servers, workers, the bare server.

Owns finding a free port of the loopback address, waiting until a server answers, its processor
time, and its end. A server that a benchmark started never outlives it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx
import msgspec
import psutil

from penstock.errors import Broken

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.05


class Server(msgspec.Struct):
    """A server process and the port that it answers on."""

    process: asyncio.subprocess.Process
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def processor_s(self) -> float:
        """Return the processor time it has used, its children's with it."""
        return sum(_times(one) for one in _tree(self.process.pid))

    def memory_mib(self) -> float:
        """Return the largest resident memory of one of its processes."""
        return max(one.memory_info().rss for one in _tree(self.process.pid)) / 2**20


def _tree(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _times(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def api_server(
    conninfo: str, account: str, processes: int = 1
) -> AsyncGenerator[Server, None]:
    """Serve an account over HTTP with so many processes, for as long as the context lasts."""
    port = free_port()
    environment = {
        "PENSTOCK_DATABASE_URL": conninfo,
        "PENSTOCK_ACCOUNT": account,
        "PENSTOCK_PORT": str(port),
        "PENSTOCK_API_PROCESSES": str(processes),
        "PENSTOCK_LOG_LEVEL": "warning",
    }
    command = (sys.executable, "-m", "penstock.cli.main", "api")
    async with _running(command, environment, port, "/readyz") as server:
        yield server


@asynccontextmanager
async def workers(conninfo: str, account: str, count: int) -> AsyncGenerator[None, None]:
    """Work off the account's events in so many processes, for as long as the context lasts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment = {
        **kept,
        "PENSTOCK_DATABASE_URL": conninfo,
        "PENSTOCK_ACCOUNT": account,
        "PENSTOCK_LOG_LEVEL": "warning",
    }
    command = (sys.executable, "-m", "penstock.cli.main", "worker")
    running = [
        await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        await asyncio.gather(*(_stop(Server(process, 0)) for process in running))


@asynccontextmanager
async def bare_server(body: bytes) -> AsyncGenerator[Server, None]:
    """Serve a constant body with the same HTTP server and nothing behind it."""
    port = free_port()
    environment = {"BENCH_BODY": body.decode(), "BENCH_PORT": str(port)}
    command = (sys.executable, "-m", "penstock.bench.bare")
    async with _running(command, environment, port, "/") as server:
        yield server


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _running(
    command: Sequence[str], environment: Mapping[str, str], port: int, path: str
) -> AsyncGenerator[Server, None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    process = await asyncio.create_subprocess_exec(
        *command, env={**kept, **environment}, stdout=subprocess.DEVNULL
    )
    server = Server(process, port)
    try:
        await _wait_until_ready(server, path)
        yield server
    finally:
        await _stop(server)


async def _wait_until_ready(server: Server, path: str) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=2.0, trust_env=False) as client:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT_S
        while loop.time() < deadline and server.process.returncode is None:
            try:
                if (await client.get(path)).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(LOOK_EVERY_S)
    raise Broken(f"a server for the benchmark did not start (exit {server.process.returncode})")


async def _stop(server: Server) -> None:
    if server.process.returncode is not None:
        return
    server.process.terminate()
    try:
        await asyncio.wait_for(server.process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        for one in reversed(_tree(server.process.pid)):
            one.kill()
        await server.process.wait()
