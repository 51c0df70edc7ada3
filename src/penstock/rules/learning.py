"""Learning how long things take from what happened to fulfilments.

Owns the instants at which fulfilments were ready, shipped and delivered: told by their own events,
and by whoever knows (`record_times`); and what follows from them for the histograms of handling
and transit, each step once, in the worker.

Handling is open time from the release (its cut-off) until ready. Where only the shipping is known,
the carrier's collection hides it: what left with the collection it was due for counts as stated,
or less; what missed it counts until it left. Transit is delivery days from shipping to delivery.

Invariant: a step of a fulfilment is kept once, as it was told first, and learnt from once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from penstock.db import Queries, Tx, uuid_array
from penstock.engine.context import Context
from penstock.errors import Refusal
from penstock.fulfilment import store as fulfilments
from penstock.ids import parse_id
from penstock.network.calendar import handling_minutes
from penstock.network.carriers import (
    HandlingKey,
    TransitKey,
    add_handling,
    add_transit,
    carrier_ids,
    check_instant,
)
from penstock.network.lanes import Place, transit_days
from penstock.network.routes import lane_for
from penstock.network.spread import minutes_upto
from penstock.passes import Pass
from penstock.records import Result
from penstock.rules.dates import Dates
from penstock.rules.knowledge import Knowledge

SQL = Queries("penstock.rules", "learning.sql")
READY, SHIPPED, DELIVERED = "ready", "shipped", "delivered"
STEPS = frozenset({READY, SHIPPED, DELIVERED})
AT_A_TIME = 2_000
MAX_BATCHES = 50  # in a row; the rest a minute later
_CLOCKS_DIFFER = timedelta(minutes=5)


class TimeInput(msgspec.Struct, forbid_unknown_fields=True):
    """When a step of a fulfilment happened; `carrier` (`carrier/service`) if another took it."""

    fulfilment: str
    step: Literal["ready", "shipped", "delivered"]
    at: datetime
    carrier: str = ""


class _Time(NamedTuple):
    """A step of a fulfilment, by id, with who took it."""

    fulfilment_id: str
    step: str
    at: datetime
    carrier: str | None = None
    service: str | None = None


class _Fact(NamedTuple):
    """What a fulfilment was to do, and when its steps happened."""

    origin_id: int
    service: str
    released_at: datetime | None
    due_at: datetime | None
    carrier: str | None
    carrier_service: str | None
    distance_m: int
    destination: dict[str, Any] | None
    wish: dict[str, Any] | None
    times: dict[str, _Time]


# ── what is told ──────────────────────────────────────────────────────────────────────────────────


async def note_moves(tx: Pass, contexts: Sequence[Context]) -> None:
    """Keep the steps that fulfilments have made in this pass."""
    times = [
        _Time(moved.subject.id, status, tx.now)
        for context in contexts
        for moved in context.moves.values()
        if moved.subject.kind == "fulfilment" and not moved.subject.is_new
        for status in (*moved.left[1:], moved.subject.status)
        if status in STEPS
    ]
    if times:
        await _note(tx, times)


async def record_times(
    tx: Tx, knowledge: Knowledge, records: Sequence[TimeInput], now: datetime
) -> list[Result]:
    """Keep when steps happened; returns `created`, `unchanged` (told before) or a refusal each.

    Refusals: `invalid_id`, `unknown_fulfilment`, `unknown_carrier`, `instant_unusable` (no time
    zone, or in the future).
    """
    judged = [_judge(knowledge, one, now) for one in records]
    ids = sorted({one.fulfilment_id for one in judged if isinstance(one, _Time)})
    known = await tx.fetch(fulfilments.SQL.root_of_fulfilments, (uuid_array(ids),))
    there = {row[0] for row in known}
    times = {
        (one.fulfilment_id, one.step): one
        for one in reversed(judged)
        if isinstance(one, _Time) and one.fulfilment_id in there
    }
    new = await _note(tx, list(times.values())) if times else set[tuple[str, str]]()
    results: list[Result] = []
    for one in judged:
        if isinstance(one, Refusal):
            results.append(one)
        elif one.fulfilment_id not in there:
            sentence = f"There is no fulfilment {one.fulfilment_id}."
            results.append(Refusal("unknown_fulfilment", sentence, field="fulfilment"))
        else:
            key = (one.fulfilment_id, one.step)
            results.append("created" if key in new else "unchanged")
            new.discard(key)
    return results


def _judge(knowledge: Knowledge, one: TimeInput, now: datetime) -> _Time | Refusal:
    try:
        fulfilment_id = parse_id(one.fulfilment)
        check_instant(one.at, "at")
    except Refusal as refusal:
        return refusal
    if one.at > now + _CLOCKS_DIFFER:
        return Refusal("instant_unusable", "at: It lies in the future.", field="at")
    if not one.carrier:
        return _Time(fulfilment_id, one.step, one.at)
    carrier, _, service = one.carrier.partition("/")
    if (carrier, service) not in knowledge.dates.carriers.services:
        sentence = f"No carrier has the service {one.carrier[:100]!r}; it is named carrier/service."
        return Refusal("unknown_carrier", sentence, carrier=one.carrier[:100])
    return _Time(fulfilment_id, one.step, one.at, carrier, service)


async def _note(tx: Tx, times: Sequence[_Time]) -> set[tuple[str, str]]:
    """Keep steps; returns those that nobody had told before."""
    rows = await tx.fetch(
        SQL.note_times,
        (
            uuid_array(one.fulfilment_id for one in times),
            [one.step for one in times],
            [one.at for one in times],
            [one.carrier for one in times],
            [one.service for one in times],
        ),
    )
    return {(row[0], row[1]) for row in rows}


async def times_of(tx: Tx, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the known steps of fulfilments with their instants, in order of both."""
    rows = await tx.fetch(SQL.times_of_fulfilments, (uuid_array(ids),))
    return [{"fulfilment_id": row[0], "step": row[1], "at": row[2]} for row in rows]


