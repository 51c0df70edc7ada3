"""`penstock promise`: what a cart would get, from where, when and for how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_with_account
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.orders.intake import LineInput
    from penstock.rules.promise import ChoicePromise, FreeSlot, PromisedShipment

Lines = Annotated[list[str], typer.Argument(metavar="SKU=QTY…", help="What is in the cart.")]
ChannelName = Annotated[str, typer.Option("--channel", help="Where it is sold.")]
To = Annotated[
    str | None, typer.Option("--to", metavar="LAT,LON", help="Where it goes, in degrees.")
]
PickUp = Annotated[
    str | None, typer.Option("--pick-up", metavar="LOCATION", help="Where it is collected.")
]
Country = Annotated[str, typer.Option("--country", help="Of the destination, for lanes.")]
Postcode = Annotated[str, typer.Option("--postcode", help="Of the destination, for lanes.")]
Chance = Annotated[
    float, typer.Option("--chance", min=0.5, max=0.999, help="That it is not later.")
]


def show_promise(
    lines: Lines,
    channel: ChannelName,
    to: To = None,
    pick_up: PickUp = None,
    country: Country = "",
    postcode: Postcode = "",
    chance: Chance = 0.9,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say what a cart would get now: locations, quantities, costs, dates, and what is lacking.

    Nothing is taken. An order placed at once gets just this, as long as nothing changes.
    """
    import msgspec

    from penstock.orders.intake import DestinationInput
    from penstock.rules.promise import Promise, PromiseInput, promise

    if (to is None) == (pick_up is None):
        raise Refusal("option_unusable", "Say --to LAT,LON or --pick-up LOCATION.")
    asked = PromiseInput(
        channel=channel, lines=[_line(one) for one in lines], chance=chance, pickup_location=pick_up
    )
    if to is None:
        asked.service = "collect"
    else:
        asked.destination = DestinationInput(*_point(to), country=country, postcode=postcode)

    async def work(opened: Account) -> Promise:
        seen = (opened.follower.version, int(opened.follower.age_s * 1000))
        return promise(opened.knowledge, asked, seen)

    found = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    for choice in found.choices:
        _show(choice, found.currency)


def _show(choice: ChoicePromise, currency: str) -> None:
    from penstock.money import written

    if choice.shipments:
        rows = [_row(one, choice.service, currency) for one in choice.shipments]
        draw_table(("from", "what", "km", "cost", "how", "there by"), rows)
    for one in choice.lacking:
        say(f"Lacking: {one.qty} of {one.sku}.")
    for one in choice.shipments:
        if one.slots:
            slots = "; ".join(_slot(slot) for slot in one.slots[:5])
            say(f"Slots at {one.location}: {slots} (UTC).")
    when = "nobody knows when" if choice.by is None else f"there by {choice.by:%a %d %b %H:%M} UTC"
    say(f"{written(choice.cost_minor, currency)}, {when}.")


def _slot(slot: FreeSlot) -> str:
    left = "" if slot.left is None else f", {slot.left} left"
    return f"{slot.start:%a %d %b %H:%M}-{slot.end:%H:%M}{left}"


def _row(one: PromisedShipment, service: str, currency: str) -> tuple[str, ...]:
    from penstock.money import written

    what = ", ".join(f"{line.qty} {line.sku}" for line in one.lines)
    how, by = "", None
    if service == "collect":
        how, by = "pick-up", one.collect_from
    elif one.ways:
        how, by = f"{one.ways[0].carrier}/{one.ways[0].service}", one.ways[0].latest.end
    cost = written(one.cost_minor, currency)
    return (
        one.location,
        what,
        f"{one.distance_km:,.0f}",
        cost,
        how,
        f"{by:%a %d %b %H:%M}" if by else "",
    )


def _line(text: str) -> LineInput:
    from penstock.orders.intake import LineInput

    sku, _, qty = text.rpartition("=")
    if not sku or not qty.isdecimal():
        raise Refusal("option_unusable", f"{text!r} is no SKU=QTY such as MUG=2.")
    return LineInput(sku=sku, qty=int(qty))


def _point(text: str) -> tuple[Any, ...]:
    latitude, _, longitude = text.partition(",")
    try:
        return float(latitude), float(longitude)
    except ValueError:
        raise Refusal("option_unusable", f"{text!r} is no LAT,LON such as 51.5,-0.1.") from None
