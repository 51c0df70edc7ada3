"""Timetables against a slow model that reads the clock on the wall, clock changes included."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.network.minute_model import MINUTE, Model, Windows

from penstock.network import timetable
from penstock.network.calendar import (
    add_working_minutes,
    next_open,
    open_at,
    ready_at,
    working_day,
    working_minutes,
)
from penstock.network.hours import NO_CUT_OFF, Calendar
from penstock.network.timetable import NEVER, us_of

# Nights on which clocks change: forward and back, by an hour and by half an hour, and at midnight.
CHANGES = {
    "Europe/London": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "Asia/Beirut": (date(2026, 3, 29), date(2026, 10, 25)),
    "Asia/Kolkata": (date(2026, 5, 1), date(2026, 6, 1)),
}
LIMIT = 60 * 24 * 4


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    found: Windows = []
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.one_of(st.integers(0, 1439), st.sampled_from([0, 60, 90, 120, 150, 1380])))
        length = draw(st.one_of(st.integers(1, 1439), st.sampled_from([15, 30, 60, 1439])))
        found.append((first, first + min(length, 1439)))
    return sorted(found)


class Case:
    """A calendar, its model, and an instant near a clock change."""

    def __init__(self, zone: str, weekly: list[Windows], more: tuple) -> None:
        dates, cut_offs, self.at = more
        self.model = Model(zone, weekly, dates, cut_offs)
        own = tuple((day.toordinal(), tuple(some), "") for day, some in sorted(dates.items()))
        told = tuple(NO_CUT_OFF if one is None else one for one in cut_offs)
        self.calendar = Calendar(zone, tuple(tuple(one) for one in weekly), own, "", told)

    def __repr__(self) -> str:
        return f"{self.calendar} at {self.at}"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[zone]))
    weekly = [draw(windows()) for _ in range(7)]
    near = st.integers(-2, 2).map(lambda n: change + timedelta(days=n))
    dates = draw(st.dictionaries(near, windows(), max_size=2))
    cut_off = st.one_of(st.none(), st.sampled_from([30, 75, 90, 120, 150, 840, 1440]))
    cut_offs = [draw(cut_off) for _ in range(7)]
    midnight = datetime(change.year, change.month, change.day, tzinfo=UTC)
    at = midnight + draw(st.integers(-3 * 1440, 2 * 1440)) * MINUTE
    return Case(zone, weekly, (dates, cut_offs, at))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_it_is_open_when_the_clock_on_the_wall_says_so(case: Case) -> None:
    instants = [case.at + n * MINUTE for n in range(60 * 8)]
    table = timetable.make_timetable([case.calendar], case.at.date())
    rows = np.zeros(len(instants), dtype=np.int64)
    found = timetable.are_open(table, rows, np.array([us_of(at) for at in instants]))
    assert found.tolist() == [case.model.day_open(at) is not None for at in instants]


@settings(max_examples=100, deadline=None)
@given(cases(), st.one_of(st.just(0), st.integers(0, 900)))
def test_working_minutes_are_counted_one_by_one(case: Case, minutes: int) -> None:
    expected = case.model.after_work(case.at, minutes, LIMIT)
    found = add_working_minutes(case.calendar, case.at, minutes)
    if expected is None:
        assert found is None or found > case.at + (LIMIT - 1) * MINUTE
    else:
        assert found == expected
        assert working_minutes(case.calendar, case.at, expected) == minutes
        assert minutes or next_open(case.calendar, case.at) == expected


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 600))
def test_work_after_the_cut_off_is_begun_when_the_next_working_day_opens(
    case: Case, handling_min: int
) -> None:
    taken = case.model.day_taken(case.at, LIMIT)
    if taken is None:
        return
    day, begun = taken
    assert working_day(case.calendar, case.at) == day
    expected = case.model.after_work(begun, handling_min, LIMIT)
    if expected is not None:
        assert ready_at(case.calendar, case.at, handling_min) == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(cases(), min_size=1, max_size=6), st.integers(0, 600))
def test_many_calendars_at_once_answer_as_each_alone(some: list[Case], minutes: int) -> None:
    at = some[0].at
    calendars = [one.calendar for one in some]
    table = timetable.make_timetable(calendars, at.date())
    rows = np.arange(len(some), dtype=np.int64)
    instants = np.full(len(some), us_of(at), dtype=np.int64)
    work = np.full(len(some), minutes * timetable.MINUTE_US, dtype=np.int64)

    def told(found: np.ndarray) -> list[datetime | None]:
        return [None if one >= NEVER else timetable.datetime_of(one) for one in found.tolist()]

    assert told(timetable.next_openings(table, rows, instants)) == [
        next_open(one, at) for one in calendars
    ]
    assert told(timetable.ready(table, rows, instants, work)) == [
        ready_at(one, at, minutes) for one in calendars
    ]
    assert timetable.are_open(table, rows, instants).tolist() == [
        open_at(one, at) for one in calendars
    ]


def always(zone: str, first: int, last: int) -> Calendar:
    return Calendar(zone, (((first, last),),) * 7)


@pytest.mark.parametrize(
    ("zone", "day", "span", "minutes"),
    [
        ("Europe/London", date(2026, 3, 29), (0, 1440), 23 * 60),
        ("Europe/London", date(2026, 3, 29), (75, 105), 0),  # 01:15 to 01:45 does not exist
        ("Europe/London", date(2026, 3, 29), (90, 150), 30),  # 01:30 to 02:30: half of it does
        ("Europe/London", date(2026, 10, 25), (0, 1440), 25 * 60),
        ("Europe/London", date(2026, 10, 25), (75, 105), 60),  # 01:15 to 01:45 comes twice
        ("America/New_York", date(2026, 3, 8), (0, 1440), 23 * 60),
        ("America/New_York", date(2026, 11, 1), (60, 120), 120),
        ("Australia/Lord_Howe", date(2026, 4, 5), (0, 1440), 24 * 60 + 30),
        ("Australia/Lord_Howe", date(2026, 10, 4), (0, 1440), 23 * 60 + 30),
        ("Australia/Lord_Howe", date(2026, 10, 4), (120, 150), 0),  # 02:00 to 02:30 is skipped
    ],
)
def test_the_nights_on_which_clocks_change_have_the_hours_they_have(
    zone: str, day: date, span: tuple[int, int], minutes: int
) -> None:
    layout = timetable.lay_out(always(zone, *span), day.toordinal() - 1, 3)
    mine = layout.days == day.toordinal()
    assert (layout.closes - layout.opens)[mine].sum() == minutes * timetable.MINUTE_US


def test_a_calendar_that_never_opens_has_no_answer() -> None:
    closed = Calendar("Europe/London", ((),) * 7)
    at = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    assert next_open(closed, at) is None
    assert ready_at(closed, at, 10) is None
    assert not open_at(closed, at)
    assert working_minutes(closed, at, at + timedelta(days=9)) == 0
    assert working_day(closed, at) == date(2026, 3, 2)


def test_work_that_ends_with_the_day_ends_at_closing_time() -> None:
    shop = always("Europe/London", 9 * 60, 17 * 60)
    at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert add_working_minutes(shop, at, 480) == datetime(2026, 3, 2, 17, tzinfo=UTC)
    assert add_working_minutes(shop, at, 481) == datetime(2026, 3, 3, 9, 1, tzinfo=UTC)
