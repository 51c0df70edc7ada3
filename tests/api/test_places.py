"""Locations over HTTP: found, put, and when they are open."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api.test_actions import code_of

HOURS = {"sat": [["22:00", "04:00"]], "sun": [["09:00", "12:00"]]}
ISLAND: dict[str, Any] = {
    "kind": "locker",
    "latitude": 60.15,
    "longitude": -1.15,
    "time_zone": "Europe/London",
    "opening_hours": HOURS,
    "capabilities": ["collect"],
    "calendar": {
        "holidays": "GB-SCT",
        "cut_offs": {"collect": {"sun": "11:00"}},
        "dates": [{"on": "2026-10-26", "windows": [["10:00", "11:00"]], "reason": "fair"}],
        "slots": {"collect": {"length_min": 90, "capacity": 3}},
    },
}


def test_a_location_is_put_read_and_found(web: httpx.Client) -> None:
    made = web.put("/v1/locations/LERWICK", json=ISLAND)
    assert made.status_code == 201
    assert web.put("/v1/locations/LERWICK", json=ISLAND).status_code == 200
    read = web.get("/v1/locations/LERWICK").json()
    assert read == made.json()
    assert (read["ref"], read["kind"], read["handling_min"]) == ("LERWICK", "locker", 60)
    near = web.get("/v1/locations", params={"latitude": 60, "longitude": -1, "within_km": 50})
    assert [(one["ref"], one["km"]) for one in near.json()["locations"]] == [("LERWICK", 18.64)]
    box = {"south": 60, "west": -2, "north": 61, "east": -1}
    found = web.get("/v1/locations", params=box).json()["locations"]
    assert [one["ref"] for one in found] == ["LERWICK"]
    stores = web.get("/v1/locations", params={"kind": "store"}).json()["locations"]
    assert len(stores) == 12
    assert "km" not in stores[0], "nobody asked how far they are from anywhere"


def test_the_calendar_of_a_night_on_which_the_clock_goes_back(web: httpx.Client) -> None:
    web.put("/v1/locations/LERWICK", json=ISLAND)
    query = {"service": "collect", "since": "2026-10-24", "days": 3}
    days = web.get("/v1/locations/LERWICK/calendar", params=query).json()["days"]
    assert days[0]["windows"] == [
        {"opens": "2026-10-24T22:00:00+01:00", "closes": "2026-10-25T04:00:00Z"}
    ]
    assert days[1]["cut_off"] == "2026-10-25T11:00:00Z"
    assert days[1]["reason"] == "the clock goes back 60 min"
    assert days[2]["reason"] == "fair"


def test_slots_of_a_day(web: httpx.Client) -> None:
    web.put("/v1/locations/LERWICK", json=ISLAND)
    answer = web.get("/v1/locations/LERWICK/slots", params={"on": "2026-10-25"}).json()
    assert [(one["begins"], one["left"]) for one in answer["slots"]] == [
        ("2026-10-25T09:00:00Z", 3),
        ("2026-10-25T10:30:00Z", 3),
    ]
    none = web.get("/v1/locations/LERWICK/slots", params={"service": "deliver"})
    assert code_of(none) == (422, "no_slots")


def test_when_it_is_ready_in_the_night_on_which_the_clock_goes_back(web: httpx.Client) -> None:
    web.put("/v1/locations/LERWICK", json=ISLAND)
    query = {"at": "2026-10-25T00:30:00Z"}
    answer = web.get("/v1/locations/LERWICK/ready", params=query).json()
    assert answer["ready_at"] == answer["collect_from"] == "2026-10-25T01:30:00Z"
    late = web.get("/v1/locations/LERWICK/ready", params={"at": "2026-10-25T11:00:00Z"}).json()
    assert late["ready_at"] == "2026-10-26T11:00:00Z"  # it is past the cut-off
    assert late["collect_from"] == "2026-10-31T22:00:00Z"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/locations/L99/ready", (422, "unknown_location")),
        ("/v1/locations/L1/ready?service=teleport", (422, "invalid_location")),
        ("/v1/locations/L1/ready?chance=1", (400, "invalid_query")),
        ("/v1/locations/L1/ready?at=2026-01-01T00:00:00", (422, "instant_unusable")),
        ("/v1/locations/L1/ready?at=9999-12-31T23:00:00Z", (422, "instant_unusable")),
        ("/v1/locations/L1/delivery-window?carrier=x&service=y", (422, "unknown_carrier")),
        (
            "/v1/locations/L1/delivery-window?carrier=x&service=y&time_zone=Mars",
            (422, "invalid_transit"),
        ),
        ("/v1/locations/L1/delivery-window", (400, "invalid_query")),
        ("/v1/locations/L99", (422, "unknown_location")),
        ("/v1/locations/L99/calendar", (422, "unknown_location")),
        ("/v1/locations?latitude=1", (400, "invalid_query")),
        ("/v1/locations?limit=0", (400, "invalid_query")),
        ("/v1/locations?colour=red", (400, "invalid_query")),
        ("/v1/locations/L1/calendar?service=teleport", (400, "invalid_query")),
        ("/v1/locations/L1/calendar?since=0001-01-01", (400, "invalid_query")),
        ("/v1/locations/L1/calendar?days=1000", (400, "invalid_query")),
    ],
)
def test_what_cannot_be_asked_is_refused(
    web: httpx.Client, path: str, code: tuple[int, str]
) -> None:
    assert code_of(web.get(path)) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "castle"}, "invalid_location"),
        ({"ref": "OTHER"}, "invalid_location"),
        ({"colour": "red"}, "invalid_request"),
        ({"calendar": {"holidays": "XX"}}, "invalid_location"),
        ({"calendar": {"dates": [{"on": "yesterday"}]}}, "invalid_request"),
    ],
)
def test_what_cannot_be_a_location_is_refused(
    web: httpx.Client, change: dict[str, Any], code: str
) -> None:
    assert code_of(web.put("/v1/locations/BAD", json={**ISLAND, **change})) == (422, code)
    assert code_of(web.get("/v1/locations/BAD")) == (422, "unknown_location")
