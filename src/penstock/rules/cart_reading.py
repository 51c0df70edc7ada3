"""Reading carts: one by channel and ref, or a channel's page by page, each with what it holds."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock.errors import Refusal
from penstock.ids import parse_id
from penstock.inventory.held import holds_of_carts
from penstock.orders.cart_store import Page, list_carts, read_cart
from penstock.rules.cart_views import cart_document
from penstock.rules.carts import unknown_cart

if TYPE_CHECKING:
    from penstock.db import Tx
    from penstock.orders.carts import Cart
    from penstock.rules.knowledge import Knowledge

MAX_PAGE = 500
STATUSES = ("held", "released", "ordered", "expired")
_NEWEST = (datetime.max.replace(tzinfo=UTC), "ffffffff-ffff-ffff-ffff-ffffffffffff")


async def find_cart(knowledge: Knowledge, channel: str, ref: str) -> dict[str, Any]:
    """Return a cart as clients see it; refuses with `unknown_channel`, `unknown_cart`."""
    key = (knowledge.channel_id(channel), ref)
    now = knowledge.clock.now()

    async def read(tx: Tx) -> Cart | None:
        cart = await read_cart(tx, key)
        if cart is not None:
            cart.holds = list(await holds_of_carts(tx, [cart.id], now))
        return cart

    cart = await knowledge.database.run(knowledge.schema, read)
    if cart is None:
        raise unknown_cart(ref)
    return cart_document(cart, knowledge, now)


async def find_carts(
    knowledge: Knowledge, channel: str, status: str | None, after: str | None, limit: int
) -> dict[str, Any]:
    """Return a page of carts, those that changed last first, and `next`, the place to go on from.

    Refuses with `unknown_channel`, `invalid_query`.
    """
    if status is not None and status not in STATUSES:
        sentence = f"`status` is one of {', '.join(STATUSES)}."
        raise Refusal("invalid_query", sentence, field="status")
    if not 1 <= limit <= MAX_PAGE:
        raise Refusal("invalid_query", f"`limit` is 1 to {MAX_PAGE}.", field="limit")
    before = _NEWEST if after is None else _read_place(after)
    page = Page(knowledge.channel_id(channel), status, before, limit)
    now = knowledge.clock.now()

    async def read(tx: Tx) -> list[Cart]:
        carts = await list_carts(tx, page, now)
        by_id = {cart.id: cart for cart in carts}
        for hold in await holds_of_carts(tx, list(by_id), now) if carts else ():
            by_id[hold.root_id].holds.append(hold)
        return carts

    carts = await knowledge.database.run(knowledge.schema, read)
    documents = [cart_document(cart, knowledge, now) for cart in carts]
    last = carts[-1] if len(carts) == limit else None
    return {"carts": documents, "next": None if last is None else _written_place(last)}


def _written_place(cart: Cart) -> str:
    text = f"{cart.changed_at.isoformat()} {cart.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_place(after: str) -> tuple[datetime, str]:
    try:
        instant, _, cart_id = base64.urlsafe_b64decode(after.encode()).decode().partition(" ")
        at = datetime.fromisoformat(instant)
        place = (at if at.tzinfo else at.replace(tzinfo=UTC), parse_id(cart_id))
    except (ValueError, binascii.Error, Refusal):
        sentence = "`after` is the `next` of the page before."
        raise Refusal("invalid_query", sentence, field="after") from None
    return place
