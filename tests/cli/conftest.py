"""The command line as a person has it: a process, its two streams, its exit status."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest

from penstock.embedded import create_database

Command = Callable[..., subprocess.CompletedProcess[str]]


def environment_of(conninfo: str) -> dict[str, str]:
    """Return the environment of a command that works on a server."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    return {**clean, "PENSTOCK_DATABASE_URL": conninfo, "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.fixture
def server(database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the conninfo of a database of the test's own, on the run's server."""
    name = f"cli_{abs(hash(request.node.nodeid)) % 10**8}"
    yield create_database(database, name)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def penstock(server: str) -> Command:
    """Give `penstock(*arguments, **environment)`, run to its end."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "penstock.cli.main", *arguments],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**environment_of(server), **environment},
            timeout=120,
        )

    return run
