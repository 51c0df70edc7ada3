"""The composition root: the only place that wires rooms together.

`connect` gives a server, `open_account` everything a process needs of one account: pool,
knowledge, grouping, and the tasks that keep them fresh (the follower, and the sequencer, which any
process may hold). `run_worker` is the loop of a worker. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import structlog

from penstock import embedded
from penstock.access.accounts import schema_of
from penstock.audit.background import Auditor
from penstock.availability.atp import Availability
from penstock.availability.cursor import AsOf
from penstock.availability.feeds import Feeds
from penstock.availability.follow import Follower
from penstock.availability.index import Index
from penstock.bulk.stock_work import run_stock_jobs
from penstock.clock import Clock, SystemClock
from penstock.config import Config
from penstock.connectors.run import run_jobs
from penstock.db import Connection, Database, Tx
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import put_shipped
from penstock.errors import PenstockError
from penstock.events.partitions import make_partitions
from penstock.events.sequencer import Sequencer
from penstock.events.session import keep_connected, pause
from penstock.rules.confidence import load_confidence
from penstock.rules.crossings import Watcher
from penstock.rules.expiry import run_expiry
from penstock.rules.grouping import Grouping
from penstock.rules.knowledge import Knowledge
from penstock.rules.learning import learn_all
from penstock.rules.work import run_due

IDLE_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25
CAPACITY_EVERY_S = 1.0
LEARNT_EVERY_S = 60.0
FEEDS_EVERY_S = 1.0
PARTITIONS_EVERY_S = 3_600.0
_log = structlog.get_logger(__name__)


def connect(config: Config) -> str:
    """Return the conninfo of the configured server, or of our own, which is started if need be."""
    return config.database_url or embedded.ensure_server(config)


class Account(msgspec.Struct):
    """What a process holds of one account while it serves it."""

    name: str
    schema: str
    conninfo: str
    database: Database
    knowledge: Knowledge
    follower: Follower
    availability: Availability
    grouping: Grouping
    stop: asyncio.Event
    tasks: list[asyncio.Task[None]]
    feeds: Feeds

    async def close(self) -> None:
        """Decide what was submitted, stop the tasks, close the pool."""
        await self.grouping.close()
        self.stop.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.database.close()


async def open_account(
    conninfo: str,
    name: str,
    clock: Clock | None = None,
    pool_size: int = 8,
    group_max_orders: int = 1_000,
) -> Account:
    """Open an account for this process; returns once its index is loaded and followed."""
    schema = schema_of(name)
    database = Database(conninfo, size=pool_size)
    await database.open()
    knowledge = Knowledge(database, schema, clock or SystemClock())
    await database.run(schema, _prepare)
    stop = asyncio.Event()

    availability: list[Availability] = []

    async def on_revisions(revisions: Mapping[str, int]) -> None:
        await knowledge.refresh_from(revisions)
        if availability:
            availability[0].configure(knowledge.directory, knowledge.controls)
        else:
            index, directory, controls = knowledge.index, knowledge.directory, knowledge.controls
            view = Availability(knowledge.clock, index, directory, controls, knowledge.uses)
            availability.append(view)

    async def on_index(index: Index) -> None:
        availability[0].use_index(index)
        await availability[0].settle()
        knowledge.index = index

    follower = Follower(conninfo, schema, on_revisions, on_index)
    tasks = [
        asyncio.create_task(Sequencer(conninfo, schema).run(stop)),
        asyncio.create_task(follower.run(stop)),
    ]
    await _ready(follower, tasks)
    _calm_collector()
    await knowledge.refresh_capacity()
    await _take_confidence(knowledge, availability[0])
    tasks.append(asyncio.create_task(availability[0].run(stop)))
    tasks.append(asyncio.create_task(_watch_capacity(knowledge, availability[0], stop)))
    feeds = Feeds()
    seen = (availability[0], knowledge, follower)
    tasks.append(asyncio.create_task(_watch_feeds(feeds, seen, stop)))
    for task in tasks:
        task.add_done_callback(_stop_process_if_broken)
    return Account(
        name=name,
        schema=schema,
        conninfo=conninfo,
        database=database,
        knowledge=knowledge,
        follower=follower,
        availability=availability[0],
        grouping=Grouping(knowledge, group_max_orders),
        stop=stop,
        tasks=tasks,
        feeds=feeds,
    )


async def _ready(follower: Follower, tasks: list[asyncio.Task[None]]) -> None:
    """Wait until the index is loaded; a task that fails before is raised here."""
    ready = asyncio.create_task(follower.is_ready.wait())
    await asyncio.wait([ready, *tasks], return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        for task in tasks:
            if task.done():
                task.result()


def _calm_collector() -> None:
    """Leave what was loaded out of garbage collection, and collect less often.

    A process holds millions of long-lived objects (SKUs), and a pass makes thousands of short ones
    without cycles: full collections cost a tenth of the time and found nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(400_000, 20, 50)


