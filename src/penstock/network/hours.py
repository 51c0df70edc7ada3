"""Opening hours in words and in minutes: windows of a week, public holidays, dates of one's own.

Pure. Owns the record of a calendar as people write it, and `Calendar`, the same for one service in
minutes of the local day. A window may go over midnight (`22:00` to `02:00`) and belongs to the day
on which it opens. What a clock change does to a window is `timetable.py`'s.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import holidays as public
import msgspec

from penstock.errors import Refusal

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = "all"
SERVICES = ("deliver", "collect", "receive", "return")
MINUTES_A_DAY = 24 * 60
NO_CUT_OFF = -1
FIRST_YEAR, LAST_YEAR = 1971, 2199  # what calendars are asked about
MAX_WINDOWS = 10
MAX_DATE_DAYS = 2_000  # all of a calendar's own dates together
MAX_SLOT_MIN = MINUTES_A_DAY
MAX_SLOT_CAPACITY = 1_000_000
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
Hours: TypeAlias = Mapping[str, Sequence[Sequence[str]]]
Spans: TypeAlias = tuple[tuple[int, int], ...]


class OwnDate(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A date, or the dates up to and with `until`, with other windows; none: closed.

    It is for the services named, or for all, and comes before public holidays and the week.
    """

    on: date
    until: date | None = None
    windows: list[tuple[str, str]] = []
    services: list[str] = []
    reason: str = ""


