"""`penstock job`: look at outside effects, try them again, give them up.

What a person decides about a job is kept with a reason. Nothing here shows a secret: a job holds
references to them only.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.engine.jobs import Decision

STATUSES = ("due", "failed", "skipped", "done")
commands = typer.Typer(
    no_args_is_help=True, help="Look at calls to the outside, try them again, give them up."
)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB…", help="Ids of jobs.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept.")]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", "-s", metavar="STATUS", help="due, failed, skipped or done."),
]
RootId = Annotated[
    str | None, typer.Option("--of", metavar="ID", help="Only jobs of this order, or other root.")
]
Limit = Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="At most so many.")]


@commands.command("list")
def list_all(
    status: Statuses = None,
    of: RootId = None,
    limit: Limit = 50,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first: those that are due or have failed, or as --status says."""
    from penstock.db import Tx
    from penstock.engine.jobs import list_jobs

    statuses = status or ["due", "failed"]
    unknown = sorted(set(statuses) - set(STATUSES))
    if unknown:
        raise Refusal("invalid_query", f"No job is {unknown[0]!r}: {', '.join(STATUSES)} are.")
    root_id = None if of is None else _checked(of)

    async def work(tx: Tx) -> list[dict[str, Any]]:
        return await list_jobs(tx, statuses, root_id, limit)

    jobs = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"jobs": jobs})
    elif not jobs:
        say(f"There is no job that is {' or '.join(statuses)}.")
    else:
        draw_table(("job", "kind", "peer", "of", "status", "tried", "next", "error"), _rows(jobs))


def _rows(jobs: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            job["id"],
            job["kind"],
            job["peer"],
            f"{job['entity']} {job['entity_id']}",
            job["status"],
            str(job["attempts"]),
            f"{job['due_at']:%Y-%m-%d %H:%M:%S}" if job["status"] == "due" else "",
            job["last_error"] or "",
        ]
        for job in jobs
    ]


@commands.command()
def show(job: JobId, account: AccountName = None, as_json: AsJson = False) -> None:
    """Show one job: what is asked of whom, how often it was tried, what went wrong."""
    from penstock.db import Tx
    from penstock.engine.jobs import read_job

    job_id = _checked(job)

    async def work(tx: Tx) -> dict[str, Any]:
        return await read_job(tx, job_id)

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json(found)
    else:
        draw_table(("", ""), [[name, _shown(value)] for name, value in found.items()])


@commands.command()
def retry(job: JobIds, reason: Reason, account: AccountName = None) -> None:
    """Try jobs again now, with all their attempts, under the same idempotency keys."""
    from penstock.db import Tx
    from penstock.engine.jobs import retry_jobs

    ids, decision = _ids(job), _decision(reason)

    async def work(tx: Tx) -> None:
        await retry_jobs(tx, ids, decision)

    run_in_transaction(read_settings(account=account), work)
    say(f"{_counted(ids)} due again.")


@commands.command()
def skip(job: JobIds, reason: Reason, account: AccountName = None) -> None:
    """Give jobs up; no event is sent, so move on by hand what waits for their answers."""
    from penstock.db import Tx
    from penstock.engine.jobs import skip_jobs

    ids, decision = _ids(job), _decision(reason)

    async def work(tx: Tx) -> None:
        await skip_jobs(tx, ids, decision)

    run_in_transaction(read_settings(account=account), work)
    say(f"{_counted(ids)} skipped.")


def _decision(reason: str) -> Decision:
    from penstock.engine.jobs import Decision

    return Decision(getpass.getuser(), reason, datetime.now(UTC))


def _ids(asked: list[str]) -> list[str]:
    return sorted({_checked(one) for one in asked})


def _checked(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Refusal("invalid_id", f"{text[:60]!r} is no id: it is a UUID.") from None


def _counted(ids: list[str]) -> str:
    return "1 job is" if len(ids) == 1 else f"{len(ids)} jobs are"


def _shown(value: Any) -> str:
    import msgspec

    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return msgspec.json.encode(value).decode()
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