def _stop_process_if_broken(task: asyncio.Task[None]) -> None:
    """Stop this process cleanly if a task that keeps it fresh has failed: it would answer stale."""
    if task.cancelled() or task.exception() is None:
        return
    _log.critical("a task failed; this process stops", exc_info=task.exception())
    signal.raise_signal(signal.SIGTERM)


async def _prepare(tx: Tx) -> None:
    """Make partitions ahead, and store the workflows that come with Penstock where they lack."""
    await _make_partitions(tx)
    await put_shipped(tx, load_vocabulary())


async def _take_confidence(knowledge: Knowledge, availability: Availability) -> None:
    availability.confidence = await knowledge.database.run(knowledge.schema, load_confidence)


async def _watch_capacity(
    knowledge: Knowledge, availability: Availability, stop: asyncio.Event
) -> None:
    """Read what is counted every second, and what was learnt every minute."""
    learnt_at = time.monotonic()
    while not await pause(stop, CAPACITY_EVERY_S):
        try:
            await knowledge.refresh_capacity()
            if time.monotonic() - learnt_at > LEARNT_EVERY_S:
                learnt_at = time.monotonic()
                await knowledge.refresh_dates()
                await _take_confidence(knowledge, availability)
        except PenstockError as error:
            _log.warning("capacity not read", error=str(error))


async def _watch_feeds(
    feeds: Feeds, seen: tuple[Availability, Knowledge, Follower], stop: asyncio.Event
) -> None:
    """See, every second, what switches and controls moved, for those who follow changes."""
    availability, knowledge, follower = seen
    while not await pause(stop, FEEDS_EVERY_S):
        as_of = AsOf(follower.version, follower.revisions, follower.history)
        feeds.keep_up(availability, knowledge.channels, as_of)


async def run_worker(account: Account, stop: asyncio.Event, audit_every_s: float = 0) -> None:
    """Run due events and jobs, take in stock, tell crossings, end what is over, until stopped.

    Audits in the background every so often; 0: never.
    """

    async def session(connection: Connection) -> None:
        await _work(account, connection.info.backend_pid, stop)

    watcher = Watcher(account.knowledge, account.availability, account.follower)
    beside = [
        asyncio.create_task(run_jobs(account.knowledge, stop)),
        asyncio.create_task(run_stock_jobs(account, stop)),
        asyncio.create_task(run_expiry(account.knowledge, stop)),
        asyncio.create_task(watcher.run(account.conninfo, stop)),
    ]
    if audit_every_s:
        auditor = Auditor(account.database, account.schema, audit_every_s)
        beside.append(asyncio.create_task(auditor.run(stop)))
    for task in beside:
        task.add_done_callback(_stop_process_if_broken)
    try:
        await keep_connected(account.conninfo, session, stop)
    finally:
        stop.set()
        await asyncio.gather(*beside, return_exceptions=True)


async def _make_partitions(tx: Tx) -> None:
    await make_partitions(tx, datetime.now(UTC).date())  # by recording time, not business time


async def _work(account: Account, backend_pid: int, stop: asyncio.Event) -> None:
    knowledge = account.knowledge
    pause_s = IDLE_PAUSE_S
    partitions_at = learnt_at = float("-inf")
    while not stop.is_set():
        if time.monotonic() - learnt_at > LEARNT_EVERY_S:
            await learn_all(knowledge)
            learnt_at = time.monotonic()
        if time.monotonic() - partitions_at > PARTITIONS_EVERY_S:
            await account.database.run(account.schema, _make_partitions)
            partitions_at = time.monotonic()
        if await run_due(knowledge, backend_pid):
            pause_s = IDLE_PAUSE_S
        else:
            await pause(stop, pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
