"""Limits: how much one customer may have, and how much of a product carts may hold at once.

Owns judging and counting where stock is taken. What counts stands in `limit_entry`, a row per line
of an order or cart; nothing is added up elsewhere, so what is cancelled, released or over stops
counting exactly once. Rows of `limit_use` are the locks: taken after positions and capacities, in
key order, and only where an ask claims something.

Invariant: of two that are judged under one limit for one customer, the second sees the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np

from penstock.db import Queries, Tx, uuid_array
from penstock.errors import Refusal
from penstock.inventory.model import Ask, LimitClaim, QuotaClaim, Reservation, ReservationKind
from penstock.passes import Pass

SQL = Queries("penstock.inventory", "limits.sql")
Key = tuple[int, str]


class Entry(msgspec.Struct, gc=False):
    """A line that counts under a limit for somebody."""

    limit_id: int
    identity: str
    root_id: str
    demand_id: str
    qty: int
    counted_at: datetime
    expires_at: datetime | None


class Stocked(msgspec.Struct, gc=False):
    """What there is of a product in all, and what carts hold of it."""

    on_hand: int
    held: int


class Book(msgspec.Struct):
    """What counts under the locked limits, moved on as asks are admitted."""

    entries: dict[Key, list[Entry]]
    products: dict[int, Stocked]
    written: list[Entry] = []
    ended: list[str] = []

    def refusal(self, ask: Ask, now: datetime) -> Refusal | None:
        """Return why an ask is over a limit, if it is: `limit_reached`, `hold_quota_reached`."""
        for key in {(claim.limit_id, claim.identity): None for claim in ask.limits}:
            claims = [one for one in ask.limits if (one.limit_id, one.identity) == key]
            left = self._left(ask, claims, now)
            if left is not None:
                return _limit_reached(claims[0], left)
        for quota in ask.quotas:
            refusal = self._over_quota(quota)
            if refusal is not None:
                return refusal
        return None

    def _left(self, ask: Ask, claims: Sequence[LimitClaim], now: datetime) -> int | None:
        """Return how many are left where the claims are more; None where they are not."""
        first = claims[0]
        mine = {claim.demand_id for claim in claims}
        counted = others = 0
        for one in self.entries.get((first.limit_id, first.identity), ()):
            if one.demand_id in mine or one.root_id in ask.counts_for:
                counted += one.qty
            elif _counts(one, first, now):
                others += one.qty
        wanted = sum(claim.qty for claim in claims)
        left = max(first.most - others, 0)
        return left if wanted > max(left, counted) else None

    def _over_quota(self, quota: QuotaClaim) -> Refusal | None:
        product = self.products.get(quota.product_id)
        if product is None or quota.qty <= 0:
            return None
        left = max(product.on_hand * quota.percent // 100 - product.held, 0)
        if quota.qty <= left:
            return None
        sentence = f"Carts may hold {quota.percent} % of SKU {quota.sku!r}, {left} more now."
        data = {"limit": quota.limit, "sku": quota.sku, "left": left}
        return Refusal("hold_quota_reached", sentence, **data)

    def count(self, ask: Ask, reservations: Sequence[Reservation], now: datetime) -> None:
        """Count what an admitted ask has: lines of orders whole, of carts what is held."""
        is_hold = ask.kind == ReservationKind.CART_HOLD
        got: dict[str, int] = {}
        for one in reservations:
            got[one.demand_id] = got.get(one.demand_id, 0) + one.qty
        for roots in ask.counts_for:
            self.ended.append(roots)
        gone = {*ask.counts_for}
        for claim in ask.limits:
            key = (claim.limit_id, claim.identity)
            qty = got.get(claim.demand_id, 0) if is_hold else claim.qty
            there = self.entries.get(key, [])
            kept = [e for e in there if e.demand_id != claim.demand_id and e.root_id not in gone]
            if qty:
                kept.append(
                    Entry(*key, ask.root_id, claim.demand_id, qty, now, ask.expires_at),
                )
                self.written.append(kept[-1])
            self.entries[key] = kept
        for quota in ask.quotas:
            self.products[quota.product_id].held += max(quota.qty, 0)


def _counts(entry: Entry, claim: LimitClaim, now: datetime) -> bool:
    if entry.expires_at is not None and entry.expires_at <= now:
        return False
    return claim.since is None or entry.counted_at >= claim.since


def _limit_reached(claim: LimitClaim, left: int) -> Refusal:
    how_many = f"{left} more" if left else "no more"
    sentence = f"A customer may have {claim.most} of SKU {claim.sku!r}; {how_many} can be had."
    data = {"limit": claim.limit, "sku": claim.sku, "most": claim.most, "left": left}
    return Refusal("limit_reached", sentence, **data)


async def lock_limits(tx: Pass, asks: Iterable[Ask]) -> Book | None:
    """Lock what asks claim, in key order, then read what counts; None where nobody claims."""
    claiming = [ask for ask in asks if ask.limits or ask.quotas]
    if not claiming:
        return None
    quotas = [one for ask in claiming for one in ask.quotas]
    keys = {(one.limit_id, one.identity) for ask in claiming for one in ask.limits}
    locked = sorted(keys | {(one.limit_id, f"product {one.product_id}") for one in quotas})
    params = _key_columns(locked)
    await tx.fetch(SQL.lock_limits, params)
    book = Book({}, {}, written=[], ended=[])
    for row in await tx.fetch(SQL.entries_of_limits, params):
        book.entries.setdefault((row[0], row[1]), []).append(Entry(*row))
    if quotas:
        products = np.array(sorted({one.product_id for one in quotas}), dtype=np.int32)
        for row in await tx.fetch(SQL.held_of_products, (tx.now, products)):
            book.products[row[0]] = Stocked(row[1], row[2])
    return book


def _key_columns(keys: Sequence[Key]) -> tuple[object, ...]:
    return np.array([key[0] for key in keys], dtype=np.int32), [key[1] for key in keys]


async def write_limits(tx: Pass, book: Book | None) -> None:
    """Write what counts anew, and end what it takes the place of."""
    if book is None:
        return
    if book.ended:
        await uncount_roots(tx, book.ended)
    if book.written:
        rows = book.written
        await tx.execute(
            SQL.write_entries,
            (
                np.array([one.limit_id for one in rows], dtype=np.int32),
                [one.identity for one in rows],
                uuid_array(one.root_id for one in rows),
                uuid_array(one.demand_id for one in rows),
                np.array([one.qty for one in rows], dtype=np.int32),
                [one.counted_at for one in rows],
                [one.expires_at for one in rows],
            ),
        )


async def uncount_roots(tx: Pass, root_ids: Sequence[str]) -> None:
    """Let nothing of these carts or orders count any more."""
    await tx.execute(SQL.end_entries, (uuid_array(root_ids),))


async def recount_lines(tx: Pass, lines: Sequence[tuple[str, int]]) -> None:
    """Let lines (id, quantity) of locked orders count for what is left of them: 0 ends them."""
    ids = uuid_array(line_id for line_id, _ in lines)
    await tx.execute(SQL.recount_entries, (ids, np.array([q for _, q in lines], dtype=np.int32)))


async def drop_ended_entries(tx: Tx, now: datetime, limit: int) -> int:
    """Take out entries of carts that have ceased to count; returns how many."""
    return await tx.execute(SQL.drop_ended_entries, (now, limit))
