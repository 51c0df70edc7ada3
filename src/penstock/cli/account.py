"""`penstock account` and `penstock migrate`: tenants come, are brought up to date, and go."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.options import AccountName, AsJson, Yes
from penstock.cli.output import confirm, print_json, say
from penstock.cli.session import reach_account, reach_server, read_settings
from penstock.errors import Refusal

commands = typer.Typer(no_args_is_help=True, help="Make, list and drop accounts (tenants).")
Name = Annotated[str, typer.Argument(help="A small letter, then small letters, digits and _.")]


@commands.command()
def create(name: Name) -> None:
    """Make an account; one that is there already is only brought up to date."""
    from penstock.access.accounts import create_account

    is_new = create_account(reach_server(read_settings()), name)
    say(f"Account {name} was made." if is_new else f"Account {name} was there; it is up to date.")


@commands.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the accounts on this server."""
    from penstock.access.accounts import list_accounts

    names = list_accounts(reach_server(read_settings()))
    if as_json:
        print_json({"accounts": names})
    elif names:
        say("\n".join(names))
    else:
        say("There is no account yet: make one with `penstock account create NAME`.")


@commands.command()
def drop(name: Name, yes: Yes = False) -> None:
    """Drop an account with everything in it. There is no way back."""
    from penstock.access.accounts import drop_account

    conninfo = reach_account(read_settings(account=name))
    confirm(f"Drop account {name} with everything in it?", yes=yes)
    refuse_served(conninfo, name)
    drop_account(conninfo, name)
    say(f"Account {name} is gone.")


def refuse_served(conninfo: str, name: str) -> None:
    """Refuse with `account_served` while a process numbers the account's passes."""
    import psycopg

    from penstock.access.accounts import schema_of
    from penstock.events.sequencer import lock_key

    with psycopg.connect(conninfo, autocommit=True) as connection:
        key = (lock_key(schema_of(name)),)
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", key).fetchone()
    if row is not None and not row[0]:
        sentence = f"Account {name} is being served: stop the processes that serve it first."
        raise Refusal("account_served", sentence, account=name)


def migrate(
    account: AccountName = None,
    every: Annotated[bool, typer.Option("--all", help="Every account of the server.")] = False,
) -> None:
    """Bring an account's tables up to date with this version; safe to repeat."""
    from penstock.access.accounts import list_accounts, schema_of
    from penstock.migrations.run import migrate_schema

    config = read_settings(account=account)
    conninfo = reach_server(config) if every else reach_account(config)
    names = list_accounts(conninfo) if every else [config.account]
    for name in names:
        migrate_schema(conninfo, schema_of(name))
        say(f"Account {name} is up to date.")
    if not names:
        say("There is no account yet.")
