"""Controls: put in place of those with their ref, or that name the same; listed and removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.db.in_account import all_of, revision, run, told
from tests.db.stock_moves import account

from penstock import migrations
from penstock.access.channels import ChannelInput, upsert_channels
from penstock.availability.categories import products_in
from penstock.availability.commands import put_controls, remove_controls
from penstock.availability.control_input import ControlInput
from penstock.availability.control_views import list_controls
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.db import Tx
from penstock.network.commands import upsert_locations, upsert_networks
from penstock.network.model import LocationInput, NetworkInput


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "controls_test") as name:
        yield name


async def make(tx: Tx) -> None:
    await upsert_channels(tx, [ChannelInput("site")])
    await upsert_products(tx, "main", [ProductInput("A"), ProductInput("B")])
    await upsert_products(tx, "other", [ProductInput("A")])
    await upsert_locations(tx, [LocationInput("L", "store", 51, 0)])


async def buffers(tx: Tx) -> list[tuple[Any, ...]]:
    columns = "channel_id, product_id, location_id, location_kind, qty"
    return await all_of(tx, f"SELECT {columns} FROM control ORDER BY id")


def test_a_buffer_takes_the_place_of_the_one_that_names_the_same(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        await make(tx)
        first = [
            ControlInput(2, channel="site"),
            ControlInput(5, sku="B", location="L"),
            ControlInput(1, location_kind="store"),
            ControlInput(4),
        ]
        assert await put_controls(tx, first) == ["created"] * 4
        before = await revision(tx, "control")
        assert await put_controls(tx, first) == ["unchanged"] * 4
        assert await revision(tx, "control") == before
        again = [ControlInput(0, channel="site"), ControlInput(4), ControlInput(3, location="L")]
        assert await put_controls(tx, again) == ["updated", "unchanged", "created"]
        assert await revision(tx, "control") == before + 1
        assert await buffers(tx) == [
            (1, None, None, None, 0),
            (None, 2, 1, None, 5),
            (None, None, None, "store", 1),
            (None, None, None, None, 4),
            (None, None, 1, None, 3),
        ]

    run(database, schema, work)


def test_a_sku_means_the_product_in_every_catalogue(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await make(tx)
        assert await put_controls(tx, [ControlInput(2, sku="A")]) == ["created"]
        assert await put_controls(tx, [ControlInput(3, sku="A")]) == ["updated"]
        assert sorted(await buffers(tx)) == [(None, 1, None, None, 3), (None, 3, None, None, 3)]

    run(database, schema, work)


def test_one_bad_buffer_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await make(tx)
        asked = [
            ControlInput(1, sku="nothing"),
            ControlInput(1, channel="nowhere"),
            ControlInput(1, location="nowhere"),
            ControlInput(-1, sku="A"),
            ControlInput(1, location_kind="castle"),
            ControlInput(1, sku="\0"),
            ControlInput(1, sku=""),
            ControlInput(6, channel="site"),
            ControlInput(7, channel="site"),
        ]
        assert told(await put_controls(tx, asked)) == [
            "unknown_ref",
            "unknown_ref",
            "unknown_ref",
            "quantity_out_of_range",
            "invalid_control",
            "invalid_control",
            "unknown_ref",
            "superseded",
            "created",
        ]
        assert await buffers(tx) == [(1, None, None, None, 7)]

    run(database, schema, work)


def every_kind() -> list[ControlInput]:
    return [
        ControlInput(4, ref="base"),
        ControlInput(percent=12.5, ref="share", kind="safety_stock", category="tools"),
        ControlInput(1, ref="added", group="more", combine="sum", daily_from="09:00"),
        ControlInput(ref="none", kind="exclusion", network="west", channel="site"),
        ControlInput(5, ref="cap", kind="cap", sku="A", per_location=True),
        ControlInput(6, ref="fence", kind="ring_fence", sku="B", kept_tiers=["gold"]),
    ]


async def make_network(tx: Tx) -> None:
    await make(tx)
    await upsert_networks(tx, [NetworkInput("west", ["L"])])


def test_controls_of_every_kind_are_put_listed_in_words_and_removed(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        await make_network(tx)
        assert await put_controls(tx, every_kind()) == ["created"] * 6
        assert await put_controls(tx, every_kind()) == ["unchanged"] * 6
        listed = {one.ref: one for one in await list_controls(tx)}
        assert list(listed) == ["added", "base", "cap", "fence", "none", "share"]
        assert (listed["share"].percent, listed["share"].qty) == (12.5, None)
        assert (listed["none"].network, listed["none"].channel) == ("west", "site")
        assert (listed["added"].daily_from, listed["added"].combine) == ("09:00", "sum")
        assert (listed["cap"].sku, listed["cap"].per_location) == ("A", True)
        assert listed["fence"].kept_tiers == ["gold"]
        assert [one.ref for one in await list_controls(tx, "site")] == ["none"]
        assert [one.ref for one in await list_controls(tx, after="fence", limit=1)] == ["none"]
        before = await revision(tx, "control")
        assert told(await remove_controls(tx, ["cap", "nothing"])) == ["removed", "unknown_control"]
        assert await revision(tx, "control") == before + 1
        assert await all_of(tx, "SELECT count(*) FROM control") == [(5,)]

    run(database, schema, work)


def test_what_contradicts_itself_or_its_group_is_refused_by_itself(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        await make_network(tx)
        await put_controls(tx, every_kind())
        asked = [
            ControlInput(1, ref="1", percent=5.0),
            ControlInput(ref="2"),
            ControlInput(1, ref="3", kind="exclusion"),
            ControlInput(ref="4", kind="cap", percent=5.0),
            ControlInput(1, ref="5", kind="ring_fence", kept_tiers=["gold"]),
            ControlInput(1, ref="6", kind="ring_fence", sku="A"),
            ControlInput(1, ref="7", kept_tiers=["gold"]),
            ControlInput(1, ref="8", daily_from="9 o'clock"),
            ControlInput(1, ref="9", sku="A", category="tools"),
            ControlInput(1, ref="10", group="more", combine="max"),
            ControlInput(1, ref="11", kind="cap", group="more"),
            ControlInput(percent=0.001, ref="12"),
            ControlInput(1, ref="13", network="east"),
            ControlInput(1, ref="14", basket_min_minor=4),
            ControlInput(1, ref="15", active_from=datetime(2026, 3, 1)),  # noqa: DTZ001
        ]
        results = told(await put_controls(tx, asked))
        others = {9: "control_group_differs", 12: "unknown_ref"}
        assert results == [others.get(n, "invalid_control") for n in range(15)]
        both = [ControlInput(1, ref="added", group="more", combine="max")]
        assert await put_controls(tx, both) == ["updated"]  # it was alone in its group

    run(database, schema, work)


def test_a_category_holds_those_below_it_and_products_made_later(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        await make(tx)
        await put_controls(tx, [ControlInput(ref="none", kind="exclusion", category="tools")])
        before = await revision(tx, "control")
        drills = [ProductInput("D", category_ref="tools/drills"), ProductInput("T")]
        await upsert_products(tx, "main", drills)
        assert await revision(tx, "control") == before + 1
        (ids,) = (await products_in(tx, ["tools"])).values()
        assert await all_of(tx, "SELECT id FROM product WHERE ref = 'D'") == [(int(ids[0]),)]

    run(database, schema, work)


def test_buffers_from_before_there_were_refs_are_changed_by_the_file_they_came_from(
    database: str, schema: str
) -> None:
    migration = Path(migrations.__file__).parent / "versions/0006_controls.sql"
    (give_refs,) = re.findall(r"UPDATE control AS c SET ref.*?;", migration.read_text(), re.DOTALL)

    async def work(tx: Tx) -> None:
        await make(tx)
        await tx.script(
            "INSERT INTO control (channel_id, product_id, location_id, location_kind, qty) VALUES "
            "(1, NULL, NULL, NULL, 2), (NULL, 2, 1, NULL, 5), (NULL, NULL, NULL, 'store', 1), "
            "(NULL, NULL, NULL, NULL, 4), (NULL, 1, NULL, NULL, 6), (NULL, 3, NULL, NULL, 6)"
        )
        await tx.script(give_refs)
        same = [
            ControlInput(2, channel="site"),
            ControlInput(5, sku="B", location="L"),
            ControlInput(1, location_kind="store"),
            ControlInput(4),
            ControlInput(6, sku="A"),
        ]
        assert await put_controls(tx, same) == ["unchanged"] * 5

    run(database, schema, work)
