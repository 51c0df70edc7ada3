"""What a client sends to place an order, and the checks that need nothing but the text itself.

Pure. Refusals name the field. Amounts are integers in minor units; a unit price is a decimal per
stated quantity. Unknown fields are refused, so that a misspelt one is not lost in silence.
"""

import hashlib
import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from penstock import money
from penstock.errors import Refusal
from penstock.quantity import check_qty

MAX_LINES = 1_000
MAX_CHOICES = 50
MAX_PARCELS = 1_000
MAX_CARRIERS = 20
DEFAULT_CHANCE = 0.9
DEFAULT_PRIORITY = 5
Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Chance = Annotated[float, msgspec.Meta(ge=0.5, le=0.999)]


class Input(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Root of what is read from clients.

    Defaults are left out of what is hashed: an order has the hash that it had before there was a
    field that it does not use.
    """


class ChargeInput(Input):
    """An amount beside a line's price: shipping, gift wrap; a discount says what it takes off."""

    code: Ref
    amount_minor: int


class TaxInput(Input):
    """A tax on a line: its rate and amount, and whether the price has it included."""

    code: Ref
    rate: Decimal
    amount_minor: int
    included: bool = True


class LineInput(Input):
    """One line. `state` says what has happened elsewhere already: then no stock moves."""

    sku: Ref
    qty: int
    unit_price: Decimal = Decimal(0)
    per_qty: int = 1
    ref: str | None = None
    parent_ref: str | None = None
    location: str | None = None
    state: Literal["open", "reserved", "shipped"] = "open"
    charges: list[ChargeInput] = []
    discounts: list[ChargeInput] = []
    taxes: list[TaxInput] = []


class DestinationInput(Input):
    """Where to: coordinates are needed until addresses are looked up."""

    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    name: str = ""
    address_lines: list[str] = []
    town: str = ""
    postcode: str = ""
    country: str = ""


class ChoiceInput(Input):
    """A group of lines wanted in one way: to an address (deliver) or at a location (collect).

    `carriers` are the services (`carrier/service`) that its dates are for, all if left out;
    `chance` how sure they are to be; `time_zone` the destination's; `slot_at` when its pick-up
    slot begins.
    """

    lines: list[LineInput]
    service: Literal["deliver", "collect"] = "deliver"
    destination: DestinationInput | None = None
    pickup_location: str | None = None
    ship_complete: bool = False
    max_parcels: int | None = None
    promised_at: datetime | None = None
    carriers: Annotated[list[str], msgspec.Meta(max_length=MAX_CARRIERS)] = []
    chance: Chance = DEFAULT_CHANCE
    time_zone: str | None = None
    slot_at: datetime | None = None


class HoldInput(Input):
    """A hold to begin with, such as `fraud` or `payment`."""

    kind: Ref
    reason: str = ""


class OrderInput(Input):
    """An order. With one choice, its fields may stand in the order itself (the shorthand).

    `cart` is the ref of a cart in the same channel, whose held stock it takes over.

    Where a count finds less than is reserved, the lowest `priority` loses its stock first.
    """

    channel: Ref
    ref: Ref
    choices: list[ChoiceInput] = []
    lines: list[LineInput] = []
    destination: DestinationInput | None = None
    service: Literal["deliver", "collect"] = "deliver"
    pickup_location: str | None = None
    ship_complete: bool = False
    max_parcels: int | None = None
    promised_at: datetime | None = None
    carriers: Annotated[list[str], msgspec.Meta(max_length=MAX_CARRIERS)] = []
    chance: Chance = DEFAULT_CHANCE
    time_zone: str | None = None
    slot_at: datetime | None = None
    type: str = "home_delivery"
    currency: str | None = None
    customer: str | None = None
    placed_at: datetime | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = DEFAULT_PRIORITY
    holds: list[HoldInput] = []
    attributes: dict[str, Any] = {}
    cart: Ref | None = None


_encode = msgspec.json.Encoder(order="deterministic").encode


_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def checked_hash(order: OrderInput) -> bytes:
    """Return a hash of what was asked: the same for the same order, whatever its spelling.

    Refuses with `invalid_order` text that no column can hold.
    """
    body = _encode(order)
    if b"\\u0000" in body and _NUL.search(body):
        raise Refusal("invalid_order", "An order cannot hold the character NUL.")
    return hashlib.blake2b(body, digest_size=16).digest()


def choices_of(order: OrderInput) -> list[ChoiceInput]:
    """Return the order's choices, the shorthand written out; refuses what cannot be an order."""
    if order.choices and order.lines:
        raise Refusal("invalid_order", "Give `choices` or `lines`, not both.", field="lines")
    choices = order.choices or [
        ChoiceInput(
            lines=order.lines,
            service=order.service,
            destination=order.destination,
            pickup_location=order.pickup_location,
            ship_complete=order.ship_complete,
            max_parcels=order.max_parcels,
            promised_at=order.promised_at,
            carriers=order.carriers,
            chance=order.chance,
            time_zone=order.time_zone,
            slot_at=order.slot_at,
        )
    ]
    if len(choices) > MAX_CHOICES:
        raise Refusal("invalid_order", f"More than {MAX_CHOICES} choices.", field="choices")
    if sum(len(choice.lines) for choice in choices) > MAX_LINES:
        raise Refusal("invalid_order", f"More than {MAX_LINES} lines.", field="lines")
    for choice in choices:
        _check_choice(choice)
    if order.currency is not None:
        money.check_currency(order.currency)
    if order.placed_at is not None and order.placed_at.tzinfo is None:
        raise Refusal("invalid_order", "`placed_at` needs a time zone.", field="placed_at")
    return choices


def _check_choice(choice: ChoiceInput) -> None:
    if not choice.lines:
        raise Refusal("invalid_order", "A choice needs at least one line.", field="lines")
    if choice.service == "deliver" and choice.destination is None:
        raise Refusal("invalid_order", "A delivery needs a destination.", field="destination")
    if choice.service == "collect" and choice.pickup_location is None:
        raise Refusal(
            "invalid_order", "A collection needs a pick-up location.", field="pickup_location"
        )
    if choice.max_parcels is not None and not 1 <= choice.max_parcels <= MAX_PARCELS:
        message = f"At least 1 parcel is needed, and at most {MAX_PARCELS} are possible."
        raise Refusal("invalid_order", message, field="max_parcels")
    _check_dates(choice)
    for line in choice.lines:
        check_qty(line.qty, least=1, field="qty")
        money.check_price(line.unit_price)
        if line.per_qty < 1:
            raise Refusal("invalid_order", "A price is per 1 or more.", field="per_qty")
        if line.state != "open" and line.location is None:
            raise Refusal(
                "invalid_order",
                "A line that is reserved or shipped already needs its location.",
                field="location",
            )


def _check_dates(choice: ChoiceInput) -> None:
    for field, at in (("promised_at", choice.promised_at), ("slot_at", choice.slot_at)):
        if at is not None and at.tzinfo is None:
            raise Refusal("invalid_order", f"`{field}` needs a time zone.", field=field)
    if choice.slot_at is not None and choice.service != "collect":
        raise Refusal("invalid_order", "Only what is collected has a slot.", field="slot_at")


def amounts(line: LineInput, currency: str) -> tuple[int, bytes]:
    """Return the line's amount (price times quantity) and its charges, as kept per line."""
    amount_minor = money.price_for(line.unit_price, line.per_qty, line.qty, currency)
    if not (line.charges or line.discounts or line.taxes):
        price = f'{{"unit_price":"{line.unit_price}","per_qty":{line.per_qty}}}'
        return amount_minor, price.encode()
    kept = {
        "unit_price": line.unit_price,
        "per_qty": line.per_qty,
        "charges": line.charges,
        "discounts": line.discounts,
        "taxes": line.taxes,
    }
    return amount_minor, _encode(kept)


def total_minor(amount_minor: int, line: LineInput) -> int:
    """Return what a line adds to the order's total: price, charges, discounts, taxes on top."""
    if not (line.charges or line.discounts or line.taxes):
        return money.check_amount(amount_minor)
    return money.check_amount(
        amount_minor
        + sum(charge.amount_minor for charge in line.charges)
        - sum(discount.amount_minor for discount in line.discounts)
        + sum(tax.amount_minor for tax in line.taxes if not tax.included)
    )
