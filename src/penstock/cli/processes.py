"""What runs in the processes of `penstock serve`, `penstock api` and `penstock worker`.

Owns how each begins, hears signals and ends. `serve` watches over the other two
(`supervise.py`); `api` is granian with as many processes as wanted, each with the whole
application and an index of its own; `worker` is a loop. Settings reach child processes through
the environment.

Invariant: on SIGTERM or SIGINT nothing that was accepted is lost: requests in flight are answered,
passes end, and the exit status is 0. A process whose parent is gone ends as if told to.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

import httpx
import psutil
import structlog
import typer
import uvloop
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.log import LogLevels
from granian.server import Server

from penstock.api.application import Application
from penstock.app import Account, connect, open_account, run_worker
from penstock.cli.supervise import Child, supervise
from penstock.config import SETTINGS, Config, from_env
from penstock.errors import Refusal
from penstock.telemetry import configure_logging

BACKLOG = 2_048
KILL_TIMEOUT_S = 45
PORTS_TRIED = 50
LOOK_EVERY_S = 0.5
TARGET = "penstock.cli.processes:application"
_log = structlog.get_logger(__name__)
# The server's lines go through our log.
_GRANIAN_LOG: dict[str, Any] = {
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}


def serve(config: Config) -> None:
    """Serve the API and work off due events, in child processes, until a signal comes."""
    if config.api_processes:
        refuse_busy_port(config)
    environment = {**os.environ, **as_environment(config)}
    apis = [_child("api", "api", environment)] if config.api_processes else []
    workers = [
        _child("worker", f"worker {number}", environment)
        for number in range(1, config.worker_processes + 1)
    ]
    asyncio.run(supervise([apis, workers], lambda: _announce(config)))
    typer.echo("Stopped.")


def as_environment(config: Config) -> dict[str, str]:
    """Return the settings as environment variables, for child processes."""
    values = ((setting, getattr(config, setting.field)) for setting in SETTINGS)
    return {setting.variable: str(value) for setting, value in values if value is not None}


def _child(command: str, name: str, environment: dict[str, str]) -> Child:
    return Child(name, (sys.executable, "-m", "penstock.cli.processes", command), environment)


# ── the port ─────────────────────────────────────────────────────────────────────────────────────


def address_of(config: Config) -> str:
    """Return the loopback address that the host setting means."""
    return "127.0.0.1" if config.host == "localhost" else config.host


def url_of(config: Config) -> str:
    """Return where the API answers, such as `http://127.0.0.1:8000`."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{config.port}"


def refuse_busy_port(config: Config) -> None:
    """Refuse with `port_taken` or `port_not_allowed` when the port cannot be listened on."""
    try:
        _try_to_bind(config, config.port)
    except PermissionError:
        sentence = f"Port {config.port} is for the system: choose one above 1023 with --port."
        raise Refusal("port_not_allowed", sentence, port=config.port) from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise _port_taken(config) from None


def _try_to_bind(config: Config, port: int) -> None:
    address = address_of(config)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))


def _port_taken(config: Config) -> Refusal:
    holder = _holder_of(config.port)
    free = _free_port(config)
    way_out = f"--port {free}" if free else "--port and another number"
    return Refusal(
        "port_taken",
        f"Port {config.port} is taken{f' by {holder}' if holder else ''}: stop that, or choose "
        f"another port with {way_out} (or PENSTOCK_PORT).",
        port=config.port,
    )


def _holder_of(port: int) -> str | None:
    """Return who listens on a port, as far as we may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            at: Any = connection.laddr
            if connection.status == psutil.CONN_LISTEN and at.port == port:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        return None
    return None


def _free_port(config: Config) -> int | None:
    for port in range(config.port + 1, min(config.port + PORTS_TRIED, 65_535)):
        try:
            _try_to_bind(config, port)
        except OSError:
            continue
        return port
    return None


# ── what runs in the processes ───────────────────────────────────────────────────────────────────


def run_api(config: Config) -> None:
    """Run granian until a signal comes; its processes share the port."""
    refuse_busy_port(config)
    os.environ.update(as_environment(config))
    granian = Server(
        TARGET,
        factory=True,
        address=address_of(config),
        port=config.port,
        interface=Interfaces.RSGI,
        workers=config.api_processes,
        runtime_mode=RuntimeModes.st,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        log_level=LogLevels.warning,
        log_dictconfig=_GRANIAN_LOG,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_TIMEOUT_S,
    )
    granian.serve()


def application() -> Application:
    """Make the application of one API process; called by granian in that process."""
    end_with_parent()
    config = from_env(os.environ)
    configure_logging(config)
    return Application(lambda: _open(config))


async def _open(config: Config) -> Account:
    return await open_account(
        connect(config),
        config.account,
        pool_size=config.pool_size,
        group_max_orders=config.group_max_orders,
    )


def run_worker_process(config: Config) -> None:
    """Run a worker until a signal comes; the pass it is in ends first."""
    uvloop.run(_work_off(config))


async def _work_off(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    account = await _open(config)
    try:
        await run_worker(account, stop, config.audit_every_s)
    finally:
        await account.close()


def end_with_parent() -> None:
    """Have this process told to stop as soon as its parent is gone."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        _log.warning("parent is gone", parent=parent)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="parent-watch", daemon=True).start()


async def _announce(config: Config) -> None:
    """Say once where the API answers, as soon as it does."""
    url = url_of(config)
    async with httpx.AsyncClient(base_url=url, timeout=LOOK_EVERY_S, trust_env=False) as client:
        while config.api_processes:
            try:
                if (await client.get("/readyz")).is_success:
                    break
            except httpx.HTTPError:
                pass
            await asyncio.sleep(LOOK_EVERY_S / 2)
    where = f"answers at {url}/" if config.api_processes else "works off due events"
    processes = f"{config.api_processes} API and {config.worker_processes} worker processes"
    typer.echo(f"Penstock {where} for account {config.account} ({processes}). Ctrl-C stops it.")


def _supervised(command: str) -> None:
    """Run as a child of `serve`: settings are in the environment, and checked."""
    end_with_parent()
    config = from_env(os.environ)
    configure_logging(config)
    if command == "api":
        run_api(config)
    else:
        run_worker_process(config)


if __name__ == "__main__":
    _supervised(sys.argv[1])
