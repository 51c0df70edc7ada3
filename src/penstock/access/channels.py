"""Channels: where demand comes from inside an account, nested; settings are inherited downwards.

Owns table `channel` and the tree a process holds. A channel without a currency, catalogue or
networks of its own has its parent's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock import money
from penstock.db import Queries, Tx
from penstock.errors import Refusal

SQL = Queries("penstock.access", "access.sql")


class ChannelInput(msgspec.Struct, forbid_unknown_fields=True):
    """A channel to make or change, by ref; `product_catalogue` is made when it is not there."""

    ref: str
    parent: str | None = None
    kind: str = "site"
    name: str = ""
    currency: str | None = None
    tax_id: str | None = None
    product_catalogue: str | None = None
    settings: dict[str, Any] = {}


class Channels(msgspec.Struct, frozen=True):
    """Every channel of the account, as a tree."""

    by_ref: Mapping[str, int]
    refs: Mapping[int, str]
    parents: Mapping[int, int | None]
    currencies: Mapping[int, str | None]
    catalogues: Mapping[int, int | None]

    def path(self, channel_id: int) -> list[int]:
        """Return the channel and those above it, itself first."""
        path = [channel_id]
        while (parent := self.parents.get(path[-1])) is not None:
            path.append(parent)
        return path

    def currency(self, channel_id: int) -> str | None:
        """Return the channel's currency, its own or inherited."""
        return next((c for one in self.path(channel_id) if (c := self.currencies.get(one))), None)

    def catalogue_id(self, channel_id: int) -> int:
        """Return the product catalogue it sells; refuses with `no_product_catalogue`."""
        for one in self.path(channel_id):
            catalogue_id = self.catalogues.get(one)
            if catalogue_id is not None:
                return catalogue_id
        raise Refusal("no_product_catalogue", "Neither the channel nor one above has a catalogue.")


async def load_channels(tx: Tx) -> Channels:
    """Load the channel tree."""
    rows = await tx.fetch(SQL.channels)
    return Channels(
        by_ref={row[1]: row[0] for row in rows},
        refs={row[0]: row[1] for row in rows},
        parents={row[0]: row[2] for row in rows},
        currencies={row[0]: row[3] for row in rows},
        catalogues={row[0]: row[4] for row in rows},
    )


async def upsert_channels(tx: Tx, channels: Sequence[ChannelInput]) -> dict[str, int]:
    """Make or change channels; returns their ids by ref. Bumps revision `channel`.

    Parents may be in the same list. Refuses `unknown_channel` for a parent that is nowhere,
    `channel_cycle`, and `invalid_currency`.
    """
    for channel in channels:
        if channel.currency is not None:
            money.check_currency(channel.currency)
    catalogues = sorted({c.product_catalogue for c in channels if c.product_catalogue})
    await tx.execute(SQL.make_catalogues, (catalogues,))
    await tx.execute(SQL.upsert_channels, (msgspec.json.encode(channels).decode(),))
    await tx.execute(SQL.set_parents, (msgspec.json.encode(channels).decode(),))
    tree = await load_channels(tx)
    _check_tree(channels, tree)
    await tx.execute(SQL.bump_channel)
    return {channel.ref: tree.by_ref[channel.ref] for channel in channels}


def _check_tree(channels: Sequence[ChannelInput], tree: Channels) -> None:
    for channel in channels:
        if channel.parent is not None and channel.parent not in tree.by_ref:
            raise Refusal("unknown_channel", f"There is no channel {channel.parent!r}.")
        seen: set[int] = set()
        one: int | None = tree.by_ref[channel.ref]
        while one is not None:
            if one in seen:
                raise Refusal("channel_cycle", f"Channel {channel.ref!r} would be its own parent.")
            seen.add(one)
            one = tree.parents.get(one)
