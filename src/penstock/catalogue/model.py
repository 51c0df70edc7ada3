"""A product in words, and the checks that need nothing but the record itself. Pure."""

from typing import Any

import msgspec

from penstock.errors import Refusal
from penstock.money import MAX_AMOUNT_MINOR
from penstock.records import MAX_REF

KINDS = ("standard", "variant", "group")
MAX_WEIGHT_G = 100_000_000
GTIN_LENGTHS = (8, 12, 13, 14)


class ProductInput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A product to make or change, by its ref (SKU) in a catalogue. Weight in grams."""

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


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one record: `created`, `updated`, `unchanged`, or its refusal."""

    status: str
    refusal: Refusal | None = None


def check_product(product: ProductInput) -> None:
    """Refuse a record that cannot be a product with `invalid_product`, naming the field."""
    if not 1 <= len(product.ref) <= MAX_REF:
        raise _refusal("ref", f"A SKU has 1 to {MAX_REF} characters.")
    if product.kind not in KINDS:
        raise _refusal("kind", f"A product is one of {', '.join(KINDS)}.")
    if not 0 <= product.weight_g <= MAX_WEIGHT_G:
        raise _refusal("weight_g", f"A weight is 0 to {MAX_WEIGHT_G} grams.")
    if product.price_minor is not None and not 0 <= product.price_minor <= MAX_AMOUNT_MINOR:
        raise _refusal("price_minor", f"A price is 0 to {MAX_AMOUNT_MINOR} minor units.")
    if product.gtin is not None and not is_gtin(product.gtin):
        raise _refusal("gtin", f"{product.gtin[:20]!r} is no GTIN: its check digit is wrong.")


def is_gtin(text: str) -> bool:
    """Tell whether the text is a GTIN with its check digit (GS1 General Specifications 7.9)."""
    if len(text) not in GTIN_LENGTHS or not (text.isascii() and text.isdigit()):
        return False
    weighted = sum(int(d) * (3 if place % 2 else 1) for place, d in enumerate(reversed(text)))
    return weighted % 10 == 0


def _refusal(field: str, message: str) -> Refusal:
    return Refusal("invalid_product", message, field=field)
