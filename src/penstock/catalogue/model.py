"""A product in words, and the checks that need nothing but the record itself. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from penstock import money
from penstock.errors import Refusal
from penstock.money import MAX_AMOUNT_MINOR
from penstock.records import MAX_REF, check_ref

KINDS = ("standard", "variant", "group")
MAX_WEIGHT_G = 100_000_000
MAX_SIZE_MM = 1_000_000
MAX_PRICES = 200
MAX_COMPONENTS = 100
MAX_PER_KIT = 10_000
GTIN_LENGTHS = (8, 12, 13, 14)


class PriceInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A price: of a type (`list`, `sale`, …), from a quantity, between instants if they are given.

    `unit_price` is a decimal in the currency, for `per_qty` units.
    """

    currency: str
    unit_price: Decimal
    type: str = "list"
    per_qty: int = 1
    qty_from: int = 1
    valid_from: datetime | None = None
    valid_until: datetime | None = None


class ComponentInput(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """So many of a SKU of the same catalogue in each kit."""

    sku: str
    qty: int = 1


class ProductInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A product to make or change, by its ref (SKU) in a catalogue. Weight in grams, size in mm.

    A `variant` names its `parent_ref`; a `group` (a kit) its `components`.
    """

    ref: str
    name: str = ""
    kind: str = "standard"
    is_stocked: bool = True
    is_on: bool = True
    unit: str = "piece"
    gtin: str | None = None
    weight_g: int = 0
    category_ref: str | None = None
    price_minor: int | None = None
    attributes: dict[str, Any] = {}
    parent_ref: str | None = None
    tax_class: str | None = None
    length_mm: int | None = None
    width_mm: int | None = None
    height_mm: int | None = None
    prices: list[PriceInput] = []
    components: list[ComponentInput] = []
    may_ship_apart: bool = False


class CategoryInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A category to make or change, by ref in a catalogue; without a parent it stands at the top.

    Without `parent`, a ref such as `garden/tools` stands below `garden`.
    """

    ref: str
    name: str = ""
    parent: str | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one record: `created`, `updated`, `unchanged`, or its refusal."""

    status: str
    refusal: Refusal | None = None


def check_product(product: ProductInput) -> None:
    """Refuse a record that cannot be a product with `invalid_product`, naming the field."""
    if not 1 <= len(product.ref) <= MAX_REF:
        raise refused("ref", f"A SKU has 1 to {MAX_REF} characters.")
    if product.kind not in KINDS:
        raise refused("kind", f"A product is one of {', '.join(KINDS)}.")
    if not 0 <= product.weight_g <= MAX_WEIGHT_G:
        raise refused("weight_g", f"A weight is 0 to {MAX_WEIGHT_G} grams.")
    for field in ("length_mm", "width_mm", "height_mm"):
        size = getattr(product, field)
        if size is not None and not 0 <= size <= MAX_SIZE_MM:
            raise refused(field, f"A size is 0 to {MAX_SIZE_MM} millimetres.")
    for field in ("category_ref", "tax_class"):
        text = getattr(product, field)
        if text is not None and not 1 <= len(text) <= MAX_REF:
            raise refused(field, f"It has 1 to {MAX_REF} characters.")
    if product.price_minor is not None and not 0 <= product.price_minor <= MAX_AMOUNT_MINOR:
        raise refused("price_minor", f"A price is 0 to {MAX_AMOUNT_MINOR} minor units.")
    if product.gtin is not None and not is_gtin(product.gtin):
        raise refused("gtin", f"{product.gtin[:20]!r} is no GTIN: its check digit is wrong.")
    _check_kind(product)
    _check_prices(product.prices)


def _check_kind(product: ProductInput) -> None:
    if (product.kind == "variant") != (product.parent_ref is not None):
        raise refused("parent_ref", "A variant names what it is a variant of; others name nothing.")
    components = product.components
    if (product.kind == "group") != bool(components):
        raise refused("components", "A group (kit) names its components; others have none.")
    if product.kind == "group" and not product.is_stocked:
        raise refused("is_stocked", "The stock of a group is that of its components.")
    if len(components) > MAX_COMPONENTS:
        raise refused("components", f"A kit has at most {MAX_COMPONENTS} components.")
    if len({one.sku for one in components}) < len(components):
        raise refused("components", "A component stands once, with its quantity.")
    for place, one in enumerate(components):
        if not 1 <= one.qty <= MAX_PER_KIT:
            raise refused(f"components[{place}].qty", f"A kit has 1 to {MAX_PER_KIT} of one.")


def _check_prices(prices: Sequence[PriceInput]) -> None:
    if len(prices) > MAX_PRICES:
        raise refused("prices", f"A product has at most {MAX_PRICES} prices.")
    seen: set[tuple[Any, ...]] = set()
    for place, price in enumerate(prices):
        try:
            _check_price(price)
        except Refusal as refusal:
            field = f"prices[{place}].{refusal.data.get('field', 'currency')}"
            raise refused(field, refusal.message) from None
        key = (price.type, price.currency, price.qty_from, price.valid_from)
        if key in seen:
            raise refused(f"prices[{place}]", "Another price is of the same type, and from then.")
        seen.add(key)


def _check_price(price: PriceInput) -> None:
    money.check_currency(price.currency)
    if not price.unit_price.is_finite() or not 0 <= price.unit_price <= MAX_AMOUNT_MINOR:
        raise refused("unit_price", f"A price is 0 to {MAX_AMOUNT_MINOR}.")
    if price.per_qty == 1 and money.decimals_of(price.unit_price) > money.digits(price.currency):
        sentence = (
            f"{price.currency} has {money.digits(price.currency)} decimals; price more units."
        )
        raise refused("unit_price", sentence)
    if not 1 <= len(price.type) <= MAX_REF:
        raise refused("type", f"A type has 1 to {MAX_REF} characters.")
    for field in ("per_qty", "qty_from"):
        if not 1 <= getattr(price, field) <= MAX_AMOUNT_MINOR:
            raise refused(field, "It is 1 or more.")
    instants = (price.valid_from, price.valid_until)
    for field, instant in zip(("valid_from", "valid_until"), instants, strict=True):
        if instant is not None and instant.tzinfo is None:
            raise refused(field, "An instant needs a time zone.")
    if price.valid_from and price.valid_until and price.valid_from >= price.valid_until:
        raise refused("valid_until", "A price ends after it begins.")


def price_at(
    prices: Iterable[PriceInput], kind: str, currency: str, qty: int, at: datetime
) -> PriceInput | None:
    """Return the price that counts: of those valid, from the largest quantity, then the newest."""
    valid = [
        price
        for price in prices
        if price.type == kind
        and price.currency == currency
        and price.qty_from <= qty
        and (price.valid_from is None or price.valid_from <= at)
        and (price.valid_until is None or at < price.valid_until)
    ]
    begins = [price.valid_from.timestamp() if price.valid_from else 0.0 for price in valid]
    ranked = zip([price.qty_from for price in valid], begins, range(len(valid)), strict=True)
    return valid[max(ranked)[2]] if valid else None


def check_category(category: CategoryInput) -> None:
    """Refuse a record that cannot be a category with `invalid_category`, naming the field."""
    check_ref(category.ref, "invalid_category")
    if category.ref.startswith("/") or category.ref.endswith("/"):
        raise Refusal("invalid_category", "ref: It neither begins nor ends with /.", field="ref")


def is_gtin(text: str) -> bool:
    """Tell whether the text is a GTIN with its check digit (GS1 General Specifications 7.9)."""
    if len(text) not in GTIN_LENGTHS or not (text.isascii() and text.isdigit()):
        return False
    weighted = sum(int(d) * (3 if place % 2 else 1) for place, d in enumerate(reversed(text)))
    return weighted % 10 == 0


def refused(field: str, message: str) -> Refusal:
    """Return the refusal `invalid_product` of a field."""
    return Refusal("invalid_product", message, field=field)
