"""Locations and networks: made, changed, switched, and who serves whom by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.db.in_account import all_of, overlap, revision, run, told
from tests.db.stock_moves import account

from penstock.access.channels import ChannelInput, load_channels, upsert_channels
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.commands import (
    set_channel_networks,
    switch_locations,
    switch_networks,
    upsert_locations,
    upsert_networks,
)
from penstock.network.directory import Directory, load_directory
from penstock.network.model import (
    ChannelNetworksInput,
    LocationInput,
    NetworkInput,
    SwitchInput,
)
from penstock.network.profiles import load_profiles, put_profile
from penstock.sourcing.model import Removed

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PROFILE: dict[str, Any] = {
    "distance_km_upto": [50, 1500],
    "weight_g_upto": [1000, 5000],
    "amount_minor": [[300, 400], [350, 500]],
    "per_extra_kg_minor": [50, 60],
}


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "network_test") as name:
        yield name


def place(ref: str, **more: Any) -> LocationInput:
    return LocationInput(ref=ref, kind="store", latitude=51, longitude=0, **more)


async def directory_of(tx: Tx) -> Directory:
    return await load_directory(tx, await load_channels(tx))


async def make(tx: Tx, *locations: str) -> int:
    """Make a channel below another, and locations; returns the lower channel's id."""
    await upsert_channels(tx, [ChannelInput("retailer"), ChannelInput("site", parent="retailer")])
    await upsert_locations(tx, [place(ref) for ref in locations])
    return (await load_channels(tx)).by_ref["site"]


async def name_networks(tx: Tx, channel: str, *networks: str) -> None:
    result = await set_channel_networks(tx, [ChannelNetworksInput(channel, list(networks))])
    assert result == ["updated"]


async def removed(tx: Tx, channel_id: int, at: datetime = NOW, service: str = "deliver") -> str:
    """Return a letter per location: served, off, not capable, not in a network."""
    codes = (await directory_of(tx)).removed_by(channel_id, service, at).tolist()
    letters = {Removed.NOT: "s", Removed.OFF: "o", Removed.NO_CAPABILITY: "c"}
    return "".join(letters.get(Removed(code), "n") for code in codes)


def off(ref: str, **more: Any) -> SwitchInput:
    return SwitchInput(ref, "deliver", is_on=False, **more)


# ── locations ────────────────────────────────────────────────────────────────────────────────────


def test_one_bad_location_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        locations = [
            place("a", name="first"),
            place("b", time_zone="Mars/Olympus"),
            place("c", address={"town": "\0"}),
            place("d"),
            place("a", name="second"),
        ]
        results = await upsert_locations(tx, locations)
        assert told(results) == ["superseded"] + ["invalid_location"] * 2 + ["created"] * 2
        rows = await all_of(tx, "SELECT ref, name FROM location ORDER BY ref")
        assert rows == [("a", "second"), ("d", "")]

    run(database, schema, work)


def test_the_same_locations_again_change_nothing_and_take_no_ids(
    database: str, schema: str
) -> None:
    hours = {"mon": [("09:00", "17:30")]}
    locations = [
        place(f"L{n}", opening_hours=hours, daily_capacity={"deliver": n}) for n in range(9)
    ]

    async def work(tx: Tx) -> None:
        assert await upsert_locations(tx, locations) == ["created"] * 9
        before = await revision(tx, "network")
        assert await upsert_locations(tx, locations) == ["unchanged"] * 9
        assert await revision(tx, "network") == before
        changed = [place("L1", handling_min=5), place("new")]
        assert await upsert_locations(tx, changed) == ["updated", "created"]
        assert await revision(tx, "network") == before + 1
        assert (await directory_of(tx)).by_ref["new"] == 10

    run(database, schema, work)


