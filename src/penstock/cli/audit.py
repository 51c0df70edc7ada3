"""`penstock audit`: every invariant checked, what is wrong kept, explained, repaired and undone.

`penstock audit` by itself checks; exit status 1 if something does not hold. Its commands show what
is kept and write repairs, each by a person's word.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw, draw_table, print_json, say
from penstock.cli.session import (
    reach_account,
    read_settings,
    run_in_transaction,
    showing_progress,
)

if TYPE_CHECKING:
    from penstock.audit.findings import Finding
    from penstock.audit.repair import Proposal, Repair
    from penstock.audit.report import Report
    from penstock.db import Database, Tx

T = TypeVar("T")
commands = typer.Typer(invoke_without_command=True)
Full = Annotated[
    bool, typer.Option("--full", help="Read the whole journal again, not from the checkpoint on.")
]
Id = Annotated[int, typer.Argument(metavar="FINDING", help="The finding's number.")]
RepairId = Annotated[int, typer.Argument(metavar="REPAIR", help="The repair's number.")]
Resolved = Annotated[
    bool, typer.Option("--resolved", help="Those that are no more, the last first.")
]
MOST = 200


@commands.callback()
def audit(
    context: typer.Context, full: Full = False, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Check that nothing is oversold, lost or doubled; exit status 1 if something is.

    The journal is read from where the last audit ended, everything else whole. It may run while
    orders and stock come in, and moves nothing: what is wrong is kept as a finding.
    """
    if context.invoked_subcommand is not None:
        return
    from penstock.audit.report import render
    from penstock.audit.run import audit_forward, audit_fully

    with showing_progress() as tell:

        async def work(database: Database, schema: str) -> Report:
            run = audit_fully if full else audit_forward
            return await run(database, schema, progress=tell)

        report = _run(account, work)
    if as_json:
        print_json(report)
    else:
        draw(render(report))
    if report.breaches:
        raise typer.Exit(1)


def _run(account: str | None, work: Callable[[Database, str], Awaitable[T]]) -> T:
    from penstock.access.accounts import schema_of
    from penstock.db import Database

    config = read_settings(account=account)
    conninfo = reach_account(config)

    async def run() -> T:
        database = Database(conninfo, size=2)
        await database.open()
        try:
            return await work(database, schema_of(config.account))
        finally:
            await database.close()

    return asyncio.run(run())


@commands.command()
def findings(
    resolved: Resolved = False, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Show what audits have found and is still wrong, without looking again."""
    from penstock.audit.findings import open_findings, resolved_findings

    async def work(tx: Tx) -> list[Finding]:
        return await (resolved_findings(tx, MOST) if resolved else open_findings(tx, MOST))

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"findings": found})
    elif not found:
        say("Nothing is open." if not resolved else "Nothing was ever resolved.")
    else:
        draw_table(("finding", "check", "since", "what is wrong"), [_finding(f) for f in found])


def _finding(one: Finding) -> list[str]:
    return [str(one.id), one.check, f"{one.first_seen_at:%Y-%m-%d %H:%M:%S}", one.sentence]


@commands.command()
def repairs(account: AccountName = None, as_json: AsJson = False) -> None:
    """Show which repairs are possible and what each would write, and those that were made."""
    from penstock.audit.findings import open_findings
    from penstock.audit.repair import list_repairs, propose

    async def work(database: Database, schema: str) -> tuple[list[Proposal], list[Repair]]:
        found = await database.run(schema, lambda tx: open_findings(tx, MOST))
        proposals = [await propose(database, schema, one) for one in found]
        made = await database.run(schema, lambda tx: list_repairs(tx, MOST))
        return [one for one in proposals if one is not None], made

    possible, made = _run(account, work)
    if as_json:
        print_json({"possible": possible, "made": made})
        return
    if not possible and not made:
        say("There is nothing to repair.")
    if possible:
        rows = [[str(one.finding_id), one.check, one.subject, one.says] for one in possible]
        draw_table(("finding", "check", "what", "would be written"), rows)
        say("penstock audit repair FINDING writes it.")
    if made:
        draw_table(("repair", "of finding", "what", "by", "at", "undone"), [_made(r) for r in made])


def _made(one: Repair) -> list[str]:
    undone = f"{one.undone_at:%Y-%m-%d %H:%M} by {one.undone_by}" if one.undone_at else ""
    done = f"{one.done_at:%Y-%m-%d %H:%M}"
    return [str(one.id), str(one.finding_id), one.key, one.done_by, done, undone]


@commands.command()
def repair(finding: Id, account: AccountName = None, as_json: AsJson = False) -> None:
    """Write the repair of a finding; `penstock audit repairs` says beforehand what it writes."""
    from penstock.audit.repair import repair as write

    done = _run(account, lambda database, schema: write(database, schema, finding, _who()))
    if as_json:
        print_json(done)
    else:
        say(f"Repair {done.id} is written: {_values(done.before)} became {_values(done.after)}.")
        say(f"penstock audit undo {done.id} takes it back.")


@commands.command()
def undo(repair: RepairId, account: AccountName = None, as_json: AsJson = False) -> None:
    """Take a repair back: what it added is taken off again, whatever has moved since."""
    from penstock.audit.repair import undo as write

    done = _run(account, lambda database, schema: write(database, schema, repair, _who()))
    if as_json:
        print_json(done)
    else:
        say(f"Repair {done.id} is undone.")


def _who() -> str:
    return getpass.getuser()


def _values(values: dict[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
