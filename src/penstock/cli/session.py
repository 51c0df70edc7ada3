"""What a command needs before it can begin: settings, the server, the account.

Owns how one-off commands read settings (their log is quieter than a server's), find the account
that they work on, and show progress: a bar on a terminal, a line now and then in a file.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from penstock.config import Config, from_env
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.db import Tx

T = TypeVar("T")
LINES_PER_STAGE = 10


def read_settings(account: str | None = None, port: int | None = None) -> Config:
    """Read the settings, with what the command line says, and set up the log."""
    from penstock.telemetry import configure_logging

    config = from_env(os.environ)
    given = {"account": account, "port": port}
    config = msgspec.structs.replace(config, **{k: v for k, v in given.items() if v is not None})
    level = "error" if config.log_level == "info" else config.log_level
    configure_logging(msgspec.structs.replace(config, log_level=level))
    return config


def read_instant(text: str) -> datetime:
    """Read an instant, UTC unless it says otherwise; refuses with `invalid_instant`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        sentence = f"{text[:40]!r} is no instant such as 2026-12-24T18:00."
        raise Refusal("invalid_instant", sentence) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def reach_server(config: Config) -> str:
    """Return the conninfo of the server, started first if it is our own."""
    from penstock.embedded import ensure_server

    return ensure_server(config)


def reach_account(config: Config) -> str:
    """Return the conninfo of the server that has the account; refuses with `unknown_account`."""
    from penstock.access.accounts import list_accounts, schema_of

    schema_of(config.account)
    conninfo = reach_server(config)
    names = list_accounts(conninfo)
    if config.account not in names:
        there_are = f"there are {', '.join(names)}" if names else "there is none yet"
        raise Refusal(
            "unknown_account",
            f"There is no account {config.account!r} ({there_are}): make it with "
            f"`penstock account create {config.account}`, or choose one with --account.",
            account=config.account,
        )
    return conninfo


def run_in_transaction(config: Config, work: Callable[[Tx], Awaitable[T]]) -> T:
    """Run `work` in one transaction of the account."""
    from penstock.access.accounts import schema_of
    from penstock.db import Database

    conninfo = reach_account(config)

    async def run() -> T:
        database = Database(conninfo, size=1)
        await database.open()
        try:
            return await database.run(schema_of(config.account), work)
        finally:
            await database.close()

    return asyncio.run(run())


def run_with_account(config: Config, work: Callable[[Account], Awaitable[T]]) -> T:
    """Run `work` with the account opened as a server has it: index, knowledge, grouping."""
    conninfo = reach_account(config)

    async def run() -> T:
        from penstock.app import open_account

        account = await open_account(conninfo, config.account, pool_size=config.pool_size)
        try:
            return await work(account)
        finally:
            await account.close()

    return run_loop(run())


def run_loop(work: Awaitable[T]) -> T:
    """Run an awaitable to its end, on the fast event loop."""
    import uvloop

    async def run() -> T:
        return await work

    return uvloop.run(run())


@contextmanager
def showing_progress() -> Generator[Callable[[str, int, int], None]]:
    """Give what is told (stage, done, total): it draws a bar per stage on standard error.

    A total of 0 is not known. Where no terminal reads, a stage is a few plain lines.
    """
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:>9}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), expand=True) as bars:
        begun: dict[str, tuple[TaskID, int, float]] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in begun:
                task = bars.add_task(stage, total=total or None, rate="")
                begun[stage] = (task, done, time.monotonic())
            task, done_before, started = begun[stage]
            elapsed = time.monotonic() - started
            is_told = done > done_before and total > 1 and elapsed > 0
            rate = f"{(done - done_before) / elapsed:,.0f}/s" if is_told else ""
            bars.update(task, completed=done, total=total or None, rate=rate)

        yield tell


def _plain_lines() -> Callable[[str, int, int], None]:
    said: dict[str, int] = {}

    def tell(stage: str, done: int, total: int) -> None:
        tenths = LINES_PER_STAGE * done // total if total else 0
        if said.get(stage) != tenths:
            said[stage] = tenths
            of = f" of {total:,}" if total else ""
            print(f"{stage}: {done:,}{of}", file=sys.stderr, flush=True)  # noqa: T201

    return tell
