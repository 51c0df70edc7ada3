"""Network's verbs: make or change locations and networks, switch them on and off.

Each takes a list and runs a fixed number of statements; each bumps revision `network`, so that the
next pass of every process decides by it. A switch stops new allocations and takes stock out of
availability; work in progress stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from penstock.db import Tx
from penstock.errors import Refusal
from penstock.network.directory import SQL
from penstock.network.model import (
    LocationInput,
    NetworkInput,
    SwitchInput,
    check_location,
    check_service,
)

_encode = msgspec.json.Encoder().encode


async def upsert_locations(tx: Tx, locations: Sequence[LocationInput]) -> list[str | Refusal]:
    """Make or change locations; returns `created`, `updated`, `unchanged` or a refusal each.

    Refusals: `invalid_location`, `superseded` (a later record of the list has the same ref).
    """
    results: list[str | Refusal | None] = []
    last = {location.ref: place for place, location in enumerate(locations)}
    for place, location in enumerate(locations):
        try:
            check_location(location)
        except Refusal as refusal:
            results.append(refusal)
            continue
        is_last = last[location.ref] == place
        message = f"A later record of this list has ref {location.ref!r} too."
        results.append(None if is_last else Refusal("superseded", message, field="ref"))
    good = [one for one, result in zip(locations, results, strict=True) if result is None]
    written: dict[str, bool] = {}
    if good:
        rows = await tx.fetch(SQL.upsert_locations, (_encode(good).decode(),))
        written = {ref: bool(is_new) for ref, is_new in rows}
    if written:
        await tx.execute(SQL.bump_network)
    return [
        result or _status(written, location.ref)
        for location, result in zip(locations, results, strict=True)
    ]


def _status(written: dict[str, bool], ref: str) -> str:
    if ref not in written:
        return "unchanged"
    return "created" if written[ref] else "updated"


async def upsert_networks(tx: Tx, networks: Sequence[NetworkInput]) -> None:
    """Make networks and set their locations; refuses `unknown_location` as a whole."""
    body = _encode(networks).decode()
    missing = await tx.fetch(SQL.locations_missing_in_networks, (body,))
    if missing:
        raise Refusal("unknown_location", f"There is no location {missing[0][0]!r}.")
    await tx.execute(SQL.make_networks, (body,))
    await tx.execute(SQL.clear_network_locations, (body,))
    await tx.execute(SQL.set_network_locations, (body,))
    await tx.execute(SQL.bump_network)


async def set_channel_networks(tx: Tx, networks: dict[str, Sequence[str]]) -> None:
    """Set which networks may serve channels (by refs); none: those of the parent.

    Refuses `unknown_channel` and `unknown_network` as a whole.
    """
    channels = list(networks)
    pairs = [(channel, network) for channel, refs in networks.items() for network in refs]
    params = ([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    known = {row[0] for row in await tx.fetch(SQL.known_channels, (channels,))}
    for channel in channels:
        if channel not in known:
            raise Refusal("unknown_channel", f"There is no channel {channel!r}.", channel=channel)
    known = {row[0] for row in await tx.fetch(SQL.known_networks, (params[1],))}
    for network in params[1]:
        if network not in known:
            raise Refusal("unknown_network", f"There is no network {network!r}.", network=network)
    await tx.execute(SQL.clear_channel_networks, (channels,))
    await tx.execute(SQL.set_channel_networks, params)
    await tx.execute(SQL.bump_network)


async def switch_locations(tx: Tx, switches: Sequence[SwitchInput], now: datetime) -> None:
    """Switch services of locations on or off; refuses `unknown_location` as a whole."""
    known = {row[0] for row in await tx.fetch(SQL.known_locations, ([s.ref for s in switches],))}
    for switch in switches:
        if switch.ref not in known:
            raise Refusal("unknown_location", f"There is no location {switch.ref!r}.")
    await tx.execute(SQL.switch_locations_on, _keys(switches))
    await tx.execute(SQL.switch_locations_off, _columns(switches, now))
    await tx.execute(SQL.bump_network)


async def switch_networks(tx: Tx, switches: Sequence[SwitchInput], now: datetime) -> None:
    """Switch services of networks on or off; refuses `unknown_network` as a whole."""
    known = {row[0] for row in await tx.fetch(SQL.known_networks, ([s.ref for s in switches],))}
    for switch in switches:
        if switch.ref not in known:
            raise Refusal("unknown_network", f"There is no network {switch.ref!r}.")
    await tx.execute(SQL.switch_networks_on, _keys(switches))
    await tx.execute(SQL.switch_networks_off, _columns(switches, now))
    await tx.execute(SQL.bump_network)


def _keys(switches: Sequence[SwitchInput]) -> tuple[list[str], list[str]]:
    for switch in switches:
        check_service(switch.service)
    return [switch.ref for switch in switches], [switch.service for switch in switches]


def _columns(switches: Sequence[SwitchInput], now: datetime) -> tuple[list[object], ...]:
    off = [switch for switch in switches if not switch.is_on]
    return (
        [switch.ref for switch in off],
        [switch.service for switch in off],
        [switch.off_from or now for switch in off],
        [switch.off_until for switch in off],
        [switch.reason for switch in off],
    )
