"""`penstock lot` and `penstock area`: lots counted, received, moved, pegged and picked; areas.

What HTTP offers, through the same functions: a command writes the body of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_with_account
from penstock.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from penstock.api.exchange import Reply, Request
    from penstock.app import Account

commands = typer.Typer(no_args_is_help=True, help="Batches with expiry: count, move, pick, trace.")
area = typer.Typer(no_args_is_help=True, help="Storage areas of locations.")
Sku = Annotated[str, typer.Argument(metavar="SKU", help="Of which product.")]
Location = Annotated[str, typer.Argument(metavar="LOCATION", help="Where.")]
Lots = Annotated[
    list[str],
    typer.Argument(
        metavar="LOT=QTY…", help="A=4, with expiry A=4@2026-12-24; =3: of no known lot."
    ),
]
AreaRef = Annotated[str | None, typer.Option("--area", metavar="REF", help="In which area.")]
Supplier = Annotated[str, typer.Option("--supplier", help="Who delivered it.")]
Pool = Annotated[str | None, typer.Option("--pool", metavar="REF", help="In which pool.")]
Channel = Annotated[
    str | None, typer.Option("--channel", "-c", metavar="REF", help="Whose SKU, if in doubt.")
]
Key = Annotated[
    str | None, typer.Option("--key", help="The same key has one effect; a new one by default.")
]


@commands.command()
def track(
    skus: Annotated[list[str], typer.Argument(metavar="SKU…", help="Products.")],
    channel: Channel = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Begin to keep lots of products; what is there of them is of no known lot until counted."""
    from penstock.api.lots import post_track

    done = _send(account, post_track, _lean(skus=skus, channel=channel))
    if as_json:
        print_json(done)
        return
    say(f"Lots are kept of {', '.join(skus)}.")


@commands.command()
def count(
    sku: Sku,
    location: Location,
    lots: Lots,
    area_ref: AreaRef = None,
    supplier: Supplier = "",
    pool: Pool = None,
    channel: Channel = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Count a product at a location by lot: their sum is its stock; what is not named is gone."""
    from penstock.api.lots import post_counts

    common = _lean(sku=sku, location=location, area=area_ref, supplier=supplier, pool=pool)
    items = [common | _lot(text, "qty") for text in lots]
    done = _send(account, post_counts, _lean(items=items, channel=channel))
    _told(done, as_json=as_json)
    if not as_json and done.get("older"):
        say("A newer count is known: nothing has changed.")


@commands.command()
def change(
    sku: Sku,
    location: Location,
    lots: Lots,
    area_ref: AreaRef = None,
    supplier: Supplier = "",
    pool: Pool = None,
    channel: Channel = None,
    key: Key = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Add what was received or found of lots, or (A=-2) take off what was thrown away."""
    from penstock.api.lots import post_changes

    common = _lean(sku=sku, location=location, area=area_ref, supplier=supplier, pool=pool)
    items = [common | _lot(text, "delta") for text in lots]
    body = _lean(items=items, channel=channel)
    _told(_send(account, post_changes, body, key=key), as_json=as_json)


@commands.command()
def move(
    sku: Sku,
    location: Location,
    lot: Annotated[str, typer.Argument(metavar="LOT=QTY", help="How many of which lot.")],
    from_area: Annotated[
        str | None, typer.Option("--from", metavar="REF", help="Area they are in.")
    ] = None,
    to_area: Annotated[
        str | None, typer.Option("--to", metavar="REF", help="Area they go to.")
    ] = None,
    pool: Pool = None,
    channel: Channel = None,
    key: Key = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Move units of a lot between areas; in quarantine or returns nobody is promised them."""
    from penstock.api.lots import post_moves

    item = _lean(sku=sku, location=location, pool=pool, to=to_area) | _lot(lot, "qty")
    item |= {} if from_area is None else {"from": from_area}
    body = _lean(items=[item], channel=channel)
    _told(_send(account, post_moves, body, key=key), as_json=as_json)


@commands.command("list")
def list_all(
    sku: Annotated[str | None, typer.Argument(metavar="[SKU]", help="Only of this one.")] = None,
    location: Annotated[str | None, typer.Option("--location", "-l", help="Only there.")] = None,
    lot: Annotated[str | None, typer.Option("--lot", help="Only of this lot.")] = None,
    expires_before: Annotated[
        str | None, typer.Option("--expires-before", metavar="DATE", help="Only these.")
    ] = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List what lies where, first expired first."""
    from penstock.api.lots import get_lots

    query = _lean(sku=sku, location=location, lot=lot, expires_before=expires_before)
    found = _send(account, get_lots, query=query)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            *(one["sku"], one["lot"], one["expires_on"] or "", one["location"], one["area"]),
            *(f"{one['qty']:,}", f"{one['pegged']:,}", "yes" if one["is_blocked"] else ""),
        )
        for one in found["lots"]
    ]
    draw_table(("SKU", "lot", "good until", "location", "area", "units", "pegged", "blocked"), rows)


