"""Controls in words: every control by its ref, as it was put, with what is used of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from penstock.availability.commands import SQL
from penstock.availability.rule import FLOOR_KINDS
from penstock.db import Tx

MAX_LISTED = 1_000


class ControlView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A control by refs; what it does not name is left out. `reserved`, `shipped`: used of it."""

    ref: str
    kind: str
    channel: str | None = None
    sku: str | None = None
    location: str | None = None
    location_kind: str | None = None
    network: str | None = None
    category: str | None = None
    qty: int | None = None
    percent: float | None = None
    group: str | None = None
    combine: str | None = None
    priority: int = 0
    active_from: datetime | None = None
    active_until: datetime | None = None
    daily_from: str | None = None
    daily_until: str | None = None
    per_location: bool = False
    kept_channels: list[str] | None = None
    kept_tiers: list[str] | None = None
    basket_min_minor: int | None = None
    basket_currency: str | None = None
    reserved: int = 0
    shipped: int = 0


async def list_controls(
    tx: Tx, channel: str | None = None, after: str | None = None, limit: int = MAX_LISTED
) -> list[ControlView]:
    """Return controls by ref, of a channel if one is named, the first `limit` after a ref."""
    params = (channel, channel, after, after, limit)
    return [_view(row) for row in await tx.fetch(SQL.list_controls, params)]


def _view(row: Sequence[object]) -> ControlView:
    fields = dict(zip(_COLUMNS, row, strict=True))
    percent_bp = fields.pop("percent_bp")
    has_share = isinstance(percent_bp, int) and percent_bp > 0
    if has_share or fields["kind"] == "exclusion":
        fields["qty"] = None
    fields["percent"] = percent_bp / 100 if has_share and isinstance(percent_bp, int) else None
    if fields["kind"] not in FLOOR_KINDS:
        fields["group"] = fields["combine"] = None
    for name in ("daily_from", "daily_until"):
        hour = fields[name]
        fields[name] = hour[:5] if isinstance(hour, str) else None
    for name in ("kept_channels", "kept_tiers"):
        array = fields[name]
        fields[name] = list(array) if isinstance(array, Sequence) else None
    return msgspec.convert(fields, ControlView)


_COLUMNS = (
    *("ref", "kind", "channel", "sku", "location", "location_kind", "network", "category"),
    *("qty", "percent_bp", "group", "combine", "priority", "active_from", "active_until"),
    *("daily_from", "daily_until", "per_location", "kept_channels", "kept_tiers"),
    *("basket_min_minor", "basket_currency", "reserved", "shipped"),
)
