"""`penstock stock show|history`: what stock is, what it was at an instant, and why.

Reads only. Counts and changes come in with `penstock import stock` and over HTTP.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_instant, read_settings, run_in_transaction

if TYPE_CHECKING:
    from penstock.inventory.history import Entry, History, Stock

commands = typer.Typer(
    no_args_is_help=True, help="Look at stock: what it is, what it was, and why."
)
Skus = Annotated[list[str], typer.Argument(metavar="SKU…", help="One SKU or several.")]
Sku = Annotated[str, typer.Argument(metavar="SKU", help="Its SKU.")]
Location = Annotated[str, typer.Argument(metavar="LOCATION", help="The location's ref.")]
Locations = Annotated[
    list[str] | None,
    typer.Option("--location", "-l", metavar="REF", help="Only there; may be given again."),
]
At = Annotated[
    str | None,
    typer.Option(metavar="INSTANT", help="As it was then: 2026-12-24T18:00, UTC unless it says."),
]
Pool = Annotated[str | None, typer.Option(metavar="REF", help="Only of this pool.")]
Catalogue = Annotated[
    str | None, typer.Option(metavar="REF", help="The catalogue, where there are several.")
]
Before = Annotated[
    str | None, typer.Option(metavar="MARK", help="Go on from here: `next` of the page before.")
]
Limit = Annotated[int, typer.Option(min=1, max=500, metavar="N", help="How many at most.")]


@commands.command()
def show(
    sku: Skus,
    location: Locations = None,
    at: At = None,
    pool: Pool = None,
    catalogue: Catalogue = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show what is on hand, reserved and available, now or as of an instant.

    Available is on hand less reserved: what channels may promise is `penstock promise`'s to say.
    """
    from penstock.db import Tx
    from penstock.inventory.history import StockQuery, stock_as_of, stock_now

    query = StockQuery(sku, location, pool, catalogue)
    instant = None if at is None else read_instant(at)

    async def work(tx: Tx) -> list[Stock]:
        return await (stock_now(tx, query) if instant is None else stock_as_of(tx, query, instant))

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"at": instant or datetime.now(UTC), "stock": found})
    elif not found:
        say("There is no stock of it." if instant is None else "There was no stock of it yet.")
    else:
        titles = ("SKU", "location", "pool", "on hand", "reserved", "available")
        draw_table(titles, [_shown(one) for one in found])


def _shown(one: Stock) -> list[str]:
    numbers = (one.on_hand, one.reserved, one.available)
    return [one.sku, one.location, one.pool, *(f"{number:,}" for number in numbers)]


@commands.command("history")
def show_history(
    sku: Sku,
    location: Location,
    pool: Pool = None,
    catalogue: Catalogue = None,
    before: Before = None,
    limit: Limit = 20,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say why stock is what it is: every movement, the newest first, with its cause."""
    from penstock.db import Tx
    from penstock.inventory.history import StockQuery, history

    query = StockQuery([sku], [location], pool, catalogue)

    async def work(tx: Tx) -> History:
        return await history(tx, query, before, limit)

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json(found)
        return
    available = found.on_hand - found.reserved
    say(
        f"{found.sku} at {found.location}: {found.on_hand:,} on hand, {found.reserved:,} reserved, "
        f"{available:,} available."
    )
    draw_table(
        ("version", "when", "on hand", "", "reserved", "", "why"),
        [_movement(entry) for entry in found.entries],
    )
    if found.next:
        say(f"More: penstock stock history {found.sku} {found.location} --before {found.next}")
    elif found.is_cut:
        say("What was before has been pruned.")


def _movement(entry: Entry) -> list[str]:
    happened = entry.counted_at or entry.occurred_at
    late = (entry.recorded_at - happened).total_seconds() >= 1
    when = f"{entry.recorded_at:%Y-%m-%d %H:%M:%S}"
    return [
        f"{entry.version:,}",
        f"{when} (of {happened:%Y-%m-%d %H:%M:%S})" if late else when,
        f"{entry.on_hand_delta:+,}" if entry.on_hand_delta else "",
        f"{entry.on_hand:,}",
        f"{entry.reserved_delta:+,}" if entry.reserved_delta else "",
        f"{entry.reserved:,}",
        entry.why.says,
    ]
