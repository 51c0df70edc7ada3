"""`penstock pack`: rules, workflows and settings that come, change and go as one package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.db import Tx
    from penstock.rules.packs import Change

commands = typer.Typer(
    no_args_is_help=True, help="Rules, workflows and settings as one package: in, newer, out."
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The pack, as `pack list` shows it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


@commands.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List the packs of installed packages, and what the account has of them."""
    import msgspec

    from penstock.rules.packs import list_packs

    found = run_in_transaction(read_settings(account=account), list_packs)
    if as_json:
        print_json({"packs": msgspec.to_builtins(found)})
    elif found:
        rows = [
            (one.name, one.installed or "", one.package or "", one.description) for one in found
        ]
        draw_table(("pack", "installed", "package", "what it is for"), rows)
    else:
        say("No installed package has a pack: docs/guides/packs.md says how one is made.")


@commands.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show what a package's pack has, without a database."""
    import msgspec

    from penstock.engine.document import read_document
    from penstock.rules.packs import find_pack

    pack = find_pack(name)
    documents = [read_document(text) for text in pack.workflows]
    if as_json:
        whole = msgspec.to_builtins(pack)
        whole["workflows"] = [f"{one.name}@{one.version}" for one in documents]
        print_json(whole)
        return
    say(f"{pack.name} {pack.version}: {pack.description}")
    rows = [("rule", rule, "") for rule in pack.rules]
    rows += [
        ("workflow", f"{one.name}@{one.version}", f"of {one.entity} {one.type}")
        for one in documents
    ]
    rows += [
        ("setting", key, f"{msgspec.json.encode(one.value).decode()}: {one.meaning}")
        for key, one in pack.settings.items()
    ]
    draw_table(("", "", ""), rows)


@commands.command()
def install(
    name: Name, dry_run: DryRun = False, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Install a pack into the account, or the newer one of its package over it.

    All of it or nothing. Running processes take it up within a second.
    """
    from penstock.engine.readable import load_vocabulary
    from penstock.rules.packs import find_pack, install_pack

    pack, vocabulary = find_pack(name), load_vocabulary()
    _change(
        lambda tx: install_pack(tx, pack, vocabulary), account, dry_run=dry_run, as_json=as_json
    )


@commands.command()
def remove(
    name: Name, dry_run: DryRun = False, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Take a pack out of the account; refused while entities are in flight with its workflows."""
    from penstock.rules.packs import remove_pack

    _change(lambda tx: remove_pack(tx, name), account, dry_run=dry_run, as_json=as_json)


class _TakenBackError(Exception):
    """A dry run has come to its end: the transaction is rolled back."""


def _change(
    work: Callable[[Tx], Awaitable[list[Change]]],
    account: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    import msgspec

    changes: list[Change] = []

    async def whole(tx: Tx) -> None:
        changes[:] = await work(tx)
        if dry_run:
            raise _TakenBackError

    with contextlib.suppress(_TakenBackError):
        run_in_transaction(read_settings(account=account), whole)
    if as_json:
        print_json({"changes": msgspec.to_builtins(changes), "dry_run": dry_run})
        return
    for one in changes:
        say(f"{one.what}: {one.sentence}")
    if not changes:
        say("There is nothing to change.")
    elif dry_run:
        say("Nothing was changed: this was a dry run.")
