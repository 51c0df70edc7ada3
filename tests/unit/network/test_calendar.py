"""On which day work taken at an instant counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.network.calendar import view_days
from penstock.network.calendar import working_day as working_day_of
from penstock.network.hours import (
    WEEKDAYS,
    CalendarInput,
    Hours,
    OwnDate,
    calendar_of,
    next_days,
    public_holidays,
)

LONDON = "Europe/London"
SHOP = {
    "mon": [("09:00", "17:30")],
    "tue": [("09:00", "12:00"), ("13:00", "17:30")],
    "sat": [("10:00", "16:00")],
    "sun": [],
}
NIGHTLY = {day: [("00:00", "02:00")] for day in WEEKDAYS}
ALWAYS = {day: [("00:00", "24:00")] for day in WEEKDAYS}


def working_day(hours: Hours, time_zone: str, at: datetime) -> date:
    return working_day_of(calendar_of(hours, time_zone, CalendarInput(), "deliver"), at)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2026-03-02T07:00", "2026-03-02"),  # Monday before it opens: open later today
        ("2026-03-02T17:29:59.999999", "2026-03-02"),  # the last moment
        ("2026-03-02T17:30", "2026-03-03"),  # closing time is closed
        ("2026-03-03T12:30", "2026-03-03"),  # lunch: it opens again
        ("2026-03-03T17:30", "2026-03-07"),  # Tuesday evening: closed until Saturday
        ("2026-03-07T16:00", "2026-03-09"),  # over the Sunday, which has no hours
        ("2026-03-08T10:00", "2026-03-09"),  # on the Sunday
        ("2026-06-01T16:29", "2026-06-01"),  # 17:29 in summer time
        ("2026-06-01T16:30", "2026-06-02"),  # 17:30 in summer time
    ],
)
def test_work_counts_today_while_the_store_is_open_and_later_on_the_next_open_day(
    at: str, day: str
) -> None:
    assert working_day(SHOP, LONDON, utc(at)) == date.fromisoformat(day)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        # 2026-03-29: at 01:00 the clock goes to 02:00, so this night has no hour from one to two.
        ("2026-03-29T00:59", "2026-03-29"),
        ("2026-03-29T01:00", "2026-03-30"),
        # 2026-10-25: at 02:00 it goes back to 01:00, and the hour from one to two comes twice.
        ("2026-10-24T23:30", "2026-10-25"),  # 00:30 in summer time
        ("2026-10-25T00:30", "2026-10-25"),  # 01:30 the first time
        ("2026-10-25T01:30", "2026-10-25"),  # 01:30 again
        ("2026-10-25T02:00", "2026-10-26"),  # two o'clock
    ],
)
def test_the_nights_on_which_clocks_change_keep_local_hours(at: str, day: str) -> None:
    assert working_day(NIGHTLY, LONDON, utc(at)) == date.fromisoformat(day)


@pytest.mark.parametrize("hours", [{}, {"mon": []}, ALWAYS])
def test_without_hours_and_with_all_hours_every_local_day_is_a_working_day(
    hours: dict[str, list[tuple[str, str]]],
) -> None:
    at = utc("2026-06-30T23:30")  # already July in London
    assert working_day(hours, LONDON, at) == date(2026, 7, 1)
    assert working_day(hours, "America/New_York", at) == date(2026, 6, 30)


@pytest.mark.parametrize(
    ("code", "day", "name"),
    [
        ("GB-ENG", date(2026, 4, 6), "Easter Monday"),
        ("GB-SCT", date(2026, 4, 6), None),
        ("US", date(2026, 7, 3), "Independence Day (observed)"),
        ("", date(2026, 12, 25), None),
        ("CN", date(2150, 10, 1), None),  # nobody knows yet
    ],
)
def test_public_holidays_are_those_of_the_country_or_its_part(
    code: str, day: date, name: str | None
) -> None:
    assert public_holidays(code, day.year).get(day.toordinal()) == name


def test_dates_of_one_s_own_come_before_holidays_and_holidays_before_the_week() -> None:
    boxing_day = date(2026, 12, 26)  # a Saturday
    sale = OwnDate(boxing_day, windows=[("08:00", "20:00")], services=["collect"], reason="sale")
    record = CalendarInput(holidays="GB-ENG", dates=[sale])
    reasons = {}
    for service in ("deliver", "collect"):
        (view,) = view_days(calendar_of(SHOP, LONDON, record, service), [boxing_day])
        reasons[service] = (view.reason, len(view.windows))
    assert reasons == {"deliver": ("Boxing Day", 0), "collect": ("sale", 1)}


def test_a_service_may_have_hours_and_cut_offs_of_its_own() -> None:
    record = CalendarInput(
        hours={"collect": {"mon": [("10:00", "12:00")]}},
        cut_offs={"deliver": {"all": "15:00", "mon": "14:00"}},
    )
    monday = date(2026, 3, 2)
    (collect,) = view_days(calendar_of(SHOP, LONDON, record, "collect"), [monday])
    deliver = view_days(calendar_of(SHOP, LONDON, record, "deliver"), next_days(monday, 3))
    assert [one.hour for one in collect.windows[0]] == [10, 12]
    assert collect.cut_off is None
    assert [one.cut_off and one.cut_off.hour for one in deliver] == [14, 15, None]


def test_a_store_open_one_day_a_week_waits_for_it() -> None:
    hours = {"mon": [("09:00", "17:30")]}
    assert working_day(hours, LONDON, utc("2026-03-02T18:00")) == date(2026, 3, 9)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(0, 60 * 24 * 14),
)
def test_later_work_never_counts_on_an_earlier_day(at: datetime, minutes: int) -> None:
    later = at + timedelta(minutes=minutes)
    assert working_day(SHOP, LONDON, at) <= working_day(SHOP, LONDON, later)
