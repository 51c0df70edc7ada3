"""`penstock workflow`: check, store, activate, take out and compare workflow documents.

`lint` needs no database. A version is immutable: whoever changes a document gives it a higher one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import migrate_workflow, run_workflow, scenario, workflow_tools
from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.db import Tx
    from penstock.engine.document import WorkflowDocument
    from penstock.engine.lint import Finding

commands = typer.Typer(no_args_is_help=True, help="Check, store, activate and compare workflows.")
Document = Annotated[Path, typer.Argument(metavar="FILE", help="A workflow document in YAML.")]
Documents = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Workflow documents.")]
Stored = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="Without: the active one.")]
Name = Annotated[str, typer.Argument(help="The workflow's name.")]
Version = Annotated[int, typer.Argument(help="The stored version.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the activation.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
]
_PLACE = re.compile(r" - at `(?P<path>\$.*)`")


@commands.command()
def lint(files: Documents, as_json: AsJson = False) -> None:
    """Check documents, without a database; exit status 1 if one has an error."""
    from penstock.engine.readable import load_vocabulary

    vocabulary = load_vocabulary()
    found = [(file, one) for file in files for one in _findings(file, vocabulary)]
    errors = sum(1 for _, (_, one) in found if one.severity == "error")
    if as_json:
        print_json(
            {
                "findings": [
                    {"file": str(file), "line": line, **_as_document(one)}
                    for file, (line, one) in found
                ]
            }
        )
    else:
        for file, (line, one) in found:
            say(f"{file}:{line}: {one.severity} {one.code}: {one.message} {one.remedy}".rstrip())
        if not found:
            say(f"{'It is' if len(files) == 1 else 'All are'} right.")
    if errors:
        raise typer.Exit(1)


def _as_document(finding: Finding) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(finding)


def _findings(file: Path, vocabulary: Any) -> list[tuple[int, Finding]]:
    from penstock.engine.document import read_document
    from penstock.engine.lint import Finding, lint
    from penstock.engine.places import Places, path_of

    text = _read(file)
    places = Places(text)
    try:
        found = lint(read_document(text), vocabulary)
    except Refusal as refusal:
        match = _PLACE.search(refusal.message)
        path = path_of(match["path"]) if match else ()
        found = [Finding(refusal.code, "error", path, refusal.message, "")]
    return sorted(((places.line(one.path), one) for one in found), key=lambda pair: pair[0])


@commands.command()
def push(
    file: Document,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Have it serve new entities.")
    ] = True,
    reason: Reason = "",
    account: AccountName = None,
) -> None:
    """Check a document, store it and activate it; entities in flight keep their version."""
    from penstock.engine import workflows
    from penstock.engine.readable import load_vocabulary

    text = _read(file)
    vocabulary = load_vocabulary()

    async def work(tx: Tx) -> tuple[WorkflowDocument, bool, bool]:
        document, stored = await workflows.store_document(tx, text, vocabulary)
        is_changed = activate and await workflows.activate(
            tx, document.name, document.version, reason
        )
        return document, stored.is_new, is_changed

    document, is_new, is_changed = run_in_transaction(read_settings(account=account), work)
    name = f"Workflow {document.name}, version {document.version}"
    if is_changed:
        say(f"{name}, is active.")
    elif is_new:
        say(f"{name}, is stored; `penstock workflow activate` has it serve new entities.")
    else:
        say(f"{name}, was there already.")


@commands.command()
def pull(stored: Stored, output: Output = None, account: AccountName = None) -> None:
    """Write a stored document out, as YAML that reads back to the same."""
    from penstock.engine.document import written

    document = stored_document(stored, account)
    if output is None:
        typer.echo(written(document), nl=False)
        return
    output.write_text(written(document), "utf-8")
    say(f"Workflow {document.name}, version {document.version}, is written to {output}.")


def stored_document(stored: str, account: str | None) -> WorkflowDocument:
    """Return a stored document by NAME or NAME@VERSION; refuses `unknown_workflow`."""
    from penstock.engine.workflows import read_stored

    name, _, version = stored.partition("@")
    if version and not version.isdecimal():
        raise Refusal("unknown_workflow", f"{version!r} is no version: give a number.")

    async def work(tx: Tx) -> WorkflowDocument:
        return await read_stored(tx, name, int(version) if version else None)

    return run_in_transaction(read_settings(account=account), work)


@commands.command()
def activate(
    name: Name, version: Version, reason: Reason = "", account: AccountName = None
) -> None:
    """Have a stored version serve new entities, in every process within a second."""
    from penstock.engine import workflows
    from penstock.engine.lint import refuse_wrong
    from penstock.engine.readable import load_vocabulary

    vocabulary = load_vocabulary()

    async def work(tx: Tx) -> bool:
        refuse_wrong(await workflows.read_stored(tx, name, version), vocabulary)
        return await workflows.activate(tx, name, version, reason)

    is_changed = run_in_transaction(read_settings(account=account), work)
    say(f"Workflow {name}, version {version}, {'is' if is_changed else 'was'} active.")


@commands.command()
def rollback(name: Name, reason: Reason = "", account: AccountName = None) -> None:
    """Activate the version that was active before; entities in flight keep theirs."""
    from penstock.engine.workflows import roll_back

    async def work(tx: Tx) -> tuple[int, str, int]:
        return await roll_back(tx, name, reason)

    left, now, version = run_in_transaction(read_settings(account=account), work)
    say(f"Workflow {now}, version {version}, is active again; version {left} of {name} is not.")


@commands.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List the workflows of the account, every version, and which is active."""
    import msgspec

    from penstock.engine.workflows import list_workflows

    found = run_in_transaction(read_settings(account=account), list_workflows)
    if as_json:
        print_json({"workflows": msgspec.to_builtins(found)})
    elif found:
        draw_table(
            ("name", "version", "of", "channel", "active"),
            [
                (
                    one.name,
                    str(one.version),
                    f"{one.entity} {one.type}",
                    one.channel or "",
                    "yes" if one.is_active else "",
                )
                for one in found
            ],
        )
    else:
        say("There is none yet: the shipped ones are stored when the account is first served.")


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Refusal("file_unreadable", f"{file} cannot be read: {reason}.") from error


commands.command("test")(scenario.play_files)
commands.command("run")(run_workflow.run_document)
workflow_tools.add_to(commands)
migrate_workflow.add_to(commands)
