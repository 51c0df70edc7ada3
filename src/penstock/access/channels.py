"""Channels: where demand comes from inside an account, nested; settings are inherited downwards.

Owns table `channel` and the tree a process holds. A channel without a currency, catalogue or
networks of its own has its parent's; of settings each key by itself. Parents never form a cycle:
who changes channels waits for who else does.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import msgspec

from penstock import money
from penstock.db import Queries, Tx
from penstock.errors import Refusal, invariant
from penstock.records import MAX_REF, Result, answers, check_ref, sift

SQL = Queries("penstock.access", "access.sql")
KINDS = ("retailer", "brand", "site", "marketplace", "wholesale", "till")


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
    own_settings: Mapping[int, Mapping[str, Any]] = {}

    @property
    def ids(self) -> list[int]:
        """Return the ids of all channels, ascending."""
        return sorted(self.refs)

    def path(self, channel_id: int) -> list[int]:
        """Return the channel and those above it, itself first."""
        path = [channel_id]
        while (parent := self.parents.get(path[-1])) is not None:
            path.append(parent)
            invariant(len(path) <= len(self.parents), f"channel {channel_id} is below itself")
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

    def settings(self, channel_id: int) -> dict[str, Any]:
        """Return the channel's settings, each key its own or inherited."""
        merged: dict[str, Any] = {}
        for one in reversed(self.path(channel_id)):
            merged |= self.own_settings.get(one, {})
        return merged


async def load_channels(tx: Tx) -> Channels:
    """Load the channel tree."""
    rows = await tx.fetch(SQL.channels)
    return Channels(
        by_ref={row[1]: row[0] for row in rows},
        refs={row[0]: row[1] for row in rows},
        parents={row[0]: row[2] for row in rows},
        currencies={row[0]: row[3] for row in rows},
        catalogues={row[0]: row[4] for row in rows},
        own_settings={row[0]: row[5] for row in rows},
    )


async def upsert_channels(tx: Tx, channels: Sequence[ChannelInput]) -> list[Result]:
    """Make or change channels; returns `created`, `updated`, `unchanged` or a refusal each.

    Parents may be in the same list, in any order. Refusals: `invalid_channel`, `invalid_currency`,
    `superseded`, `unknown_channel` (a parent that is nowhere), `channel_cycle`. Bumps revision
    `channel` when something changed.
    """
    refusals, good, _ = sift(channels, check_channel, _ref, "invalid_channel")
    await tx.execute(SQL.lock_channels)
    misplaced = misplaced_channels(good, await load_channels(tx))
    placed = [channel for channel in good if channel.ref not in misplaced]
    catalogues = sorted({c.product_catalogue for c in placed if c.product_catalogue})
    await tx.execute(SQL.make_catalogues, (catalogues,))
    rows = await tx.fetch(SQL.upsert_channels, (msgspec.json.encode(placed).decode(),))
    written: dict[Hashable, str] = {r: "created" if is_new else "updated" for r, is_new in rows}
    if written:
        await tx.execute(SQL.bump_channel)
    refusals = [r or misplaced.get(c.ref) for r, c in zip(refusals, channels, strict=True)]
    return answers(channels, refusals, written, _ref)


def check_channel(channel: ChannelInput) -> None:
    """Refuse a record that cannot be a channel with `invalid_channel`, naming the field."""
    check_ref(channel.ref, "invalid_channel")
    if channel.kind not in KINDS:
        sentence = f"kind: A channel is one of {', '.join(KINDS)}."
        raise Refusal("invalid_channel", sentence, field="kind")
    if channel.currency is not None:
        money.check_currency(channel.currency)
    if channel.product_catalogue is not None and not 1 <= len(channel.product_catalogue) <= MAX_REF:
        sentence = f"product_catalogue: A ref has 1 to {MAX_REF} characters."
        raise Refusal("invalid_channel", sentence, field="product_catalogue")


def misplaced_channels(channels: Sequence[ChannelInput], tree: Channels) -> dict[str, Refusal]:
    """Return why channels cannot hang where they were asked to, given the others of the list.

    What is refused stays where it was, which may misplace others: each round finds some, or ends.
    """
    refused: dict[str, Refusal] = {}
    while True:
        parents = {ref: _parent(tree, number) for ref, number in tree.by_ref.items()}
        asked = [channel for channel in channels if channel.ref not in refused]
        parents |= {channel.ref: channel.parent for channel in asked}
        found = {c.ref: refusal for c in asked if (refusal := _misplaced(c, parents))}
        if not found:
            return refused
        refused |= found


def _parent(tree: Channels, channel_id: int) -> str | None:
    parent_id = tree.parents[channel_id]
    return None if parent_id is None else tree.refs[parent_id]


def _misplaced(channel: ChannelInput, parents: Mapping[str, str | None]) -> Refusal | None:
    if channel.parent is not None and channel.parent not in parents:
        sentence = f"There is no channel {channel.parent[:100]!r}."
        return Refusal("unknown_channel", sentence, field="parent", channel=channel.parent[:100])
    above = channel.parent
    seen: set[str] = set()
    while above is not None and above not in seen:  # seen: below a cycle that others close
        if above == channel.ref:
            sentence = f"Channel {channel.ref!r} would be its own parent."
            return Refusal("channel_cycle", sentence, field="parent", channel=channel.ref)
        seen.add(above)
        above = parents.get(above)
    return None


def _ref(channel: ChannelInput) -> str:
    return channel.ref
