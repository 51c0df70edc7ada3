"""`penstock import KIND FILE`: master data, stock or orders from a file.

Owns the options, the bar, the message at the end and the exit status (1 if rows had no effect);
reading, checking and resuming are the `bulk` room's.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, note, print_json, say
from penstock.cli.session import (
    read_instant,
    read_settings,
    run_with_account,
    showing_progress,
)
from penstock.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.app import Account
    from penstock.bulk.model import Options, Progress, Summary
    from penstock.bulk.stock_retire import Retirement


class Kind(StrEnum):
    """What the records of a file are."""

    PRODUCTS = "products"
    CATEGORIES = "categories"
    ATTRIBUTE_TYPES = "attribute-types"
    LOCATIONS = "locations"
    NETWORKS = "networks"
    CHANNELS = "channels"
    PROFILES = "profiles"
    CUSTOMERS = "customers"
    SOURCES = "sources"
    POOLS = "pools"
    CONTROLS = "controls"
    THRESHOLDS = "thresholds"
    CARRIERS = "carriers"
    LANES = "lanes"
    TRANSIT = "transit"
    HANDLING = "handling"
    LIMITS = "limits"
    FULFILMENT_TIMES = "fulfilment-times"
    STOCK = "stock"
    ORDERS = "orders"


KindName = Annotated[
    Kind, typer.Argument(metavar="KIND", help=f"One of {', '.join(kind.value for kind in Kind)}.")
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON Lines or Parquet.")]
Channel = Annotated[
    str | None,
    typer.Option(
        "--channel", "-c", metavar="REF", help="Whose SKUs; and of orders that name no channel."
    ),
]
Catalogue = Annotated[
    str | None,
    typer.Option(metavar="REF", help="The catalogue that products or categories go into."),
]
Source = Annotated[str | None, typer.Option(metavar="REF", help="The stock source that counted.")]
Pool = Annotated[str | None, typer.Option(metavar="REF", help="The pool that was counted.")]
CountedAt = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="When, for rows that do not say: ISO 8601.")
]
Again = Annotated[bool, typer.Option("--again", help="Take in a file that was taken in before.")]
Full = Annotated[
    bool,
    typer.Option("--full", help="Stock: the file is all its source has; retire what it lacks."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="With --full: tell what would be retired; change nothing.")
]
AtMost = Annotated[
    int | None,
    typer.Option("--retire-at-most", min=0, metavar="N", help="With --full: no more positions."),
]


def import_file(
    kind: KindName,
    file: File,
    channel: Channel = None,
    catalogue: Catalogue = None,
    source: Source = None,
    pool: Pool = None,
    counted_at: CountedAt = None,
    again: Again = False,
    full: Full = False,
    dry_run: DryRun = False,
    retire_at_most: AtMost = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Import a file of master data, stock or orders.

    Rows that cannot be taken are told in FILE.errors.csv, with the reason; the others count. An
    import that was stopped goes on where it was: give the same command again.
    """
    from penstock.bulk import imports
    from penstock.bulk.model import Options

    config = read_settings(account=account)
    options = Options(
        channel=channel,
        catalogue=catalogue,
        source=source,
        pool=pool,
        counted_at=read_instant(counted_at) if counted_at else None,
        again=again,
        full=full,
        retire_at_most=retire_at_most,
    )
    _check(kind, full=full, dry_run=dry_run, at_most=retire_at_most)
    if dry_run:
        tell_retirement(run_with_account(config, _foreseeing(file, options)), as_json=as_json)
        return

    async def work(opened: Account) -> Summary:
        with showing_progress() as tell:

            def told(progress: Progress) -> None:
                tell(f"importing {kind.value}", progress.rows_done, progress.rows_total)

            return await imports.import_file(
                opened, kind.value, file, options=options, progress=told
            )

    summary = run_with_account(config, work)
    if as_json:
        print_json(summary)
    else:
        _tell(summary)
    if summary.rows_failed:
        raise typer.Exit(1)


def _check(kind: Kind, *, full: bool, dry_run: bool, at_most: int | None) -> None:
    if full and kind is not Kind.STOCK:
        sentence = "Only a stock file can be a full feed: leave --full out."
        raise Refusal("option_unusable", sentence, field="full")
    if not full and (dry_run or at_most is not None):
        sentence = "--dry-run and --retire-at-most go with --full."
        raise Refusal("option_unusable", sentence, field="full")


def _foreseeing(file: Path, options: Options) -> Callable[[Account], Awaitable[Retirement]]:
    from penstock.bulk.imports import foresee_import

    async def work(opened: Account) -> Retirement:
        return await foresee_import(opened, file, options)

    return work


def tell_retirement(found: Retirement, *, as_json: bool) -> None:
    """Say what a full feed would retire."""
    if as_json:
        print_json(found)
        return
    say(f"{found.positions:,} positions would be retired, with {found.units:,} units on hand.")
    if found.examples:
        rows = [[one.sku, one.location, one.pool, f"{one.on_hand:,}"] for one in found.examples]
        draw_table(("SKU", "location", "pool", "on hand"), rows)


def _tell(summary: Summary) -> None:
    if summary.was_finished:
        say(f"{summary.file} was imported before; --again takes it in once more.")
    elif summary.resumed_at:
        note(f"An earlier run had done {summary.resumed_at:,} rows; this one went on there.")
    if summary.ignored:
        note(f"Nobody reads these columns: {', '.join(summary.ignored)}.")
    taken = summary.rows - summary.rows_unchanged - summary.rows_failed
    say(
        f"{summary.rows:,} rows of {summary.kind}: {taken:,} taken in, {summary.rows_unchanged:,} "
        f"unchanged, {summary.rows_failed:,} refused; {summary.seconds:.1f} s, "
        f"{summary.rows_per_s:,.0f} rows/s."
    )
    if summary.retired:
        say(f"Retired: {summary.retired:,} positions, {summary.units_retired:,} units.")
    if summary.rows_failed:
        say(f"Why, row by row: {summary.errors_file}")
