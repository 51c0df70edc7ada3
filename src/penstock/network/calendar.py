"""A calendar asked one question: is it open, when does it open, when is work done, which slots.

Pure. Owns the questions about one service of one location; what a calendar says is `hours.py`'s,
and how instants follow from it `timetable.py`'s, which answers for a thousand locations at once.

Invariant: None means not within a hundred days; instants go in with a time zone and come out in
UTC (two local times of a night on which clocks change cannot be compared: PEP 495). Views for
people are in the calendar's own time.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from penstock.network import timetable
from penstock.network.hours import NO_CUT_OFF, Calendar, SlotRule, day_of, weekday_of
from penstock.network.timetable import MINUTE_US, NEVER, Instants, Timetable, datetime_of, us_of

_ROW = np.zeros(1, dtype=np.int64)


class Slot(NamedTuple):
    """A stretch of open time that may be chosen; `left` is None where nothing is counted."""

    start: datetime
    end: datetime
    left: int | None


class DayView(NamedTuple):
    """A date for people: when it is open, from when on work counts later, and why it differs."""

    on: date
    windows: list[tuple[datetime, datetime]]
    cut_off: datetime | None
    reason: str


@lru_cache(maxsize=4_000)
def _table(calendar: Calendar, first: int) -> Timetable:
    return timetable.make_timetable([calendar], date.fromordinal(first + timetable.DAYS_BEFORE))


def table_at(calendar: Calendar, at: datetime) -> Timetable:
    """Return the timetable of one calendar that covers an instant and what follows."""
    return _table(calendar, timetable.first_day(at.astimezone(UTC).date()))


def open_at(calendar: Calendar, at: datetime) -> bool:
    """Tell whether it is open at an instant; closing time is closed."""
    return bool(timetable.are_open(table_at(calendar, at), _ROW, _one(at))[0])


def next_open(calendar: Calendar, at: datetime) -> datetime | None:
    """Return the instant itself while it is open, else when it opens next."""
    found = timetable.next_openings(table_at(calendar, at), _ROW, _one(at))
    return _instant(found)


def add_working_minutes(calendar: Calendar, at: datetime, minutes: int) -> datetime | None:
    """Return when so many minutes of open time have gone by since an instant."""
    table = table_at(calendar, at)
    return _instant(timetable.after_work(table, _ROW, _one(at), _work(minutes)))


def ready_at(calendar: Calendar, decision: datetime, handling_min: int) -> datetime | None:
    """Return when what is decided at an instant can leave: cut-off, then minutes of open time.

    What is decided at or after the cut-off is begun when the next working day opens.
    """
    table = table_at(calendar, decision)
    return _instant(timetable.ready(table, _ROW, _one(decision), _work(handling_min)))


def working_day(calendar: Calendar, at: datetime) -> date:
    """Return the local date on which work taken at an instant counts.

    That is today until the last closing time, or the cut-off; then the next date with hours. A
    calendar that does not open within a hundred days counts today.
    """
    found = int(timetable.days_taken(table_at(calendar, at), _ROW, _one(at))[0])
    if found == timetable.NO_DAY:
        return at.astimezone(ZoneInfo(calendar.time_zone)).date()
    return date.fromordinal(found)


def working_minutes(calendar: Calendar, since: datetime, until: datetime) -> int:
    """Return how many whole minutes of open time lie between two instants."""
    table = table_at(calendar, since)
    return int(timetable.work_between(table, _ROW, _one(since), _one(until))[0]) // MINUTE_US


def handling_minutes(calendar: Calendar, decision: datetime, done: datetime) -> int:
    """Return how many minutes of open time work took that was decided and done at instants.

    The converse of `ready_at`: what is decided after the cut-off begins on the next working day.
    """
    table = table_at(calendar, decision)
    begun = timetable.begun(table, _ROW, _one(decision))
    return int(timetable.work_between(table, _ROW, begun, _one(done))[0]) // MINUTE_US


def slots(
    calendar: Calendar, day: date, rule: SlotRule, used: Mapping[datetime, int] | None = None
) -> list[Slot]:
    """Cut the windows that open on a local date into whole slots; `used` counts by start (UTC)."""
    taken = used or {}
    length = timedelta(minutes=rule.length_min)
    found: list[Slot] = []
    for opens, closes in windows_on(calendar, day):
        start = opens
        while start + length <= closes:
            left = None
            if rule.capacity is not None:
                left = max(rule.capacity - taken.get(start, 0), 0)
            found.append(Slot(start, start + length, left))
            start += length
    return found


def windows_on(calendar: Calendar, day: date) -> list[tuple[datetime, datetime]]:
    """Return the windows that open on a local date, in UTC; a clock change may cut one in two."""
    layout = _around(calendar, day)
    mine = layout.days == day.toordinal()
    pairs = zip(layout.opens[mine].tolist(), layout.closes[mine].tolist(), strict=True)
    return [(datetime_of(opens), datetime_of(closes)) for opens, closes in pairs]


def _around(calendar: Calendar, day: date) -> timetable.Layout:
    return timetable.lay_out(calendar, day.toordinal() - 1, 3)


def view_days(calendar: Calendar, days: Sequence[date]) -> list[DayView]:
    """Describe dates for people, in the calendar's own time."""
    zone = ZoneInfo(calendar.time_zone)
    return [
        DayView(
            day,
            [(a.astimezone(zone), b.astimezone(zone)) for a, b in windows_on(calendar, day)],
            _cut_off(calendar, day),
            "; ".join(part for part in (_reason(calendar, day), _clock_change(zone, day)) if part),
        )
        for day in days
    ]


def _reason(calendar: Calendar, day: date) -> str:
    return day_of(calendar, day.toordinal()).reason


def _clock_change(zone: ZoneInfo, day: date) -> str:
    ordinal = day.toordinal()
    for before, after in itertools.pairwise(timetable.segments_of(zone.key, ordinal, 1)):
        # The change is on the date that the clock showed just before it.
        local = before.offset_us + before.end_us - 1
        if 0 <= local - timetable.local_midnight_us(ordinal) < timetable.DAY_US:
            minutes = (after.offset_us - before.offset_us) // MINUTE_US
            return f"the clock goes {'forward' if minutes > 0 else 'back'} {abs(minutes)} min"
    return ""


def _cut_off(calendar: Calendar, day: date) -> datetime | None:
    """Return the cut-off of a date that is a working day and has one."""
    if calendar.cut_offs[weekday_of(day.toordinal())] == NO_CUT_OFF:
        return None
    layout = _around(calendar, day)
    mine = np.flatnonzero(layout.working == day.toordinal())
    if not len(mine):
        return None
    return datetime_of(int(layout.day_ends[mine][0])).astimezone(ZoneInfo(calendar.time_zone))


def _one(at: datetime) -> Instants:
    return np.array([us_of(at)], dtype=np.int64)


def _work(minutes: int) -> Instants:
    return np.array([minutes * MINUTE_US], dtype=np.int64)


def _instant(found: Instants) -> datetime | None:
    return None if found[0] >= NEVER else datetime_of(int(found[0]))
