"""Channels: a tree made and changed in lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.db.in_account import all_of, overlap, revision, run, told
from tests.db.stock_moves import account

from penstock.access.channels import ChannelInput, Channels, load_channels, upsert_channels
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.records import Result

TREE = [
    ChannelInput("site", parent="brand", settings={"theme": "dark"}),
    ChannelInput("brand", parent="retailer", kind="brand", currency="EUR"),
    ChannelInput(
        "retailer",
        kind="retailer",
        currency="GBP",
        product_catalogue="main",
        settings={"theme": "light", "language": "en"},
    ),
]


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "channels_test") as name:
        yield name


def path_of(tree: Channels, ref: str) -> list[str]:
    return [tree.refs[number] for number in tree.path(tree.by_ref[ref])]


def test_a_channel_has_what_those_above_it_have(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        assert await upsert_channels(tx, TREE) == ["created"] * 3
        tree = await load_channels(tx)
        site = tree.by_ref["site"]
        assert path_of(tree, "site") == ["site", "brand", "retailer"]
        assert (tree.currency(site), tree.currency(tree.by_ref["retailer"])) == ("EUR", "GBP")
        assert tree.catalogue_id(site) == tree.catalogue_id(tree.by_ref["retailer"])
        assert tree.settings(site) == {"theme": "dark", "language": "en"}
        assert tree.ids == sorted(tree.by_ref.values())

    run(database, schema, work)


def test_the_same_list_again_changes_nothing(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await upsert_channels(tx, TREE)
        before = await revision(tx, "channel")
        assert await upsert_channels(tx, TREE) == ["unchanged"] * 3
        assert await revision(tx, "channel") == before
        moved = [ChannelInput("site", parent="retailer"), ChannelInput("till", kind="till")]
        assert await upsert_channels(tx, moved) == ["updated", "created"]
        assert await revision(tx, "channel") == before + 1
        tree = await load_channels(tx)
        assert path_of(tree, "site") == ["site", "retailer"]
        assert tree.settings(tree.by_ref["site"])["theme"] == "light"

    run(database, schema, work)


def test_one_bad_channel_refuses_itself_only(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        await upsert_channels(tx, TREE)
        channels = [
            ChannelInput("retailer", parent="site", kind="retailer"),
            ChannelInput("shop", parent="nowhere"),
            ChannelInput("kiosk", parent="shop"),
            ChannelInput("castle", kind="castle"),
            ChannelInput("euro", currency="euro"),
            ChannelInput("nul", settings={"theme": "\0"}),
            ChannelInput("nameless", product_catalogue=""),
            ChannelInput("till", parent="site", kind="till"),
        ]
        assert told(await upsert_channels(tx, channels)) == [
            "channel_cycle",
            "unknown_channel",
            "unknown_channel",
            "invalid_channel",
            "invalid_currency",
            "invalid_channel",
            "invalid_channel",
            "created",
        ]
        tree = await load_channels(tx)
        assert path_of(tree, "till") == ["till", "site", "brand", "retailer"]
        assert len(tree.ids) == 4

    run(database, schema, work)


def test_a_catalogue_is_made_once_and_takes_no_further_ids(database: str, schema: str) -> None:
    async def work(tx: Tx) -> None:
        for _ in range(3):
            await upsert_channels(tx, TREE)
        await upsert_channels(tx, [ChannelInput("other", product_catalogue="second")])
        rows = await all_of(tx, "SELECT id, ref FROM product_catalogue ORDER BY id")
        assert rows == [(1, "main"), (2, "second")]
        rows = await all_of(tx, "SELECT max(id) FROM channel")
        assert rows == [(4,)]

    run(database, schema, work)


def test_without_a_catalogue_anywhere_above_there_is_none_to_sell(
    database: str, schema: str
) -> None:
    async def work(tx: Tx) -> None:
        await upsert_channels(tx, [ChannelInput("site")])
        tree = await load_channels(tx)
        assert tree.currency(tree.by_ref["site"]) is None
        with pytest.raises(Refusal) as caught:
            tree.catalogue_id(tree.by_ref["site"])
        assert caught.value.code == "no_product_catalogue"

    run(database, schema, work)


def test_a_cycle_cannot_be_closed_from_two_sides_at_once(database: str, schema: str) -> None:
    def put(*channels: ChannelInput) -> Callable[[Tx], Awaitable[list[Result]]]:
        return lambda tx: upsert_channels(tx, channels)

    run(database, schema, put(ChannelInput("a"), ChannelInput("b")))
    sides = put(ChannelInput("a", parent="b")), put(ChannelInput("b", parent="a"))
    (one,), (other,) = overlap(database, schema, *sides)
    assert told([one, other]) == ["updated", "channel_cycle"]
