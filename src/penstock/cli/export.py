"""`penstock export stock|availability`: stock and availability out, to a file or an address.

Owns the options, the bar and what is said at the end; which rows there are and how files are
written is the `bulk` room's. `--state` makes a schedule of it: changes since the last time.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import print_json, say
from penstock.cli.session import read_settings, run_with_account, showing_progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.app import Account
    from penstock.availability.cursor import Cursor
    from penstock.bulk.export_files import Done, Format
    from penstock.bulk.export_rows import Wanted


class Kind(StrEnum):
    """What goes out."""

    STOCK = "stock"
    AVAILABILITY = "availability"


class ServiceName(StrEnum):
    """Which service availability is for."""

    DELIVER = "deliver"
    COLLECT = "collect"


KindName = Annotated[Kind, typer.Argument(metavar="KIND", help="stock or availability.")]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE|URL", help="A file, or where to PUT it.")
]
Channel = Annotated[
    str | None, typer.Option("--channel", "-c", metavar="REF", help="Whose; of stock: whose SKUs.")
]
ChangedSince = Annotated[
    str | None, typer.Option(metavar="CURSOR", help="Only what changed since this cursor.")
]
State = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Changes since the cursor in this file, then the new one into it."
    ),
]
Locations = Annotated[
    list[str] | None, typer.Option("--location", "-l", metavar="REF", help="Only this location.")
]
Categories = Annotated[
    list[str] | None, typer.Option("--category", metavar="REF", help="Only this category.")
]
ByLocation = Annotated[
    bool, typer.Option("--by-location", help="Availability at each location, not in total.")
]
OnlyAvailable = Annotated[
    bool, typer.Option("--only-available", help="Leave out what there is none of.")
]
FormatName = Annotated[
    str | None, typer.Option("--format", "-f", metavar="NAME", help="csv, jsonl or parquet.")
]
Header = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME:VALUE", help="Sent with the file, to an address."),
]


def export(
    kind: KindName,
    output: Output,
    channel: Channel = None,
    service: Annotated[ServiceName, typer.Option("--service", "-s")] = ServiceName.DELIVER,
    changed_since: ChangedSince = None,
    state: State = None,
    location: Locations = None,
    category: Categories = None,
    by_location: ByLocation = False,
    only_available: OnlyAvailable = False,
    form: FormatName = None,
    header: Header = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Write stock, or what a channel may promise, as CSV, JSON Lines or Parquet.

    A file is put in place when it is whole, with its cursor beside it (FILE.cursor); an address
    gets it by HTTP PUT. With --state, the first time everything goes out, then what changed.
    """
    from penstock.availability.cursor import read_cursor
    from penstock.bulk.export_files import format_of
    from penstock.bulk.export_rows import Wanted
    from penstock.errors import Refusal

    if kind is Kind.AVAILABILITY and channel is None:
        raise Refusal("option_unusable", "Availability is a channel's: say --channel REF.")
    since: Cursor | None = None
    if changed_since is not None:
        since = read_cursor(changed_since)
    elif state is not None and state.exists():
        since = read_cursor(state.read_text("utf-8").strip())
    wanted = Wanted(
        kind=kind.value,
        channel=channel,
        service=service.value,
        by_location=by_location,
        locations=tuple(location or ()),
        categories=tuple(category or ()),
        only_available=only_available,
        since=since,
    )
    if state is not None and only_available:
        sentence = "With --state, what is not available any more has to be told too."
        raise Refusal("option_unusable", sentence)
    shape = (output, format_of(output, form), _headers(header or []))
    with showing_progress() as tell:
        done = run_with_account(
            read_settings(account=account),
            lambda opened: _export(
                opened, wanted, shape, (state, lambda rows: tell(kind.value, rows, 0))
            ),
        )
    if as_json:
        print_json(done)
        return
    what = "rows" if done.full else "changed rows"
    say(f"{done.rows:,} {what} are in {done.target}; the cursor is {done.cursor}")


async def _export(
    account: Account,
    wanted: Wanted,
    shape: tuple[str, Format, dict[str, str]],
    keeping: tuple[Path | None, Callable[[int], None]],
) -> Done:
    import msgspec

    from penstock.bulk import export_files as files
    from penstock.bulk.export_rows import open_rows
    from penstock.errors import Refusal

    target, form, headers = shape
    state, told = keeping
    try:
        rows = await open_rows(account, wanted)
    except Refusal as refusal:
        if refusal.code != "cursor_too_old" or state is None:
            raise
        rows = await open_rows(account, msgspec.structs.replace(wanted, since=None))
    if files.is_address(target):
        done = await files.send_file(rows, target, form, headers, told)
    else:
        done = await files.write_file(rows, Path(target), form, told)
    if state is not None:
        files.put_in_place(state, f"{done.cursor}\n")
    return done


def _headers(said: list[str]) -> dict[str, str]:
    from penstock.errors import Refusal

    headers: dict[str, str] = {}
    for one in said:
        name, colon, value = one.partition(":")
        if not colon or not name.strip().isascii():
            raise Refusal("option_unusable", "A header is NAME:VALUE, as in 'X-Shop: web'.")
        headers[name.strip()] = value.strip()
    return headers
