"""Which lane serves an origin and a destination, and what can be a carrier or a lane.

Pure. Owns places in words (`GB:BA`, `@WH-1`), the choice of the narrowest lane, and the checks.

Invariant: of a service's lanes that fit, the one with the narrowest destination counts (the longest
postcode, a country, anywhere), and of those the one with the narrowest origin (a location first).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.errors import Refusal
from penstock.network.hours import WEEKDAYS, check_dates, is_clock, knows_holidays, spans_of
from penstock.network.lanes import ANY, CarrierInput, Lane, LaneInput, Place, ServiceInput, Terms
from penstock.network.spread import MAX_TRANSIT_DAYS, spread_of
from penstock.records import check_ref

MAX_SERVICES = 100
MAX_BANDS = 50
MAX_COLLECTIONS = 20
MAX_PLACE = 120
_COUNTRY_LETTERS = 2

Seen = Mapping[tuple[str, str, str], Mapping[int, int]]


class Carriers(NamedTuple):
    """Every carrier service, lane and histogram of an account, by carrier and service."""

    services: Mapping[tuple[str, str], ServiceInput]
    lanes: Mapping[tuple[str, str], Mapping[tuple[str, str], int]]
    seen: Seen


def lane_for(
    carriers: Carriers, service: tuple[str, str], origin: Place, to: Place, km: float | None = None
) -> Lane:
    """Return the lane of a carrier's service between two places, `km` apart if that is known.

    Refuses with `unknown_carrier`, or `no_lane` where the service does not go.
    """
    sold = carriers.services.get(service)
    if sold is None:
        name = f"{service[0]} {service[1]}"[:100]
        raise Refusal("unknown_carrier", f"No carrier has the service {name!r}.", carrier=name)
    declared = carriers.lanes.get(service, {})
    for ends in ends_of(to):
        for begins in origins_of(origin):
            days = declared.get((begins, ends))
            if days is not None:
                return _lane(carriers, service, f"{begins}>{ends}", days)
    for band in sold.transit_days if km is not None else ():
        if km is not None and km <= band.upto_km:
            return _lane(carriers, service, f"{band.upto_km:g} km", band.days)
    sentence = f"{service[0]} {service[1]} does not go there: import a lane, or say transit_days."
    raise Refusal("no_lane", sentence, carrier=service[0], service=service[1])


def _lane(carriers: Carriers, service: tuple[str, str], name: str, days: int) -> Lane:
    sold, seen = carriers.services[service], carriers.seen.get((*service, name), {})
    return Lane(*service, name, days, terms_of(sold), spread_of(days, seen))


def origins_of(place: Place) -> list[str]:
    """Return the ways in which a lane may name an origin, the narrowest first."""
    own = [f"@{place.location}"] if place.location else []
    return own + ends_of(place)


def ends_of(place: Place) -> list[str]:
    """Return the ways in which a lane may name a destination, the narrowest first."""
    country, postcode = place.country.upper(), normal_postcode(place.postcode)
    if not country:
        return [ANY]
    longest = [f"{country}:{postcode[:n]}" for n in range(len(postcode), 0, -1)]
    return [*longest, country, ANY]


def normal_postcode(postcode: str) -> str:
    """Return a postcode without what people leave out: spaces, hyphens, small letters."""
    return postcode.upper().replace(" ", "").replace("-", "")


def normal_place(text: str) -> str:
    """Return a lane's place in the form in which it is kept."""
    if text.startswith("@"):
        return text
    country, colon, postcode = text.partition(":")
    return f"{country.upper()}{colon}{normal_postcode(postcode)}"


def place_of(address: Mapping[str, Any], location: str = "") -> Place:
    """Return the place of an address with `country` and `postcode`."""
    country, postcode = address.get("country"), address.get("postcode")
    return Place(str(country or ""), str(postcode or ""), location)


