"""`penstock audit`: every invariant of an account checked; exit status 1 if one does not hold."""

from __future__ import annotations

import asyncio

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw, print_json
from penstock.cli.session import reach_account, read_settings, showing_progress


def audit(account: AccountName = None, as_json: AsJson = False) -> None:
    """Check that nothing is oversold, lost or doubled; exit status 1 if something is.

    It only reads, and may run while orders and stock come in.
    """
    from penstock.access.accounts import schema_of
    from penstock.audit.report import Report, render
    from penstock.audit.run import audit as audit_account
    from penstock.db import Database

    config = read_settings(account=account)
    conninfo = reach_account(config)

    async def run() -> Report:
        database = Database(conninfo, size=2)
        await database.open()
        try:
            with showing_progress() as tell:
                return await audit_account(database, schema_of(config.account), progress=tell)
        finally:
            await database.close()

    report = asyncio.run(run())
    if as_json:
        print_json(report)
    else:
        draw(render(report))
    if report.breaches:
        raise typer.Exit(1)
