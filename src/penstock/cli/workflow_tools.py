"""`penstock workflow diff`, `schema` and `draw`: documents compared, described and drawn.

They only read: a document is a file, or one that the account has stored, as `name@version`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import print_json, say

if TYPE_CHECKING:
    from penstock.engine.document import WorkflowDocument

Named = Annotated[
    str, typer.Argument(metavar="FILE|NAME[@VERSION]", help="A file, or a stored one.")
]
Old = Annotated[str, typer.Argument(metavar="OLD", help="A file, or name@version of the account.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="What it is compared to, named alike.")]
Target = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="Write it there, not to the terminal.")
]
Picture = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the picture there.")
]
AsText = Annotated[bool, typer.Option("--text", help="An outline for the terminal, no picture.")]


def add_to(commands: typer.Typer) -> None:
    """Add the commands to those of `penstock workflow`."""
    commands.command("diff")(diff_documents)
    commands.command("schema")(print_schema)
    commands.command("draw")(draw_document)


def diff_documents(
    old: Old, new: New, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Say what is different between two workflow documents."""
    from penstock.engine.diff import diff

    changes = diff(read_named(old, account), read_named(new, account))
    if as_json:
        print_json({"changes": changes})
        return
    for change in changes:
        say(change.message)
        if change.consequence:
            say(f"  {change.consequence}")
    if not changes:
        say("no difference")


def print_schema(to: Target = None) -> None:
    """Print the JSON Schema of workflow documents, with every rule that comes with Penstock."""
    from penstock.engine.json_schema import json_schema, written
    from penstock.engine.rule import load_rules

    shipped = {
        name: rule
        for name, rule in load_rules().items()
        if rule.__module__.partition(".")[0] == "penstock"
    }
    text = written(json_schema(shipped))
    if to is None:
        typer.echo(text, nl=False)
    else:
        to.write_text(text, "utf-8")
        say(f"The schema, with {len(shipped)} rules, is written to {to}.")


def draw_document(
    document: Named, output: Picture = None, text: AsText = False, account: AccountName = None
) -> None:
    """Draw a workflow: an SVG picture, or an outline for the terminal."""
    from penstock.engine.draw import draw, outline
    from penstock.engine.readable import load_vocabulary

    make = outline if text else draw
    drawn = make(read_named(document, account), load_vocabulary())
    if output is None:
        typer.echo(drawn, nl=False)
    else:
        output.write_text(drawn, "utf-8")
        say(f"It is drawn to {output}.")


def read_named(named: str, account: str | None) -> WorkflowDocument:
    """Return a document by its file, or by name@version from the account.

    Without a version it is the newest stored one. Refuses `file_unreadable`, `unknown_workflow`.
    """
    from penstock.engine.document import read_document

    path = Path(named)
    if path.suffix in {".yaml", ".yml", ".json"} or path.is_file():
        return read_document(_text_of(path))
    return _stored(named, account)


def _text_of(path: Path) -> str:
    from penstock.errors import Refusal

    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Refusal("file_unreadable", f"{path} cannot be read: {reason}.") from error


def _stored(named: str, account: str | None) -> WorkflowDocument:
    import msgspec

    from penstock.cli.session import read_settings, run_in_transaction
    from penstock.db import Tx
    from penstock.engine.document import WorkflowDocument
    from penstock.engine.workflows import SQL
    from penstock.errors import Refusal

    name, _, version = named.partition("@")

    async def work(tx: Tx) -> WorkflowDocument:
        stored: list[Any] = []
        if version.isdecimal():
            row = await tx.fetch_one(SQL.document_of_version, (name, int(version)))
            stored = [row[1]] if row is not None else []
        elif not version:
            stored = [one[1] for one in await tx.fetch(SQL.workflow_documents)]
        found = [msgspec.convert(one, WorkflowDocument) for one in stored if one["name"] == name]
        if not found:
            raise Refusal(
                "unknown_workflow",
                f"There is no file and no stored workflow {named!r}: name a file, or name@version "
                "as `penstock workflow list` shows them.",
                name=name,
            )
        return max(found, key=lambda one: one.version)

    return run_in_transaction(read_settings(account=account), work)
