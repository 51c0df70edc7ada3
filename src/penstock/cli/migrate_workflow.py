"""`penstock workflow usage` and `migrate`: which versions entities have, and moving them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction, run_with_account
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.db import Tx
    from penstock.rules.migrate import Plan, Usage

Name = Annotated[str, typer.Argument(help="The workflow's name.")]
MaybeName = Annotated[str | None, typer.Argument(help="The workflow's name; without, all.")]
From = Annotated[int, typer.Option("--from", help="The version that they have.")]
To = Annotated[int, typer.Option("--to", help="The version that they get.")]
Map = Annotated[
    list[str] | None, typer.Option("--map", metavar="OLD=NEW", help="Where a status goes.")
]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without, only say what would be.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept.")]
By = Annotated[str, typer.Option("--by", help="Who decides.")]


def add_to(commands: typer.Typer) -> None:
    """Add the commands to those of `penstock workflow`."""
    commands.command("usage")(show_usage)
    commands.command("migrate")(migrate_entities)


def show_usage(
    name: MaybeName = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Show how many entities are pinned to which version, by status."""
    import msgspec

    from penstock.rules.migrate import usage

    async def work(tx: Tx) -> list[Usage]:
        return await usage(tx, name)

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"usage": msgspec.to_builtins(found)})
    elif found:
        draw_table(
            ("workflow", "version", "of", "status", "entities"),
            [(u.name, str(u.version), u.entity, u.status, f"{u.count:,}") for u in found],
        )
    else:
        say("Nothing has a workflow yet.")


def migrate_entities(
    name: Name,
    from_version: From,
    to_version: To,
    statuses: Map = None,
    apply: Apply = False,
    reason: Reason = "",
    by: By = "cli",
    account: AccountName = None,
) -> None:
    """Move entities in flight to another version; a dry run unless --apply. Ended ones stay."""
    from penstock.engine.jobs import Decision
    from penstock.rules.migrate import Migration, migrate, plan

    migration = Migration(
        name, from_version, to_version, dict(_pair(one) for one in statuses or ())
    )

    async def work(opened: Account) -> tuple[Plan, int]:
        knowledge = opened.knowledge
        found = await opened.database.run(opened.schema, lambda tx: plan(tx, knowledge, migration))
        if not apply:
            return found, 0
        decision = Decision(by, reason, knowledge.clock.now())
        return found, await migrate(knowledge, migration, decision)

    found, moved = run_with_account(read_settings(account=account), work)
    for old, new, count in found.moves:
        say(f"{count:,} {old}{'' if old == new else f' → {new}'}")
    if found.staying:
        say(f"{found.staying:,} that ended stay with version {from_version}")
    if apply:
        say(f"{moved:,} were moved to version {to_version}.")
    else:
        say("Nothing was changed: --apply does it." if found.moves else "There is nothing to move.")


def _pair(text: str) -> tuple[str, str]:
    old, is_given, new = text.partition("=")
    if not is_given:
        raise Refusal("option_unusable", f"--map is OLD=NEW, not {text!r}.")
    return old, new
