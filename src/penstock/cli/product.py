"""`penstock product`: look at products, search them, switch one off and on.

Many products at once come from a file: `penstock import products`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.options import AccountName, AsJson
from penstock.cli.output import draw_table, print_json, say
from penstock.cli.session import read_settings, run_in_transaction

if TYPE_CHECKING:
    from penstock.catalogue.views import Product

commands = typer.Typer(no_args_is_help=True, help="Look at products, switch them off and on.")
Sku = Annotated[str, typer.Argument(metavar="SKU", help="Its SKU.")]
Catalogue = Annotated[
    str | None, typer.Option(metavar="REF", help="The catalogue, where there are several.")
]
Words = Annotated[
    str, typer.Argument(metavar="[WORDS]", help="Start of a SKU, part of a name, or a GTIN.")
]
Category = Annotated[
    str | None, typer.Option(metavar="REF", help="Only of this category and those below it.")
]
Kind = Annotated[str | None, typer.Option(help="Only standard, variant or group.")]
Off = Annotated[bool, typer.Option("--off", help="Only those that are switched off.")]
After = Annotated[str, typer.Option(metavar="SKU", help="The last SKU of the page before.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many at most.")]


@commands.command()
def show(
    sku: Sku, catalogue: Catalogue = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """Show a product with its prices, components and attributes."""
    product = _find(sku, catalogue, account)
    if as_json:
        print_json(product)
        return
    status = "on" if product.is_on else "off"
    say(f"{product.ref}: {product.name or '(no name)'}, {product.kind}, {status}")
    sizes = [product.length_mm, product.width_mm, product.height_mm]
    size = " by ".join("?" if one is None else f"{one:,}" for one in sizes)
    facts = {
        "category": product.category_ref,
        "variant of": product.parent_ref,
        "GTIN": product.gtin,
        "tax class": product.tax_class,
        "weight": f"{product.weight_g:,} g",
        "size": f"{size} mm" if any(one is not None for one in sizes) else None,
        "stocked": None if product.is_stocked else "no",
        **{name: str(value) for name, value in product.attributes.items()},
    }
    draw_table(("", ""), [(name, value) for name, value in facts.items() if value])
    for price in product.prices:
        per = f" per {price.per_qty:,}" if price.per_qty > 1 else ""
        least = f" from {price.qty_from:,}" if price.qty_from > 1 else ""
        say(f"  {price.type}: {price.unit_price} {price.currency}{per}{least}")
    apart = "may ship apart" if product.may_ship_apart else "ships whole"
    for one in product.components:
        say(f"  {one.qty:,} of {one.sku} in each kit, which {apart}")


@commands.command("list")
def list_products(
    words: Words = "",
    catalogue: Catalogue = None,
    category: Category = None,
    kind: Kind = None,
    off: Off = False,
    after: After = "",
    limit: Limit = 50,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """List products in order of SKU, a page at a time."""
    from penstock.catalogue.views import Page, Search, search_products
    from penstock.db import Tx

    async def work(tx: Tx) -> Page:
        search = Search(
            await _catalogue(tx, catalogue),
            q=words or None,
            category=category,
            kind=kind,
            is_on=False if off else None,
            after=after,
            limit=limit,
        )
        return await search_products(tx, search)

    page = run_in_transaction(read_settings(account=account), work)
    if as_json:
        print_json(page)
        return
    draw_table(
        ("SKU", "name", "kind", "category", ""),
        [
            (one.ref, one.name, one.kind, one.category_ref or "", "" if one.is_on else "off")
            for one in page.products
        ],
    )
    if page.next is not None:
        say(f"There are more: --after {page.next}")


@commands.command("off")
def switch_off(sku: Sku, catalogue: Catalogue = None, account: AccountName = None) -> None:
    """Hide a product everywhere at once: new orders are refused, work in progress stays."""
    _switch(sku, catalogue, account, is_on=False)
    say(f"Product {sku} is off.")


@commands.command("on")
def switch_on(sku: Sku, catalogue: Catalogue = None, account: AccountName = None) -> None:
    """Sell a product again, at once."""
    _switch(sku, catalogue, account, is_on=True)
    say(f"Product {sku} is on.")


def _find(sku: str, catalogue: str | None, account: str | None) -> Product:
    from penstock.db import Tx

    async def work(tx: Tx) -> Product:
        return await _found(tx, sku, await _catalogue(tx, catalogue))

    return run_in_transaction(read_settings(account=account), work)


def _switch(sku: str, catalogue: str | None, account: str | None, *, is_on: bool) -> None:
    import msgspec

    from penstock.catalogue.commands import upsert_products
    from penstock.catalogue.model import ProductInput
    from penstock.db import Tx

    async def work(tx: Tx) -> None:
        ref = await _catalogue(tx, catalogue)
        fields: dict[str, Any] = msgspec.structs.asdict(await _found(tx, sku, ref))
        del fields["id"]
        fields["is_on"] = is_on
        (outcome,) = await upsert_products(tx, ref, [ProductInput(**fields)])
        if outcome.refusal is not None:
            raise outcome.refusal

    run_in_transaction(read_settings(account=account), work)


async def _catalogue(tx: Any, ref: str | None) -> str:
    from penstock.bulk.jobs import catalogue_of_products
    from penstock.bulk.model import Options

    return await catalogue_of_products(tx, Options(catalogue=ref))


async def _found(tx: Any, sku: str, catalogue: str) -> Product:
    from penstock.catalogue.views import find_products
    from penstock.errors import Refusal

    found = await find_products(tx, catalogue, [sku])
    if not found:
        raise Refusal("unknown_product", f"There is no product {sku!r}.", sku=sku)
    return found[0]
