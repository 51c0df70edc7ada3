"""`penstock serve`, `penstock api`, `penstock worker`: settings in, processes out.

Owns the options and nothing else; what runs is in `processes.py`, which is imported only when it
does.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from penstock.cli.options import AccountName, ApiCount, Port, WorkerCount
from penstock.cli.session import reach_account
from penstock.config import Config, from_env


def serve(
    account: AccountName = None,
    port: Port = None,
    api_processes: ApiCount = None,
    worker_processes: WorkerCount = None,
) -> None:
    """Serve the API and work off due events, until told to stop."""
    from penstock.cli import processes

    processes.serve(
        _settled(
            account=account,
            port=port,
            api_processes=api_processes,
            worker_processes=worker_processes,
        )
    )


def api(account: AccountName = None, port: Port = None, api_processes: ApiCount = None) -> None:
    """Answer HTTP, until told to stop."""
    from penstock.cli import processes

    processes.run_api(_settled(account=account, port=port, api_processes=api_processes))


def worker(account: AccountName = None) -> None:
    """Work off due events, until told to stop."""
    from penstock.cli import processes

    processes.run_worker_process(_settled(account=account))


def _settled(**asked: Any) -> Config:
    """Return the settings with what the command line says; the server runs, the account is there.

    Refuses with `unknown_account`.
    """
    from penstock.telemetry import configure_logging

    given = {name: value for name, value in asked.items() if value is not None}
    config = msgspec.structs.replace(from_env(os.environ), **given)
    configure_logging(config)
    reach_account(config)
    return config
