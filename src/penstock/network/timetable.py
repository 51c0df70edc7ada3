"""Timetables: calendars laid out as instants, so that a thousand locations are one array operation.

Pure. Owns the step from local windows to UTC, and the arithmetic of working time. One rule decides
the nights on which clocks change: a location is open whenever the clock on its wall reads a time
inside a window. An hour that is skipped has no windows; one that comes twice has them twice. A
cut-off that comes twice counts the first time, one that is skipped counts when the clock jumps.

Invariants: the windows of a calendar never overlap and ascend; an answer beyond the horizon is
`NEVER`; instants are microseconds since 1970 in UTC, work is microseconds of open time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from penstock.errors import invariant
from penstock.network.hours import MINUTES_A_DAY, NO_CUT_OFF, Calendar, Spans, days_of, weekday_of

Instants: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.int64]

HORIZON_DAYS = 100
DAYS_BEFORE = 2  # so that a window of the day before, anywhere on earth, is in the timetable
NEVER = np.int64(2**62)
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = MINUTES_A_DAY * MINUTE_US
NO_DAY = 0
_EPOCH = date(1970, 1, 1).toordinal()


class Segment(NamedTuple):
    """A stretch of UTC, in microseconds, in which a time zone has one offset."""

    start_us: int
    end_us: int
    offset_us: int


class Layout(NamedTuple):
    """One calendar as instants: pieces of windows, and working days with what ends them."""

    opens: Instants
    closes: Instants
    days: Instants  # ordinal of the local date on which a piece's window opens
    working: Instants  # ordinals of dates with windows
    day_opens: Instants  # when each of them first opens
    day_ends: Instants  # from when on work counts for a later day


class Timetable(NamedTuple):
    """Calendars behind each other; `row` is a calendar's place. Made by `make_timetable`.

    Keys are instants after `base_us` plus `row * span_us`, so that one search serves all rows.
    """

    base_us: int
    span_us: int
    opens: Instants
    closes_key: Instants
    days: Instants
    worked_before: Instants
    worked_key: Instants
    worked_span: int
    ends: Instants
    working: Instants
    day_opens: Instants
    day_key: Instants
    day_last: Instants


# ── local time to instants ────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=2_000)
def segments_of(time_zone: str, first: int, days: int) -> tuple[Segment, ...]:
    """Return the stretches of one offset that cover dates, and a day before and after them."""
    zone = ZoneInfo(time_zone)
    start = (first - 1 - _EPOCH) * DAY_US
    end = (first + days + 1 - _EPOCH) * DAY_US
    found: list[Segment] = []
    begun, offset = start, _offset_us(zone, start)
    for at in range(start + DAY_US, end + DAY_US, DAY_US):
        later = _offset_us(zone, at)
        if later != offset:
            change = _change_us(zone, at - DAY_US, at)
            found.append(Segment(begun, change, offset))
            begun, offset = change, later
    return (*found, Segment(begun, end + DAY_US, offset))


def _offset_us(zone: ZoneInfo, at_us: int) -> int:
    offset = datetime_of(at_us).astimezone(zone).utcoffset() or timedelta()
    return int(offset / timedelta(microseconds=1))


def _change_us(zone: ZoneInfo, low: int, high: int) -> int:
    """Return the first second with another offset than `low`."""
    before = _offset_us(zone, low)
    while high - low > SECOND_US:
        middle = (low + high) // (2 * SECOND_US) * SECOND_US
        if _offset_us(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def first_instants(segments: Sequence[Segment], local_us: Instants) -> Instants:
    """Return when clocks first show local times; a time that is skipped is when the clock jumps."""
    found = np.full(len(local_us), NEVER, dtype=np.int64)
    for segment in reversed(segments):
        at = local_us - segment.offset_us
        mine = at < segment.end_us
        found[mine] = np.maximum(at, segment.start_us)[mine]
    return found


def local_midnight_us(ordinal: int) -> int:
    """Return the local midnight of a date in microseconds, as if its clock were UTC."""
    return (ordinal - _EPOCH) * DAY_US


@lru_cache(maxsize=4_000)
def lay_out(calendar: Calendar, first: int, days: int) -> Layout:
    """Lay a calendar out for `days` dates from the ordinal `first` on."""
    local = _local_windows(days_of(calendar, first, days))
    if not len(local):
        nothing = np.empty(0, dtype=np.int64)
        return Layout(nothing, nothing, nothing, nothing, nothing, nothing)
    segments = segments_of(calendar.time_zone, first, days)
    midnight = local_midnight_us(first)
    opens_local = midnight + local[:, 0] * MINUTE_US
    closes_local = midnight + local[:, 1] * MINUTE_US
    parts: list[NDArray[np.int64]] = []
    for segment in segments:
        opens = np.maximum(opens_local - segment.offset_us, segment.start_us)
        closes = np.minimum(closes_local - segment.offset_us, segment.end_us)
        is_there = closes > opens
        parts.append(np.stack([opens, closes, local[:, 2]], axis=1)[is_there])
    pieces = np.concatenate(parts)
    pieces = _joined(pieces[np.argsort(pieces[:, 0], kind="stable")])
    return _with_days(calendar, first, segments, pieces)


def _local_windows(days: Sequence[Spans]) -> NDArray[np.int64]:
    """Return windows in minutes after the first midnight, with the day; the earlier one wins."""
    rows: list[tuple[int, int, int]] = []
    reached = 0
    for day, spans in enumerate(days):
        for first, last in spans:
            opens, closes = max(day * MINUTES_A_DAY + first, reached), day * MINUTES_A_DAY + last
            if closes > opens:
                rows.append((opens, closes, day))
                reached = closes
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _joined(pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join the pieces of a window that touch: the clock changed while it was open."""
    if not len(pieces):
        return pieces
    follows = (pieces[1:, 0] == pieces[:-1, 1]) & (pieces[1:, 2] == pieces[:-1, 2])
    starts = np.flatnonzero(np.concatenate([[True], ~follows]))
    joined = pieces[starts].copy()
    joined[:, 1] = np.maximum.reduceat(pieces[:, 1], starts)
    return joined


