"""What can be a location, and a switch."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from penstock.errors import Refusal
from penstock.network.hours import CalendarInput, OwnDate, SlotRule
from penstock.network.model import LocationInput, SwitchInput, check_location, check_switch

TODAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ref", ""),
        ("kind", "castle"),
        ("latitude", 90.5),
        ("latitude", float("nan")),
        ("longitude", -181),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../etc/passwd"),
        ("time_zone", ""),
        ("opening_hours", {"monday": []}),
        ("opening_hours", {"mon": [("09:00", "09:00")]}),
        ("opening_hours", {"mon": [("9:00", "17:30")]}),
        ("opening_hours", {"mon": [("09:00", "24:30")]}),
        ("opening_hours", {"mon": [("09:00", "10:00")] * 11}),
        ("opening_hours", {"mon": [("24:00", "02:00")]}),
        ("capabilities", ["teleport"]),
        ("daily_capacity", {"teleport": 1}),
        ("daily_capacity", {"deliver": -1}),
        ("daily_capacity", {"deliver": 2**31}),
        ("handling_cost_minor", -1),
        ("handling_min", 10**6),
    ],
)
def test_a_location_is_refused_by_the_field_that_is_wrong(field: str, value: Any) -> None:
    fields: dict[str, Any] = {
        "ref": "a",
        "kind": "store",
        "latitude": 51,
        "longitude": 0,
        field: value,
    }
    with pytest.raises(Refusal) as caught:
        check_location(LocationInput(**fields))
    assert caught.value.code == "invalid_location"
    assert caught.value.data["field"] == field


def test_a_location_may_be_open_until_midnight() -> None:
    hours = {"fri": [("09:00", "24:00")]}
    check_location(LocationInput("a", "locker", -90, 180, opening_hours=hours))


@pytest.mark.parametrize(
    ("field", "calendar"),
    [
        ("holidays", CalendarInput(holidays="XX")),
        ("holidays", CalendarInput(holidays="GB-XX")),
        ("holidays", CalendarInput(holidays="GB-")),
        ("dates", CalendarInput(dates=[OwnDate(TODAY, TODAY - timedelta(days=1))])),
        ("dates", CalendarInput(dates=[OwnDate(TODAY, TODAY + timedelta(days=5_000))])),
        ("dates", CalendarInput(dates=[OwnDate(TODAY, windows=[("9", "10")])])),
        ("dates", CalendarInput(dates=[OwnDate(TODAY, services=["teleport"])])),
        ("hours", CalendarInput(hours={"teleport": {}})),
        ("hours", CalendarInput(hours={"collect": {"monday": []}})),
        ("cut_offs", CalendarInput(cut_offs={"teleport": {"mon": "14:00"}})),
        ("cut_offs", CalendarInput(cut_offs={"deliver": {"monday": "14:00"}})),
        ("cut_offs", CalendarInput(cut_offs={"deliver": {"all": "2pm"}})),
        ("slots", CalendarInput(slots={"teleport": SlotRule()})),
        ("slots", CalendarInput(slots={"collect": SlotRule(length_min=0)})),
        ("slots", CalendarInput(slots={"collect": SlotRule(capacity=-1)})),
    ],
)
def test_a_calendar_is_refused_by_the_field_that_is_wrong(
    field: str, calendar: CalendarInput
) -> None:
    with pytest.raises(Refusal) as caught:
        check_location(LocationInput("a", "store", 51, 0, calendar=calendar))
    assert caught.value.code == "invalid_location"
    assert caught.value.data["field"] == f"calendar.{field}"


def test_a_location_may_be_open_over_midnight_and_close_on_holidays() -> None:
    hours = {"fri": [("22:00", "02:00")]}
    calendar = CalendarInput(holidays="GB-ENG", cut_offs={"deliver": {"all": "14:00"}})
    check_location(LocationInput("a", "store", 51, 0, opening_hours=hours, calendar=calendar))


@pytest.mark.parametrize(
    "more",
    [
        {"off_until": datetime(2026, 3, 2, 12)},  # noqa: DTZ001 (that is what is wrong)
        {"off_from": AT, "off_until": AT},
        {"is_on": True, "off_from": AT},
    ],
)
def test_instants_of_a_switch_have_to_mean_something(more: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"ref": "a", "service": "deliver", "is_on": False, **more}
    with pytest.raises(Refusal) as caught:
        check_switch(SwitchInput(**fields))
    assert caught.value.code == "instant_unusable"
