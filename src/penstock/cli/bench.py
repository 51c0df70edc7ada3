"""`penstock bench NAME`: run a benchmark on a throw-away account.

Owns the options and how a result is shown; what a benchmark does is `penstock.bench`'s.
"""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.options import AsJson
from penstock.cli.output import draw, draw_table, note, print_json
from penstock.cli.session import reach_server, read_settings
from penstock.errors import Refusal

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Which; without it: the list.")]
Orders = Annotated[int | None, typer.Option(min=1, help="How many orders at most.")]
Clients = Annotated[int | None, typer.Option(min=1, max=1_000, help="How many clients at once.")]
Processes = Annotated[
    str | None, typer.Option(metavar="1,2,4", help="How many API processes, one after another.")
]
Positions = Annotated[int | None, typer.Option(min=100, help="How many stock positions.")]
Seconds = Annotated[float | None, typer.Option(min=0.5, max=600, help="How long to measure.")]
Feed = Annotated[bool, typer.Option("--feed", help="Orders: also while a stock feed runs.")]


def bench(
    name: Name = None,
    as_json: AsJson = False,
    orders: Orders = None,
    clients: Clients = None,
    processes: Processes = None,
    positions: Positions = None,
    seconds: Seconds = None,
    feed: Feed = False,
) -> None:
    """Measure Penstock on this machine; without a name, list what can be measured."""
    from penstock.bench.report import Options, render
    from penstock.bench.run import NAMES, look_up, run

    if name is None:
        draw_table(("name", "what it measures"), [(n, b.does) for n, b in NAMES.items()])
        return
    does = look_up(name).does
    options = Options(
        orders=orders,
        clients=clients,
        processes=_counts(processes),
        positions=positions,
        seconds=seconds,
        feed=feed,
    )
    conninfo = reach_server(read_settings())
    if not as_json:
        note(f"{name}: {does}")
    result = run(name, conninfo, options)
    if as_json:
        print_json(result.document())
    else:
        draw(render(result))


def _counts(text: str | None) -> tuple[int, ...] | None:
    """Read numbers of processes such as `1,2,4`; refuses with `option_unusable`."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isdecimal() and 1 <= int(part) <= 64 for part in parts):  # noqa: PLR2004
        raise Refusal("option_unusable", "--processes takes numbers from 1 to 64, such as 1,2,4.")
    return tuple(int(part) for part in parts)
