"""Pick-up slots: how many a location has left, taken and given back in the caller's transaction.

Owns table `slot_capacity`. Slots without a capacity are not counted.

Invariant: slots are locked in order of their key, after positions; more than the capacity is never
counted, and never less than nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.calendar import Slot, slots
from penstock.network.carriers import SQL, KnownLocation
from penstock.network.hours import Calendar, SlotRule, calendar_of
from penstock.records import Result

# What is counted on slots by their begin (UTC), by location and service.
SlotsUsed = Mapping[tuple[int, str], Mapping[datetime, int]]
_DAYS_AHEAD = timedelta(days=30)
MAX_SLOT_DAYS = 14


class SlotAsk(NamedTuple):
    """So many of a slot that begins at an instant; fewer than none gives back."""

    location: KnownLocation
    service: str
    slot_at: datetime
    number: int = 1


async def free_slots(tx: Tx, location: KnownLocation, service: str, day: date) -> list[Slot]:
    """Return the slots of a local date with what is left of each.

    Refuses with `no_slots` where the service of the location is not cut into slots.
    """
    rule = _rule(location, service)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    span = (midnight - timedelta(days=1), midnight + timedelta(days=3))
    used = dict(await tx.fetch(SQL.slots_used, (location.id, service, *span)))
    return slots(_calendar(location, service), day, rule, used)


async def read_slots_used(tx: Tx, now: datetime) -> SlotsUsed:
    """Return what is counted on the slots of the next thirty days."""
    span = (now - timedelta(days=1), now + _DAYS_AHEAD)
    found: dict[tuple[int, str], dict[datetime, int]] = {}
    for location_id, service, slot_at, used in await tx.fetch(SQL.all_slots_used, span):
        found.setdefault((location_id, service), {})[slot_at] = used
    return found


def slot_end(location: KnownLocation, service: str, slot_at: datetime) -> datetime | None:
    """Return when a slot ends; None where the service is not cut into slots."""
    rule = location.calendar.slots.get(service)
    return None if rule is None else slot_at + timedelta(minutes=rule.length_min)


def slots_from(
    location: KnownLocation, service: str, since: datetime, used: SlotsUsed, most: int
) -> list[Slot]:
    """Return the first slots that begin at an instant or later and have something left."""
    rule = location.calendar.slots.get(service)
    if rule is None:
        return []
    mine = used.get((location.id, service), {})
    calendar = _calendar(location, service)
    today = since.astimezone(ZoneInfo(location.time_zone)).date()
    found: list[Slot] = []
    for days in range(-1, MAX_SLOT_DAYS):
        if len(found) >= most:
            break
        there = slots(calendar, today + timedelta(days=days), rule, mine)
        found += [slot for slot in there if slot.start >= since and slot.left != 0]
    return found[:most]


async def take_slots(tx: Tx, asks: Sequence[SlotAsk]) -> list[Result]:
    """Count slots in order of the asks, each whole or not at all; returns `updated` or a refusal.

    Refusals: `no_slots` (the service has none, or none begins then), `slot_full`.
    """
    refusals = [_refusal(ask) for ask in asks]
    good = [ask for ask, refusal in zip(asks, refusals, strict=True) if refusal is None]
    keys = sorted({_key(ask) for ask in good})
    columns = ([k[0] for k in keys], [k[1] for k in keys], [k[2] for k in keys])
    await tx.execute(SQL.make_slots, columns)
    used = {(row[0], row[1], row[2]): row[3] for row in await tx.fetch(SQL.lock_slots, columns)}
    results: list[Result] = []
    for ask, refusal in zip(asks, refusals, strict=True):
        results.append(refusal or _count(ask, used))
    await tx.execute(SQL.count_slots, (*columns, [used[key] for key in keys]))
    return results


def _count(ask: SlotAsk, used: dict[tuple[int, str, datetime], int]) -> Result:
    wanted = max(used[_key(ask)] + ask.number, 0)
    capacity = _rule(ask.location, ask.service).capacity if ask.number > 0 else None
    if capacity is not None and wanted > capacity:
        left = max(capacity - used[_key(ask)], 0)
        sentence = f"The slot has {left} left: choose another one."
        return Refusal("slot_full", sentence, slot_at=ask.slot_at)
    used[_key(ask)] = wanted
    return "updated"


def _refusal(ask: SlotAsk) -> Refusal | None:
    if ask.number <= 0:  # what is given back may be of a calendar that has changed since
        return None
    try:
        rule = _rule(ask.location, ask.service)
    except Refusal as refusal:
        return refusal
    day = ask.slot_at.astimezone(ZoneInfo(ask.location.time_zone)).date()
    calendar = _calendar(ask.location, ask.service)
    near = (day - timedelta(days=1), day)  # a window over midnight belongs to the day before
    starts = {slot.start for one in near for slot in slots(calendar, one, rule)}
    if ask.slot_at.astimezone(UTC) not in starts:
        sentence = f"No slot begins at {ask.slot_at.isoformat()}."
        return Refusal("no_slots", sentence, slot_at=ask.slot_at)
    return None


def _rule(location: KnownLocation, service: str) -> SlotRule:
    rule = location.calendar.slots.get(service)
    if rule is None:
        ref = location.place.location
        sentence = f"{ref} has no slots to {service}: give its calendar `slots`."
        raise Refusal("no_slots", sentence, location=ref, service=service)
    return rule


def _calendar(location: KnownLocation, service: str) -> Calendar:
    return calendar_of(location.opening_hours, location.time_zone, location.calendar, service)


def _key(ask: SlotAsk) -> tuple[int, str, datetime]:
    return ask.location.id, ask.service, ask.slot_at.astimezone(UTC)
