"""`penstock cart …` and `penstock limit …`: hold baskets of stock, and limit what one may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import (
    read_instant,
    read_settings,
    run_in_transaction,
    run_with_account,
)
from penstock.errors import Refusal

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.inventory.limit_rules import LimitInput
    from penstock.rules.carts import CartWork

commands = typer.Typer(
    no_args_is_help=True, help="Hold the stock of a basket for a while; extend, release, show."
)
limits = typer.Typer(
    no_args_is_help=True, help="Limit what one customer may have, and what carts may hold."
)
Channel = Annotated[str, typer.Option("--channel", "-c", metavar="REF", help="The channel.")]
Ref = Annotated[str, typer.Argument(metavar="REF", help="The cart's ref in its channel.")]
Lines = Annotated[
    list[str], typer.Option("--line", "-l", metavar="SKU=QTY", help="What to hold; repeat it.")
]
Minutes = Annotated[
    int | None, typer.Option(min=1, help="For so long; without, as long as the channel says.")
]
To = Annotated[
    str | None, typer.Option("--to", metavar="LAT,LON", help="Where it is to be delivered.")
]
Pickup = Annotated[
    str | None, typer.Option("--pickup", metavar="LOCATION", help="Where it will be collected.")
]
Partly = Annotated[bool, typer.Option("--partly", help="As much as there is, not all or nothing.")]
Customer = Annotated[str | None, typer.Option(metavar="REF", help="Whose cart it is.")]
Email = Annotated[str | None, typer.Option(help="Of a customer without a record: for limits.")]
Session = Annotated[str | None, typer.Option(help="Of a visitor without an e-mail: for limits.")]


@commands.command()
def hold(
    ref: Ref,
    channel: Channel,
    line: Lines,
    to: To = None,
    pickup: Pickup = None,
    partly: Partly = False,
    minutes: Minutes = None,
    customer: Customer = None,
    email: Email = None,
    session: Session = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Hold a cart; one of the same ref is held anew, with these lines."""
    from penstock.orders.carts import CartInput
    from penstock.rules.carts import NewHold

    fields: dict[str, Any] = {
        "channel": channel,
        "ref": ref,
        "lines": [_line(one) for one in line],
        "service": "deliver" if pickup is None else "collect",
        "destination": None if to is None else _place(to),
        "pickup_location": pickup,
        "all_or_nothing": not partly,
        "minutes": minutes,
        "customer": customer,
        "email": email,
        "session": session,
    }
    try:
        asked = msgspec.convert(fields, CartInput)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_cart", f"The cart: {error}.") from None
    _decide(NewHold(asked), account, as_json=as_json)


@commands.command()
def show(ref: Ref, channel: Channel, account: AccountName = None, as_json: AsJson = False) -> None:
    """Show what a cart holds, where and until when."""
    from penstock.rules.cart_reading import find_cart

    async def work(opened: Account) -> Any:
        return msgspec.to_builtins(await find_cart(opened.knowledge, channel, ref))

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


