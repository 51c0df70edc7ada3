"""Network's verbs: make or change locations and networks, switch them on and off.

Each takes a list, runs a fixed number of statements and returns a result per record; a bad record
refuses itself only. What changes something bumps revision `network`, so that the next pass of every
process decides by it; who changes the network waits for who else does. A switch stops new
allocations and takes stock out of availability; work in progress stays.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from penstock.access.attribute_types import checking, load_attribute_types
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.directory import SQL
from penstock.network.model import (
    ChannelNetworksInput,
    LocationInput,
    NetworkInput,
    SwitchInput,
    check_channel_networks,
    check_location,
    check_network,
    check_switch,
)
from penstock.records import Result, answers, sift

Refs = Mapping[str, int]


async def upsert_locations(tx: Tx, locations: Sequence[LocationInput]) -> list[Result]:
    """Make or change locations; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_location`, `invalid_attribute`, `superseded` (a later record of the list has
    the same ref).
    """
    check = checking(await load_attribute_types(tx, "location"), "location", check_location)
    refusals, good, body = sift(locations, check, _ref, "invalid_location")
    written: dict[Hashable, str] = {}
    if good:
        await tx.execute(SQL.lock_network)
        rows = await tx.fetch(SQL.upsert_locations, (body,))
        written = {ref: "created" if is_new else "updated" for ref, is_new in rows}
        await _bump(tx, written)
    return answers(locations, refusals, written, _ref)


async def upsert_networks(tx: Tx, networks: Sequence[NetworkInput]) -> list[Result]:
    """Make networks and set all their locations; returns a result each, as with locations.

    Refusals: `invalid_network`, `superseded`, `unknown_location`.
    """
    refusals, good, _ = sift(networks, check_network, _ref, "invalid_network")
    await tx.execute(SQL.lock_network)
    locations = await _ids(tx, SQL.location_ids, {ref for one in good for ref in one.locations})
    refused = {one.ref: _unknown("location", one.locations, locations) for one in good}
    wanted = {one.ref: one.locations for one in good if refused[one.ref] is None}
    before = await _ids(tx, SQL.network_ids, wanted)
    made = [ref for ref in wanted if ref not in before]
    await tx.execute(SQL.make_networks, (made,))
    ids = {**before, **await _ids(tx, SQL.network_ids, made)}
    pairs = [(ids[ref], locations[one]) for ref, refs in wanted.items() for one in refs]
    moved = await _set_pairs(
        tx, SQL.drop_network_locations, SQL.add_network_locations, [ids[r] for r in wanted], pairs
    )
    written: dict[Hashable, str] = {ref: "updated" for ref in wanted if ids[ref] in moved}
    written.update(dict.fromkeys(made, "created"))
    await _bump(tx, written)
    refusals = [r or refused[one.ref] for r, one in zip(refusals, networks, strict=True)]
    return answers(networks, refusals, written, _ref)


async def set_channel_networks(tx: Tx, records: Sequence[ChannelNetworksInput]) -> list[Result]:
    """Set which networks may serve channels; returns `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_channel`, `superseded`, `unknown_channel`, `unknown_network`.
    """
    refusals, good, _ = sift(records, check_channel_networks, _channel, "invalid_channel")
    await tx.execute(SQL.lock_network)
    channels = await _ids(tx, SQL.channel_ids, {one.channel for one in good})
    networks = await _ids(tx, SQL.network_ids, {ref for one in good for ref in one.networks})
    refused = {
        one.channel: _unknown("channel", [one.channel], channels)
        or _unknown("network", one.networks, networks)
        for one in good
    }
    wanted = {one.channel: one.networks for one in good if refused[one.channel] is None}
    pairs = [(channels[ref], networks[one]) for ref, refs in wanted.items() for one in refs]
    subjects = [channels[ref] for ref in wanted]
    moved = await _set_pairs(
        tx, SQL.drop_channel_networks, SQL.add_channel_networks, subjects, pairs
    )
    written: dict[Hashable, str] = {ref: "updated" for ref in wanted if channels[ref] in moved}
    await _bump(tx, written)
    refusals = [r or refused[one.channel] for r, one in zip(refusals, records, strict=True)]
    return answers(records, refusals, written, _channel)


async def known_networks(tx: Tx, refs: Iterable[str]) -> set[str]:
    """Return which refs are networks; a network never goes, so that this stays true."""
    storable = [ref for ref in refs if "\0" not in ref]
    return set(await _ids(tx, SQL.network_ids, storable))


class _Subject(NamedTuple):
    """What is switched, and its statements."""

    word: str
    ids: bytes
    switch_on: bytes
    switch_off: bytes


async def switch_locations(tx: Tx, switches: Sequence[SwitchInput], now: datetime) -> list[Result]:
    """Switch services of locations on or off; returns `updated`, `unchanged` or a refusal each.

    Off from `now` unless said otherwise. Refusals: `unknown_location`, `invalid_location` (no
    service), `instant_unusable`, `superseded` (a later record has the same location and service).
    """
    queries = (SQL.location_ids, SQL.switch_locations_on, SQL.switch_locations_off)
    return await _switch(tx, _Subject("location", *queries), switches, now)


async def switch_networks(tx: Tx, switches: Sequence[SwitchInput], now: datetime) -> list[Result]:
    """Switch services of networks on or off, as with locations. Refusal: `unknown_network`."""
    queries = (SQL.network_ids, SQL.switch_networks_on, SQL.switch_networks_off)
    return await _switch(tx, _Subject("network", *queries), switches, now)


async def _switch(
    tx: Tx, subject: _Subject, switches: Sequence[SwitchInput], now: datetime
) -> list[Result]:
    refusals, good, _ = sift(switches, check_switch, _service, "invalid_location")
    await tx.execute(SQL.lock_network)
    ids = await _ids(tx, subject.ids, {one.ref for one in good})
    refused = {_service(one): _unknown(subject.word, [one.ref], ids) for one in good}
    known = [one for one in good if one.ref in ids]
    on = [one for one in known if one.is_on]
    off = [one for one in known if not one.is_on]
    rows = await tx.fetch(subject.switch_on, ([ids[s.ref] for s in on], [s.service for s in on]))
    columns = (
        [ids[one.ref] for one in off],
        [one.service for one in off],
        [one.off_from for one in off],
        [one.off_until for one in off],
        [one.reason for one in off],
        [now] * len(off),
    )
    rows += await tx.fetch(subject.switch_off, columns)
    refs = {number: ref for ref, number in ids.items()}
    written: dict[Hashable, str] = {(refs[number], one): "updated" for number, one in rows}
    await _bump(tx, written)
    refusals = [r or refused[_service(s)] for r, s in zip(refusals, switches, strict=True)]
    return answers(switches, refusals, written, _service)


def _ref(record: LocationInput | NetworkInput) -> str:
    return record.ref


def _channel(record: ChannelNetworksInput) -> str:
    return record.channel


def _service(record: SwitchInput) -> tuple[str, str]:
    return record.ref, record.service


async def _ids(tx: Tx, query: bytes, refs: Iterable[str]) -> dict[str, int]:
    return dict(await tx.fetch(query, (sorted(refs),)))


def _unknown(word: str, refs: Sequence[str], known: Refs) -> Refusal | None:
    """Return the refusal of the first ref that is not known; its field is the word."""
    for ref in refs:
        if ref not in known:
            sentence = f"There is no {word} {ref[:100]!r}."
            return Refusal(f"unknown_{word}", sentence, **{word: ref[:100]})
    return None


async def _set_pairs(
    tx: Tx, drop: bytes, add: bytes, subjects: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> set[int]:
    """Replace who belongs to the subjects; returns those where something changed."""
    columns = ([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    dropped = await tx.fetch(drop, (list(subjects), *columns))
    added = await tx.fetch(add, columns)
    return {row[0] for row in (*dropped, *added)}


async def _bump(tx: Tx, written: Mapping[Hashable, str]) -> None:
    if written:
        await tx.execute(SQL.bump_network)
