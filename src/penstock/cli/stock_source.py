"""`penstock stock-source`: who counts stock, what they count, and what they have acknowledged.

Owns the look. Sources are made and changed by `penstock import sources`, or over HTTP.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_instant, read_settings, run_in_transaction

if TYPE_CHECKING:
    from penstock.db import Tx
    from penstock.inventory.sources import SourceView

commands = typer.Typer(no_args_is_help=True, help="Look at stock sources; acknowledge for them.")
SourceRef = Annotated[str, typer.Argument(metavar="REF", help="The source's ref.")]
Until = Annotated[
    str,
    typer.Option("--until", metavar="INSTANT", help="What was handed over before: ISO 8601."),
]
Since = Annotated[
    str | None,
    typer.Option("--at", metavar="INSTANT", help="Since when the numbers are so; now by default."),
]
Places = Annotated[
    list[str] | None,
    typer.Option("--location", "-l", metavar="REF", help="Where; at all locations by default."),
]


@commands.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List stock sources with what they count and until when they have acknowledged."""
    from penstock.inventory.sources import list_sources

    sources = run_in_transaction(read_settings(account=account), list_sources)
    if as_json:
        print_json({"sources": sources})
    else:
        titles = ("source", "counts", "stock leaves at", "acknowledged until")
        draw_table(titles, [_row(one) for one in sources])


def _row(one: SourceView) -> list[str]:
    until = f"{one.handed_until:%Y-%m-%d %H:%M:%S}" if one.handed_until else ""
    return [one.ref, one.basis, one.leaves_at, until]


@commands.command()
def acknowledge(
    ref: SourceRef,
    until: Until,
    at: Since = None,
    location: Places = None,
    account: AccountName = None,
) -> None:
    """Say that a source's numbers are net of everything handed to its locations before an instant.

    It concerns sources whose basis is net, and their counts taken from then on.
    """
    from penstock.inventory import sources
    from penstock.network.views import place_known

    now = datetime.now(UTC)
    handed_until = read_instant(until)
    acknowledged_at = read_instant(at) if at else now

    async def work(tx: Tx) -> None:
        ids = None
        if location is not None:
            ids = [(await place_known(tx, one)).id for one in location]
        said = sources.Acknowledgement(acknowledged_at, handed_until, ids)
        await sources.acknowledge(tx, ref, said, now)

    run_in_transaction(read_settings(account=account), work)
    say(f"{ref} has acknowledged what was handed over before {handed_until.isoformat()}.")