class SlotRule(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How a service's windows are cut into slots; `capacity` is per slot, None for no limit."""

    length_min: int = 60
    capacity: int | None = None


class CalendarInput(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a location works by beside its opening hours.

    `holidays`: closed on the public holidays of a country or a part of it, `GB` or `GB-ENG`;
    `dates`: dates of one's own; `hours`: weekly windows of a service that has others than
    `opening_hours`; `cut_offs`: by service and weekday (or `all`) the local time from which what
    comes in counts for the next working day; `slots`: by service.
    """

    holidays: str = ""
    dates: list[OwnDate] = []
    hours: dict[str, dict[str, list[tuple[str, str]]]] = {}
    cut_offs: dict[str, dict[str, str]] = {}
    slots: dict[str, SlotRule] = {}


class Day(NamedTuple):
    """What a calendar says of one local date: windows in minutes of that day, and why so."""

    spans: Spans
    reason: str


class Calendar(NamedTuple):
    """What one service works by, in minutes of the local day. Days are proleptic ordinals.

    `own` has dates with their windows and reasons; `cut_offs` a minute per weekday or -1.
    """

    time_zone: str
    weekly: tuple[Spans, ...]
    own: tuple[tuple[int, Spans, str], ...] = ()
    holidays: str = ""
    cut_offs: tuple[int, ...] = (NO_CUT_OFF,) * 7


ALL_DAY: Spans = ((0, MINUTES_A_DAY),)


def calendar_of(
    opening_hours: Hours, time_zone: str, record: CalendarInput, service: str
) -> Calendar:
    """Return what a service of a location works by; without any hours it works every day."""
    hours = record.hours.get(service, opening_hours)
    weekly = tuple(spans_of(hours.get(day, ())) for day in WEEKDAYS)
    if not any(weekly):
        weekly = (ALL_DAY,) * 7
    own = {
        day: (day, spans_of(one.windows), one.reason)
        for one in record.dates
        if not one.services or service in one.services
        for day in range(one.on.toordinal(), (one.until or one.on).toordinal() + 1)
    }
    told = record.cut_offs.get(service, {})
    cut_offs = tuple(_minute(told.get(day) or told.get(EVERY_DAY)) for day in WEEKDAYS)
    return Calendar(time_zone, weekly, tuple(sorted(own.values())), record.holidays, cut_offs)


def spans_of(windows: Sequence[Sequence[str]]) -> Spans:
    """Return windows as minutes of the day on which they open, in order; the end may be after it.

    Windows that overlap are one after the other: the later begins where the earlier ends.
    """
    spans: list[tuple[int, int]] = []
    for opens, closes in windows:
        first, last = _minute(opens), _minute(closes)
        spans.append((first, last if last > first else last + MINUTES_A_DAY))
    return tuple(sorted(spans))


def _minute(clock: str | None) -> int:
    return NO_CUT_OFF if clock is None else int(clock[:2]) * 60 + int(clock[3:])


def weekday_of(ordinal: int) -> int:
    """Return the weekday of a proleptic ordinal, Monday is 0."""
    return (ordinal - 1) % 7


def day_of(calendar: Calendar, ordinal: int) -> Day:
    """Return what a calendar says of a date: dates of one's own first, then holidays, the week."""
    return _exceptions(calendar, date.fromordinal(ordinal).year).get(ordinal) or Day(
        calendar.weekly[weekday_of(ordinal)], ""
    )


def days_of(calendar: Calendar, first: int, count: int) -> list[Spans]:
    """Return the windows of `count` dates from `first` on."""
    years = range(date.fromordinal(first).year, date.fromordinal(first + count).year + 1)
    exceptions = {k: v for year in years for k, v in _exceptions(calendar, year).items()}
    offset = weekday_of(first)
    days = [calendar.weekly[(offset + n) % 7] for n in range(count)]
    for ordinal, day in exceptions.items():
        if first <= ordinal < first + count:
            days[ordinal - first] = day.spans
    return days


def _exceptions(calendar: Calendar, year: int) -> dict[int, Day]:
    found = {day: Day((), name) for day, name in public_holidays(calendar.holidays, year).items()}
    found.update({day: Day(spans, reason) for day, spans, reason in calendar.own})
    return found


@lru_cache(maxsize=1_000)
def public_holidays(code: str, year: int) -> Mapping[int, str]:
    """Return the public holidays of a country or a part of it (`GB-ENG`) with their names.

    From the package `holidays`, which computes and corrects them by country; none for no code, nor
    outside the years that calendars are asked about.
    """
    if not code or not FIRST_YEAR <= year <= LAST_YEAR:
        return {}
    country, _, part = code.partition("-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # years of which nothing is known for it
        found = public.country_holidays(country, subdiv=part or None, years=year)
    return {day.toordinal(): name for day, name in found.items()}


@lru_cache(maxsize=1)
def _countries() -> Mapping[str, Sequence[str]]:
    return public.list_supported_countries()


def knows_holidays(code: str) -> bool:
    """Tell whether a code names a country, or a part of it, whose holidays are known."""
    country, dash, part = code.partition("-")
    return not code or (country in _countries() and (not dash or part in _countries()[country]))


def next_days(start: date, count: int) -> list[date]:
    """Return `count` dates from `start` on."""
    return [start + timedelta(days=n) for n in range(count)]


# ── what can be a calendar ────────────────────────────────────────────────────────────────────────


def check_hours(hours: Hours, field: str) -> None:
    """Refuse hours that cannot be, with `invalid_location`; `field` is named."""
    for day, windows in hours.items():
        check(day in WEEKDAYS, field, f"{day!r} is none of {', '.join(WEEKDAYS)}.")
        _check_windows(windows, field)


def _check_windows(windows: Sequence[Sequence[str]], field: str) -> None:
    check(len(windows) <= MAX_WINDOWS, field, f"At most {MAX_WINDOWS} windows a day.")
    for opens, closes in windows:
        is_window = is_clock(opens) and is_clock(closes) and opens not in (closes, "24:00")
        sentence = f"{opens}-{closes} is no window such as 09:00-17:30."
        check(is_window, field, sentence)


def check_calendar(record: CalendarInput) -> None:
    """Refuse a calendar that cannot be, with `invalid_location`; the field is named."""
    sentence = f"{record.holidays!r} is no country, or part of one, such as GB or GB-ENG."
    check(knows_holidays(record.holidays), "calendar.holidays", sentence)
    check_dates(record.dates)
    for field, by_service in (("hours", record.hours), ("cut_offs", record.cut_offs)):
        _check_services(by_service, f"calendar.{field}")
    for hours in record.hours.values():
        check_hours(hours, "calendar.hours")
    for clocks in record.cut_offs.values():
        for day, clock in clocks.items():
            known = day in (*WEEKDAYS, EVERY_DAY)
            sentence = f"{day!r}: {clock!r} is no cut-off such as 'mon': '14:00'."
            check(known and is_clock(clock), "calendar.cut_offs", sentence)
    _check_slots(record.slots)


def check_dates(dates: Sequence[OwnDate]) -> None:
    """Refuse dates that cannot be, or are too many, with `invalid_location`."""
    days = 0
    for one in dates:
        last = one.until or one.on
        check(last >= one.on, "calendar.dates", f"{one.on} to {last} is no range.")
        days += (last - one.on).days + 1
        _check_windows(one.windows, "calendar.dates")
        _check_services(one.services, "calendar.dates")
    sentence = f"They cover at most {MAX_DATE_DAYS:,} days."
    check(days <= MAX_DATE_DAYS, "calendar.dates", sentence)


def _check_slots(slots: Mapping[str, SlotRule]) -> None:
    field = "calendar.slots"
    _check_services(slots, field)
    for rule in slots.values():
        is_length = 1 <= rule.length_min <= MAX_SLOT_MIN
        check(is_length, field, f"A slot has 1 to {MAX_SLOT_MIN:,} minutes.")
        is_capacity = rule.capacity is None or 0 <= rule.capacity <= MAX_SLOT_CAPACITY
        check(is_capacity, field, f"A slot's capacity is from 0 to {MAX_SLOT_CAPACITY:,}.")


def _check_services(services: Sequence[str] | Mapping[str, object], field: str) -> None:
    for service in services:
        check(service in SERVICES, field, f"{service!r} is no service.")


def is_clock(text: str) -> bool:
    """Tell whether a text is a time of day such as `09:00`; `24:00` is the end of it."""
    return _CLOCK.fullmatch(text) is not None


def check(condition: object, field: str, message: str) -> None:
    """Refuse with `invalid_location` and the field, unless the condition holds."""
    if not condition:
        raise Refusal("invalid_location", f"{field}: {message}", field=field)
