"""Controls: put in place of those with their ref, or that name the same; listed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.db.in_account import all_of, revision, run, told
from tests.db.stock_moves import account

from penstock.access.channels import ChannelInput, upsert_channels
from penstock.availability.commands import put_controls
from penstock.availability.control_input import ControlInput
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.db import Tx
from penstock.network.commands import upsert_locations
from penstock.network.model import LocationInput


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
