"""`penstock calendar` and `penstock carrier`: when a place is open, and when a parcel arrives.

Owns the tables; the answers are the network room's. Times are those of the place.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_instant, read_settings, run_in_transaction
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.network.lanes import Delivery

commands = typer.Typer(no_args_is_help=True, help="See when a location is open, and its slots.")
carrier = typer.Typer(no_args_is_help=True, help="See carriers, lanes and the dates they keep.")
Location = Annotated[str, typer.Argument(metavar="LOCATION", help="A location's ref.")]
Service = Annotated[
    str, typer.Option("--service", "-s", help="deliver, collect, receive or return.")
]
Since = Annotated[
    str | None, typer.Option("--from", metavar="DATE", help="A local date; today by default.")
]
Days = Annotated[int, typer.Option(min=1, max=366, metavar="N", help="How many days.")]
At = Annotated[
    str | None, typer.Option("--at", metavar="INSTANT", help="Decided when; now by default.")
]
Chance = Annotated[
    float, typer.Option("--chance", "-q", min=0.5, max=0.999, help="How sure it is to be.")
]
DAY_FORM, TIME_FORM, INSTANT_FORM = "%a %d %b %Y", "%H:%M", "%a %d %b %Y %H:%M %Z"


@commands.command()
def show(
    location: Location,
    service: Service = "deliver",
    since: Since = None,
    days: Days = 14,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Draw the open windows of the next days, with cut-offs, and why a day differs."""
    from penstock.db import Tx
    from penstock.network.views import place_known, view_calendar

    async def work(tx: Tx) -> dict[str, Any]:
        place = await place_known(tx, location)
        first = _date(since, place.time_zone)
        views = view_calendar(place, service, first, days)
        zone = place.time_zone
        return {"ref": location, "service": service, "time_zone": zone, "days": views}

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json(found)
        return
    say(f"{location}, {service}, in the time of {found['time_zone']}")
    draw_table(("day", "open", "cut-off", ""), [_day(view) for view in found["days"]])


def _day(view: dict[str, Any]) -> list[str]:
    windows = [f"{one['opens']:{TIME_FORM}}-{_end(one)}" for one in view["windows"]]
    cut_off = f"{view['cut_off']:{TIME_FORM}}" if view["cut_off"] else ""
    return [f"{view['on']:{DAY_FORM}}", ", ".join(windows) or "closed", cut_off, view["reason"]]


def _end(window: dict[str, Any]) -> str:
    opens, closes = window["opens"], window["closes"]
    text = f"{closes:{TIME_FORM}}"
    if text == "00:00":
        return "24:00"
    return text if closes.date() == opens.date() else f"{text} next day"


