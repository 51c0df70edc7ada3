"""Limits as rules: who may have how many of what, and how much of it carts may hold.

Owns table `purchase_limit` and what a process holds of it. A limit is about a SKU (in every
catalogue that has it) or a category, in a channel and those below it or in all; of a category its
products are counted together. Judging and counting are in `limits.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.records import Result, answers, check_ref, sift

SQL = Queries("penstock.inventory", "limits.sql")
WHOLE = 100
MOST_QTY = 2_000_000_000


class LimitInput(msgspec.Struct, forbid_unknown_fields=True):
    """A limit to set, by ref, on a SKU or a category.

    `qty` units a customer, in `period_h` hours or from `starts_at` to `ends_at`; or at most
    `held_percent` of the stock in carts at once.
    """

    ref: str
    sku: str | None = None
    category: str | None = None
    channel: str | None = None
    qty: int | None = None
    period_h: int | None = None
    held_percent: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Limit(msgspec.Struct, frozen=True):
    """A limit as a process holds it."""

    id: int
    ref: str
    channel_id: int | None
    qty: int | None
    period_s: int | None
    held_percent: int | None
    starts_at: datetime | None
    ends_at: datetime | None

    def is_on(self, channels: Sequence[int], now: datetime) -> bool:
        """Tell whether it counts in a channel (given with those above it) at an instant."""
        if self.channel_id is not None and self.channel_id not in channels:
            return False
        if self.starts_at is not None and now < self.starts_at:
            return False
        return self.ends_at is None or now < self.ends_at

    def since(self, now: datetime) -> datetime | None:
        """Return from when on what somebody had counts; None: whatever he had."""
        begun = None if self.period_s is None else now - timedelta(seconds=self.period_s)
        if begun is None or self.starts_at is None:
            return begun or self.starts_at
        return max(begun, self.starts_at)


Limits = Mapping[int, Sequence[Limit]]  # by product id; empty where there is no limit at all


async def load_limits(tx: Tx) -> Limits:
    """Load every limit that is not over, by the products it is about."""
    found: dict[int, list[Limit]] = {}
    for product_ids, *rest in await tx.fetch(SQL.limits):
        limit = Limit(*rest)
        for product_id in product_ids.tolist():
            found.setdefault(product_id, []).append(limit)
    return found


async def set_limits(tx: Tx, limits: Sequence[LimitInput]) -> list[Result]:
    """Set limits; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_limit`, `unknown_ref` (a channel there is not), `superseded`.
    """
    refusals, good, body = sift(limits, check_limit, _ref, "invalid_limit")
    await tx.execute(SQL.lock_limit_rules)
    named = sorted({one.channel for one in good if one.channel is not None})
    known = {row[0] for row in await tx.fetch(SQL.channels_of_limits, (named,))}
    unknown = {one.ref: _unknown(one.channel) for one in good if one.channel not in {None, *known}}
    rows = await tx.fetch(SQL.upsert_limits, (body,), prepare=False) if good else []
    written: dict[Hashable, str] = {ref: "created" if is_new else "updated" for ref, is_new in rows}
    if written:
        await tx.execute(SQL.bump_limit)
    refusals = [r or unknown.get(one.ref) for r, one in zip(refusals, limits, strict=True)]
    return answers(limits, refusals, written, _ref)


def check_limit(limit: LimitInput) -> None:
    """Refuse with `invalid_limit` what cannot be a limit, naming the field."""
    check_ref(limit.ref, "invalid_limit")
    if (limit.sku is None) == (limit.category is None):
        raise _invalid("sku", "A limit is about a SKU or a category: give one of them.")
    if (limit.qty is None) == (limit.held_percent is None):
        raise _invalid("qty", "Give `qty` for each customer, or `held_percent` for carts.")
    if limit.qty is not None and not 0 <= limit.qty <= MOST_QTY:
        raise _invalid("qty", f"It is 0 to {MOST_QTY:,}.")
    if limit.held_percent is not None and not 0 <= limit.held_percent <= WHOLE:
        raise _invalid("held_percent", "It is 0 to 100.")
    if limit.period_h is not None and not 1 <= limit.period_h <= 24 * 3660:
        raise _invalid("period_h", "It is 1 hour or more, and at most ten years.")
    for name in ("starts_at", "ends_at"):
        instant: datetime | None = getattr(limit, name)
        if instant is not None and instant.tzinfo is None:
            raise _invalid(name, "An instant needs a time zone.")


def _invalid(field: str, sentence: str) -> Refusal:
    return Refusal("invalid_limit", f"{field}: {sentence}", field=field)


def _unknown(channel: str | None) -> Refusal:
    sentence = f"There is no channel {str(channel)[:100]!r}."
    return Refusal("unknown_ref", sentence, field="channel", kind="channel", ref=channel)


def _ref(limit: LimitInput) -> str:
    return limit.ref


async def drop_limit(tx: Tx, ref: str) -> None:
    """Take a limit away; refuses with `unknown_limit`."""
    await tx.execute(SQL.lock_limit_rules)
    if not await tx.execute(SQL.drop_limit, (ref,)):
        raise Refusal("unknown_limit", f"There is no limit {ref[:100]!r}.", ref=ref[:100])
    await tx.execute(SQL.bump_limit)


async def list_limits(tx: Tx) -> list[LimitInput]:
    """Return every limit there is, as it would be set."""
    return [LimitInput(*row) for row in await tx.fetch(SQL.limits_there)]
