"""`penstock rules`: what documents are made of: list the rules, explain one, begin a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AsJson
from penstock.cli.output import draw_table, print_json, say

if TYPE_CHECKING:
    from penstock.engine.described import Description

commands = typer.Typer(no_args_is_help=True, help="List and explain rules, begin one of your own.")
RuleName = Annotated[str, typer.Argument(metavar="NAME", help="A rule, such as place_hold.")]
NewName = Annotated[
    str, typer.Argument(metavar="NAME", help="Small letters, digits, underscores: gift_wrap.")
]
Folder = Annotated[
    Path, typer.Option("--to", metavar="DIR", help="Where the package's folder is made.")
]
Page = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="Write it there, not to the terminal.")
]


@commands.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List every rule that is installed, those of other packages too."""
    from penstock.engine.described import describe_all
    from penstock.engine.rule import load_rules

    found = describe_all(load_rules())
    if as_json:
        print_json({"rules": found})
        return
    rows = [(one.name, one.summary, ", ".join(one.entities) or "all", one.package) for one in found]
    draw_table(("rule", "what it does", "works on", "from"), rows)


@commands.command()
def show(name: RuleName, as_json: AsJson = False) -> None:
    """Explain a rule: what it does, its parameters, an example."""
    from penstock.engine.described import describe, rule_of
    from penstock.engine.rule import load_rules

    one = describe(rule_of(load_rules(), name))
    if as_json:
        print_json(one)
        return
    say(f"{one.name}: {one.summary}")
    if one.details:
        say(f"\n{one.details}")
    say(f"\n{one.effect}")
    for fact in _facts(one):
        say(fact)
    _draw_parameters(one)
    say(f"For example:\n\n{_indented(one.example)}")


def _facts(one: Description) -> list[str]:
    """Return in sentences what the rule works on, and what its example may bring about."""
    come = one.outcomes
    facts = [f"Works on {', '.join(one.entities) or 'every kind of entity'}; from {one.package}."]
    if one.asks_stock:
        facts.append("Asks stock.")
    if come.status is not None:
        facts.append(f"The example moves to {come.status}.")
    for words, events in (("emits", come.events), ("has come later", come.later)):
        if events:
            facts.append(f"The example {words}: {', '.join(events)}.")
    facts += [f"The example sends {event} to: {whom}." for whom, event in come.sends]
    return facts


def _draw_parameters(one: Description) -> None:
    from penstock.engine.described import explained, shown

    if not one.parameters:
        say("It has no parameters.\n")
        return
    rows = [
        (
            p.name,
            p.type.replace("`", ""),
            "required" if p.is_required else shown(p.default),
            explained(p),
        )
        for p in one.parameters
    ]
    draw_table(("parameter", "type", "default", ""), rows)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


@commands.command()
def new(name: NewName, to: Folder = Path()) -> None:
    """Begin a rule of your own: a package with the rule, a test and a README."""
    from penstock.rules.scaffold import begin_package

    folder = begin_package(name, to)
    say(f"Rule {name} begins in {folder}. From there:\n")
    say("  pip install --editable .    Penstock finds it by its entry point")
    say("  python -m pytest            its test needs no database")
    say(f"  penstock rules show {name}")


@commands.command()
def docs(to: Page = None) -> None:
    """Write the reference page of the rules that come with Penstock."""
    from penstock.engine.described import page
    from penstock.engine.rule import load_rules

    shipped = {
        name: rule
        for name, rule in load_rules().items()
        if rule.__module__.partition(".")[0] == "penstock"
    }
    text = page(shipped)
    if to is None:
        typer.echo(text, nl=False)
    else:
        to.write_text(text, "utf-8")
        say(f"{len(shipped)} rules are written to {to}.")