def _with_days(
    calendar: Calendar, first: int, segments: Sequence[Segment], pieces: NDArray[np.int64]
) -> Layout:
    days, places = np.unique(pieces[:, 2], return_inverse=True)
    day_opens = np.full(len(days), NEVER, dtype=np.int64)
    np.minimum.at(day_opens, places, pieces[:, 0])
    day_ends = np.zeros(len(days), dtype=np.int64)
    np.maximum.at(day_ends, places, pieces[:, 1])
    by_weekday = np.array(calendar.cut_offs, dtype=np.int64)
    minutes = by_weekday[(weekday_of(first) + days) % 7]
    local = local_midnight_us(first) + (days * MINUTES_A_DAY + minutes) * MINUTE_US
    cut_offs = np.where(minutes == NO_CUT_OFF, NEVER, first_instants(segments, local))
    day_ends = np.maximum.accumulate(np.minimum(day_ends, cut_offs))
    return Layout(
        pieces[:, 0], pieces[:, 1], pieces[:, 2] + first, days + first, day_opens, day_ends
    )


# ── many calendars at once ────────────────────────────────────────────────────────────────────────


def first_day(today: date) -> int:
    """Return the ordinal with which the timetable of a date begins: the same for a week.

    So what is laid out stays for a week, and not every process lays out everything each midnight.
    """
    return (today.toordinal() - DAYS_BEFORE) // 7 * 7


def make_timetable(
    calendars: Sequence[Calendar], today: date, days: int = HORIZON_DAYS
) -> Timetable:
    """Lay calendars out behind each other, for at least `days` dates from `today` on."""
    first = first_day(today)
    count = days + DAYS_BEFORE + 7
    layouts = [lay_out(calendar, first, count) for calendar in calendars]
    base = local_midnight_us(first) - 2 * DAY_US
    span = (count + 6) * DAY_US
    sizes = np.array([len(one.opens) for one in layouts], dtype=np.int64)
    opens, closes = _chain(layouts, "opens"), _chain(layouts, "closes")
    rows = np.repeat(np.arange(len(layouts)), sizes)
    work = np.cumsum(closes - opens)
    ends = np.cumsum(sizes)
    before_row = np.concatenate([[0], work])[ends - sizes]
    worked = work - np.repeat(before_row, sizes)
    day_sizes = np.array([len(one.working) for one in layouts], dtype=np.int64)
    day_rows = np.repeat(np.arange(len(layouts)), day_sizes)
    return Timetable(
        base_us=base,
        span_us=span,
        opens=_padded(opens),
        closes_key=closes - base + rows * span,
        days=_padded(_chain(layouts, "days")),
        worked_before=_padded(worked - (closes - opens)),
        worked_key=_padded(worked + rows * (span + 2)),
        worked_span=span + 2,
        ends=ends,
        working=_padded(_chain(layouts, "working")),
        day_opens=_padded(_chain(layouts, "day_opens")),
        day_key=_chain(layouts, "day_ends") - base + day_rows * span,
        day_last=np.cumsum(day_sizes),
    )


