"""Locations and networks in words, and the checks that need nothing but the record. Pure."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from penstock.errors import Refusal
from penstock.network.hours import CalendarInput, check_calendar, check_hours
from penstock.records import check_ref

KINDS = ("store", "warehouse", "3pl", "dropship_vendor", "locker")
SERVICES = ("deliver", "collect", "receive", "return")
MAX_HANDLING_MINOR = 1_000_000
MAX_HANDLING_MIN = 60 * 24 * 30
MAX_DAILY_CAPACITY = 1_000_000_000
MAX_NETWORK_LOCATIONS = 10_000
MAX_CHANNEL_NETWORKS = 1_000
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
    calendar: CalendarInput = msgspec.field(default_factory=CalendarInput)


class NetworkInput(msgspec.Struct, forbid_unknown_fields=True):
    """A network and the refs of all its locations."""

    ref: str
    locations: list[str] = []


class ChannelNetworksInput(msgspec.Struct, forbid_unknown_fields=True):
    """A channel and the refs of all networks that may serve it; none: those of its parent."""

    channel: str
    networks: list[str] = []


class SwitchInput(msgspec.Struct, forbid_unknown_fields=True):
    """One service of a location or network (`ref`), on or off, from and until, with a reason."""

    ref: str
    service: str
    is_on: bool
    off_from: datetime | None = None
    off_until: datetime | None = None
    reason: str = ""


def check_location(location: LocationInput) -> None:
    """Refuse a record that cannot be a location with `invalid_location`, naming the field."""
    check_ref(location.ref, "invalid_location")
    _check(location.kind in KINDS, "kind", f"A location is one of {', '.join(KINDS)}.")
    _check(abs(location.latitude) <= _LATITUDE, "latitude", "A latitude is from -90 to 90.")
    _check(abs(location.longitude) <= _LONGITUDE, "longitude", "A longitude is from -180 to 180.")
    _check_range(location.handling_cost_minor, MAX_HANDLING_MINOR, "handling_cost_minor")
    _check_range(location.handling_min, MAX_HANDLING_MIN, "handling_min")
    for service in location.capabilities:
        _check(service in SERVICES, "capabilities", f"{service!r} is no service.")
    for service, orders in location.daily_capacity.items():
        _check(service in SERVICES, "daily_capacity", f"{service!r} is no service.")
        _check_range(orders, MAX_DAILY_CAPACITY, "daily_capacity")
    _check(is_time_zone(location.time_zone), "time_zone", "It is no IANA time zone.")
    check_hours(location.opening_hours, "opening_hours")
    check_calendar(location.calendar)


def check_network(network: NetworkInput) -> None:
    """Refuse a record that cannot be a network with `invalid_network`."""
    check_ref(network.ref, "invalid_network")
    if len(network.locations) > MAX_NETWORK_LOCATIONS:
        sentence = f"locations: A network has at most {MAX_NETWORK_LOCATIONS:,} of them."
        raise Refusal("invalid_network", sentence, field="locations")


def check_channel_networks(record: ChannelNetworksInput) -> None:
    """Refuse a channel that names too many networks with `invalid_channel`."""
    if len(record.networks) > MAX_CHANNEL_NETWORKS:
        sentence = f"networks: A channel names at most {MAX_CHANNEL_NETWORKS:,} of them."
        raise Refusal("invalid_channel", sentence, field="networks")


def check_switch(switch: SwitchInput) -> None:
    """Refuse what is no service (`invalid_location`) and instants that mean nothing."""
    _check(switch.service in SERVICES, "service", f"A service is one of {', '.join(SERVICES)}.")
    instants = {"off_from": switch.off_from, "off_until": switch.off_until}
    for field, at in instants.items():
        if at is not None and (switch.is_on or at.tzinfo is None):
            sentence = (
                f"{field}: An instant needs a time zone, and only what is switched off has one."
            )
            raise Refusal("instant_unusable", sentence, field=field)
    if switch.off_from and switch.off_until and switch.off_until <= switch.off_from:
        sentence = "off_until: It has to be later than off_from."
        raise Refusal("instant_unusable", sentence, field="off_until")


def is_time_zone(name: str) -> bool:
    """Tell whether a name is that of an IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check_range(value: int, most: int, field: str) -> None:
    _check(0 <= value <= most, field, f"It is from 0 to {most:,}.")


def _check(condition: object, field: str, message: str) -> None:
    if not condition:
        raise Refusal("invalid_location", f"{field}: {message}", field=field)
