"""A control in words, as people and files state it, and the checks that need only the record. Pure.

Owns what each kind may say. A control without a ref gets one made of what it names, so that a file
of buffers can be read again and changes them in place.
"""

from __future__ import annotations

from datetime import datetime, time

import msgspec

from penstock import money
from penstock.availability.rule import COMBINES, COUNTED_KINDS, DEFAULT_GROUP, KINDS
from penstock.errors import Refusal
from penstock.network.model import KINDS as LOCATION_KINDS
from penstock.quantity import check_qty
from penstock.records import MAX_REF, check_ref

INVALID = "invalid_control"
MAX_PRIORITY = 1_000
WHOLE_PERCENT = 100.0
_NAMED = (
    *("channel", "sku", "location", "location_kind", "network", "category"),
    *("active_from", "active_until", "daily_from", "daily_until"),
)


class ControlInput(msgspec.Struct, forbid_unknown_fields=True):
    """A control by refs. What it does not name, it is about whatever that is.

    `percent` is of what is on hand, rounded up; `daily_from` and `daily_until` are HH:MM in the
    location's own time zone; `kept_…` and `basket_…` say for whom a ring-fence keeps its units.
    """

    qty: int | None = None
    channel: str | None = None
    sku: str | None = None
    location: str | None = None
    location_kind: str | None = None
    kind: str = "buffer"
    ref: str | None = None
    network: str | None = None
    category: str | None = None
    percent: float | None = None
    group: str = DEFAULT_GROUP
    combine: str = "first"
    priority: int = 0
    active_from: datetime | None = None
    active_until: datetime | None = None
    daily_from: str | None = None
    daily_until: str | None = None
    per_location: bool = False
    kept_channels: list[str] = []
    kept_tiers: list[str] = []
    basket_min_minor: int | None = None
    basket_currency: str | None = None


def ref_of(control: ControlInput) -> str:
    """Return a control's ref, its own or one made of what it names."""
    if control.ref is not None:
        return control.ref
    said = ((name, getattr(control, name)) for name in _NAMED)
    parts = [f"{name}={value}" for name, value in said if value is not None]
    group = [] if control.group == DEFAULT_GROUP else [f"group={control.group}"]
    return " ".join([control.kind, *parts, *group])


def percent_bp(control: ControlInput) -> int:
    """Return the percentage in hundredths of a percent."""
    return round((control.percent or 0.0) * 100)


def hour_of(text: str | None, field: str) -> time | None:
    """Return an hour of the day; refuses what is not HH:MM."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 (an hour, not an instant)
    except ValueError:
        raise _invalid(field, "An hour of the day is written HH:MM.") from None


def check_control(control: ControlInput) -> None:
    """Refuse a record that cannot be a control with `invalid_control`, naming the field."""
    if control.ref is not None:
        check_ref(control.ref, INVALID)
    if control.kind not in KINDS:
        raise _invalid("kind", f"A control is one of {', '.join(KINDS)}.")
    if control.location_kind is not None and control.location_kind not in LOCATION_KINDS:
        raise _invalid("location_kind", f"A location is one of {', '.join(LOCATION_KINDS)}.")
    if control.sku is not None and control.category is not None:
        raise _invalid("category", "Name a SKU or a category, not both.")
    if control.category is not None and not 1 <= len(control.category) <= MAX_REF:
        raise _invalid("category", f"A category has 1 to {MAX_REF} characters.")
    _check_amount(control)
    _check_group(control)
    _check_times(control)
    _check_counted(control)


def _check_amount(control: ControlInput) -> None:
    if control.kind == "exclusion":
        if control.qty is not None or control.percent is not None:
            raise _invalid("qty", "An exclusion takes everything: leave out quantity and percent.")
        return
    if control.percent is not None:
        _check_percent(control, control.percent)
    elif control.qty is None:
        raise _invalid("qty", "Say a quantity (or, of a buffer or safety stock, a percentage).")
    if control.qty is not None:
        check_qty(control.qty, least=0, field="qty")


def _check_percent(control: ControlInput, percent: float) -> None:
    if control.qty is not None:
        raise _invalid("percent", "Say a quantity or a percentage, not both.")
    if control.kind in COUNTED_KINDS:
        raise _invalid("percent", f"A {control.kind} has a quantity.")
    if not 0 <= percent <= WHOLE_PERCENT or round(percent, 2) != percent:
        raise _invalid("percent", "A percentage is from 0 to 100, with at most two decimals.")


def _check_group(control: ControlInput) -> None:
    if control.combine not in COMBINES:
        raise _invalid("combine", f"A group combines by one of {', '.join(COMBINES)}.")
    if not 1 <= len(control.group) <= MAX_REF:
        raise _invalid("group", f"A group has 1 to {MAX_REF} characters.")
    if abs(control.priority) > MAX_PRIORITY:
        raise _invalid("priority", f"A priority is from -{MAX_PRIORITY} to {MAX_PRIORITY}.")
    is_grouped = control.kind in {"buffer", "safety_stock"}
    said = (control.group, control.combine, control.priority)
    if not is_grouped and said != (DEFAULT_GROUP, "first", 0):
        raise _invalid("group", "Only buffers and safety stocks are combined in groups.")


def _check_times(control: ControlInput) -> None:
    for field in ("active_from", "active_until"):
        instant: datetime | None = getattr(control, field)
        if instant is not None and instant.tzinfo is None:
            raise _invalid(field, "An instant needs a time zone.")
    first, last = control.active_from, control.active_until
    if first is not None and last is not None and first >= last:
        raise _invalid("active_until", "It would end before it begins.")
    daily_from = hour_of(control.daily_from, "daily_from")
    daily_until = hour_of(control.daily_until, "daily_until")
    if daily_from is not None and daily_from == daily_until:
        raise _invalid("daily_until", "It would end when it begins; leave out both for all day.")


def _check_counted(control: ControlInput) -> None:
    is_for = bool(
        control.kept_channels or control.kept_tiers or control.basket_min_minor is not None
    )
    if control.kind == "ring_fence":
        if control.sku is None:
            raise _invalid("sku", "A ring-fence keeps units of a SKU: name it.")
        if not is_for:
            sentence = "Say for whom units are kept: kept_channels, kept_tiers, basket_min_minor."
            raise _invalid("kept_channels", sentence)
    elif is_for or control.basket_currency is not None:
        raise _invalid("kept_channels", "Only a ring-fence keeps units for somebody.")
    if control.per_location and control.kind not in COUNTED_KINDS:
        raise _invalid("per_location", "Only caps and ring-fences count.")
    if (control.basket_min_minor is None) != (control.basket_currency is None):
        raise _invalid("basket_currency", "A basket's amount and currency go together.")
    if control.basket_currency is not None:
        money.check_currency(control.basket_currency)
        if not 0 <= (control.basket_min_minor or 0) <= money.MAX_AMOUNT_MINOR:
            raise _invalid("basket_min_minor", "The amount is out of range.")


def _invalid(field: str, sentence: str) -> Refusal:
    return Refusal(INVALID, f"{field}: {sentence}", field=field)
