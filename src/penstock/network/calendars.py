"""Calendars: opening hours, and the working day on which work taken now counts.

Pure. A location works by its own clock: hours are local, and daylight saving is the time zone's
affair. Work taken while the location is still open today counts today, later on the next open day;
a location without hours works every day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Hours = Mapping[str, Sequence[Sequence[str]]]


def working_day(hours: Hours, time_zone: str, at: datetime) -> date:
    """Return the local date on which work taken at an instant counts."""
    local = at.astimezone(ZoneInfo(time_zone))
    today = local.date()
    if not any(hours.get(day) for day in WEEKDAYS):
        return today
    windows = hours.get(WEEKDAYS[today.weekday()]) or ()
    if any(local.strftime("%H:%M") < window[1] for window in windows):
        return today
    for ahead in range(1, 8):
        day = today + timedelta(days=ahead)
        if hours.get(WEEKDAYS[day.weekday()]):
            return day
    return today
