"""`penstock trace`: what happened to an order or an entity, event by event; and pruning it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.entity import read_named
from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw, print_json, say
from penstock.cli.session import (
    reach_account,
    read_settings,
    run_in_transaction,
    run_with_account,
    showing_progress,
)

if TYPE_CHECKING:
    from rich.tree import Tree

    from penstock.app import Account
    from penstock.config import Config
    from penstock.rules.timeline import Entry

Ref = Annotated[str, typer.Argument(metavar="ID|REF", help="Which: its id, or its ref.")]
Kind = Annotated[str, typer.Option("--kind", help="What kind of entity it is.")]
Channel = Annotated[str | None, typer.Option("--channel", help="The channel of an order's ref.")]
Age = Annotated[str, typer.Option("--older-than", metavar="AGE", help="Such as 30d.")]
Journal = Annotated[
    bool, typer.Option("--journal", help="Also the stock journal before the month of that day.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many there are.")]


def trace(
    ref: Ref,
    kind: Kind = "order",
    channel: Channel = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to an order or an entity: events, rulesets, rules, what came of them."""
    import msgspec

    from penstock.rules.timeline import timeline

    async def work(opened: Account) -> tuple[str, list[Entry]]:
        found, root = await read_named(opened, kind, ref, channel)
        entries = await opened.database.run(opened.schema, lambda tx: timeline(tx, found.root_id))
        return f"{root.kind} {root.ref}: {root.status}", entries

    title, entries = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json({"entries": msgspec.to_builtins(entries)})
    else:
        draw(tree_of(title, entries))


def tree_of(title: str, entries: list[Entry]) -> Tree:
    """Return what happened as a tree to be drawn."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(title, style="bold"), guide_style="dim")
    for entry in entries:
        at = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        if entry.what == "ran":
            place = tree.add(Text(at, style="cyan"))
            for event in entry.detail["events"]:
                _add_event(place, event)
        else:
            tree.add(Text.assemble((at, "cyan"), " ", (_sentence(entry), _style(entry.what))))
    if not entries:
        tree.add("Nothing is kept of it.")
    return tree


def _add_event(tree: Any, event: dict[str, Any]) -> None:
    from rich.text import Text

    head = Text.assemble((event["event"], "bold"))
    if "entity" in event:
        head.append(f"  at its {event['entity']} {event['entity_id'][:13]}…", "dim")
    if event["from"] != event["to"]:
        head.append(f"  {event['from']} → {event['to']}", "green")
    head.append(f"  {event['workflow'] or 'no workflow'}, with {event['batch']} at once", "dim")
    branch = tree.add(head)
    for ruleset in event["rulesets"]:
        line = Text.assemble(("✓ ", "green"), ruleset["name"])
        if "if" in ruleset:
            line.append(f"  if {ruleset['if']}", "dim")
        rules = branch.add(line)
        for rule in ruleset["rules"]:
            rules.add(Text.assemble(rule["rule"], (f"  {rule['us']:,} µs", "dim")))
    for name in event.get("not_met", ()):
        branch.add(Text(f"✗ {name}", style="dim"))
    if not event["rulesets"] and not event.get("not_met"):
        branch.add(Text("no ruleset handles it in this status", style="yellow"))
    for key, word in (("changes", "recorded"), ("emitted", "emitted"), ("posted", "posted")):
        if key in event:
            branch.add(Text.assemble((f"{word} ", "dim"), ", ".join(event[key])))


def _style(what: str) -> str:
    return {"dead_letter": "red", "unhandled": "yellow", "waiting": "blue"}.get(what, "")


def _sentence(entry: Entry) -> str:
    detail = entry.detail
    if entry.what == "dead_letter":
        return f"{detail['event']} failed for good: {detail['error']}{_resolution(detail)}"
    if entry.what == "unhandled":
        return f"{detail['event']}: no ruleset handles it{_resolution(detail)}"
    if entry.what == "intervention":
        return f"{detail['by']}: {detail['action']} ({detail['reason']})"
    if entry.what == "note":
        return f"{detail['by']} notes: {detail['text']}"
    if entry.what == "job":
        error = f": {detail['last_error']}" if detail["last_error"] else ""
        return f"call ({detail['kind']}) {detail['status']}, {detail['attempts']} attempts{error}"
    timer = f" (timer {detail['timer']})" if detail["timer"] else ""
    return f"{detail['event']} waits until then{timer}"


def _resolution(detail: dict[str, Any]) -> str:
    return f" ({detail['resolution']})" if detail["resolution"] else ""


def prune(
    older_than: Age,
    journal: Journal = False,
    dry_run: DryRun = False,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Take out what is old and over: traces, jobs, and what was dealt with at the stuck desk.

    Ten thousand at a time, so that nothing waits; orders and stock stay. With --journal, what
    positions were then is written first, and nothing can be told of stock before that any more.
    """
    from penstock.engine.durations import parse_duration
    from penstock.rules.pruning import KINDS, count_old
    from penstock.rules.pruning import prune as take_out

    before = datetime.now(UTC) - parse_duration(older_than)
    settings = read_settings(account=account)
    totals = dict.fromkeys(KINDS, 0)
    if dry_run:
        totals = run_in_transaction(settings, lambda tx: count_old(tx, before))
    else:
        for kind in KINDS:
            while done := run_in_transaction(settings, lambda tx, k=kind: take_out(tx, k, before)):
                totals[kind] += done
    if journal:
        totals["journal rows"] = _prune_journal(settings, before, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **{k.replace(" ", "_"): n for k, n in totals.items()}})
        return
    counts = ", ".join(f"{total:,} {kind}" for kind, total in totals.items())
    say(f"Older than {older_than}{' are' if dry_run else ', and taken out'}: {counts}.")


def _prune_journal(settings: Config, before: datetime, *, dry_run: bool) -> int:
    """Prune the stock journal, or count what would go; returns how many rows."""
    import asyncio

    from penstock.access.accounts import schema_of
    from penstock.audit.pruning import Pruned, count_journal, prune_journal
    from penstock.db import Database

    if dry_run:
        return run_in_transaction(settings, lambda tx: count_journal(tx, before))
    conninfo = reach_account(settings)

    async def run() -> Pruned:
        database = Database(conninfo, size=2)
        await database.open()
        try:
            with showing_progress() as tell:
                return await prune_journal(database, schema_of(settings.account), before, tell)
        finally:
            await database.close()

    return asyncio.run(run()).rows
