"""`penstock stuck`: what makes no progress, why, and the remedies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.entity import read_named
from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_with_account

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.passes import Pass
    from penstock.rules.desk import Stuck

commands = typer.Typer(invoke_without_command=True, help="What is stuck, why, and what to do.")
Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Which, as `penstock stuck` lists.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept.")]
By = Annotated[str, typer.Option("--by", help="Who decides.")]
Age = Annotated[str, typer.Option("--older-than", metavar="AGE", help="From when on it counts.")]
Most = Annotated[int, typer.Option("--limit", min=1, max=1_000, help="Rows of each cause.")]
Kind = Annotated[str, typer.Option("--kind", help="What kind of entity it is.")]
Channel = Annotated[str | None, typer.Option("--channel", help="The channel of an order's ref.")]


@commands.callback()
def stuck(
    context: typer.Context,
    older_than: Age = "1h",
    limit: Most = 50,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List what makes no progress, with its cause and the remedies."""
    if context.invoked_subcommand is not None:
        return
    import msgspec

    from penstock.engine.durations import parse_duration
    from penstock.rules.desk import Limits, find_stuck

    limits = Limits(older_than=parse_duration(older_than), most=limit)

    async def work(opened: Account) -> list[Stuck]:
        knowledge = opened.knowledge
        now = knowledge.clock.now()
        return await opened.database.run(
            opened.schema, lambda tx: find_stuck(tx, knowledge, now, limits)
        )

    found = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json({"stuck": msgspec.to_builtins(found)})
    elif found:
        rows = [
            (one.id, f"{one.since:%Y-%m-%d %H:%M}", one.sentence, ", ".join(one.remedies))
            for one in found
        ]
        draw_table(("id", "since", "what", "remedies"), rows)
        counts = Counter(one.cause.replace("_", " ") for one in found)
        say("; ".join(f"{count:,} {cause}" for cause, count in counts.items()) + ".")
    else:
        say("Nothing is stuck.")


@commands.command()
def retry(ids: Ids, reason: Reason, by: By = "cli", account: AccountName = None) -> None:
    """Try dead letters, unhandled events and calls again."""
    say(f"{_decide('retry', ids, by, reason, account)} of {len(ids)} will be tried again.")


@commands.command()
def skip(ids: Ids, reason: Reason, by: By = "cli", account: AccountName = None) -> None:
    """Leave dead letters, unhandled events and calls be."""
    say(f"{_decide('skip', ids, by, reason, account)} of {len(ids)} are skipped.")


def _decide(action: str, ids: list[str], by: str, reason: str, account: str | None) -> int:
    from penstock.engine.jobs import Decision
    from penstock.ids import parse_id
    from penstock.rules import desk

    asked = [parse_id(one) for one in ids]
    verb = desk.retry if action == "retry" else desk.skip

    async def work(opened: Account) -> int:
        decision = Decision(by, reason, opened.knowledge.clock.now())
        done = await opened.database.run(opened.schema, lambda tx: verb(tx, asked, decision))
        return len(done)

    return run_with_account(read_settings(account=account), work)


@commands.command()
def move(
    ref: Annotated[str, typer.Argument(metavar="ID|REF", help="Which entity.")],
    status: Annotated[str, typer.Argument(help="The status, which its workflow declares.")],
    reason: Reason,
    kind: Kind = "order",
    channel: Channel = None,
    by: By = "cli",
    account: AccountName = None,
) -> None:
    """Move an entity to a status past its workflow; stock is not touched, timers follow."""
    from penstock.engine.jobs import Decision
    from penstock.rules import desk

    async def work(opened: Account) -> str:
        knowledge = opened.knowledge
        found, root = await read_named(opened, kind, ref, channel)
        decision = Decision(by, reason, knowledge.clock.now())

        async def in_pass(tx: Pass) -> None:
            await desk.move(tx, found, status, decision)

        await knowledge.run_pass("desk", in_pass)
        return (
            f"{found.entity} of {root.kind} {root.ref}" if found.entity != root.kind else root.ref
        )

    say(f"{run_with_account(read_settings(account=account), work)} is {status} now.")
