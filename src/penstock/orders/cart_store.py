"""Carts' statements: claiming and locking them by ref, reading, writing, marking those over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from penstock.db import Queries, Tx, text_array, uuid_array
from penstock.orders.carts import Cart, CartDocument
from penstock.orders.model import Destination

SQL = Queries("penstock.orders", "carts.sql")
Key = tuple[int, str]  # channel id and ref
_NOTHING = CartDocument("deliver", Destination(0.0, 0.0), [])
_encode = msgspec.json.Encoder().encode


async def claim_carts(tx: Tx, wanted: Sequence[tuple[str, Key]], now: datetime) -> set[str]:
    """Make carts (id, key) where there is none of the key; returns the ids of those made."""
    if not wanted:
        return set()
    ids = uuid_array(cart_id for cart_id, _ in wanted)
    channels, refs = _columns([key for _, key in wanted])
    return {row[0] for row in await tx.fetch(SQL.claim_carts, (now, ids, channels, refs))}


async def lock_carts(tx: Tx, keys: Sequence[Key], made: set[str]) -> dict[Key, Cart]:
    """Lock carts, in id order; returns those there are, those just `made` among them, by key."""
    rows = await tx.fetch(SQL.lock_carts, _columns(keys))
    carts = [_cart(row, is_new=row[0] in made) for row in rows]
    return {(cart.channel_id, cart.ref): cart for cart in carts}


def _columns(keys: Sequence[Key]) -> tuple[Any, ...]:
    return np.array([key[0] for key in keys], dtype=np.int32), [key[1] for key in keys]


async def read_cart(tx: Tx, key: Key) -> Cart | None:
    """Read a cart."""
    row = None if "\0" in key[1] else await tx.fetch_one(SQL.read_cart, key)
    return None if row is None else _cart(row)


class Page(msgspec.Struct, frozen=True):
    """Which carts to list: of a channel, in a status, changed before a place."""

    channel_id: int
    status: str | None
    before: tuple[datetime, str]
    limit: int


async def list_carts(tx: Tx, page: Page, now: datetime) -> list[Cart]:
    """Return carts, those that changed last first."""
    params = (page.channel_id, *page.before, page.status, page.status, now, page.limit)
    return [_cart(row) for row in await tx.fetch(SQL.page_of_carts, params)]


def _cart(row: tuple[Any, ...], *, is_new: bool = False) -> Cart:
    document = _NOTHING if is_new else msgspec.convert(row[9], CartDocument)
    cart_id, channel_id, ref, customer_id, tier, identity, status, expires_at, whole = row[:9]
    return Cart(
        id=cart_id,
        channel_id=channel_id,
        ref=ref,
        customer_id=customer_id,
        tier=tier,
        identity=identity,
        status=status,
        expires_at=expires_at,
        all_or_nothing=whole,
        document=document,
        order_id=row[10],
        created_at=row[11],
        changed_at=row[12],
        holds=[],
        is_new=is_new,
    )


async def write_carts(tx: Tx, carts: Sequence[Cart], now: datetime) -> None:
    """Write locked carts."""
    if not carts:
        return
    await tx.execute(
        SQL.update_carts,
        (
            now,
            uuid_array(cart.id for cart in carts),
            [cart.customer_id for cart in carts],
            [cart.tier for cart in carts],
            [cart.identity for cart in carts],
            [cart.status for cart in carts],
            [cart.expires_at for cart in carts],
            [cart.all_or_nothing for cart in carts],
            text_array([_encode(cart.document).decode() for cart in carts]),
            [cart.order_id for cart in carts],
        ),
    )


async def mark_ordered(tx: Tx, turned: Sequence[tuple[str, str]], now: datetime) -> None:
    """Say of locked carts (id, order id) that they have become orders."""
    if turned:
        cart_ids = uuid_array(cart_id for cart_id, _ in turned)
        order_ids = uuid_array(order_id for _, order_id in turned)
        await tx.execute(SQL.order_carts, (now, cart_ids, order_ids))


async def drop_carts(tx: Tx, cart_ids: Sequence[str]) -> None:
    """Take out carts made in this pass that came to nothing."""
    if cart_ids:
        await tx.execute(SQL.drop_carts, (uuid_array(cart_ids),))


async def expire_carts(tx: Tx, now: datetime, limit: int) -> int:
    """Mark up to `limit` carts whose time is over; returns how many. Their holds end elsewhere."""
    return await tx.execute(SQL.expire_carts, (now, now, limit))
