"""Calendars, carriers, lanes, slots and searches in the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.db.in_account import all_of, overlap, revision, run, told
from tests.db.stock_moves import account

from penstock.access.channels import load_channels
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.carriers import (
    HandlingInput,
    TransitInput,
    WindowAsk,
    find_window,
    known_locations,
    load_carriers,
    load_handling,
    record_handling,
    record_transit,
    upsert_carriers,
    upsert_lanes,
)
from penstock.network.commands import switch_locations, upsert_locations, upsert_networks
from penstock.network.directory import Directory, load_directory
from penstock.network.hours import CalendarInput, OwnDate, SlotRule
from penstock.network.lanes import Band, CarrierInput, LaneInput, Place, ServiceInput
from penstock.network.model import LocationInput, NetworkInput, SwitchInput
from penstock.network.pickup_slots import SlotAsk, free_slots, take_slots
from penstock.network.timetable import NEVER, us_of
from penstock.network.views import LocationSearch, place_known, read_location, search_locations

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LONDON = "Europe/London"
WEEK = ("mon", "tue", "wed", "thu", "fri")
HOURS = {day: [("09:00", "17:00")] for day in WEEK}
STANDARD = ServiceInput(
    "std", {day: ["17:00"] for day in WEEK}, transit_days=[Band(100, 1), Band(9_000, 3)]
)
SWIFT = CarrierInput("swift", [STANDARD])


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "calendars_test") as name:
        yield name


def place(ref: str, **more: Any) -> LocationInput:
    fields: dict[str, Any] = {
        "kind": "store",
        "latitude": 51,
        "longitude": 0,
        "time_zone": LONDON,
        "opening_hours": HOURS,
        "address": {"country": "GB", "postcode": "BA1 1AA"},
    }
    return LocationInput(ref, **{**fields, **more})


async def directory_of(tx: Tx) -> Directory:
    return await load_directory(tx, await load_channels(tx))


# ── calendars ────────────────────────────────────────────────────────────────────────────────────


def test_a_calendar_is_kept_and_the_same_again_changes_nothing(database: str, schema: str) -> None:
    calendar = CalendarInput(
        holidays="GB-ENG",
        dates=[OwnDate(date(2026, 3, 3), reason="stocktaking")],
        cut_offs={"deliver": {"all": "14:00"}},
        slots={"collect": SlotRule(30, 2)},
    )

    async def work(tx: Tx) -> None:
        assert await upsert_locations(tx, [place("a", calendar=calendar)]) == ["created"]
        assert await upsert_locations(tx, [place("a", calendar=calendar)]) == ["unchanged"]
        assert await upsert_locations(tx, [place("a")]) == ["updated"]
        assert await upsert_locations(tx, [place("a")]) == ["unchanged"]
        assert await all_of(tx, "SELECT calendar FROM location") == [({},)]

    run(database, schema, work)


def test_working_days_obey_holidays_own_dates_and_the_cut_off_of_the_service(
    database: str, schema: str
) -> None:
    cut_off = CalendarInput(cut_offs={"deliver": {"all": "11:00"}})
    closed = CalendarInput(dates=[OwnDate(date(2026, 3, 2), date(2026, 3, 3))])

    async def work(tx: Tx) -> Directory:
        calendars = [CalendarInput(), cut_off, closed, CalendarInput(holidays="GB-ENG")]
        places = [place(f"L{n}", calendar=one) for n, one in enumerate(calendars)]
        await upsert_locations(tx, places)
        return await directory_of(tx)

    directory = run(database, schema, work)
    second, third, fourth = (date(2026, 3, n) for n in (2, 3, 4))
    assert directory.working_days(NOW) == [second, third, fourth, second]
    assert directory.working_days(NOW, "collect") == [second, second, fourth, second]
    easter = datetime(2026, 4, 3, 9, tzinfo=UTC)
    assert directory.working_days(easter)[2:] == [date(2026, 4, 3), date(2026, 4, 7)]


def test_a_thousand_locations_are_ready_each_by_its_own_calendar(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> Directory:
        zones = (LONDON, "America/New_York", "Australia/Lord_Howe")
        places = [
            place(f"L{n:04}", time_zone=zones[n % 3], handling_min=n % 90) for n in range(1_000)
        ]
        never = CalendarInput(dates=[OwnDate(date(2026, 1, 1), date(2027, 1, 1))])
        await upsert_locations(tx, [*places, place("never", calendar=never)])
        return await directory_of(tx)

    directory = run(database, schema, work)
    ready = directory.ready_us(NOW, "deliver")
    rows = {ref: row for row, ref in enumerate(directory.refs)}
    expected = {
        "L0000": NOW,
        "L0003": NOW + timedelta(minutes=3),
        "L0001": datetime(2026, 3, 2, 14, 1, tzinfo=UTC),
        "L0002": datetime(2026, 3, 2, 22, 2, tzinfo=UTC),
    }
    assert {ref: ready[rows[ref]] for ref in expected} == {
        ref: us_of(at) for ref, at in expected.items()
    }
    assert ready[rows["never"]] == NEVER
    hour = np.full(len(directory.refs), 60)
    assert directory.ready_us(NOW, "deliver", hour)[rows["L0000"]] == us_of(NOW) + 3_600_000_000


# ── searches ─────────────────────────────────────────────────────────────────────────────────────


async def _spread_out(tx: Tx) -> None:
    places = [
        place("bath", latitude=51.38, longitude=-2.36),
        place("york", latitude=53.96, longitude=-1.08, kind="locker"),
        place("suva", latitude=-18.14, longitude=178.44),
        place("apia", latitude=-13.83, longitude=-171.76),
    ]
    await upsert_locations(tx, places)
    await upsert_networks(tx, [NetworkInput("islands", ["suva", "apia"])])
    off = [SwitchInput("york", "collect", is_on=False, reason="works")]
    await switch_locations(tx, off, NOW)


@pytest.mark.parametrize(
    ("search", "refs"),
    [
        ({}, ["apia", "bath", "suva", "york"]),
        ({"limit": 2}, ["apia", "bath"]),
        ({"limit": 2, "after": "bath"}, ["suva", "york"]),
        ({"kind": "locker"}, ["york"]),
        ({"network": "islands"}, ["apia", "suva"]),
        ({"latitude": 52.0, "longitude": -2.0}, ["bath", "york", "apia", "suva"]),
        ({"latitude": 52.0, "longitude": -2.0, "within_km": 100.0}, ["bath"]),
        ({"south": 50.0, "west": -3.0, "north": 52.0, "east": 0.0}, ["bath"]),
        ({"south": -20.0, "west": 170.0, "north": 0.0, "east": -170.0}, ["apia", "suva"]),
    ],
)
def test_locations_are_found(
    database: str, schema: str, search: dict[str, Any], refs: list[str]
) -> None:
    async def work(tx: Tx) -> list[dict[str, Any]]:
        await _spread_out(tx)
        return await search_locations(tx, LocationSearch(**search), NOW)

    found = run(database, schema, work)
    assert [one["ref"] for one in found] == refs
    assert all(one["off"] == (["collect"] if one["ref"] == "york" else []) for one in found)


def test_the_distance_is_told_and_one_location_is_read_whole(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await _spread_out(tx)
        near = LocationSearch(latitude=51.38, longitude=-2.36, limit=2)
        found = await search_locations(tx, near, NOW)
        assert [one["km"] for one in found] == [0.0, pytest.approx(300.5, abs=1)]
        york = await read_location(tx, "york")
        assert (york["kind"], york["networks"]) == ("locker", [])
        assert york["off"] == [
            {"service": "collect", "since": NOW, "until": None, "reason": "works"}
        ]
        assert (await read_location(tx, "suva"))["networks"] == ["islands"]

    run(database, schema, work)


@pytest.mark.parametrize(
    ("field", "search"),
    [
        ("kind", {"kind": "castle"}),
        ("longitude", {"latitude": 1.0}),
        ("within_km", {"within_km": 1.0}),
        ("south", {"west": 1.0}),
        ("north", {"south": 2.0, "north": 1.0, "west": 0.0, "east": 1.0}),
        ("after", {"after": "a", "latitude": 1.0, "longitude": 1.0}),
        ("network", {"network": "\0"}),
    ],
)
def test_a_search_that_means_nothing_is_refused(
    database: str, schema: str, field: str, search: dict[str, Any]
) -> None:
    async def work(tx: Tx) -> None:
        await search_locations(tx, LocationSearch(**search), NOW)

    with pytest.raises(Refusal) as caught:
        run(database, schema, work)
    assert (caught.value.code, caught.value.data["field"]) == ("invalid_query", field)


# ── carriers, lanes, what was learnt ─────────────────────────────────────────────────────────────


def test_carriers_and_lanes_are_made_changed_and_taken_away(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        assert await upsert_carriers(tx, [SWIFT]) == ["created"]
        before = await revision(tx, "carrier")
        assert await upsert_carriers(tx, [SWIFT]) == ["unchanged"]
        bad = CarrierInput("slow", [ServiceInput("std", {})])
        assert told(await upsert_carriers(tx, [bad])) == ["invalid_carrier"]
        assert await revision(tx, "carrier") == before
        lanes = [
            LaneInput("swift", "std", "GB", "gb:ba1", 1),
            LaneInput("swift", "std", days=2),
            LaneInput("swift", "express", days=1),
            LaneInput("nobody", "std", days=1),
        ]
        results = told(await upsert_lanes(tx, lanes))
        assert results == ["created", "created", "unknown_carrier", "unknown_carrier"]
        changed = [LaneInput("swift", "std", "GB", "GB:BA1", 1), LaneInput("swift", "std", days=3)]
        assert told(await upsert_lanes(tx, changed)) == ["unchanged", "updated"]
        gone = [LaneInput("swift", "std", "GB", "GB:BA1"), LaneInput("swift", "std", "FR", "GB")]
        assert told(await upsert_lanes(tx, gone)) == ["updated", "unchanged"]
        carriers = await load_carriers(tx)
        assert carriers.lanes == {("swift", "std"): {("*", "*"): 3}}
        assert carriers.services == {("swift", "std"): STANDARD}
        assert await revision(tx, "carrier") > before

    run(database, schema, work)


def test_deliveries_are_learnt_by_lane_and_move_the_promise(database: str, schema: str) -> None:
    def delivery(n: int, days: int, **more: Any) -> TransitInput:
        shipped = datetime(2026, 2, 2, 17, tzinfo=UTC) + timedelta(weeks=n % 4)
        came = shipped + timedelta(days=days)
        fields: dict[str, Any] = {"country": "GB", "postcode": "ZE1 0AA", **more}
        return TransitInput("swift", "std", "a", shipped, came, **fields)

    ask = WindowAsk("a", ("swift", "std"), Place("GB", "ZE1 0AA"), None, None, NOW, 0.9)

    async def work(tx: Tx) -> None:
        await upsert_locations(tx, [place("a")])
        await upsert_carriers(tx, [SWIFT])
        await upsert_lanes(tx, [LaneInput("swift", "std", "GB", "GB", 1)])
        found, *_ = await find_window(tx, ask)
        assert found is not None
        assert found.latest[0].date() == date(2026, 3, 3)
        records = [delivery(n, 3) for n in range(40)]
        records += [
            delivery(0, 1, country="FR"),
            delivery(0, 1, country="FR", latitude=51.1, longitude=0.0),
            delivery(0, -1),
            TransitInput("swift", "std", "nowhere", NOW, NOW),
            TransitInput("swift", "express", "a", NOW, NOW),
            delivery(0, 1, time_zone="Mars/Olympus"),
        ]
        results = told(await record_transit(tx, records))
        assert results[:40] == ["created"] * 40
        assert results[40:] == [
            *("no_lane", "created", "instant_unusable", "unknown_location", "unknown_carrier"),
            "invalid_transit",
        ]
        seen = (await load_carriers(tx)).seen
        assert seen == {("swift", "std", "GB>GB"): {3: 40}, ("swift", "std", "100 km"): {1: 1}}
        found, *_ = await find_window(tx, ask)
        assert found is not None
        assert found.latest[0].date() == date(2026, 3, 5)
        assert found.earliest[0].date() == date(2026, 3, 3)

    run(database, schema, work)


def test_handling_is_learnt_in_open_time(database: str, schema: str) -> None:
    friday = datetime(2026, 3, 6, 16, tzinfo=UTC)

    async def work(tx: Tx) -> None:
        await upsert_locations(tx, [place("a")])
        monday = friday + timedelta(days=2, hours=18)  # 10:00
        records = [HandlingInput("a", friday, monday)] * 2
        records += [
            HandlingInput("a", friday, friday),
            HandlingInput("nowhere", friday, friday),
            HandlingInput("a", friday, friday, "teleport"),
            HandlingInput("a", monday, friday),
        ]
        assert told(await record_handling(tx, records)) == [
            *("created", "created", "created", "unknown_location", "invalid_location"),
            "instant_unusable",
        ]
        assert list((await load_handling(tx, "deliver")).values()) == [{5: 1, 120: 2}]
        await record_handling(tx, records[:1])
        assert list((await load_handling(tx, "deliver")).values()) == [{5: 1, 120: 3}]
        assert await load_handling(tx, "collect") == {}

    run(database, schema, work)


# ── slots ────────────────────────────────────────────────────────────────────────────────────────

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
SLOTTED = place("a", calendar=CalendarInput(slots={"collect": SlotRule(60, 2)}))


def test_a_slot_is_taken_up_to_its_capacity_and_given_back(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await upsert_locations(tx, [SLOTTED])
        known = await place_known(tx, "a")
        ask = SlotAsk(known, "collect", NINE)
        assert told(await take_slots(tx, [ask, ask, ask])) == ["updated", "updated", "slot_full"]
        left = [slot.left for slot in await free_slots(tx, known, "collect", date(2026, 3, 2))]
        assert left == [0, *[2] * 7]
        back = ask._replace(number=-1)
        assert told(await take_slots(tx, [back, ask, ask])) == ["updated", "updated", "slot_full"]
        assert told(await take_slots(tx, [back] * 5)) == ["updated"] * 5
        assert told(await take_slots(tx, [ask._replace(number=2)])) == ["updated"]
        odd = ask._replace(slot_at=NINE + timedelta(minutes=30))
        assert (
            told(await take_slots(tx, [odd, ask._replace(service="deliver")])) == ["no_slots"] * 2
        )
        with pytest.raises(Refusal, match="no slots to deliver"):
            await free_slots(tx, known, "deliver", date(2026, 3, 2))

    run(database, schema, work)


def test_two_who_want_the_last_slot_wait_for_each_other(database: str, schema: str) -> None:
    async def make(tx: Tx) -> None:
        await upsert_locations(tx, [SLOTTED])

    async def take(tx: Tx) -> list[str]:
        known = (await known_locations(tx, ["a"]))["a"]
        return told(await take_slots(tx, [SlotAsk(known, "collect", NINE)] * 2))

    run(database, schema, make)
    first, second = overlap(database, schema, take, take)
    assert (first, second) == (["updated"] * 2, ["slot_full"] * 2)
