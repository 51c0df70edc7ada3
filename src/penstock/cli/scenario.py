"""`penstock workflow test`: scenario files played on throw-away accounts, and how they went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AsJson
from penstock.cli.output import draw, print_json, say
from penstock.cli.session import reach_server, read_settings, run_loop

if TYPE_CHECKING:
    from penstock.scenarios.compare import Difference
    from penstock.scenarios.document import Read
    from penstock.scenarios.play import Played

Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Scenario files in YAML.")]
Only = Annotated[
    str | None, typer.Option("--only", metavar="TEXT", help="Scenarios whose name has this in it.")
]
WIDTH = 11  # of the words before what was expected, and what was


def play_files(files: Files, only: Only = None, as_json: AsJson = False) -> None:
    """Play scenarios against workflows: what happens, and what has to come of it.

    Each runs on an account of its own that is dropped afterwards; no outside call is made. Exit
    status 1 if one does not end as expected.
    """
    from penstock.errors import Refusal
    from penstock.scenarios.document import read_scenarios
    from penstock.scenarios.play import play

    reads = [read_scenarios(file) for file in files]
    chosen = [
        (read, number)
        for read in reads
        for number, scenario in enumerate(read.file.scenarios)
        if only is None or only in scenario.name
    ]
    if not chosen:
        raise Refusal("unknown_scenario", f"No scenario has {only!r} in its name.")
    conninfo = reach_server(read_settings())
    results: list[Played] = []

    async def work() -> None:
        for read, number in chosen:
            results.append(await play(conninfo, read, number))
            if not as_json:
                _tell(results[-1], read)

    run_loop(work())
    bad = sum(1 for one in results if not one.is_good)
    if as_json:
        print_json({"scenarios": [_as_document(one) for one in results], "failed": bad})
    else:
        say(f"{len(results) - bad} of {len(results)} scenarios end as expected.")
    if bad:
        raise typer.Exit(1)


def _as_document(played: Played) -> dict[str, Any]:
    import msgspec

    return {"ok": played.is_good, **msgspec.to_builtins(played)}


def _tell(played: Played, read: Read) -> None:
    from rich.text import Text

    mark = ("✓", "green") if played.is_good else ("✗", "red")
    draw(Text.assemble(mark, " ", played.name, (f"  {played.seconds:.1f} s", "dim")))
    if played.is_good:
        return
    where = f"step {played.step}" if played.step else "at the end"
    draw(Text(f"  {read.path}:{played.line}, {where}"))
    for one in played.differences:
        _tell_difference(one)
    if played.ran:
        from penstock.cli.trace import tree_of

        draw(tree_of("  What happened, newest last", played.ran[-2:]))


def _tell_difference(one: Difference) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    draw(Text(f"    {one.where}"))
    table = Table.grid(padding=(0, 1))
    table.add_column(width=WIDTH)
    table.add_column(overflow="fold")
    table.add_row("expected", Text(_shown(one.expected), style="green"))
    table.add_row("was", Text(_shown(one.was), style="red"))
    draw(Padding(table, (0, 0, 0, 6)))


def _shown(value: Any) -> str:
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
