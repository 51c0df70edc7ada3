"""The directory: every location as columns, and who serves which channel and service when.

Owns what a process holds of the network. A location serves when it has the capability, neither it
nor every eligible network is switched off for the service, and it is in a network eligible for
the channel; a channel that names no network has its parent's, and a tree that names none is served
by all. Changes come with revision `network`; switches with a time are honoured without one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.access.channels import Channels
from penstock.db import Queries, Tx
from penstock.geo import unit_vectors
from penstock.network import timetable
from penstock.network.hours import Calendar, CalendarInput, Hours, calendar_of
from penstock.network.timetable import MINUTE_US, Instants, Rows, Timetable, us_of

SQL = Queries("penstock.network", "network.sql")
SERVICES = ("deliver", "collect", "receive", "return")
OFF, NO_CAPABILITY, NOT_IN_NETWORK = 1, 2, 3
_MAX_CACHED = 500

Switch = tuple[int, str, datetime, datetime | None]


class Directory:
    """Locations in order of id, with networks and switches."""

    def __init__(
        self,
        rows: Sequence[Any],
        members: Mapping[int, Sequence[int]],
        switches: tuple[Sequence[Switch], Sequence[Switch]],
        channel_networks: Mapping[int, Sequence[int]],
        channels: Channels,
    ) -> None:
        self.location_ids = np.array([row[0] for row in rows], dtype=np.int32)
        self.refs: list[str] = [row[1] for row in rows]
        self.kinds: list[str] = [row[2] for row in rows]
        self.time_zones: list[str] = [row[5] for row in rows]
        self.by_ref = {ref: int(i) for ref, i in zip(self.refs, self.location_ids, strict=True)}
        self.row_of = np.full(int(self.location_ids.max(initial=0)) + 2, -1, dtype=np.int32)
        self.row_of[self.location_ids] = np.arange(len(rows))
        self.latitudes = np.array([row[3] for row in rows], dtype=np.float64)
        self.longitudes = np.array([row[4] for row in rows], dtype=np.float64)
        self.unit_xyz = unit_vectors(self.latitudes, self.longitudes)
        self.handling_cost_minor = np.array([row[8] for row in rows], dtype=np.int64)
        self.handling_min = np.array([row[9] for row in rows], dtype=np.int32)
        self.daily_limit = {service: _limits(rows, service) for service in _limited(rows)}
        self._capable = {s: np.array([s in row[7] for row in rows], dtype=bool) for s in SERVICES}
        self._records: dict[str, tuple[Hours, str, CalendarInput]] = {}
        self._record_of = [_remember(self._records, row[6], row[5], row[11]) for row in rows]
        self._timetables: dict[str, tuple[int, Timetable, Rows]] = {}
        self._members = members
        self._location_switches, self._network_switches = switches
        self._channel_networks = channel_networks
        self._channels = channels
        self._instants = sorted(
            {t for group in switches for s in group for t in (s[2], s[3]) if t is not None}
        )
        self._removed: dict[tuple[int, str, int], NDArray[np.uint8]] = {}
        self._serving: dict[tuple[int, str, int], NDArray[np.bool_]] = {}
        self._days: dict[str, tuple[datetime, list[date]]] = {}

    def serving(self, channel_id: int, service: str, at: datetime) -> NDArray[np.bool_]:
        """Tell per location row whether it serves the channel with the service at an instant."""
        key = (channel_id, service, self._period(at))
        mask = self._serving.get(key)
        if mask is None:
            mask = self.removed_by(channel_id, service, at) == 0
            mask.setflags(write=False)
            self._serving[key] = mask
        return mask

    def removed_by(self, channel_id: int, service: str, at: datetime) -> NDArray[np.uint8]:
        """Return why each location row does not serve: 0 serves, else `sourcing.model.Removed`."""
        key = (channel_id, service, self._period(at))
        codes = self._removed.get(key)
        if codes is None:
            if len(self._removed) > _MAX_CACHED:
                self._removed.clear()
                self._serving.clear()
            codes = self._removed_by(channel_id, service, at)
            codes.setflags(write=False)
            self._removed[key] = codes
        return codes

    def _period(self, at: datetime) -> int:
        """Return between which switch instants an instant lies."""
        return bisect_right(self._instants, at)

    def _removed_by(self, channel_id: int, service: str, at: datetime) -> NDArray[np.uint8]:
        codes = np.zeros(len(self.location_ids), dtype=np.uint8)
        networks = self._networks(channel_id)
        if networks is not None:
            off = _switched_off(self._network_switches, service, at)
            codes[~self._in_networks(networks - off)] = OFF
            codes[~self._in_networks(networks)] = NOT_IN_NETWORK
        rows = self.row_of[sorted(_switched_off(self._location_switches, service, at))]
        codes[rows[rows >= 0]] = OFF
        capable = self._capable.get(service)
        if capable is None:
            codes[:] = NO_CAPABILITY
        else:
            codes[~capable] = NO_CAPABILITY
        return codes

    def _networks(self, channel_id: int) -> set[int] | None:
        for one in self._channels.path(channel_id):
            if self._channel_networks.get(one):
                return set(self._channel_networks[one])
        return None

    def in_network(self, network_id: int) -> NDArray[np.bool_]:
        """Tell by row which locations are in a network."""
        return self._in_networks({network_id})

    def _in_networks(self, networks: set[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.location_ids), dtype=bool)
        for network_id in networks:
            mask[self.row_of[list(self._members.get(network_id, ()))]] = True
        return mask

    def working_days(self, at: datetime, service: str = "deliver") -> list[date]:
        """Return per location row the local date on which work taken now counts."""
        minute = at.replace(second=0, microsecond=0)
        known = self._days.get(service)
        if known is None or known[0] != minute:
            known = self._days[service] = (minute, self._working_days(minute, service))
        return known[1]

    def _working_days(self, at: datetime, service: str) -> list[date]:
        table, rows = self.timetable(at, service)
        every = np.arange(len(table.ends), dtype=np.int64)
        found = timetable.days_taken(table, every, np.full(len(every), us_of(at)))
        days = [date.fromordinal(day) if day else None for day in found.tolist()]
        return [
            days[row] or at.astimezone(ZoneInfo(self._records[key][1])).date()
            for key, row in zip(self._record_of, rows.tolist(), strict=True)
        ]

    def timetable(self, at: datetime, service: str) -> tuple[Timetable, Rows]:
        """Return the calendars of a service around an instant, and which each location row has.

        Made once a week and directory; locations that work alike share one.
        """
        today = at.astimezone(UTC).date()
        first = timetable.first_day(today)
        known = self._timetables.get(service)
        if known is None or known[0] != first:
            numbers: dict[Calendar, int] = {}
            row_of = {
                key: numbers.setdefault(calendar_of(*record, service), len(numbers))
                for key, record in self._records.items()
            }
            rows = [row_of[key] for key in self._record_of]
            table = timetable.make_timetable(list(numbers), today)
            known = self._timetables[service] = (first, table, np.array(rows, dtype=np.int64))
        return known[1], known[2]

    def ready_us(
        self, decision: datetime, service: str, handling_min: NDArray[np.integer[Any]] | None = None
    ) -> Instants:
        """Return per location row when what is decided now can leave or be collected.

        Microseconds since 1970, `timetable.NEVER` beyond a hundred days. Handling takes the
        location's stated minutes of open time unless given.
        """
        table, rows = self.timetable(decision, service)
        minutes = self.handling_min if handling_min is None else handling_min
        at = np.full(len(rows), us_of(decision), dtype=np.int64)
        return timetable.ready(table, rows, at, minutes.astype(np.int64) * MINUTE_US)


def _remember(
    records: dict[str, tuple[Hours, str, CalendarInput]],
    hours: Hours,
    time_zone: str,
    document: Any,
) -> str:
    """Keep each record once: many locations work alike."""
    key = f"{time_zone} {hours} {document}"
    if key not in records:
        records[key] = (hours, time_zone, msgspec.convert(document, CalendarInput))
    return key


def _limited(rows: Sequence[Any]) -> set[str]:
    return {service for row in rows for service in row[10]}


def _limits(rows: Sequence[Any], service: str) -> NDArray[np.int32]:
    return np.array([row[10].get(service, -1) for row in rows], dtype=np.int32)


def _switched_off(switches: Sequence[Switch], service: str, at: datetime) -> set[int]:
    return {
        subject_id
        for subject_id, one, off_from, off_until in switches
        if one == service and off_from <= at and (off_until is None or at < off_until)
    }


async def load_directory(tx: Tx, channels: Channels) -> Directory:
    """Load every location, network and switch of the account."""
    members: dict[int, list[int]] = {}
    for network_id, location_id in await tx.fetch(SQL.network_locations):
        members.setdefault(network_id, []).append(location_id)
    networks: dict[int, list[int]] = {}
    for channel_id, network_id in await tx.fetch(SQL.channel_networks):
        networks.setdefault(channel_id, []).append(network_id)
    switches = (
        await _switches(tx, SQL.location_switches),
        await _switches(tx, SQL.network_switches),
    )
    rows = await tx.fetch(SQL.locations)
    return Directory(rows, members, switches, networks, channels)


async def _switches(tx: Tx, query: bytes) -> list[Switch]:
    rows = await tx.fetch(query)
    return [(row[0], row[1], row[2], row[3]) for row in rows]
