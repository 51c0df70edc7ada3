"""`penstock setting`: the account's settings, which expressions and secrets read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.db import Tx

commands = typer.Typer(no_args_is_help=True, help="The account's settings; channels beat them.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The setting.")]
Value = Annotated[str, typer.Argument(metavar="JSON", help="Such as 30, true, '\"text\"' or text.")]


@commands.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List every setting, and which pack gave it."""
    import msgspec

    from penstock.access.settings import list_settings

    found = run_in_transaction(read_settings(account=account), list_settings)
    if as_json:
        print_json({"settings": msgspec.to_builtins(found)})
    elif found:
        rows = [
            (
                one.name,
                _shown(one.value),
                one.pack or "",
                _shown(one.given) if one.is_changed else "",
            )
            for one in found
        ]
        draw_table(("setting", "value", "pack", "the pack gave"), rows)
    else:
        say("There is none: `penstock setting set NAME JSON` makes one.")


@commands.command("set")
def set_one(name: Name, value: Value, account: AccountName = None) -> None:
    """Set a setting; running processes read it within a second."""
    from penstock.access.settings import set_settings

    read = _read(value)
    run_in_transaction(read_settings(account=account), lambda tx: set_settings(tx, {name: read}))
    say(f"{name} is {_shown(read)}.")


@commands.command()
def unset(name: Name, account: AccountName = None) -> None:
    """Take a setting out."""
    from penstock.access.settings import unset_settings

    async def work(tx: Tx) -> list[str]:
        return await unset_settings(tx, [name])

    if not run_in_transaction(read_settings(account=account), work):
        raise Refusal("unknown_setting", f"There is no setting {name!r}.", name=name)
    say(f"{name} is not set any more.")


def _read(value: str) -> Any:
    """Read a value as JSON; a plain word is a text."""
    import msgspec

    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        if value[:1] in {"{", "[", '"'}:
            raise Refusal("option_unusable", f"{value[:80]!r} is no JSON.") from None
        return value


def _shown(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
