"""Worker processes that a test starts, kills and starts again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from tests.shop import Shop

HERE = Path(__file__).parent


class Workers:
    """Worker processes of one shop; `log` is what they write on standard error."""

    def __init__(self, lent: Shop, log: Path, python_path: str = "") -> None:
        self.lent = lent
        self.log = log
        self.running: list[subprocess.Popen[bytes]] = []
        self.started = 0
        self._environment = os.environ | {"PYTHONPATH": python_path}

    def start(self) -> subprocess.Popen[bytes]:
        """Start one more worker, without waiting until it is ready."""
        command = [sys.executable, str(HERE / "worker_process.py"), self.lent.conninfo]
        with self.log.open("ab") as stream:
            process = subprocess.Popen(
                [*command, self.lent.name],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=stream,
            )
        self.running.append(process)
        self.started += 1
        return process

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a worker has opened the account."""
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", self.log.read_text()

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        status = process.wait(timeout=30)
        self.running.remove(process)
        if process.stdout:
            process.stdout.close()
        return status

    def replace_dead(self) -> int:
        """Start a worker for each one that has died; returns how many that were."""
        dead = [process for process in self.running if process.poll() is not None]
        for process in dead:
            self.kill(process)
            self.start()
        return len(dead)


@contextlib.contextmanager
def workers(lent: Shop, log: Path, count: int, python_path: str = "") -> Generator[Workers]:
    """Lend running workers, stopped afterwards; each is ready when lent."""
    lending = Workers(lent, log, python_path)
    try:
        for process in [lending.start() for _ in range(count)]:
            lending.wait_ready(process)
        yield lending
    finally:
        for process in list(lending.running):
            lending.kill(process)
