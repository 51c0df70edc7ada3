"""What can be a location, and a switch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.errors import Refusal
from penstock.network.model import LocationInput, SwitchInput, check_location, check_switch

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
        ("opening_hours", {"mon": [("17:30", "09:00")]}),
        ("opening_hours", {"mon": [("9:00", "17:30")]}),
        ("opening_hours", {"mon": [("09:00", "24:30")]}),
        ("opening_hours", {"mon": [("09:00", "10:00")] * 11}),
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
