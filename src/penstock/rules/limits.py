"""Who is counted under which limits: the claims of orders and carts.

Owns identity. Whoever has no customer record is counted by a hash of an e-mail address, or by a
session, in the order that setting `limit_identity` gives. Where no limit is set nothing is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.errors import Refusal
from penstock.inventory.limit_rules import Limit
from penstock.inventory.model import LimitClaim, QuotaClaim
from penstock.orders.model import Order
from penstock.sourcing.model import Demand

if TYPE_CHECKING:
    from penstock.rules.knowledge import Knowledge

SIGNS = ("customer", "email", "session")


class Counted(NamedTuple):
    """A line that may count: its id, product, SKU, and how many."""

    line_id: str
    product_id: int
    sku: str
    qty: int


def identity_of(settings: Mapping[str, Any], signs: Mapping[str, str | None]) -> str | None:
    """Return who somebody is to limits, by the first sign there is; never an address as it is."""
    wanted = settings.get("limit_identity", SIGNS)
    for name in wanted if isinstance(wanted, (list, tuple)) else SIGNS:
        value = signs.get(str(name))
        if value and name == "customer":
            return f"customer {value}"
        if value and name in SIGNS:
            digest = hashlib.blake2b(value.strip().casefold().encode(), digest_size=16)
            return f"{name} {digest.hexdigest()}"
    return None


def claims_of(
    knowledge: Knowledge,
    channel_id: int,
    identity: str | None,
    lines: Sequence[Counted],
    now: datetime,
) -> list[LimitClaim]:
    """Return what lines claim under limits by customer; refuses with `identity_needed`."""
    claims: list[LimitClaim] = []
    for line in lines:
        for limit in _on(knowledge, channel_id, line.product_id, now):
            if limit.qty is None:
                continue
            if identity is None:
                raise _nobody(line.sku)
            claims.append(
                LimitClaim(
                    limit.id,
                    identity,
                    line.line_id,
                    line.qty,
                    limit.qty,
                    limit.ref,
                    line.sku,
                    limit.since(now),
                )
            )
    return claims


def quotas_of(
    knowledge: Knowledge, channel_id: int, more: Mapping[int, int], now: datetime
) -> list[QuotaClaim]:
    """Return what a cart claims of quotas, given how many units more it is to hold by product."""
    return [
        QuotaClaim(
            limit.id,
            product_id,
            qty,
            limit.held_percent,
            limit.ref,
            knowledge.products.skus[product_id] or str(product_id),
        )
        for product_id, qty in more.items()
        for limit in _on(knowledge, channel_id, product_id, now)
        if limit.held_percent is not None
    ]


def claims_of_order(
    knowledge: Knowledge, order: Order, demand: Demand, identity: str | None, now: datetime
) -> list[LimitClaim]:
    """Return what an order's lines claim; `identity` is that of its cart, if it has none."""
    wanted = {line.line_id for line in demand.lines}
    lines = [
        Counted(line.id, line.product_id, line.sku, line.qty - line.qty_cancelled)
        for line in order.lines()
        if line.id in wanted or any(part.id in wanted for part in line.components)
    ]
    signs: dict[str, str | None] = {"customer": order.customer_id}
    signs |= {name: _text(order.attributes.get(name)) for name in SIGNS if name != "customer"}
    own = identity_of(order.channel.get("settings", {}), signs)
    return claims_of(knowledge, order.channel_id, own or identity, lines, now)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _on(knowledge: Knowledge, channel_id: int, product_id: int, now: datetime) -> list[Limit]:
    limits = knowledge.limits.get(product_id)
    if not limits:
        return []
    path = knowledge.channels.path(channel_id)
    return [limit for limit in limits if limit.is_on(path, now)]


def _nobody(sku: str) -> Refusal:
    sentence = (
        f"SKU {sku!r} is limited by customer: name a customer, or give an e-mail or a session."
    )
    return Refusal("identity_needed", sentence, sku=sku)
