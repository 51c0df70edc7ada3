"""What every test may ask for: a real PostgreSQL of this run's own.

The server is Penstock's embedded one, with its shipped settings (fsync on), in a folder of its
own that goes when the run ends. What a run that was killed left behind, the next one clears away.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import structlog

from penstock.config import Config
from penstock.embedded import ensure_server, stop_server

FOLDER_PREFIX = "penstock-test-"


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:  # pyright: ignore[reportUnusedFunction] (pytest calls it)
    """Log tracebacks as they are: drawn with all their variables they take seconds each."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    before = structlog.get_config()["processors"][:-1]
    structlog.configure(processors=[*before, plain])


@pytest.fixture(scope="session")
def embedded_config() -> Iterator[Config]:
    """Give the settings of this run's own server; it is not started yet, and stopped at the end."""
    clear_abandoned()
    home = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
    home.chmod(0o755)  # as root, the server runs as another user, who must get in
    config = Config(data_dir=home)
    yield config
    discard(config)


@pytest.fixture(scope="session")
def database(embedded_config: Config) -> str:
    """Give the conninfo URI of an empty database on this run's server."""
    return ensure_server(embedded_config)


def clear_abandoned() -> None:
    """Stop and remove the servers of runs whose process is gone."""
    for home in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*-*"):
        pid = int(home.name.removeprefix(FOLDER_PREFIX).split("-")[0])
        if not psutil.pid_exists(pid) and os.access(home, os.W_OK):
            discard(Config(data_dir=home))


def discard(config: Config) -> None:
    """Stop the server of a data folder and remove the folder."""
    stop_server(config)
    shutil.rmtree(config.data_dir, ignore_errors=True)
