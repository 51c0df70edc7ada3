"""`penstock location list|show|put`: locations found, looked at, made or changed.

Owns options and tables; switching services off and on is `switch.py`'s, in the same group.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction
from penstock.cli.switch import Ref, location
from penstock.errors import Refusal

Kind = Annotated[str | None, typer.Option("--kind", "-k", help="Only these: store, locker ….")]
Network = Annotated[str | None, typer.Option("--network", "-n", metavar="REF", help="Only its.")]
Near = Annotated[
    str | None,
    typer.Option(
        metavar="LAT,LON", help="Nearest first, with the distance; `--near=` before a minus."
    ),
]
Within = Annotated[
    float | None, typer.Option("--within-km", min=0, help="With --near: no farther.")
]
Box = Annotated[
    str | None, typer.Option(metavar="SOUTH,WEST,NORTH,EAST", help="Only inside this box.")
]
Limit = Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="At most so many.")]
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="JSON: one location or a list; - reads.")
]


@location.command("list")
def list_all(
    kind: Kind = None,
    network: Network = None,
    near: Near = None,
    within_km: Within = None,
    box: Box = None,
    limit: Limit = 100,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Find locations by kind, network, distance or box."""
    from penstock.db import Tx
    from penstock.network.views import LocationSearch, search_locations

    fields: dict[str, Any] = {"kind": kind, "network": network, "within_km": within_km}
    if near is not None:
        fields |= zip(("latitude", "longitude"), degrees(near, 2, "--near"), strict=True)
    if box is not None:
        sides = ("south", "west", "north", "east")
        fields |= zip(sides, degrees(box, 4, "--box"), strict=True)
    search = LocationSearch(limit=limit, **fields)

    async def work(tx: Tx) -> list[dict[str, Any]]:
        return await search_locations(tx, search, datetime.now(UTC))

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"locations": found})
    elif not found:
        say("There is no such location.")
    else:
        titles = ("ref", "kind", "name", "where", "km", "time zone", "off")
        draw_table(titles, [_row(one) for one in found])


def _row(one: dict[str, Any]) -> list[str]:
    where = f"{one['latitude']:.4f}, {one['longitude']:.4f}"
    distance = f"{one['km']:,.1f}" if "km" in one else ""
    off = ", ".join(one["off"])
    return [one["ref"], one["kind"], one["name"], where, distance, one["time_zone"], off]


@location.command()
def show(ref: Ref, account: AccountName = None, as_json: AsJson = False) -> None:
    """Show one location: where it is, how it works, its networks, what is switched off."""
    import msgspec

    from penstock.db import Tx
    from penstock.network.views import read_location

    async def work(tx: Tx) -> dict[str, Any]:
        return await read_location(tx, ref)

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json(found)
        return
    rows = [
        [name, value if isinstance(value, str) else msgspec.json.encode(value).decode()]
        for name, value in found.items()
        if value not in ({}, [], "")
    ]
    draw_table(("", ""), rows)
    say(f"When it is open: penstock calendar show {ref}")


@location.command()
def put(file: File, account: AccountName = None, as_json: AsJson = False) -> None:
    """Make or change locations from JSON, all or none; fields left out get their defaults."""
    from penstock.db import Tx
    from penstock.network.commands import upsert_locations
    from penstock.network.model import LocationInput
    from penstock.records import Result, insist

    locations = read_records(file, LocationInput)

    async def work(tx: Tx) -> list[Result]:
        results = await upsert_locations(tx, locations)
        insist(results)
        return results

    results = run_in_transaction(read_settings(account=account), work)
    told = [{"ref": one.ref, "result": to} for one, to in zip(locations, results, strict=True)]
    if as_json:
        print_json({"locations": told})
    else:
        for one in told:
            say(f"{one['ref']}: {one['result']}")


def read_records(file: Path, shape: type[Any]) -> list[Any]:
    """Read one record or a list of them; refuses with `file_unreadable` or `invalid_request`."""
    import msgspec

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        body = text if text.lstrip()[:1] == b"[" else b"[" + text + b"]"
        return msgspec.json.decode(body, type=list[shape])
    except msgspec.ValidationError as error:
        raise Refusal("invalid_request", f"{file}: {error}.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise Refusal("file_unreadable", f"{file} cannot be read as JSON: {error}.") from None


def degrees(text: str, count: int, option: str) -> list[float]:
    """Read so many numbers of degrees; refuses with `option_unusable`."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    limits = (90, 180) * (count // 2)
    fits = len(numbers) == count and all(abs(n) <= m for n, m in zip(numbers, limits, strict=True))
    if not fits:
        example = "51.38,-2.36" if count == 2 else "51,-3,52,-2"  # noqa: PLR2004 (a point)
        sentence = f"{option} {text[:60]!r}: it looks like {option}={example}."
        raise Refusal("option_unusable", sentence)
    return numbers