def terms_of(service: ServiceInput) -> Terms:
    """Return a carrier service as dates need it."""
    window = spans_of([service.delivers_between])
    return Terms(
        collects=tuple(
            tuple(sorted(start for start, _ in spans_of([(one, "24:00") for one in times])))
            for times in (service.collects.get(day, []) for day in WEEKDAYS)
        ),
        delivers=tuple(window if day in service.delivers else () for day in WEEKDAYS),
        closed=tuple(
            (one.on.toordinal(), (one.until or one.on).toordinal()) for one in service.dates
        ),
        holidays=service.holidays,
    )


# ── what can be one ───────────────────────────────────────────────────────────────────────────────


def check_carrier(carrier: CarrierInput) -> None:
    """Refuse a record that cannot be a carrier with `invalid_carrier`, naming the field."""
    check_ref(carrier.ref, "invalid_carrier")
    refs = [service.ref for service in carrier.services]
    _check(len(set(refs)) == len(refs), "services", "Two services have the same ref.")
    _check(len(refs) <= MAX_SERVICES, "services", f"There are at most {MAX_SERVICES}.")
    for service in carrier.services:
        check_ref(service.ref, "invalid_carrier")
        _check_service(service)


def _check_service(service: ServiceInput) -> None:
    _check(any(service.collects.values()), "collects", "Say when it collects.")
    for day, times in service.collects.items():
        is_day = day in WEEKDAYS and len(times) <= MAX_COLLECTIONS
        is_time = all(is_clock(one) and one != "24:00" for one in times)
        _check(
            is_day and is_time, "collects", f"{day!r}: {times} is none such as 'mon': ['17:00']."
        )
    days = bool(service.delivers) and set(service.delivers) <= set(WEEKDAYS)
    _check(days, "delivers", f"Some of {', '.join(WEEKDAYS)}.")
    opens, closes = service.delivers_between
    is_window = is_clock(opens) and is_clock(closes) and opens < closes
    _check(is_window, "delivers_between", f"{opens}-{closes} is no window such as 08:00-18:00.")
    _check(knows_holidays(service.holidays), "holidays", "A country, or part: GB or GB-ENG.")
    _check_bands(service)
    try:
        check_dates(service.dates)
    except Refusal as refusal:
        raise Refusal("invalid_carrier", refusal.message, field="dates") from None
    own = any(one.windows or one.services for one in service.dates)
    _check(not own, "dates", "On dates of its own a carrier neither collects nor delivers.")


def _check_bands(service: ServiceInput) -> None:
    bands = service.transit_days
    kms = [0.0, *(band.upto_km for band in bands)]
    ascend = all(b > a for a, b in itertools.pairwise(kms))
    _check(ascend and len(bands) <= MAX_BANDS, "transit_days", "Distances have to ascend.")
    for band in bands:
        _check_days(band.days, "transit_days")


def check_lane(lane: LaneInput) -> None:
    """Refuse a record that cannot be a lane with `invalid_carrier`, naming the field."""
    check_ref(lane.carrier, "invalid_carrier")
    _check_place(lane.origin, "origin")
    _check_place(lane.destination, "destination")
    _check(not lane.destination.startswith("@"), "destination", "Only an origin is a location.")
    if lane.days is not None:
        _check_days(lane.days, "days")


def _check_place(text: str, field: str) -> None:
    is_short = 0 < len(text) <= MAX_PLACE
    if text == ANY or text.startswith("@"):
        is_place = is_short and text != "@"
    else:
        country, colon, postcode = text.partition(":")
        is_country = len(country) == _COUNTRY_LETTERS and country.isalpha()
        is_place = is_short and is_country and bool(normal_postcode(postcode)) == bool(colon)
    _check(is_place, field, f"{text[:60]!r} is no place such as *, GB, GB:BA or @WH-1.")


def _check_days(days: int, field: str) -> None:
    _check(0 <= days <= MAX_TRANSIT_DAYS, field, f"Days are from 0 to {MAX_TRANSIT_DAYS}.")


def _check(condition: object, field: str, message: str) -> None:
    if not condition:
        raise Refusal("invalid_carrier", f"{field}: {message}", field=field)
