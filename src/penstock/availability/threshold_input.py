"""A threshold in words, as people and files state it, and the checks that need only the record.

Pure. A threshold says at how many units something is at risk, and at how many out of stock. It is
about stock positions, or about what a channel may promise: in total, or at each location.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from penstock.errors import Refusal
from penstock.quantity import check_qty
from penstock.records import MAX_REF, check_ref

INVALID = "invalid_threshold"
WatchKind: TypeAlias = Literal["position", "aggregate", "base"]
WATCH_KINDS: tuple[WatchKind, ...] = get_args(WatchKind)


class ThresholdInput(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A threshold by refs: units at or below which something is at risk, or out of stock.

    `watch` is what it is about: `position`, or of a channel `aggregate` (its total) or `base` (each
    location). Left out, it is `position`, or with a channel `aggregate`.
    """

    at_risk: int
    out_of_stock: int = 0
    ref: str | None = None
    watch: WatchKind | None = None
    channel: str | None = None
    sku: str | None = None
    category: str | None = None
    location: str | None = None


def watch_of(threshold: ThresholdInput) -> WatchKind:
    """Return what a threshold is about."""
    if threshold.watch is not None:
        return threshold.watch
    return "position" if threshold.channel is None else "aggregate"


def ref_of(threshold: ThresholdInput) -> str:
    """Return a threshold's ref, its own or one made of what it names."""
    if threshold.ref is not None:
        return threshold.ref
    names = ("channel", "sku", "category", "location")
    said = ((name, getattr(threshold, name)) for name in names)
    return " ".join([watch_of(threshold), *(f"{n}={v}" for n, v in said if v is not None)])


def check_threshold(threshold: ThresholdInput) -> None:
    """Refuse a record that cannot be a threshold with `invalid_threshold`, naming the field."""
    if threshold.ref is not None:
        check_ref(threshold.ref, INVALID)
    watch = watch_of(threshold)
    if watch not in WATCH_KINDS:
        raise _invalid("watch", f"A threshold watches one of {', '.join(WATCH_KINDS)}.")
    if (watch == "position") != (threshold.channel is None):
        raise _invalid("channel", "Positions have no channel; what a channel may promise has one.")
    if watch == "aggregate" and threshold.location is not None:
        raise _invalid("location", "A channel's total has no location: watch `base` for places.")
    if threshold.sku is not None and threshold.category is not None:
        raise _invalid("category", "Name a SKU or a category, not both.")
    if threshold.category is not None and not 1 <= len(threshold.category) <= MAX_REF:
        raise _invalid("category", f"A category has 1 to {MAX_REF} characters.")
    check_qty(threshold.at_risk, least=0, field="at_risk")
    check_qty(threshold.out_of_stock, least=0, field="out_of_stock")
    if threshold.at_risk < threshold.out_of_stock:
        raise _invalid("at_risk", "What is out of stock is at risk first: say no fewer units.")


def _invalid(field: str, sentence: str) -> Refusal:
    return Refusal(INVALID, f"{field}: {sentence}", field=field)