# ── what follows ──────────────────────────────────────────────────────────────────────────────────


async def learn_all(knowledge: Knowledge) -> int:
    """Learn from every step that was not learnt from, in bounded transactions; returns how many."""

    async def work(tx: Tx) -> int:
        return await learn(tx, knowledge.dates)

    total = 0
    for _ in range(MAX_BATCHES):
        done = await knowledge.database.run(knowledge.schema, work)
        total += done
        if done < AT_A_TIME:
            break
    return total


async def learn(tx: Tx, dates: Dates) -> int:
    """Learn from up to `AT_A_TIME` steps; returns how many there were."""
    steps = [(row[0], row[1]) for row in await tx.fetch(SQL.take_unlearnt, (AT_A_TIME,))]
    if not steps:
        return 0
    facts = await _facts(tx, sorted({one for one, _ in steps}))
    handled: list[HandlingKey] = []
    carried: list[TransitKey] = []
    for fulfilment_id, step in steps:
        fact = facts.get(fulfilment_id)
        if fact is None or fact.origin_id not in dates.locations:
            continue
        if step == DELIVERED:
            carried += _transit(dates, fact)
        else:
            handled += _handling(dates, fact, step)
    ids = await carrier_ids(tx, {one[0] for one in carried})
    await add_transit(tx, ids, carried)
    await add_handling(tx, handled)
    return len(steps)


async def _facts(tx: Tx, ids: Sequence[str]) -> dict[str, _Fact]:
    key = (uuid_array(ids),)
    rows = await tx.fetch(SQL.facts_of_fulfilments, key)
    facts = {row[0]: _Fact(*row[1:], times={}) for row in rows}
    for row in await tx.fetch(SQL.times_of_fulfilments, key):
        if row[0] in facts:
            facts[row[0]].times[row[1]] = _Time(*row)
    return facts


def _handling(dates: Dates, fact: _Fact, step: str) -> list[HandlingKey]:
    """Return what a step tells of handling; nothing of a shipping where being ready was told."""
    at = fact.times[step].at
    if fact.released_at is None or at < fact.released_at:
        return []
    if step == SHIPPED and READY in fact.times:
        return []
    location = dates.locations[fact.origin_id]
    calendar = location.origin(fact.service).calendar
    minutes = handling_minutes(calendar, fact.released_at, at)
    was_due = step == SHIPPED and fact.carrier is not None and fact.due_at is not None
    if was_due and fact.due_at is not None and at <= fact.due_at:
        minutes = min(minutes, location.handling_min)
    return [(fact.origin_id, fact.service, minutes_upto(minutes))]


def _transit(dates: Dates, fact: _Fact) -> list[TransitKey]:
    """Return what a delivery tells of its lane, if it is known who carried it, and since when."""
    shipped, delivered = fact.times.get(SHIPPED), fact.times[DELIVERED]
    if shipped is None or delivered.at < shipped.at or fact.destination is None:
        return []
    carrier = delivered.carrier or shipped.carrier or fact.carrier
    service = delivered.service or shipped.service or fact.carrier_service
    if carrier is None or service is None:
        return []
    location = dates.locations[fact.origin_id]
    to = Place(fact.destination.get("country", ""), fact.destination.get("postcode", ""))
    km = fact.distance_m / 1000
    try:
        lane = lane_for(dates.carriers, (carrier, service), location.place, to, km)
    except Refusal:  # the service, or its way there, is gone since
        return []
    here = ZoneInfo(location.time_zone)
    there = _zone(fact.wish, location.time_zone)
    shipped_on, came_on = shipped.at.astimezone(here).date(), delivered.at.astimezone(there).date()
    return [(carrier, service, lane.name, transit_days(lane, shipped_on, came_on))]


def _zone(wish: Mapping[str, Any] | None, usual: str) -> ZoneInfo:
    return ZoneInfo((wish or {}).get("time_zone") or usual)
