"""Telling that a threshold was crossed, once: by one process, from what the journal changed.

Whoever holds the account's advisory lock watches (a worker, `app.py`); another takes over when it
dies. What was told stands in `crossing_state`, written in the transaction of the telling, whose
`turn` lets only one process write: neither a restart, a takeover nor a repeated feed loses or
repeats a crossing. Several crossings between two steps are told as the last state only.

Positions are told `inventory.at_risk`, `inventory.out_of_stock` and `inventory.back_in_stock`;
virtual positions (`CHANNEL/SKU`, of type `base` `CHANNEL/SKU@LOCATION`) `availability.…`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import structlog

from penstock import ids
from penstock.availability.atp import Availability
from penstock.availability.follow import Follower
from penstock.availability.states import (
    AT_RISK,
    BLOCK,
    IN_STOCK,
    OUT_OF_STOCK,
    grown,
    packed_with,
    unpack,
)
from penstock.availability.thresholds import Thresholds, load_thresholds
from penstock.db import Connection, Queries, Tx
from penstock.errors import OutcomeUnknown, Transient
from penstock.events.sequencer import SQL as EVENTS
from penstock.events.sequencer import lock_key
from penstock.events.session import keep_connected, pause
from penstock.events.stream import Change, append_changes
from penstock.passes import Pass
from penstock.rules.knowledge import Knowledge
from penstock.rules.subjects import About, tell
from penstock.rules.watches import Gathered, Moved, Watch

STEP_S = 0.05
LONGEST_STEP_S = 0.25  # of an account where nothing happens
TRY_LEAD_S = 0.5
TOLD_PER_PASS = 2_000
BLOCKS_PER_PASS = 512
PASSES_PER_STEP = 50  # so that a worker that is to stop does
# A session that hangs loses its lock; one that ends loses it at once.
_OPTIONS = (
    "-c idle_session_timeout=30000 "
    "-c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2"
)
_NAMES = {AT_RISK: "at_risk", OUT_OF_STOCK: "out_of_stock", IN_STOCK: "back_in_stock"}
_STATUSES = {AT_RISK: "at_risk", OUT_OF_STOCK: "out_of_stock", IN_STOCK: "in_stock"}
_HEEDED = ("threshold", "network", "channel", "control", "workflow")

SQL = Queries("penstock.rules", "crossings.sql")
_log = structlog.get_logger(__name__)


class Watcher:
    """What one process does to tell an account's crossings; `step` is one look at what changed."""

    def __init__(
        self, knowledge: Knowledge, availability: Availability, follower: Follower
    ) -> None:
        self._knowledge = knowledge
        self._availability = availability
        self._follower = follower
        self._gathered = Gathered()
        self._watches: dict[tuple[str, int], Watch] = {}
        self._heeded: Mapping[str, int] = {}
        self.is_leading = False

    async def run(self, conninfo: str, stop: asyncio.Event) -> None:
        """Tell crossings, whenever the lock can be had, until `stop` is set."""

        async def session(connection: Connection) -> None:
            try:
                await self._session(connection, stop)
            finally:
                self.is_leading = False
                self.forget()

        await keep_connected(conninfo, session, stop, _OPTIONS)

    async def _session(self, connection: Connection, stop: asyncio.Event) -> None:
        key = lock_key(f"{self._knowledge.schema} crossings")
        while not self.is_leading:
            row = await (await connection.execute(EVENTS.try_lead, (key,))).fetchone()
            self.is_leading = bool(row and row[0])
            if not self.is_leading and await pause(stop, TRY_LEAD_S):
                return
        _log.info("tells crossings", schema=self._knowledge.schema)
        step_s = STEP_S
        while not stop.is_set():
            told = await self.step()
            step_s = STEP_S if told else min(step_s * 1.2, LONGEST_STEP_S)
            await pause(stop, step_s)
            await connection.execute(b"SELECT 1")  # whoever has lost the lock learns it here

    def forget(self) -> None:
        """Hold nothing any more: the next step reads what was told, and looks at everything."""
        self._watches = {}
        self._heeded = {}
        self._gathered.unhook()

    async def step(self) -> int:
        """Tell what has crossed a threshold since the last step; returns how many that were."""
        number = self._follower.version
        try:
            await self._keep_up()
            if not self._watches:
                return 0
            self._gathered.hook(self._knowledge.index)
            gathered = self._gathered.take()
            told = 0
            for watch in self._watches.values():
                told += await self._look(watch, gathered, number)
        except BaseException:
            self._gathered.forget()  # what was taken is not told
            raise
        return told

    async def _keep_up(self) -> None:
        """Load thresholds and watches anew where something that they hang on has changed."""
        knowledge = self._knowledge
        current = {name: knowledge.revisions.get(name, 0) for name in _HEEDED}
        if current == self._heeded:
            return

        async def work(tx: Tx) -> None:
            thresholds = await load_thresholds(tx, knowledge.directory)
            keys = set(thresholds.watches)
            if knowledge.workflows.handles("position"):
                keys.add(("position", 0))
            held = self._watches
            self._watches = {key: await self._watch(tx, key, thresholds) for key in sorted(keys)}
            for key in self._watches.keys() & held.keys():
                self._watches[key].turn, self._watches[key].states = (
                    held[key].turn,
                    held[key].states,
                )

        await knowledge.database.run(knowledge.schema, work)
        self._heeded = current
        if not self._watches:
            self._gathered.unhook()

    async def _watch(self, tx: Tx, key: tuple[str, int], thresholds: Thresholds) -> Watch:
        """Return a watch with what was last told of it, unless this process knows."""
        watch = Watch(*key, thresholds.levels(*key))
        if key in self._watches:
            return watch
        row = await tx.fetch_one(SQL.watch_turn, key)
        watch.turn = int(row[0]) if row else 0
        for block, states in await tx.fetch(SQL.watch_states, key):
            watch.states = grown(watch.states, (block + 1) * BLOCK - 1)
            watch.states[block * BLOCK : (block + 1) * BLOCK] = unpack(states)
        return watch

    async def _look(self, watch: Watch, gathered: Any, number: int) -> int:
        """Look at what may have changed in a watch, and tell what has; returns how many."""
        catalogue = watch.heed(self._availability)
        if catalogue is not None and not catalogue.is_built:
            await self._availability.settle()
        found: list[Moved] = []
        for part in watch.changed(self._knowledge.index, gathered):
            found.append(watch.look(self._knowledge, catalogue, part))
            await asyncio.sleep(0)  # readers first
        told, watch.is_whole = 0, False
        for passes, (moved, is_told) in enumerate(_in_passes(found)):
            if passes == PASSES_PER_STEP:  # the rest is found again
                watch.is_whole = True
                break
            await self._write(watch, moved, number, is_told=is_told)
            told += len(moved.ids) if is_told else 0
        return told

    async def _write(self, watch: Watch, moved: Moved, number: int, *, is_told: bool) -> None:
        """Write states, and tell them if they are crossings, in one pass."""
        blocks, states = packed_with(watch.states, moved.ids, moved.states)
        key = (watch.kind, watch.channel_id)

        async def work(tx: Pass) -> int:
            turn = await tx.fetch_one(SQL.take_turn, (*key, watch.turn, number))
            if turn is None:
                return 0
            await tx.execute(SQL.put_states, (*key, blocks, states))
            if is_told:
                await self._tell(tx, watch, moved)
            return int(turn[0])

        try:
            turn = await self._knowledge.run_pass("crossings", work)
        except OutcomeUnknown as error:  # what was told is read anew
            raise Transient(str(error)) from error
        if not turn:
            raise Transient("another process tells crossings")
        watch.turn = turn
        watch.states[moved.ids] = moved.states

    async def _tell(self, tx: Pass, watch: Watch, moved: Moved) -> None:
        knowledge, is_aggregate = self._knowledge, watch.kind == "aggregate"
        index = knowledge.index
        products = moved.ids if is_aggregate else index.product[moved.ids]
        rows = await tx.fetch(SQL.skus_of, (np.unique(products).astype(np.int32),))
        skus = {row[0]: row[1:] for row in rows}
        catalogue_id = _catalogue_of(knowledge, watch)
        things: list[About] = []
        changes: list[Change] = []
        columns = (moved.ids, products, moved.was, moved.states, moved.available)
        for one, product, was, state, available in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            sku, of_catalogue = skus.get(product, ("", 0))
            if not sku or catalogue_id not in {None, of_catalogue}:
                continue
            payload: dict[str, Any] = {"sku": sku, "available": available}
            payload["was"] = _STATUSES[was]
            if not is_aggregate:
                payload["location"] = knowledge.location_ref(int(index.location[one]))
            thing = _about(knowledge, watch, payload, _NAMES[state])
            things.append(thing)
            is_position = watch.kind == "position"
            root_id = ids.from_int(one) if is_position else _root_id(thing)
            seq = int(index.version[one]) if is_position else watch.turn + 1
            names = (thing.kind, root_id, thing.name)
            changes.append(
                Change(names[0], names[1], seq, names[0], names[1], names[2], thing.payload)
            )
        await tell(tx, knowledge.workflows, things, tx.now)
        await append_changes(tx, changes)


