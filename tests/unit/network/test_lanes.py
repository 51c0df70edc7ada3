"""Dates of deliveries and pick-ups: cut-off, handling, collection, transit, the other time zone."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Refusal
from penstock.network.calendar import slots
from penstock.network.hours import CalendarInput, OwnDate, SlotRule, calendar_of
from penstock.network.lanes import (
    Band,
    CarrierInput,
    Delivery,
    Lane,
    LaneInput,
    Origin,
    Place,
    ServiceInput,
    delivery_for_a_while,
    delivery_window,
    pickup_ready,
    transit_days,
)
from penstock.network.routes import Carriers, check_carrier, check_lane, lane_for, terms_of
from penstock.network.spread import Spread, minutes_upto, quantile, spread_of

WEEK = ("mon", "tue", "wed", "thu", "fri")
HOURS = {day: [("08:00", "19:00")] for day in WEEK}
CALENDAR = CalendarInput(holidays="GB-ENG", cut_offs={"deliver": {"all": "15:00"}})
SERVICE = ServiceInput("std", {day: ["17:00", "19:00"] for day in WEEK}, holidays="GB-ENG")
LONDON, NEW_YORK = "Europe/London", "America/New_York"


def origin(handling: Spread | None = None, calendar: CalendarInput = CALENDAR) -> Origin:
    return Origin(calendar_of(HOURS, LONDON, calendar, "deliver"), handling or spread_of(60, {}))


def lane(days: int = 1, seen: dict[int, int] | None = None, **changed: Any) -> Lane:
    service = msgspec.structs.replace(SERVICE, **changed)
    return Lane("swift", "std", "*>*", days, terms_of(service), spread_of(days, seen or {}))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(at: str, some: Lane, q: float = 0.9, zone: str = LONDON) -> Delivery:
    found = delivery_window(utc(at), origin(), some, q, zone)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("decided", "ship_by", "delivered"),
    [
        ("2026-03-02T09:00", "2026-03-02T17:00", "2026-03-03"),
        ("2026-03-02T14:59", "2026-03-02T17:00", "2026-03-03"),  # the last minute
        ("2026-03-02T15:00", "2026-03-03T17:00", "2026-03-04"),  # the cut-off
        ("2026-03-06T12:00", "2026-03-06T17:00", "2026-03-09"),  # over the weekend
        ("2026-03-06T16:00", "2026-03-09T17:00", "2026-03-10"),  # Friday after the cut-off
        ("2026-04-02T12:00", "2026-04-02T16:00", "2026-04-07"),  # over Easter, in summer time
        ("2026-04-02T15:30", "2026-04-07T16:00", "2026-04-08"),  # that is 16:30: too late
        ("2026-03-27T12:00", "2026-03-27T17:00", "2026-03-30"),  # over the change of clocks
    ],
)
def test_a_date_is_decision_cut_off_handling_calendar_and_transit(
    decided: str, ship_by: str, delivered: str
) -> None:
    found = window(decided, lane())
    assert found.ship_by == utc(ship_by)
    opens, closes = found.latest
    assert opens.astimezone(ZoneInfo(LONDON)).date() == date.fromisoformat(delivered)
    assert (closes - opens) == timedelta(hours=10)
    assert found.earliest == found.latest


def test_a_delivery_is_in_the_destination_s_time_zone() -> None:
    opens, closes = window("2026-03-16T09:00", lane(2), zone=NEW_YORK).latest
    # New York has summer time already, London has not.
    assert (opens, closes) == (utc("2026-03-18T12:00"), utc("2026-03-18T22:00"))


def test_a_late_handling_misses_the_collection() -> None:
    slow = origin(spread_of(360, {}))
    found = delivery_window(utc("2026-03-02T13:00"), slow, lane(), 0.9, LONDON)
    assert found is not None
    assert found.ship_by == utc("2026-03-02T19:00")  # ready at 19:00, when the location closes
    slower = origin(spread_of(361, {}))
    found = delivery_window(utc("2026-03-02T13:00"), slower, lane(), 0.9, LONDON)
    assert found is not None
    assert found.ship_by == utc("2026-03-03T17:00")


def test_a_service_of_no_days_delivers_on_the_day_of_collection() -> None:
    opens, _ = window("2026-03-02T09:00", lane(0)).latest
    assert opens.date() == date(2026, 3, 2)


def test_a_carrier_rests_on_its_own_dates() -> None:
    closed = [OwnDate(date(2026, 3, 3), date(2026, 3, 5), reason="strike")]
    opens, _ = window("2026-03-02T09:00", lane(1, dates=closed)).latest
    assert opens.date() == date(2026, 3, 6)
    found = window("2026-03-02T15:30", lane(1, dates=closed))
    assert found.ship_by == utc("2026-03-06T17:00")


def test_nothing_is_collected_where_it_is_closed() -> None:
    half = OwnDate(date(2026, 3, 3), windows=[("08:00", "16:00")])
    short = CalendarInput(dates=[half])
    found = delivery_window(utc("2026-03-03T08:00"), origin(calendar=short), lane(), 0.9, LONDON)
    assert found is not None
    assert found.ship_by == utc("2026-03-04T17:00")


def test_who_never_opens_promises_nothing() -> None:
    never = CalendarInput(dates=[OwnDate(date(2026, 1, 1), date(2027, 1, 1))])
    decided = utc("2026-03-02T09:00")
    assert delivery_window(decided, origin(calendar=never), lane(), 0.9, LONDON) is None
    assert pickup_ready(decided, origin(calendar=never), 0.9) is None
    rests = lane(dates=[OwnDate(date(2026, 1, 1), date(2027, 1, 1))])
    assert delivery_window(decided, origin(), rests, 0.9, LONDON) is None


def test_what_is_ready_when_it_closes_is_collected_when_it_opens() -> None:
    found = pickup_ready(utc("2026-03-02T14:00"), origin(spread_of(300, {})), 0.9)
    assert found is not None
    assert found.ready_at == utc("2026-03-02T19:00")
    assert found.collect_from == utc("2026-03-03T08:00")


@given(
    st.integers(0, 60 * 24 * 60),
    st.dictionaries(st.sampled_from([20, 60, 180, 600]), st.integers(1, 50)),
    st.sampled_from([0.5, 0.9, 0.99]),
)
def test_a_delivery_stays_what_it_is_until_a_later_decision_misses_a_collection(
    minute: int, handled: dict[int, int], q: float
) -> None:
    """From before summer time begins till after it; whatever is decided until then is the same."""
    decided, some = (
        utc("2026-02-27T00:00") + timedelta(minutes=minute),
        origin(spread_of(60, handled)),
    )
    found, until_us = delivery_for_a_while(decided, some, lane(2, {3: 9}), q, LONDON)
    until = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=until_us)
    assert decided <= until <= decided + timedelta(hours=1)
    span = until - decided
    for part in (0.0, 0.3, 0.7, 1.0):
        later = decided + span * part
        assert delivery_window(later, some, lane(2, {3: 9}), q, LONDON) == found


# ── what was learnt ──────────────────────────────────────────────────────────────────────────────


def test_without_history_the_stated_value_is_every_quantile() -> None:
    assert [quantile(spread_of(45, {}), q) for q in (0.01, 0.5, 0.999)] == [45] * 3


def test_a_few_observations_move_the_tail_and_many_move_the_middle() -> None:
    assert quantile(spread_of(1, {3: 1}), 0.9) == 1
    assert quantile(spread_of(1, {3: 5}), 0.9) == 3
    assert quantile(spread_of(1, {3: 5}), 0.5) == 1
    assert quantile(spread_of(1, {3: 100}), 0.5) == 3


def test_minutes_are_kept_by_the_upper_bound_of_their_bucket() -> None:
    assert [minutes_upto(n) for n in (0, 5, 6, 61, 10**9)] == [5, 5, 10, 90, 43_200]


@given(st.dictionaries(st.integers(0, 60), st.integers(1, 500)), st.integers(0, 60))
def test_a_surer_promise_is_never_earlier(seen: dict[int, int], stated: int) -> None:
    spread = spread_of(stated, seen)
    found = [quantile(spread, q) for q in (0.05, 0.5, 0.8, 0.95, 0.99)]
    assert found == sorted(found)
    assert abs(float(spread.shares.sum()) - 1) < 1e-9


@pytest.mark.parametrize("q", [0.5, 0.8, 0.9, 0.95])
def test_a_promise_learnt_from_past_deliveries_is_kept_as_often_as_asked(q: float) -> None:
    draw = random.Random(20260302)  # noqa: S311 (the seed of this test)

    def handling() -> int:
        return draw.choice([20, 45, 60, 90, 180, 300, 600])

    def transit() -> int:
        return draw.choices([1, 2, 3, 5], [60, 25, 10, 5])[0]

    handled: dict[int, int] = {}
    carried: dict[int, int] = {}
    for _ in range(5_000):
        upto, days = minutes_upto(handling()), transit()
        handled[upto] = handled.get(upto, 0) + 1
        carried[days] = carried.get(days, 0) + 1
    learnt, route = origin(spread_of(60, handled)), lane(1, carried)
    kept = 0
    total = 2_000
    for _ in range(total):
        decided = utc("2026-02-02T00:00") + timedelta(minutes=draw.randrange(60 * 24 * 28))
        promised = delivery_window(decided, learnt, route, q, LONDON)
        came = delivery_window(
            decided, origin(spread_of(handling(), {})), lane(transit()), 0.5, LONDON
        )
        assert promised is not None
        assert came is not None
        kept += came.latest <= promised.latest
    assert kept / total >= q - 0.03


@pytest.mark.parametrize(
    ("shipped", "delivered", "days"),
    [
        ("2026-03-02", "2026-03-02", 0),
        ("2026-03-02", "2026-03-03", 1),
        ("2026-03-06", "2026-03-09", 1),  # Friday to Monday
        ("2026-03-06", "2026-03-07", 1),  # a Saturday, though it does not deliver then
        ("2026-04-02", "2026-04-07", 1),  # over Easter
        ("2026-03-02", "2026-12-02", 60),
    ],
)
def test_transit_is_counted_in_delivery_days(shipped: str, delivered: str, days: int) -> None:
    on = (date.fromisoformat(shipped), date.fromisoformat(delivered))
    assert transit_days(lane(), *on) == days


# ── which lane ───────────────────────────────────────────────────────────────────────────────────

STD = ("swift", "std")
BANDS = [Band(50, 1), Band(500, 2)]
DECLARED = {
    ("*", "GB"): 2,
    ("GB", "GB"): 1,
    ("*", "GB:ZE"): 4,
    ("@WH", "GB"): 3,
    ("GB:BA", "GB:ZE1"): 5,
}
CARRIERS = Carriers(
    {STD: msgspec.structs.replace(SERVICE, transit_days=BANDS)}, {STD: DECLARED}, {}
)


@pytest.mark.parametrize(
    ("begins", "ends", "km", "name"),
    [
        (Place("GB", "BA1 1AA"), Place("GB", "SW1A 1AA"), None, "GB>GB"),
        (Place("gb", "ba1 1aa", "WH"), Place("GB"), None, "@WH>GB"),
        (Place("FR"), Place("GB", "SW1"), 10.0, "*>GB"),
        (Place("GB", "SW1"), Place("GB", "ze1-0aa"), None, "*>GB:ZE"),
        (Place("GB", "BA1 1AA"), Place("GB", "ZE1 0AA"), None, "GB:BA>GB:ZE1"),
        (Place("GB"), Place("FR"), 50.0, "50 km"),
        (Place(), Place(), 50.1, "500 km"),
    ],
)
def test_the_narrowest_lane_counts_and_else_the_distance(
    begins: Place, ends: Place, km: float | None, name: str
) -> None:
    assert lane_for(CARRIERS, STD, begins, ends, km).name == name


@pytest.mark.parametrize(
    ("service", "km", "code"),
    [(STD, None, "no_lane"), (STD, 501.0, "no_lane"), (("swift", "x"), 1.0, "unknown_carrier")],
)
def test_where_a_service_does_not_go_is_refused(
    service: tuple[str, str], km: float | None, code: str
) -> None:
    with pytest.raises(Refusal) as caught:
        lane_for(CARRIERS, service, Place("GB"), Place("FR"), km)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("collects", {"collects": {}}),
        ("collects", {"collects": {"monday": ["17:00"]}}),
        ("collects", {"collects": {"mon": ["24:00"]}}),
        ("delivers", {"delivers": []}),
        ("delivers_between", {"delivers_between": ("18:00", "08:00")}),
        ("holidays", {"holidays": "XX"}),
        ("transit_days", {"transit_days": [Band(500, 2), Band(50, 1)]}),
        ("transit_days", {"transit_days": [Band(500, 61)]}),
        ("dates", {"dates": [OwnDate(date(2026, 3, 2), date(2026, 3, 1))]}),
        ("dates", {"dates": [OwnDate(date(2026, 3, 2), windows=[("09:00", "10:00")])]}),
    ],
)
def test_a_carrier_is_refused_by_the_field_that_is_wrong(
    field: str, changed: dict[str, Any]
) -> None:
    with pytest.raises(Refusal) as caught:
        check_carrier(CarrierInput("swift", [msgspec.structs.replace(SERVICE, **changed)]))
    assert (caught.value.code, caught.value.data["field"]) == ("invalid_carrier", field)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("origin", {"origin": ""}),
        ("origin", {"origin": "@"}),
        ("origin", {"origin": "England"}),
        ("origin", {"origin": "GB:"}),
        ("destination", {"destination": "@WH"}),
        ("days", {"days": -1}),
    ],
)
def test_a_lane_is_refused_by_the_field_that_is_wrong(field: str, changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"days": 1, **changed}
    with pytest.raises(Refusal) as caught:
        check_lane(LaneInput("swift", "std", **fields))
    assert (caught.value.code, caught.value.data["field"]) == ("invalid_carrier", field)


# ── slots ────────────────────────────────────────────────────────────────────────────────────────


def test_windows_are_cut_into_whole_slots_with_what_is_left() -> None:
    calendar = calendar_of({"mon": [("09:00", "10:45"), ("12:00", "12:20")]}, LONDON, CALENDAR, "x")
    nine = utc("2026-03-02T09:00")
    found = slots(calendar, date(2026, 3, 2), SlotRule(30, 2), {nine: 3})
    assert [(one.start - nine, one.left) for one in found] == [
        (timedelta(minutes=30 * n), 0 if n == 0 else 2) for n in range(3)
    ]
    assert slots(calendar, date(2026, 3, 3), SlotRule(30)) == []


def test_slots_of_an_hour_that_comes_twice_are_two_instants() -> None:
    calendar = calendar_of({"sun": [("01:00", "02:00")]}, LONDON, CalendarInput(), "collect")
    found = slots(calendar, date(2026, 10, 25), SlotRule(60))
    assert [one.start for one in found] == [utc("2026-10-25T00:00"), utc("2026-10-25T01:00")]
    assert slots(calendar, date(2026, 3, 29), SlotRule(60)) == []