@commands.command()
def history(
    sku: Sku,
    lot: Annotated[str, typer.Argument(metavar="LOT", help="Which.")],
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of a lot, newest first, and which orders got it: a recall's question."""
    from penstock.api.lots import get_history

    found = _send(account, get_history, query={"sku": sku, "lot": lot})
    if as_json:
        print_json(found)
        return
    rows = [
        (
            *(one["occurred_at"][:19], one["location"], one["area"], f"{one['qty']:+,}"),
            *(one["cause"], one["order"] or "", "assumed" if one["is_assumed"] else ""),
        )
        for one in found["history"]
    ]
    draw_table(("when", "location", "area", "units", "why", "order", ""), rows)


@commands.command()
def suggest(
    sku: Sku,
    location: Location,
    qty: Annotated[int, typer.Argument(min=1, help="How many.")],
    days: Annotated[int, typer.Option("--days", min=0, help="Good for so many days.")] = 0,
    pool: Pool = None,
    channel: Channel = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say which lots to take: first expired first, never what is expired, blocked or pegged."""
    from penstock.api.lots import post_suggestions

    item = _lean(sku=sku, location=location, pool=pool, qty=qty, min_remaining_days=days)
    found = _send(account, post_suggestions, _lean(items=[item], channel=channel))
    if as_json:
        print_json(found)
        return
    _refuse_problems(found)
    _draw_picks([(sku, pick) for pick in found["suggestions"][0]])


@commands.command()
def pick(
    fulfilment: Annotated[str, typer.Argument(metavar="FULFILMENT", help="Its id.")],
    lots: Annotated[
        list[str] | None, typer.Argument(metavar="[SKU:LOT=QTY…]", help="As suggested, if none.")
    ] = None,
    look: Annotated[bool, typer.Option("--look", help="Say what to pick, and do nothing.")] = False,
    peg: Annotated[bool, typer.Option("--peg", help="Keep them only: nobody has picked.")] = False,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say which lots were picked for a fulfilment: they leave when it ships."""
    from penstock.api.lots import get_fulfilment_lots, post_fulfilment_lots

    if look:
        found = _run(account, lambda opened: get_fulfilment_lots(opened, fulfilment))
    else:
        body = {"peg": peg, "lots": _by_sku(lots or [])}
        request = _request(body)
        found = _run(account, lambda opened: post_fulfilment_lots(opened, fulfilment, request))
    if as_json:
        print_json(found)
        return
    _draw_picks([(one["sku"], taken) for one in found["lots"] for taken in one["lots"]])


@area.command("put")
def put_area(
    location: Location,
    ref: Annotated[str, typer.Argument(metavar="REF", help="Its ref.")],
    kind: Annotated[
        str, typer.Option("--kind", help="pick, bulk, receiving, quarantine or returns.")
    ] = "pick",
    name: Annotated[str, typer.Option("--name", help="What people call it.")] = "",
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make or change a storage area; many at once come from a file: `penstock import areas`."""
    from penstock.api.lots import post_areas

    one = {"location": location, "ref": ref, "kind": kind, "name": name}
    (result,) = _send(account, post_areas, {"areas": [one]})["results"]
    if "problem" in result:
        _refuse(result["problem"])
    if as_json:
        print_json(result)
        return
    say(f"Area {ref} of {location} is {result['result']}.")


@area.command("list")
def list_areas(
    location: Annotated[str | None, typer.Option("--location", "-l", help="Only there.")] = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List storage areas, with the units of known lots in them."""
    from penstock.api.lots import get_areas

    found = _send(account, get_areas, query=_lean(location=location))
    if as_json:
        print_json(found)
        return
    rows = [
        (one["location"], one["ref"], one["kind"], one["name"], f"{one['qty']:,}")
        for one in found["areas"]
    ]
    draw_table(("location", "area", "kind", "name", "units"), rows)


def _lean(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _lot(text: str, field: str) -> dict[str, Any]:
    """Read LOT=QTY[@DATE]; without a lot it is of no known one."""
    lot, equals, rest = text.rpartition("=")
    qty, _, expires_on = rest.partition("@")
    if not equals or not qty.lstrip("+-").isdecimal():
        raise Refusal("option_unusable", f"{text[:60]!r} is not LOT=QTY, as in A=4@2026-12-24.")
    return _lean(lot=lot, expires_on=expires_on) | {field: int(qty)}


def _by_sku(lots: list[str]) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for text in lots:
        sku, colon, lot = text.partition(":")
        if not colon:
            raise Refusal("option_unusable", f"{text[:60]!r} is not SKU:LOT=QTY, as in MILK:A=4.")
        found.setdefault(sku, []).append(_lot(lot, "qty"))
    return [{"sku": sku, "lots": of_it} for sku, of_it in found.items()]


def _request(
    body: Any = None, query: dict[str, str] | None = None, key: str | None = None
) -> Request:
    from urllib.parse import urlencode

    import msgspec

    from penstock.api.exchange import Request
    from penstock.ids import new_id

    headers = {"idempotency-key": key or new_id()}
    encoded = b"" if body is None else msgspec.json.encode(body)
    return Request(urlencode(query or {}), headers, encoded)


def _send(
    account: str | None,
    function: Callable[[Account, Request], Awaitable[Reply]],
    body: Any = None,
    *,
    query: dict[str, str] | None = None,
    key: str | None = None,
) -> Any:
    request = _request(body, query, key)
    return _run(account, lambda opened: function(opened, request))


def _run(account: str | None, work: Callable[[Account], Awaitable[Reply]]) -> Any:
    import msgspec

    reply = run_with_account(read_settings(account=account), work)
    answer = msgspec.json.decode(reply.body)
    if reply.status >= 400:  # noqa: PLR2004 (of HTTP: refused)
        _refuse(answer)
    return answer


def _refuse_problems(done: Any) -> None:
    for one in done.get("problems", [])[:1]:
        _refuse(one)


def _refuse(problem: Any) -> NoReturn:
    code, sentence = str(problem["code"]), str(problem["detail"])
    raise Refusal(code, sentence)


def _told(done: Any, *, as_json: bool) -> None:
    _refuse_problems(done)
    if as_json:
        print_json(done)
        return
    say("Done.")


def _draw_picks(picks: list[tuple[str, Any]]) -> None:
    rows = [
        (sku, pick["lot"], pick["expires_on"] or "", pick["area"], f"{pick['qty']:,}")
        for sku, pick in picks
    ]
    draw_table(("SKU", "lot", "good until", "area", "units"), rows)
