"""Dates of orders as people read them: in the location's time, of a delivery in the destination's.

Pure: from a loaded tree and what the process knows. A choice shows what it was promised first and
what is expected now, so that lateness is seen.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from penstock.fulfilment.model import ENDED_WITHOUT, Fulfilment
from penstock.orders.model import Choice, Order

if TYPE_CHECKING:
    from penstock.rules.knowledge import Knowledge


@lru_cache(maxsize=20_000)
def local(at: datetime | None, zone: str) -> datetime | None:
    """Return an instant in a time zone; None stays so."""
    return None if at is None else at.astimezone(ZoneInfo(zone))


def _zone_of(knowledge: Knowledge, location_id: int) -> str:
    directory = knowledge.directory
    return directory.time_zones[directory.row_of[location_id]]


def fulfilment_dates(
    fulfilment: Fulfilment, zone: str | None, knowledge: Knowledge
) -> dict[str, Any]:
    """Return the dates of a fulfilment; `zone` is the destination's, None: the location's."""
    due = fulfilment.due
    if due is None:
        return {"due_at": None}
    here = _zone_of(knowledge, fulfilment.origin_id)
    document: dict[str, Any] = {"due_at": local(due.due_at, here)}
    if due.carrier is not None:
        document["carrier"] = f"{due.carrier}/{due.carrier_service}"
    if due.expected_until is not None:
        document["expected_from"] = local(due.expected_from, zone or here)
        document["expected_until"] = local(due.expected_until, zone or here)
    return document


def choice_dates(choice: Choice, order: Order, knowledge: Knowledge) -> dict[str, Any]:
    """Return what a choice was promised and is expected to get, and whether that is late."""
    until, promised_at = choice.expected_until, choice.promised_at
    if promised_at is None and until is None and choice.slot_at is None:
        return {"promised_from": None, "promised_at": None}
    zone = choice.wish.time_zone if choice.wish is not None else None
    zone = zone or _first_zone(choice, order, knowledge)
    slot = {} if choice.slot_at is None else {"slot_at": local(choice.slot_at, zone)}
    return {
        **slot,
        "promised_from": local(choice.promised_from, zone),
        "promised_at": local(promised_at, zone),
        "expected_from": local(choice.expected_from, zone),
        "expected_until": local(until, zone),
        "is_late": bool(promised_at and until and until > promised_at),
    }


def _first_zone(choice: Choice, order: Order, knowledge: Knowledge) -> str:
    """Return the time zone of where a choice comes from, or is collected."""
    if choice.pickup_location_id is not None:
        return _zone_of(knowledge, choice.pickup_location_id)
    for one in order.fulfilments:
        if one.choice_id == choice.id and one.status not in ENDED_WITHOUT:
            return _zone_of(knowledge, one.origin_id)
    return "UTC"