@commands.command()
def slots(
    location: Location,
    service: Service = "collect",
    on: Annotated[
        str | None, typer.Option("--on", metavar="DATE", help="Today by default.")
    ] = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show the slots of a day, and how many each has left."""
    from penstock.db import Tx
    from penstock.network.pickup_slots import free_slots
    from penstock.network.views import place_known, view_slots

    async def work(tx: Tx) -> list[dict[str, Any]]:
        place = await place_known(tx, location)
        day = _date(on, place.time_zone)
        return view_slots(await free_slots(tx, place, service, day), place.time_zone)

    found = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json({"ref": location, "service": service, "slots": found})
    elif not found:
        say(f"{location} is closed to {service} on that day.")
    else:
        draw_table(("slot", "left"), [_slot(one) for one in found])


def _slot(one: dict[str, Any]) -> list[str]:
    left = "no limit" if one["left"] is None else str(one["left"])
    return [f"{one['begins']:{DAY_FORM} {TIME_FORM}}-{one['ends']:{TIME_FORM}}", left]


@commands.command()
def ready(
    location: Location,
    service: Service = "collect",
    at: At = None,
    chance: Chance = 0.9,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Tell when what is decided now is ready, and from when on it can be collected."""
    from zoneinfo import ZoneInfo

    from penstock.db import Tx
    from penstock.network.carriers import find_pick_up
    from penstock.network.lanes import PickUp

    decision = read_instant(at) if at else datetime.now(UTC)

    async def work(tx: Tx) -> tuple[PickUp | None, str]:
        return await find_pick_up(tx, location, service, decision, chance)

    found, time_zone = run_in_transaction(read_settings(account=account), work)
    if found is None:
        raise Refusal("never_open", f"{location} does not open to {service} within 100 days.")
    zone = ZoneInfo(time_zone)
    if as_json:
        print_json({"ready_at": found.ready_at, "collect_from": found.collect_from})
        return
    say(f"ready         {found.ready_at.astimezone(zone):{INSTANT_FORM}}")
    say(f"collect from  {found.collect_from.astimezone(zone):{INSTANT_FORM}}")


@carrier.command("list")
def list_all(account: AccountName = None, as_json: AsJson = False) -> None:
    """List carriers' services, their lanes, and how many deliveries they have learnt from."""
    from penstock.db import Tx
    from penstock.network.carriers import load_carriers
    from penstock.network.routes import Carriers

    async def work(tx: Tx) -> Carriers:
        return await load_carriers(tx)

    found = run_in_transaction(read_settings(account=account), work)
    rows = [
        {
            "carrier": name[0],
            "service": name[1],
            "delivers": one.delivers,
            "lanes": len(found.lanes.get(name, {})),
            "seen": sum(sum(s.values()) for key, s in found.seen.items() if key[:2] == name),
        }
        for name, one in found.services.items()
    ]
    if as_json:
        print_json({"services": rows})
    elif not rows:
        say("There is no carrier: penstock import carriers FILE.")
    else:
        titles = ("carrier", "service", "delivers", "lanes", "deliveries seen")
        draw_table(titles, [_carrier(row) for row in rows])


def _carrier(row: dict[str, Any]) -> list[str]:
    days = " ".join(row["delivers"])
    return [row["carrier"], row["service"], days, str(row["lanes"]), str(row["seen"])]


@carrier.command()
def window(
    location: Location,
    name: Annotated[str, typer.Option("--by", metavar="CARRIER/SERVICE", help="Who carries it.")],
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="GB, or GB:BA11AA.")],
    near: Annotated[
        str | None, typer.Option(metavar="LAT,LON", help="Where, for services that go by distance.")
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option("--zone", metavar="ZONE", help="Its time zone; else the location's."),
    ] = None,
    at: At = None,
    chance: Chance = 0.9,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Tell when a parcel decided now is collected and delivered, with the chance asked for."""
    from zoneinfo import ZoneInfo

    from penstock.cli.location import degrees
    from penstock.db import Tx
    from penstock.network.carriers import WindowAsk, find_window
    from penstock.network.lanes import Place

    carrier_ref, _, service = name.partition("/")
    country, _, postcode = to.partition(":")
    ask = WindowAsk(
        location=location,
        service=(carrier_ref, service),
        to=Place(country, postcode),
        point=None if near is None else tuple(degrees(near, 2, "--near")),
        time_zone=time_zone,
        decision=read_instant(at) if at else datetime.now(UTC),
        chance=chance,
    )

    async def work(tx: Tx) -> tuple[Delivery | None, str, str]:
        return await find_window(tx, ask)

    found, origin_zone, zone = run_in_transaction(read_settings(account=account), work)
    if found is None:
        raise Refusal("never_open", f"{name} does not deliver there within 100 days.")
    if as_json:
        ends = ("opens", "closes")
        earliest, latest = (dict(zip(ends, one, strict=True)) for one in found[1:])
        print_json({"ship_by": found.ship_by, "earliest": earliest, "latest": latest})
        return
    say(f"ship by   {found.ship_by.astimezone(ZoneInfo(origin_zone)):{INSTANT_FORM}}")
    say(f"earliest  {_span(found.earliest, zone)}")
    say(f"latest    {_span(found.latest, zone)}")


def _span(span: tuple[datetime, datetime], time_zone: str) -> str:
    from zoneinfo import ZoneInfo

    opens, closes = (one.astimezone(ZoneInfo(time_zone)) for one in span)
    return f"{opens:{INSTANT_FORM}} to {closes:{TIME_FORM}}"


def _date(text: str | None, time_zone: str) -> date:
    from zoneinfo import ZoneInfo

    if text is None:
        return datetime.now(ZoneInfo(time_zone)).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        sentence = f"{text[:40]!r} is no date such as 2026-12-24."
        raise Refusal("option_unusable", sentence) from None
