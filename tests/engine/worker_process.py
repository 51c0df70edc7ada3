"""A process of a shop's account, for tests that kill it: `worker_process.py CONNINFO ACCOUNT`.

Runs a worker, as `penstock worker` does without its settings, until it is told to stop. Says
`ready` on standard output once the account is open.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog

from penstock.app import open_account, run_worker


async def main(conninfo: str, name: str) -> None:
    """Run a worker of the account until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    account = await open_account(conninfo, name)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await run_worker(account, stop)
    await account.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1], sys.argv[2]))
