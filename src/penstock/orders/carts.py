"""A cart in words: what is asked to be held, for how long, and what has become of it.

Pure. A cart is the root of its holds; its ref is unique in its channel and may be held anew until
it has become an order. Where units are held, its reservations say, not the cart.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec

from penstock.errors import Refusal
from penstock.orders.intake import MAX_LINES, DestinationInput, Input, Ref
from penstock.orders.model import Destination
from penstock.quantity import check_qty

MINUTES = 15
MOST_MINUTES = 60
MAX_MINUTES = 60 * 24 * 30
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]


class CartLineInput(Input):
    """So many of a SKU to be held; `ref` is the caller's name for the line."""

    sku: Ref
    qty: int
    ref: str | None = None


class CartInput(Input):
    """A basket to hold: all of it or nothing, or as much of it as there is."""

    channel: Ref
    ref: Ref
    lines: list[CartLineInput]
    service: str = "deliver"
    destination: DestinationInput | None = None
    pickup_location: str | None = None
    all_or_nothing: bool = True
    minutes: int | None = None
    max_parcels: int | None = None
    customer: str | None = None
    email: Text | None = None
    session: Text | None = None


class CartLine(msgspec.Struct, gc=False):
    """A line of a cart."""

    id: str
    ref: str
    sku: str
    product_id: int
    qty: int


class CartDocument(msgspec.Struct):
    """What was asked for, as it is kept with the cart."""

    service: str
    destination: Destination
    lines: list[CartLine]
    pickup_location_id: int | None = None
    max_parcels: int | None = None


class Cart(msgspec.Struct):
    """A cart. `holds` is what it holds now, where that was read."""

    id: str
    channel_id: int
    ref: str
    customer_id: str | None
    tier: str | None
    identity: str | None
    status: str
    expires_at: datetime
    all_or_nothing: bool
    document: CartDocument
    order_id: str | None
    created_at: datetime
    changed_at: datetime
    holds: list[Any] = []
    is_new: bool = False

    def state(self, now: datetime) -> str:
        """Return its status at an instant: what is held is over by itself."""
        is_over = self.status == "held" and self.expires_at <= now
        return "expired" if is_over else self.status


def check_cart(cart: CartInput) -> None:
    """Refuse with `invalid_cart` what cannot be a cart, naming the field."""
    if not cart.lines:
        raise _invalid("lines", "A cart needs at least one line.")
    if len(cart.lines) > MAX_LINES:
        raise _invalid("lines", f"More than {MAX_LINES} lines.")
    if cart.service not in {"deliver", "collect"}:
        raise _invalid("service", "A cart is for `deliver` or `collect`.")
    if cart.service == "deliver" and cart.destination is None:
        raise _invalid("destination", "A delivery needs a destination.")
    if cart.service == "collect" and cart.pickup_location is None:
        raise _invalid("pickup_location", "A collection needs a pick-up location.")
    if cart.max_parcels is not None and not 1 <= cart.max_parcels <= MAX_LINES:
        raise _invalid("max_parcels", f"At least 1 parcel, and at most {MAX_LINES}.")
    for line in cart.lines:
        check_qty(line.qty, least=1, field="qty")
    refs = [line.ref or str(n) for n, line in enumerate(cart.lines, start=1)]
    if len(set(refs)) != len(refs):
        raise _invalid("ref", "Two lines have the same ref.")


def check_minutes(minutes: int | None, settings: dict[str, Any]) -> int:
    """Return for how long to hold, bounded by the channel's settings; refuses `invalid_cart`."""
    most = _setting(settings, "cart_most_minutes", MOST_MINUTES)
    if minutes is None:
        return min(_setting(settings, "cart_minutes", MINUTES), most)
    if not 1 <= minutes <= most:
        raise _invalid("minutes", f"A cart is held for 1 to {most} minutes.")
    return minutes


def _setting(settings: dict[str, Any], name: str, default: int) -> int:
    value = settings.get(name, default)
    is_usable = isinstance(value, int) and not isinstance(value, bool)
    return value if is_usable and 1 <= value <= MAX_MINUTES else default


def _invalid(field: str, sentence: str) -> Refusal:
    return Refusal("invalid_cart", f"{field}: {sentence}", field=field)
