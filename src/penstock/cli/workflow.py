"""`penstock workflow`: push a workflow document, list the versions that are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction

commands = typer.Typer(no_args_is_help=True, help="Push and list workflow documents.")
Document = Annotated[Path, typer.Argument(metavar="FILE", help="A workflow document in YAML.")]


@commands.command()
def push(file: Document, account: AccountName = None) -> None:
    """Check a workflow document, store it and activate it; orders in flight keep theirs.

    A version is immutable: to change a document, raise its version.
    """
    from penstock.db import Tx
    from penstock.engine.document import read_document
    from penstock.engine.readable import load_vocabulary
    from penstock.engine.workflows import put_workflow

    text = _read(file)
    document = read_document(text)
    vocabulary = load_vocabulary()

    async def work(tx: Tx) -> bool:
        return await put_workflow(tx, text, vocabulary)

    is_new = run_in_transaction(read_settings(account=account), work)
    name = f"{document.name}, version {document.version}"
    say(f"Workflow {name}, is active." if is_new else f"Workflow {name}, was there already.")


@commands.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List the workflows of the account, every version, and which is active."""
    from penstock.db import Tx
    from penstock.engine.workflows import SQL

    async def work(tx: Tx) -> list[tuple[Any, ...]]:
        return await tx.fetch(SQL.active_workflows)

    rows = run_in_transaction(read_settings(account=account), work)
    active = {(row[3], row[4]): row[0] for row in rows if row[7] is not None}
    found = [
        {
            "name": row[1],
            "version": row[2],
            "entity": row[3],
            "type": row[4],
            "is_active": active.get((row[3], row[4])) == row[0],
        }
        for row in rows
    ]
    if as_json:
        print_json({"workflows": found})
    elif found:
        titles = ("name", "version", "of", "active")
        marks = {True: "yes", False: ""}
        draw_table(
            titles,
            [
                (f["name"], str(f["version"]), f"{f['entity']} {f['type']}", marks[f["is_active"]])
                for f in found
            ],
        )
    else:
        say("There is none yet: the shipped ones are stored when the account is first served.")


def _read(file: Path) -> str:
    from penstock.errors import Refusal

    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Refusal("file_unreadable", f"{file} cannot be read: {reason}.") from error