def test_the_directory_holds_locations_as_columns_in_order_of_id(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> Directory:
        one = LocationInput("w", "warehouse", 0, 90, handling_cost_minor=7, handling_min=3)
        two = place("s", daily_capacity={"deliver": 20, "collect": 0})
        await upsert_locations(tx, [two, one])
        await tx.execute(b"DELETE FROM location WHERE ref = 's'")
        await upsert_locations(tx, [two])
        return await directory_of(tx)

    directory = run(database, schema, work)
    assert directory.refs == ["w", "s"]
    assert directory.kinds == ["warehouse", "store"]
    assert directory.location_ids.tolist() == [directory.by_ref[ref] for ref in ("w", "s")]
    assert directory.row_of[directory.location_ids].tolist() == [0, 1]
    assert directory.row_of[[0, -1]].tolist() == [-1, -1]
    assert np.allclose(directory.unit_xyz[0], [0, 1, 0])
    assert directory.handling_cost_minor.tolist() == [7, 0]
    assert directory.handling_min.tolist() == [3, 60]
    assert {k: v.tolist() for k, v in directory.daily_limit.items()} == {
        "deliver": [-1, 20],
        "collect": [-1, 0],
    }


def test_an_empty_account_has_an_empty_directory(database: str, schema: str) -> None:
    directory = run(database, schema, directory_of)
    assert directory.serving(1, "deliver", NOW).tolist() == []
    assert directory.working_days(NOW) == []


def test_each_location_has_its_own_working_day(database: str, schema: str) -> None:
    hours = {"mon": [("09:00", "17:30")], "wed": [("09:00", "17:30")]}

    async def work(tx: Tx) -> Directory:
        locations = [
            place("bath", time_zone="Europe/London", opening_hours=hours),
            place("york", time_zone="Europe/London", opening_hours=hours),
            place("new york", time_zone="America/New_York", opening_hours=hours),
            place("depot"),
        ]
        await upsert_locations(tx, locations)
        return await directory_of(tx)

    directory = run(database, schema, work)
    monday, wednesday = date(2026, 3, 2), date(2026, 3, 4)
    closing = datetime(2026, 3, 2, 17, 30, tzinfo=UTC)
    before = closing - timedelta(seconds=1)
    assert directory.working_days(before) == [monday] * 4
    days = dict(zip(directory.refs, directory.working_days(closing), strict=True))
    assert days == {"bath": wednesday, "york": wednesday, "new york": monday, "depot": monday}
    assert directory.working_days(before) == [monday] * 4


# ── who serves ───────────────────────────────────────────────────────────────────────────────────


def test_a_tree_that_names_no_network_is_served_by_all(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a", "b")
        await upsert_networks(tx, [NetworkInput("one", ["a"])])
        assert await removed(tx, site) == "ss"

    run(database, schema, work)


def test_a_channel_that_names_no_network_has_its_parents(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a", "b", "c")
        await upsert_networks(tx, [NetworkInput("one", ["a"]), NetworkInput("two", ["a", "b"])])
        await name_networks(tx, "retailer", "one")
        assert await removed(tx, site) == "snn"
        await name_networks(tx, "site", "two")
        assert await removed(tx, site) == "ssn"
        await upsert_networks(tx, [NetworkInput("two", ["c"])])
        assert await removed(tx, site) == "nns"
        await name_networks(tx, "site")
        assert await removed(tx, site) == "snn"

    run(database, schema, work)


def test_a_location_without_the_capability_does_not_serve(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a")
        await upsert_locations(tx, [place("b", capabilities=["collect"])])
        assert await removed(tx, site) == "sc"
        assert await removed(tx, site, service="collect") == "ss"
        assert await removed(tx, site, service="teleport") == "cc"

    run(database, schema, work)


def test_a_location_serves_as_long_as_one_of_its_networks_is_on(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a", "b", "c")
        await upsert_networks(tx, [NetworkInput("one", ["a", "b"]), NetworkInput("two", ["b"])])
        await name_networks(tx, "retailer", "one", "two")
        assert await switch_networks(tx, [off("one")], NOW) == ["updated"]
        assert await removed(tx, site) == "osn"
        assert await removed(tx, site, service="collect") == "ssn"
        await switch_networks(tx, [off("two")], NOW)
        assert await removed(tx, site) == "oon"
        await switch_networks(tx, [SwitchInput("one", "deliver", is_on=True)], NOW)
        assert await removed(tx, site) == "ssn"

    run(database, schema, work)


def test_a_network_that_is_not_eligible_does_not_keep_a_location_on(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a")
        await upsert_networks(tx, [NetworkInput("one", ["a"]), NetworkInput("two", ["a"])])
        await name_networks(tx, "site", "one")
        await switch_networks(tx, [off("one")], NOW)
        assert await removed(tx, site) == "o"

    run(database, schema, work)


# ── networks in lists ────────────────────────────────────────────────────────────────────────────


def test_one_bad_network_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a", "b")
        networks = [
            NetworkInput("one", ["a", "nowhere"]),
            NetworkInput("", ["a"]),
            NetworkInput("two", ["a"]),
            NetworkInput("two", ["b", "b"]),
            NetworkInput("none"),
        ]
        codes = told(await upsert_networks(tx, networks))
        assert codes == ["unknown_location", "invalid_network", "superseded", "created", "created"]
        assert await upsert_networks(tx, networks[3:]) == ["unchanged", "unchanged"]
        asked = [
            ChannelNetworksInput("site", ["two", "two"]),
            ChannelNetworksInput("retailer", ["one"]),
            ChannelNetworksInput("nowhere", []),
        ]
        codes = told(await set_channel_networks(tx, asked))
        assert codes == ["updated", "unknown_network", "unknown_channel"]
        assert await set_channel_networks(tx, asked[:1]) == ["unchanged"]
        assert await removed(tx, site) == "ns"

    run(database, schema, work)


def test_what_changes_nothing_leaves_the_revision(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await make(tx, "a")
        await upsert_networks(tx, [NetworkInput("one", ["a"])])
        await name_networks(tx, "site", "one")
        await switch_locations(tx, [off("a")], NOW)
        before = await revision(tx, "network")
        later = NOW + timedelta(hours=1)
        assert await upsert_networks(tx, [NetworkInput("one", ["a"])]) == ["unchanged"]
        asked = [ChannelNetworksInput("site", ["one"])]
        assert await set_channel_networks(tx, asked) == ["unchanged"]
        assert await switch_locations(tx, [off("a")], later) == ["unchanged"]
        on = SwitchInput("one", "deliver", is_on=True)
        assert await switch_networks(tx, [on], later) == ["unchanged"]
        assert told(await switch_networks(tx, [off("nowhere")], NOW)) == ["unknown_network"]
        assert await revision(tx, "network") == before

    run(database, schema, work)


# ── switches ─────────────────────────────────────────────────────────────────────────────────────


def test_a_switch_has_a_service_and_an_end(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a", "b")
        until = NOW + timedelta(hours=2)
        before = await revision(tx, "network")
        await switch_locations(tx, [off("a", off_until=until, reason="flood")], NOW)
        assert await revision(tx, "network") == before + 1
        assert await removed(tx, site) == "os"
        assert await removed(tx, site, service="collect") == "ss"
        assert await removed(tx, site, until - timedelta(microseconds=1)) == "os"
        assert await removed(tx, site, until) == "ss"
        on = SwitchInput("a", "deliver", is_on=True)
        assert await switch_locations(tx, [on], NOW) == ["updated"]
        assert await removed(tx, site) == "ss"
        assert await revision(tx, "network") == before + 2

    run(database, schema, work)


def test_one_directory_follows_switches_through_time_in_any_order(
    database: str, schema: str
) -> None:
    hour = timedelta(hours=1)

    async def work(tx: Tx) -> tuple[Directory, int]:
        site = await make(tx, "a", "b")
        switches = [
            off("a", off_from=NOW + hour, off_until=NOW + 3 * hour),
            off("b", off_from=NOW + 2 * hour),
        ]
        await switch_locations(tx, switches, NOW)
        return await directory_of(tx), site

    directory, site = run(database, schema, work)
    expected = {0: [1, 1], 1: [0, 1], 2: [0, 0], 3: [1, 0]}
    for hours in (3, 0, 2, 1, 0, 3):
        serving = directory.serving(site, "deliver", NOW + hours * hour)
        assert serving.tolist() == expected[hours]
    with pytest.raises(ValueError, match="read-only"):
        directory.serving(site, "deliver", NOW)[0] = False


def test_switching_off_again_says_since_when_it_was_off(database: str, schema: str) -> None:
    async def since(tx: Tx, switch: SwitchInput, at: datetime) -> Sequence[Any]:
        await switch_locations(tx, [switch], at)
        return (await all_of(tx, "SELECT off_from, off_until, reason FROM location_switch"))[0]

    async def work(tx: Tx) -> None:
        await make(tx, "a")
        later, end = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
        assert await since(tx, off("a"), NOW) == (NOW, None, "")
        assert await since(tx, off("a", reason="flood"), later) == (NOW, None, "flood")
        assert await since(tx, off("a", off_until=end), later) == (NOW, end, "")
        assert await since(tx, off("a"), end) == (end, None, "")  # it was on again by then

    run(database, schema, work)


def test_one_bad_switch_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx, "a", "b")
        switches = [
            off("nowhere"),
            SwitchInput("a", "teleport", is_on=False),
            off("a", off_until=datetime(2026, 3, 2, 12)),  # noqa: DTZ001 (that is what is wrong)
            SwitchInput("b", "deliver", is_on=True),
            off("b"),
            SwitchInput("b", "collect", is_on=False),
        ]
        assert told(await switch_locations(tx, switches, NOW)) == [
            "unknown_location",
            "invalid_location",
            "instant_unusable",
            "superseded",
            "updated",
            "updated",
        ]
        assert await removed(tx, site) == "so"

    run(database, schema, work)


def test_two_who_name_a_channels_networks_at_once_do_not_add_up(database: str, schema: str) -> None:
    async def prepare(tx: Tx) -> int:
        site = await make(tx, "a", "b")
        await upsert_networks(tx, [NetworkInput("one", ["a"]), NetworkInput("two", ["b"])])
        return site

    site = run(database, schema, prepare)
    overlap(
        database,
        schema,
        lambda tx: name_networks(tx, "site", "one"),
        lambda tx: name_networks(tx, "site", "two"),
    )
    assert run(database, schema, lambda tx: removed(tx, site)) == "ns"


def test_two_who_switch_at_once_wait_for_one_another(database: str, schema: str) -> None:
    run(database, schema, lambda tx: make(tx, "a", "b"))
    lists = [off("a"), off("b")], [off("b"), off("a")]
    one, other = overlap(
        database,
        schema,
        lambda tx: switch_locations(tx, lists[0], NOW),
        lambda tx: switch_locations(tx, lists[1], NOW),
    )
    assert (one, other) == (["updated"] * 2, ["unchanged"] * 2)


# ── sourcing profiles ────────────────────────────────────────────────────────────────────────────


def test_a_profile_has_versions_and_the_newest_is_active(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        before = await revision(tx, "sourcing")
        assert await put_profile(tx, "default", PROFILE) == 1
        assert await put_profile(tx, "default", {**PROFILE, "per_extra_kg_minor": [1, 2]}) == 2
        assert await put_profile(tx, "default", PROFILE, activate=False) == 3
        profile = (await load_profiles(tx))[None]
        assert (profile.ref, profile.version) == ("default", 2)
        assert profile.rate_card.per_extra_kg_minor.tolist() == [1, 2]
        assert await revision(tx, "sourcing") > before

    run(database, schema, work)


def test_a_channel_has_one_active_profile(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = await make(tx)
        await put_profile(tx, "near", PROFILE)
        await put_profile(tx, "cheap", PROFILE)
        await put_profile(tx, "fast", PROFILE, site)
        profiles = await load_profiles(tx)
        assert {channel: one.ref for channel, one in profiles.items()} == {
            None: "cheap",
            site: "fast",
        }

    run(database, schema, work)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_minor": [[300, 400]]},
        {"amount_minor": [[300, 400], [350]]},
        {"amount_minor": [[300, 400], [350, -1]]},
        {"distance_km_upto": [50, 50]},
        {"distance_km_upto": []},
        {"distance_km_upto": [float(n) for n in range(1, 300)]},
        {"weight_g_upto": [0, 5000]},
        {"per_extra_kg_minor": [50]},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_wrong_profile_is_refused_and_the_last_one_stays(
    database: str, schema: str, wrong: dict[str, Any]
) -> None:
    async def work(tx: Tx) -> None:
        await put_profile(tx, "default", PROFILE)
        with pytest.raises(Refusal) as caught:
            await put_profile(tx, "default", {**PROFILE, **wrong})
        assert caught.value.code == "invalid_profile"
        assert (await load_profiles(tx))[None].version == 1

    run(database, schema, work)