def _catalogue_of(knowledge: Knowledge, watch: Watch) -> int | None:
    """Return the product catalogue that a watch is about; positions are about all."""
    return knowledge.channels.catalogue_id(watch.channel_id) if watch.channel_id else None


def _about(knowledge: Knowledge, watch: Watch, payload: dict[str, Any], name: str) -> About:
    place = f"@{payload['location']}" if "location" in payload else ""
    if watch.kind == "position":
        ref = f"{payload['sku']}{place}"
        return About("position", ref, "default", f"inventory.{name}", payload)
    channel = knowledge.channels.refs[watch.channel_id]
    ref = f"{channel}/{payload['sku']}{place}"
    payload = {"channel": channel, **payload}
    return About("virtual_position", ref, watch.kind, f"availability.{name}", payload)


def _root_id(thing: About) -> str:
    """Return the id under which the stream knows a virtual position: always the same."""
    return str(uuid5(NAMESPACE_URL, f"penstock:{thing.kind}:{thing.type}:{thing.ref}"))


def _in_passes(found: Sequence[Moved]) -> Iterator[tuple[Moved, bool]]:
    """Cut what was found into what one pass writes: first what is only noted, then what is told."""
    found = [one for one in found if len(one.ids)]
    if not found:
        return
    columns = (np.concatenate([getattr(one, name) for one in found]) for name in _COLUMNS)
    whole = Moved(*columns)
    is_told = whole.was != whole.states
    noted = whole.take(~is_told)
    if len(noted.ids):
        span = noted.ids // (BLOCK * BLOCKS_PER_PASS)
        bounds = [0, *(np.flatnonzero(np.diff(span)) + 1).tolist(), len(span)]
        for first, last in itertools.pairwise(bounds):
            yield noted.take(slice(first, last)), False
    told = whole.take(is_told)
    for first in range(0, len(told.ids), TOLD_PER_PASS):
        yield told.take(slice(first, first + TOLD_PER_PASS)), True


_COLUMNS = Moved.__struct_fields__
