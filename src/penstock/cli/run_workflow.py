"""`penstock workflow run`: a supplied document, once, for one entity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw, print_json, say
from penstock.cli.session import read_settings, run_with_account
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.rules.run_once import Ran

File = Annotated[Path, typer.Argument(metavar="FILE", help="The document, in YAML.")]
Ref = Annotated[str, typer.Argument(metavar="ID|REF", help="For whom: its id, or its ref.")]
EventName = Annotated[str, typer.Option("--event", help="The event that its rulesets handle.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept.")]
Kind = Annotated[str, typer.Option("--kind", help="What kind of entity it is.")]
Channel = Annotated[str | None, typer.Option("--channel", help="The channel of an order's ref.")]
Payload = Annotated[str, typer.Option("--payload", metavar="JSON", help="What the event carries.")]
By = Annotated[str, typer.Option("--by", help="Who runs it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do it all, show it, and take it back.")]


def run_document(
    file: File,
    ref: Ref,
    event: EventName,
    reason: Reason,
    kind: Kind = "order",
    channel: Channel = None,
    payload: Payload = "{}",
    by: By = "cli",
    dry_run: DryRun = False,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Run a document once, for one entity, beside the version that the entity has.

    Its rulesets stand before that version's for this event. It is not stored as a version; it is
    kept with who ran it and why, and stands in the trace.
    """
    import msgspec

    from penstock.cli.entity import read_named
    from penstock.cli.trace import tree_of
    from penstock.engine.jobs import Decision
    from penstock.rules.finding import Named
    from penstock.rules.run_once import Run, run_once
    from penstock.rules.timeline import Entry

    text, carried = _text(file), _payload(payload)

    async def work(opened: Account) -> Ran:
        found, _ = await read_named(opened, kind, ref, channel)
        named = Named(found.entity, id=found.entity_id)
        decision = Decision(by, reason, opened.knowledge.clock.now())
        return await run_once(
            opened.knowledge, Run(text, named, event, decision, carried, is_dry=dry_run)
        )

    ran = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json(msgspec.to_builtins(ran))
        return
    from datetime import UTC, datetime

    entry = Entry(datetime.now(UTC), "ran", {"events": ran.events})
    draw(tree_of("It would do this:" if dry_run else "It did this:", [entry]))
    status = ran.document["status"]
    say(f"Nothing was changed; it would be {status}." if dry_run else f"It is {status}.")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise Refusal("file_unreadable", f"{file} cannot be read: {reason}.") from error


def _payload(text: str) -> dict[str, Any]:
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        sentence = f"--payload is a JSON object such as {{}}: {error}."
        raise Refusal("option_unusable", sentence) from None
