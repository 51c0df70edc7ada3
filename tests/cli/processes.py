"""Commands as processes, without the second that starting Python and importing everything takes.

A *door* is one process per test process that has imported all of Penstock and run nothing. For
each command it forks one that gets its own streams, folder, environment and arguments and runs
`python -m penstock.cli.main` from there: a process with an exit status, as a person has it. What
has to be a fresh one (start-up itself, servers that are killed) starts its own.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import penstock

PROGRAM = "penstock.cli.main"
MOST_BYTES = 128 * 1024  # of arguments and environment


def run_penstock(
    arguments: tuple[str, ...] | list[str],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    timeout_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its standard input is empty."""
    asked = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder or Path.cwd()),
    }
    told, tell = os.pipe()
    with (
        Path(os.devnull).open("rb") as nothing,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        streams = [nothing.fileno(), out.fileno(), err.fileno(), tell]
        socket.send_fds(_door()[0], [json.dumps(asked).encode()], streams)
        os.close(tell)
        status = _status(told, timeout_s)
        texts = [_all_of(stream) for stream in (out, err)]
    if status is None:
        raise subprocess.TimeoutExpired(list(arguments), timeout_s, *texts)
    return subprocess.CompletedProcess(list(arguments), status, *texts)


def _all_of(stream: Any) -> str:
    stream.seek(0)
    return stream.read().decode()


def _status(told: int, timeout_s: float) -> int | None:
    """Return the exit status, or None after the time, when the process is killed."""
    with os.fdopen(told, "r", encoding="utf-8") as lines:
        process_id = int(lines.readline())
        if not select.select([lines], [], [], timeout_s)[0]:
            os.kill(process_id, signal.SIGKILL)
            return None
        return int(lines.readline())


@functools.cache
def _door() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.cli.processes import serve; serve()"],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    theirs.close()
    return ours, process


def serve() -> None:
    """Be the door until the test process has gone; in a forked process, run its command."""
    _import_everything()
    assert threading.active_count() == 1, "a process with threads must not be forked"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asking = socket.socket(fileno=0)
    while True:
        text, streams, _, _ = socket.recv_fds(asking, MOST_BYTES, 4)
        if not text:
            return
        if os.fork() == 0:
            break
        for stream in streams:
            os.close(stream)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process_id = os.fork()
    if process_id:
        _wait_for(process_id, streams)
    _become(json.loads(text), streams)
    _run()


def _run() -> NoReturn:
    """Run the program and end as Python ends, but for clearing what was imported away."""
    status: Any = 0
    try:
        runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        status = left.code or 0
    except BaseException:  # noqa: BLE001 (as Python does)
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)  # noqa: T201 (as Python does)
        status = 1
    atexit._run_exitfuncs()  # noqa: SLF001 (there is no other way to call them)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _import_everything() -> None:
    for module in pkgutil.walk_packages(penstock.__path__, "penstock."):
        if ".migrations." not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("alembic.command", "alembic.config", "sqlalchemy.dialects.postgresql.psycopg"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a forked process leaves the shared pages alone


def _wait_for(process_id: int, streams: list[int]) -> None:
    os.write(streams[3], f"{process_id}\n".encode())
    _, ended = os.waitpid(process_id, 0)
    os.write(streams[3], f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """Be as a process is that was started with these streams, folder, environment, arguments."""
    for number in range(3):
        os.dup2(streams[number], number)
    for stream in streams:
        os.close(stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(asked["folder"])
    sys.argv = [sys.modules[PROGRAM].__file__ or PROGRAM, *asked["arguments"]]
    del sys.modules[PROGRAM]
    added = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder for folder in added if folder]
    importlib.invalidate_caches()
    random.seed()
