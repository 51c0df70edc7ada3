"""Channels, products, customers, locations, networks and buffers: made, changed, switched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from tests.db.stock_moves import account

from penstock.access.channels import ChannelInput, load_channels, upsert_channels
from penstock.availability.commands import BufferInput, set_buffers
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.catalogue.products import load_products
from penstock.customers.commands import CustomerInput, upsert_customers
from penstock.customers.store import find_customers
from penstock.db import Database, Tx
from penstock.errors import Refusal
from penstock.network.calendars import working_day
from penstock.network.commands import (
    set_channel_networks,
    switch_locations,
    switch_networks,
    upsert_locations,
    upsert_networks,
)
from penstock.network.directory import Directory, load_directory
from penstock.network.model import LocationInput, NetworkInput, SwitchInput
from penstock.network.profiles import load_profiles, put_profile

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOURS = {"mon": [("09:00", "17:30")], "tue": [("09:00", "17:30")], "sat": [("10:00", "16:00")]}
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


def run(conninfo: str, schema: str, work: Callable[[Tx], Awaitable[None]]) -> None:
    async def whole() -> None:
        database = Database(conninfo)
        await database.open()
        try:
            await database.run(schema, work)
        finally:
            await database.close()

    asyncio.run(whole())


def place(ref: str, **more: Any) -> LocationInput:
    return LocationInput(ref=ref, kind="store", latitude=51, longitude=0, **more)


async def directory_of(tx: Tx) -> Directory:
    return await load_directory(tx, await load_channels(tx))


async def revision(tx: Tx, name: str) -> int:
    rows = await tx.fetch(b"SELECT value FROM revision WHERE name = %s", (name,))
    return int(rows[0][0])


def test_channels_inherit_and_cycles_are_refused(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        site = ChannelInput("site", parent="brand")
        brand = ChannelInput("brand", parent="retailer", currency="EUR")
        retailer = ChannelInput("retailer", currency="GBP", product_catalogue="main")
        ids = await upsert_channels(tx, [site, brand, retailer])
        tree = await load_channels(tx)
        assert [tree.refs[i] for i in tree.path(ids["site"])] == ["site", "brand", "retailer"]
        assert tree.currency(ids["site"]) == "EUR"
        assert tree.catalogue_id(ids["site"]) == tree.catalogue_id(ids["retailer"])
        with pytest.raises(Refusal) as caught:
            await upsert_channels(tx, [ChannelInput("retailer", parent="site")])
        assert caught.value.code == "channel_cycle"

    run(database, schema, work)


def test_a_channel_below_nowhere_is_refused(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        with pytest.raises(Refusal) as caught:
            await upsert_channels(tx, [ChannelInput("site", parent="nowhere")])
        assert caught.value.code == "unknown_channel"

    run(database, schema, work)


def test_one_bad_product_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        products = [
            ProductInput("A", weight_g=5),
            ProductInput("B", weight_g=-1),
            ProductInput("C", gtin="4006381333932"),
            ProductInput("D", gtin="4006381333931"),
            ProductInput("A", weight_g=7),
        ]
        outcomes = await upsert_products(tx, "main", products)
        assert [o.status for o in outcomes] == [
            "refused",
            "refused",
            "refused",
            "created",
            "created",
        ]
        assert outcomes[1].refusal is not None
        assert outcomes[1].refusal.data["field"] == "weight_g"
        held = await load_products(tx)
        assert held.weight_g[held.by_sku(1)["A"]] == 7

    run(database, schema, work)


def test_only_a_changed_product_bumps_the_revision(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        before = await revision(tx, "catalogue")
        await upsert_products(tx, "main", [ProductInput("A")])
        (again,) = await upsert_products(tx, "main", [ProductInput("A")])
        assert again.status == "unchanged"
        assert await revision(tx, "catalogue") == before
        (changed,) = await upsert_products(tx, "main", [ProductInput("A", is_on=False)])
        assert changed.status == "updated"
        assert await revision(tx, "catalogue") == before + 1

    run(database, schema, work)


def test_a_sku_made_since_is_found_when_it_is_missed(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await upsert_products(tx, "main", [ProductInput("A")])
        held = await load_products(tx)
        await upsert_products(tx, "main", [ProductInput("B", weight_g=9)])
        first, second, missing = await held.resolve(tx, 1, ["A", "B", "C"])
        assert first > 0
        assert held.weight_g[second] == 9
        assert missing == -1

    run(database, schema, work)


def test_ten_thousand_products_take_two_statements_of_rows(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        products = [ProductInput(f"S{n}", weight_g=n) for n in range(10_000)]
        outcomes = await upsert_products(tx, "main", products)
        assert {outcome.status for outcome in outcomes} == {"created"}

    run(database, schema, work)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "castle"},
        {"time_zone": "Mars/Olympus"},
        {"opening_hours": {"mon": [("18:00", "09:00")]}},
        {"opening_hours": {"noday": []}},
        {"capabilities": ["teleport"]},
        {"daily_capacity": {"deliver": -1}},
        {"latitude": 91},
    ],
)
def test_a_bad_location_is_refused_and_the_others_are_made(
    database: str, schema: str, wrong: dict[str, Any]
) -> None:
    async def work(tx: Tx) -> None:
        bad = LocationInput(
            **{"ref": "bad", "kind": "store", "latitude": 1, "longitude": 1, **wrong}
        )
        refused, made = await upsert_locations(tx, [bad, place("good")])
        assert isinstance(refused, Refusal)
        assert refused.code == "invalid_location"
        assert made == "created"

    run(database, schema, work)


def test_networks_decide_who_serves_and_are_inherited(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        ids = await upsert_channels(
            tx, [ChannelInput("retailer"), ChannelInput("site", parent="retailer")]
        )
        await upsert_locations(tx, [place("a"), place("b"), place("c")])
        assert (await directory_of(tx)).serving(ids["site"], "deliver", NOW).all()
        await upsert_networks(tx, [NetworkInput("one", ["a"]), NetworkInput("two", ["a", "b"])])
        await set_channel_networks(tx, {"retailer": ["one"]})
        assert (await directory_of(tx)).serving(ids["site"], "deliver", NOW).tolist() == [1, 0, 0]
        await set_channel_networks(tx, {"site": ["two"]})
        directory = await directory_of(tx)
        assert directory.serving(ids["site"], "deliver", NOW).tolist() == [1, 1, 0]
        assert directory.removed_by(ids["site"], "deliver", NOW).tolist() == [0, 0, 3]
        await upsert_networks(tx, [NetworkInput("two", ["c"])])
        assert (await directory_of(tx)).serving(ids["site"], "deliver", NOW).tolist() == [0, 0, 1]

    run(database, schema, work)


def test_switches_have_a_service_and_an_hour(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        ids = await upsert_channels(tx, [ChannelInput("site")])
        await upsert_locations(tx, [place("a"), place("b")])
        until = NOW + timedelta(hours=2)
        off = SwitchInput("a", "deliver", is_on=False, off_until=until, reason="flood")
        await switch_locations(tx, [off], NOW)
        directory = await directory_of(tx)
        assert directory.serving(ids["site"], "deliver", NOW).tolist() == [0, 1]
        assert directory.serving(ids["site"], "collect", NOW).tolist() == [1, 1]
        assert directory.serving(ids["site"], "deliver", until).tolist() == [1, 1]
        await switch_locations(tx, [SwitchInput("a", "deliver", is_on=True)], NOW)
        assert (await directory_of(tx)).serving(ids["site"], "deliver", NOW).all()

    run(database, schema, work)


def test_a_location_serves_as_long_as_one_of_its_networks_is_on(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        ids = await upsert_channels(tx, [ChannelInput("site")])
        await upsert_locations(tx, [place("a"), place("b")])
        await upsert_networks(tx, [NetworkInput("one", ["a", "b"]), NetworkInput("two", ["b"])])
        await set_channel_networks(tx, {"site": ["one", "two"]})
        await switch_networks(tx, [SwitchInput("one", "deliver", is_on=False)], NOW)
        directory = await directory_of(tx)
        assert directory.removed_by(ids["site"], "deliver", NOW).tolist() == [1, 0]
        assert directory.serving(ids["site"], "collect", NOW).all()

    run(database, schema, work)


def test_unknown_refs_are_refused_as_a_whole(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await upsert_locations(tx, [place("a")])
        for attempt in (
            upsert_networks(tx, [NetworkInput("one", ["a", "nowhere"])]),
            switch_locations(tx, [SwitchInput("nowhere", "deliver", is_on=False)], NOW),
            switch_networks(tx, [SwitchInput("nowhere", "deliver", is_on=False)], NOW),
            set_channel_networks(tx, {"nowhere": []}),
            set_buffers(tx, [BufferInput(1, sku="nothing")]),
        ):
            with pytest.raises(Refusal) as caught:
                await attempt
            assert caught.value.code.startswith("unknown_")

    run(database, schema, work)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 3, 2, 12, tzinfo=UTC), date(2026, 3, 2)),  # Monday, open
        (datetime(2026, 3, 2, 7, tzinfo=UTC), date(2026, 3, 2)),  # before opening
        (datetime(2026, 3, 2, 17, 30, tzinfo=UTC), date(2026, 3, 3)),  # closed for today
        (datetime(2026, 3, 3, 20, tzinfo=UTC), date(2026, 3, 7)),  # next open: Saturday
        (datetime(2026, 3, 7, 16, 0, tzinfo=UTC), date(2026, 3, 9)),  # over the Sunday
        (datetime(2026, 6, 1, 16, 45, tzinfo=UTC), date(2026, 6, 2)),  # 17:45 in summer time
        (datetime(2026, 6, 1, 16, 15, tzinfo=UTC), date(2026, 6, 1)),  # 17:15 in summer time
    ],
)
def test_work_counts_on_the_local_day_on_which_the_store_is_still_open(
    at: datetime, day: date
) -> None:
    assert working_day(HOURS, "Europe/London", at) == day


def test_a_location_without_hours_works_every_day() -> None:
    assert working_day({}, "Europe/London", datetime(2026, 3, 1, 23, tzinfo=UTC)) == date(
        2026, 3, 1
    )


def test_customers_are_made_and_changed_by_ref(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        assert (
            await upsert_customers(tx, [CustomerInput("a", tier="gold"), CustomerInput("b")]) == 2
        )
        before = await find_customers(tx, ["a", "b", "c"])
        assert before["a"][1] == "gold"
        assert set(before) == {"a", "b"}
        assert await upsert_customers(tx, [CustomerInput("a", tier="gold")]) == 0
        assert await upsert_customers(tx, [CustomerInput("a", tier="silver")]) == 1
        after = await find_customers(tx, ["a"])
        assert after["a"] == (before["a"][0], "silver")

    run(database, schema, work)


def test_a_profile_has_versions_and_one_is_active(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        assert await put_profile(tx, "default", PROFILE) == 1
        assert await put_profile(tx, "default", PROFILE) == 2
        profiles = await load_profiles(tx)
        assert profiles[None].version == 2
        for wrong in (
            {**PROFILE, "amount_minor": [[300, 400]]},
            {**PROFILE, "distance_km_upto": [50, 50]},
            {**PROFILE, "colour": "red"},
        ):
            with pytest.raises(Refusal) as caught:
                await put_profile(tx, "default", wrong)
            assert caught.value.code == "invalid_profile"

    run(database, schema, work)


def test_buffers_replace_those_of_the_same_names(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await upsert_channels(tx, [ChannelInput("site", product_catalogue="main")])
        await upsert_products(tx, "main", [ProductInput("A")])
        await upsert_locations(tx, [place("a")])
        await set_buffers(tx, [BufferInput(2, channel="site"), BufferInput(5, sku="A")])
        await set_buffers(tx, [BufferInput(3, channel="site")])
        rows = await tx.fetch(b"SELECT channel_id, product_id, qty FROM control ORDER BY qty")
        assert rows == [(1, None, 3), (None, 1, 5)]

    run(database, schema, work)