@commands.command()
def extend(
    ref: Ref,
    channel: Channel,
    minutes: Minutes = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Hold a cart longer, for so many minutes from now."""
    from penstock.rules.carts import CartChange

    _decide(CartChange(channel, ref, "extend", minutes), account, as_json=as_json)


@commands.command()
def release(
    ref: Ref, channel: Channel, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Give back what a cart holds."""
    from penstock.rules.carts import CartChange

    _decide(CartChange(channel, ref, "release"), account, as_json=as_json)


@commands.command("list")
def list_carts(
    channel: Channel,
    status: Annotated[
        str | None, typer.Option(help="held, released, ordered or expired; without, all.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Where the page before ended: its `next`.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List a channel's carts, those that changed last first."""
    from penstock.rules.cart_reading import find_carts

    async def work(opened: Account) -> Any:
        found = await find_carts(opened.knowledge, channel, status, after, limit)
        return msgspec.to_builtins(found)

    found = run_with_account(read_settings(account=account), work)
    if as_json:
        print_json(found)
        return
    rows = [
        (one["ref"], one["status"], str(len(one["lines"])), _units(one), one["expires_at"])
        for one in found["carts"]
    ]
    if not rows:
        say("There is no such cart.")
        return
    draw_table(("cart", "status", "lines", "held", "until"), rows)
    if found["next"]:
        say(f"More: --after {found['next']}")


def _units(document: dict[str, Any]) -> str:
    return str(sum(line["qty_held"] for line in document["lines"]))


def _line(text: str) -> dict[str, Any]:
    sku, _, qty = text.rpartition("=")
    if not sku or not qty.isdecimal():
        raise Refusal("option_unusable", f"--line {text!r} is no SKU=QTY, such as P1=2.")
    return {"sku": sku, "qty": int(qty)}


def _place(text: str) -> dict[str, float]:
    latitude, _, longitude = text.partition(",")
    try:
        return {"latitude": float(latitude), "longitude": float(longitude)}
    except ValueError:
        sentence = f"--to {text!r} is no LAT,LON, such as 51.38,-2.36."
        raise Refusal("option_unusable", sentence) from None


def _decide(item: CartWork, account: str | None, *, as_json: bool) -> None:
    async def work(opened: Account) -> Any:
        result = (await opened.grouping.submit([item]))[0]
        if isinstance(result, Refusal):
            raise result
        return msgspec.json.decode(result)

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    until = f" until {document['expires_at']}" if document["status"] == "held" else ""
    say(f"Cart {document['ref']} of {document['channel']}: {document['status']}{until}")
    if document["order_id"]:
        say(f"It has become order {document['order_id']}.")
    if document["held"]:
        rows = [(h["line"], h["sku"], h["location"], str(h["qty"])) for h in document["held"]]
        draw_table(("line", "SKU", "held at", "qty"), rows)
    if document["status"] == "held":
        for lack in document["lacks"]:
            say(f"Line {lack['line']}: {lack['qty']} of {lack['sku']} are not held.")


@limits.command("set")
def set_limit(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The limit's own name.")],
    sku: Annotated[str | None, typer.Option(help="About this SKU.")] = None,
    category: Annotated[str | None, typer.Option(help="Or about this category.")] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", "-c", metavar="REF", help="In it and those below.")
    ] = None,
    qty: Annotated[int | None, typer.Option(min=0, help="Units a customer may have.")] = None,
    period_h: Annotated[
        int | None, typer.Option("--period-h", min=1, help="In so many hours; without, in all.")
    ] = None,
    held_percent: Annotated[
        int | None,
        typer.Option("--held-percent", min=0, max=100, help="Of the stock, in carts at once."),
    ] = None,
    starts: Annotated[str | None, typer.Option(metavar="INSTANT", help="From then on.")] = None,
    ends: Annotated[str | None, typer.Option(metavar="INSTANT", help="Until then.")] = None,
    account: AccountName = None,
) -> None:
    """Set a limit: so many units a customer, or such a part of the stock in carts."""
    from penstock.inventory.limit_rules import LimitInput, set_limits
    from penstock.records import insist

    starts_at = None if starts is None else read_instant(starts)
    ends_at = None if ends is None else read_instant(ends)
    asked = LimitInput(ref, sku, category, channel, qty, period_h, held_percent, starts_at, ends_at)
    results = run_in_transaction(read_settings(account=account), lambda tx: set_limits(tx, [asked]))
    insist(results)
    say(f"Limit {ref}: {results[0]}.")


@limits.command("list")
def list_limits(account: AccountName = None, as_json: AsJson = False) -> None:
    """List every limit there is."""
    from penstock.inventory import limit_rules

    found = run_in_transaction(read_settings(account=account), limit_rules.list_limits)
    if as_json:
        print_json({"limits": found})
    elif found:
        rows = [(one.ref, _about(one), one.channel or "all", _bound(one)) for one in found]
        draw_table(("limit", "about", "channel", "at most"), rows)
    else:
        say("There is no limit.")


def _about(limit: LimitInput) -> str:
    return limit.sku if limit.sku is not None else f"category {limit.category}"


def _bound(limit: LimitInput) -> str:
    if limit.qty is None:
        return f"{limit.held_percent} % of the stock in carts"
    period = f" in {limit.period_h} h" if limit.period_h else ""
    return f"{limit.qty} a customer{period}"


@limits.command("drop")
def drop(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The limit's own name.")],
    account: AccountName = None,
) -> None:
    """Take a limit away."""
    from penstock.inventory.limit_rules import drop_limit

    run_in_transaction(read_settings(account=account), lambda tx: drop_limit(tx, ref))
    say(f"Limit {ref} is gone.")
