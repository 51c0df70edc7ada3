"""The command line as a person has it: a process, its two streams, its exit status."""

import os
import subprocess
from collections.abc import Callable

import pytest
from tests.cli.processes import run_penstock

from penstock.embedded import create_database

Command = Callable[..., subprocess.CompletedProcess[str]]


def environment_of(conninfo: str) -> dict[str, str]:
    """Return the environment of a command that works on a server."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    return {**clean, "PENSTOCK_DATABASE_URL": conninfo, "COLUMNS": "100", "NO_COLOR": "1"}


@pytest.fixture
def server(database: str, request: pytest.FixtureRequest) -> str:
    """Give the conninfo of a database of the test's own, which goes with the run's server.

    Dropping it would wait for a checkpoint of everything that all tests have written.
    """
    return create_database(database, f"cli_{abs(hash(request.node.nodeid)) % 10**8}")


@pytest.fixture
def penstock(server: str) -> Command:
    """Give `penstock(*arguments, **environment)`, run to its end."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_penstock(arguments, {**environment_of(server), **environment})

    return run