def _chain(layouts: Sequence[Layout], name: str) -> Instants:
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *(getattr(one, name) for one in layouts)])


def _padded(values: Instants) -> Instants:
    """Append an element, so that the place after the last one can be read and thrown away."""
    return np.append(values, NEVER)


def next_openings(table: Timetable, rows: Rows, at: Instants) -> Instants:
    """Return per row and instant the instant itself while open, else when it next opens."""
    place, is_there = _window_at(table, rows, at)
    return np.where(is_there, np.maximum(table.opens[place], at), NEVER)


def are_open(table: Timetable, rows: Rows, at: Instants) -> NDArray[np.bool_]:
    """Tell per row whether it is open at an instant; closing time is closed."""
    place, is_there = _window_at(table, rows, at)
    return is_there & (table.opens[place] <= at)


def after_work(table: Timetable, rows: Rows, at: Instants, work_us: Instants) -> Instants:
    """Return when work that may begin at instants is done, counting open time only.

    What ends with a window ends at its closing time; no work is done at the next opening.
    """
    place, is_there = _window_at(table, rows, at)
    done = table.worked_before[place] + np.maximum(at - table.opens[place], 0)
    target = np.where(is_there, np.minimum(done + work_us, table.worked_span - 1), 0)
    last = np.searchsorted(table.worked_key, target + rows * table.worked_span, side="left")
    last = np.maximum(last, place)
    is_done = is_there & (last < table.ends[rows])
    last = np.where(is_done, last, len(table.opens) - 1)
    return np.where(is_done, table.opens[last] + target - table.worked_before[last], NEVER)


def work_between(table: Timetable, rows: Rows, since: Instants, until: Instants) -> Instants:
    """Return how much open time lies between two instants, in microseconds."""
    return np.maximum(_worked(table, rows, until) - _worked(table, rows, since), 0)


def _worked(table: Timetable, rows: Rows, at: Instants) -> Instants:
    place, is_there = _window_at(table, rows, at)
    within = np.maximum(at - table.opens[place], 0)
    last = table.worked_key[np.maximum(table.ends[rows] - 1, 0)] - rows * table.worked_span
    return np.where(is_there, table.worked_before[place] + within, last)


def days_taken(table: Timetable, rows: Rows, at: Instants) -> Instants:
    """Return per row the ordinal of the working day on which work taken now counts, or `NO_DAY`."""
    place, is_there = _day_at(table, rows, at)
    return np.where(is_there, table.working[place], NO_DAY)


def ready(table: Timetable, rows: Rows, at: Instants, work_us: Instants) -> Instants:
    """Return when work decided at instants is done: cut-off first, then open time."""
    return after_work(table, rows, begun(table, rows, at), work_us)


def begun(table: Timetable, rows: Rows, at: Instants) -> Instants:
    """Return when work decided at instants may begin: after the cut-off the next working day."""
    place, is_there = _day_at(table, rows, at)
    return np.where(is_there, np.maximum(table.day_opens[place], at), NEVER)


def _window_at(table: Timetable, rows: Rows, at: Instants) -> tuple[Instants, NDArray[np.bool_]]:
    """Return the place of the first window that closes after an instant, and whether there is."""
    return _found(table.closes_key, _key(table, rows, at), table.ends[rows])


def _day_at(table: Timetable, rows: Rows, at: Instants) -> tuple[Instants, NDArray[np.bool_]]:
    return _found(table.day_key, _key(table, rows, at), table.day_last[rows])


def _found(keys: Instants, wanted: Instants, ends: Instants) -> tuple[Instants, NDArray[np.bool_]]:
    place = np.searchsorted(keys, wanted, side="right")
    is_there = place < ends
    return np.where(is_there, place, len(keys)), is_there


def _key(table: Timetable, rows: Rows, at: Instants) -> Instants:
    after = at - table.base_us
    invariant(bool(np.all(after >= 0)), "an instant lies before its timetable")
    return np.minimum(after, table.span_us - 1) + rows * table.span_us


# ── instants ──────────────────────────────────────────────────────────────────────────────────────


def us_of(at: datetime) -> int:
    """Return an instant in microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def datetime_of(at_us: int) -> datetime:
    """Return an instant in UTC from microseconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
