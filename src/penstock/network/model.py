"""Locations and networks in words, and the checks that need nothing but the record. Pure."""

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from penstock.errors import Refusal
from penstock.network.calendars import WEEKDAYS

KINDS = ("store", "warehouse", "3pl", "dropship_vendor", "locker")
SERVICES = ("deliver", "collect", "receive", "return")
MAX_REF = 100
MAX_HANDLING_MINOR = 1_000_000
MAX_HANDLING_MIN = 60 * 24 * 30
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
_LATITUDE, _LONGITUDE = 90.0, 180.0


class LocationInput(msgspec.Struct, forbid_unknown_fields=True):
    """A location to make or change, by ref. Degrees; minor units a fulfilment; minutes."""

    ref: str
    kind: str
    latitude: float
    longitude: float
    name: str = ""
    address: dict[str, Any] = {}
    time_zone: str = "UTC"
    opening_hours: dict[str, list[tuple[str, str]]] = {}
    capabilities: list[str] = msgspec.field(default_factory=lambda: list(SERVICES))
    handling_cost_minor: int = 0
    handling_min: int = 60
    daily_capacity: dict[str, int] = {}
    attributes: dict[str, Any] = {}


class NetworkInput(msgspec.Struct, forbid_unknown_fields=True):
    """A network and the refs of all its locations."""

    ref: str
    locations: list[str] = []


class SwitchInput(msgspec.Struct, forbid_unknown_fields=True):
    """One service of a location or network (`ref`), on or off, from and until, with a reason."""

    ref: str
    service: str
    is_on: bool
    off_from: datetime | None = None
    off_until: datetime | None = None
    reason: str = ""


def check_location(location: LocationInput) -> None:
    """Refuse a record that cannot be a location, naming the field."""
    _check(1 <= len(location.ref) <= MAX_REF, "ref", f"A ref has 1 to {MAX_REF} characters.")
    _check(location.kind in KINDS, "kind", f"A location is one of {', '.join(KINDS)}.")
    _check(abs(location.latitude) <= _LATITUDE, "latitude", "A latitude is from -90 to 90.")
    _check(abs(location.longitude) <= _LONGITUDE, "longitude", "A longitude is from -180 to 180.")
    handling = location.handling_cost_minor
    _check(0 <= handling <= MAX_HANDLING_MINOR, "handling_cost_minor", "It is out of range.")
    _check(0 <= location.handling_min <= MAX_HANDLING_MIN, "handling_min", "It is out of range.")
    for service in (*location.capabilities, *location.daily_capacity):
        _check(service in SERVICES, "capabilities", f"{service!r} is no service.")
    for orders in location.daily_capacity.values():
        _check(orders >= 0, "daily_capacity", "A capacity is not negative.")
    _check(_is_time_zone(location.time_zone), "time_zone", "It is no IANA time zone.")
    for day, windows in location.opening_hours.items():
        _check(day in WEEKDAYS, "opening_hours", f"{day!r} is none of {', '.join(WEEKDAYS)}.")
        for opens, closes in windows:
            is_window = _CLOCK.fullmatch(opens) and _CLOCK.fullmatch(closes) and opens < closes
            _check(
                is_window, "opening_hours", f"{opens}-{closes} is no window such as 09:00-17:30."
            )


def check_service(service: str) -> None:
    """Refuse what is no service."""
    _check(service in SERVICES, "service", f"A service is one of {', '.join(SERVICES)}.")


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check(condition: object, field: str, message: str) -> None:
    if not condition:
        raise Refusal("invalid_location", f"{field}: {message}", field=field)
