"""`penstock order …`: look at one order, cancel it, say that a fulfilment left or was rejected.

Each is the same event that the API sends, decided in a pass of its own by this process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.order_dates import choice_dates, fulfilment_dates
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_with_account
from penstock.errors import Refusal
from penstock.money import written

if TYPE_CHECKING:
    from penstock.app import Account
    from penstock.orders import model

commands = typer.Typer(
    no_args_is_help=True, help="Look at an order, cancel it, ship or reject its fulfilments."
)
Channel = Annotated[
    str | None, typer.Option("--channel", "-c", metavar="REF", help="The channel, with a ref.")
]
Fulfilment = Annotated[str, typer.Argument(metavar="FULFILMENT", help="The fulfilment's id.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept with the event.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Also say why it was sourced the way it was.")
]
Order = Annotated[
    str, typer.Argument(metavar="ORDER", help="The order's id, or with --channel its ref.")
]


@commands.command()
def show(
    order: Order,
    channel: Channel = None,
    explain: Explain = False,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show an order with its lines and fulfilments as they are now."""
    from penstock.rules.documents import order_document
    from penstock.rules.roots import load_trees
    from penstock.rules.take import unknown_order

    async def work(opened: Account) -> Any:
        order_id = await _order_id(opened, order, channel)
        read = partial(load_trees, order_ids=[order_id], lock="read")
        trees = await opened.database.run(opened.schema, read)
        if not trees:
            raise unknown_order(order_id)
        document = msgspec.to_builtins(order_document(trees[0], opened.knowledge))
        if explain:
            document["sourcing"] = await _explanations(opened, trees[0])
        return document

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


@commands.command()
def cancel(
    order: Order,
    channel: Channel = None,
    reason: Reason = "",
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Cancel what is still open of an order; its stock is given back."""

    async def work(opened: Account) -> Any:
        order_id = await _order_id(opened, order, channel)
        return await _decide(opened, order_id, "order.cancellation_requested", {"reason": reason})

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


@commands.command()
def ship(fulfilment: Fulfilment, account: AccountName = None, as_json: AsJson = False) -> None:
    """Say that a fulfilment has left its location; its stock leaves with it."""

    async def work(opened: Account) -> Any:
        order_id = await _order_of(opened, fulfilment)
        return await _decide(opened, order_id, "fulfilment.shipped", {}, fulfilment)

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


@commands.command()
def reject(
    fulfilment: Fulfilment,
    reason: Reason = "",
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Say that a location will not do a fulfilment; it is sourced again elsewhere."""

    async def work(opened: Account) -> Any:
        order_id = await _order_of(opened, fulfilment)
        payload = {"reason": reason}
        return await _decide(opened, order_id, "fulfilment.rejected", payload, fulfilment)

    _show(run_with_account(read_settings(account=account), work), as_json=as_json)


async def _order_id(opened: Account, order: str, channel: str | None) -> str:
    """Return the id of an order given by id, or by ref in a channel."""
    from penstock.db import Tx
    from penstock.ids import parse_id
    from penstock.orders.store import SQL

    if channel is None:
        return parse_id(order)
    key = ([opened.knowledge.channel_id(channel)], [order])

    async def find(tx: Tx) -> list[tuple[Any, ...]]:
        return await tx.fetch(SQL.find_refs, key)

    rows = await opened.database.run(opened.schema, find)
    if not rows:
        raise Refusal("unknown_order", f"There is no order {order!r} in channel {channel!r}.")
    return rows[0][2]


async def _order_of(opened: Account, fulfilment: str) -> str:
    """Return the id of the order that a fulfilment is of; refuses with `unknown_fulfilment`."""
    from penstock.db import Tx, uuid_array
    from penstock.fulfilment.store import SQL
    from penstock.ids import parse_id

    key = (uuid_array([parse_id(fulfilment)]),)

    async def find(tx: Tx) -> list[tuple[Any, ...]]:
        return await tx.fetch(SQL.root_of_fulfilments, key)

    rows = await opened.database.run(opened.schema, find)
    if not rows:
        raise Refusal("unknown_fulfilment", f"There is no fulfilment {fulfilment}.")
    return rows[0][1]


async def _explanations(opened: Account, order: model.Order) -> list[str]:
    """Return why the order was sourced so, a text for each decision, oldest first."""
    from penstock.orders.model import every_line
    from penstock.orders.store import SQL
    from penstock.sourcing.explain import explain
    from penstock.sourcing.model import Explanation

    rows = await opened.database.run(
        opened.schema, lambda tx: tx.fetch(SQL.explanations_of_order, (order.id,))
    )
    skus = {line.product_id: line.sku for line in every_line(order.lines())}
    location_ref = opened.knowledge.location_ref
    found = [msgspec.convert(row[1], Explanation) for row in rows]
    return [" ".join(explain(one, order.currency, location_ref, skus)) for one in found]


async def _decide(
    opened: Account,
    order_id: str,
    name: str,
    payload: dict[str, Any],
    fulfilment: str | None = None,
) -> Any:
    from penstock.ids import parse_id
    from penstock.rules.take import RootEvent

    event = RootEvent(order_id, name, payload)
    if fulfilment is not None:
        event.entity, event.entity_id = "fulfilment", parse_id(fulfilment)
    result = (await opened.grouping.submit([event]))[0]
    if isinstance(result, Refusal):
        raise result
    return msgspec.json.decode(result)


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    status = document["status"].replace("_", " ")
    say(f"Order {document['ref']} of {document['channel']}: {status}")
    say(f"  {document['id']}, placed {document['placed_at']}")
    lines = [line for choice in document["choices"] for line in choice["lines"]]
    others = ("qty_allocated", "qty_unsourced", "qty_shipped", "qty_cancelled")
    counters = ("qty", *(name for name in others if any(line[name] for line in lines)))
    draw_table(
        ("line", "SKU", "status", *(name.removeprefix("qty_") for name in counters)),
        [
            (
                line["ref"],
                line["sku"],
                line["status"].replace("_", " "),
                *(str(line[name]) for name in counters),
            )
            for line in lines
        ],
    )
    for choice in document["choices"]:
        if dates := choice_dates(choice):
            say(dates)
    for part in document["fulfilments"]:
        say(_fulfilment(part, document["currency"]))
    for sentences in document.get("sourcing", ()):
        say(f"Why: {sentences}")


def _fulfilment(part: dict[str, Any], currency: str) -> str:
    lines = f"{len(part['lines'])} line{'s' if len(part['lines']) > 1 else ''}"
    away = f"{part['distance_m'] / 1000:,.0f} km, {written(part['cost_minor'], currency)}"
    status = part["status"].replace("_", " ")
    dates = fulfilment_dates(part)
    more = f"\n  {dates}" if dates else ""
    return f"Fulfilment {part['id']}\n  {status} at {part['location']}: {lines}, {away}{more}"
