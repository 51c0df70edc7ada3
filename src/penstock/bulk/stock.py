"""The stock feed: counts from a file or batch into positions, as fast as PostgreSQL writes them.

Owns the chunks. What a row changes is told from the availability index, which has to hold all that
was committed when the feed arrived (a pass of ours marks that; see `Feed.mark`): unchanged rows
then cost an entry in a note, changed ones an update by id and version, new positions an insert.
What has moved in between is counted again under locks, in a pass of its own. Only the last pass of
a chunk moves the feed on (`Keeper`); a chunk that is done twice changes nothing the second time.

Invariant: one feed per source at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.bulk.blocks import column_names, read_blocks
from penstock.bulk.files import Source
from penstock.bulk.jobs import SQL
from penstock.bulk.model import Fault, Options
from penstock.bulk.reading import read_ahead
from penstock.bulk.run import Account, Run
from penstock.bulk.stock_retire import note_mentioned
from penstock.bulk.stock_rows import (
    NEEDED,
    OPTIONAL,
    Refs,
    StockRows,
    check_columns,
    read_counts,
    with_learnt,
)
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.events.session import pause
from penstock.inventory.causes import note_cause
from penstock.inventory.counts import (
    Counts,
    Known,
    Outcome,
    find_positions,
    microseconds,
    set_known_stock,
    set_stock,
)
from penstock.inventory.model import DEFAULT_SOURCE_ID, RETAIL_POOL_ID
from penstock.inventory.sources import DEFAULT_SOURCE
from penstock.passes import Pass
from penstock.rules.acknowledged import counts_of_source
from penstock.rules.knowledge import Knowledge

FEW_ROWS = 2_000  # a chunk while others write
MANY_ROWS = 20_000  # a chunk when nobody else does
MAX_AGE_S = 2.0
MARK_WAIT_S = 5.0
MARK_PAUSE_S = 0.01
OURS = ("feed", "expiry", "import")
_FAULTS = {
    Outcome.OLDER: ("counted_at", "A newer count of this position is known.", "count_older"),
    Outcome.SUPERSEDED: ("", "A later row counts the same position.", "count_superseded"),
    Outcome.TOO_FAR: ("on_hand", "The change is too large to be kept.", "quantity_out_of_range"),
}


class Subject(msgspec.Struct, frozen=True):
    """What a feed counts: by which source, in which pool unless rows say, of which catalogue."""

    source_id: int
    source_ref: str
    pools: dict[str, int]
    pool_id: int
    catalogue_id: int


async def subject_of(tx: Tx, knowledge: Knowledge, options: Options) -> Subject:
    """Resolve what the options name.

    Refuses with `unknown_source`, `unknown_pool`, `unknown_channel`, `channel_needed`.
    """
    sources = dict(await tx.fetch(SQL.sources_by_ref))
    pools = dict(await tx.fetch(SQL.pools_by_ref))
    source_id, pool_id = DEFAULT_SOURCE_ID, RETAIL_POOL_ID
    if options.source is not None:
        source_id = _named(sources, options.source, "source", "stock source")
    if options.pool is not None:
        pool_id = _named(pools, options.pool, "pool", "pool")
    catalogue_id = _catalogue_id(knowledge, options.channel)
    return Subject(source_id, options.source or DEFAULT_SOURCE, pools, pool_id, catalogue_id)


def _named(known: dict[str, int], ref: str, field: str, word: str) -> int:
    if ref not in known:
        raise Refusal(f"unknown_{field}", f"There is no {word} {ref!r}.", field=field)
    return known[ref]


def _catalogue_id(knowledge: Knowledge, channel: str | None) -> int:
    channels = knowledge.channels
    if channel is not None:
        return channels.catalogue_id(knowledge.channel_id(channel))
    catalogue_ids = {one for one in channels.catalogues.values() if one is not None}
    if len(catalogue_ids) == 1:
        return catalogue_ids.pop()
    if catalogue_ids:
        sentence = "There is more than one catalogue: say with a channel whose SKUs these are."
    else:
        sentence = (
            "No channel sells a catalogue yet: make one with `penstock import channels FILE`."
        )
    raise Refusal("channel_needed", sentence, field="channel")


class _Chunk(msgspec.Struct, frozen=True):
    """Rows for one pass, what is wrong with others up to `rows_done`, and their index positions.

    A place in `ids` is 0 where the index knows no position.
    """

    part: StockRows
    counts: Counts
    ids: NDArray[np.int32]
    faults: Sequence[Fault]
    rows_done: int


class Done(msgspec.Struct, frozen=True):
    """What came of a chunk: outcomes by row, and faults of these and of rows that were not read.

    `position_ids` are the positions that the chunk names, if the keeper asked for them.
    """

    rows_done: int
    rows: NDArray[np.int64]
    outcomes: NDArray[np.int8]
    faults: Sequence[Fault]
    position_ids: NDArray[np.int32]

    @property
    def unchanged(self) -> int:
        """How many rows changed nothing."""
        return int((self.outcomes == Outcome.UNCHANGED).sum())


class Keeper(Protocol):
    """Who keeps how far a feed is: the job of a file, or a batch of a job."""

    @property
    def wants_positions(self) -> bool:
        """Whether it has to know which positions a chunk names."""
        ...

    async def keep(self, tx: Pass, done: Done) -> Callable[[], None]:
        """Move on in the pass that did the rows; what it returns is called after COMMIT."""
        ...


async def import_stock(run: Run, subject: Subject) -> None:
    """Count every row that is not done yet; refuses with `missing_column` and what reading does."""
    run.ignored = check_columns(run.source, column_names(run.source))

    async def note(tx: Tx) -> None:
        await note_cause(tx, run.job.id, "feed", subject.source_ref, run.source.path.name)

    await run.knowledge.database.run(run.knowledge.schema, note)
    feed = Feed(run.account, subject, _FileKeeper(run), run.job.id)
    await feed.mark()
    await read_ahead(_rows_to_do(run, subject), feed.count)


def _rows_to_do(run: Run, subject: Subject) -> Iterator[StockRows]:
    """Read the rows that are not done yet, block by block; runs in a thread."""
    done = run.job.rows_done
    counted_us = counted_us_of(run.knowledge, run.source, run.options)
    for block in read_blocks(run.source, (*NEEDED, *OPTIONAL)):
        if block.last_row > done:
            read = read_counts(block, refs_of(run.knowledge, subject, counted_us))
            yield after(read, done) if block.first_row <= done else read


def counted_us_of(knowledge: Knowledge, source: Source, options: Options) -> int:
    """Return when a file's rows were counted that do not say: as told, or when it was written."""
    return microseconds(options.counted_at or min(source.written_at, knowledge.clock.now()))


def refs_of(knowledge: Knowledge, subject: Subject, counted_us: int) -> Refs:
    """Return what refs mean to a feed."""
    return Refs(
        products=knowledge.products.by_sku(subject.catalogue_id),
        locations=knowledge.directory.by_ref,
        pools=subject.pools,
        pool_id=subject.pool_id,
        counted_us=counted_us,
        now_us=microseconds(knowledge.clock.now()),
    )


class _FileKeeper:
    """A file's job; of a full feed, what it mentions as well."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def wants_positions(self) -> bool:
        return self._run.options.full

    async def keep(self, tx: Pass, done: Done) -> Callable[[], None]:
        job = await self._run.advance(tx, done.rows_done, done.faults, done.unchanged)
        await note_mentioned(tx, job.id, done.position_ids)
        return partial(self._run.committed, job)


class Feed:
    """One feed on its way."""

    def __init__(self, account: Account, subject: Subject, keeper: Keeper, cause_id: str) -> None:
        self._account = account
        self._knowledge = account.knowledge
        self._subject = subject
        self._keeper = keeper
        self._cause_id = cause_id
        self._chunk_rows = FEW_ROWS
        self._marked_us = 0  # the index holds all that was committed before; 0: it may not
        self._last_number = 0
        self._counted_in: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)  # row, by position

    async def mark(self) -> None:
        """Wait until the index holds what was committed before now, by a pass that marks it.

        A pass committed before this one begins has a lower number. Without an answer in time no
        row is trusted to the index, and all are counted under locks.
        """
        now = self._knowledge.clock.now()

        async def begin(tx: Pass) -> str:
            return tx.id

        pass_id = await self._knowledge.run_pass("feed", begin)

        async def number_of(tx: Tx) -> int | None:
            row = await tx.fetch_one(SQL.pass_number, (pass_id,))
            return row[0] if row else None

        database, schema = self._knowledge.database, self._knowledge.schema
        never = asyncio.Event()
        try:
            async with asyncio.timeout(MARK_WAIT_S):
                while (number := await database.run(schema, number_of)) is None:
                    await pause(never, MARK_PAUSE_S)
                await self._account.follower.reached(number)
        except TimeoutError:
            return
        self._marked_us, self._last_number = microseconds(now), number

    async def count(self, read: StockRows) -> None:
        """Count the rows of a block, chunk by chunk."""
        read = await learn_skus(self._knowledge, self._subject.catalogue_id, read)
        named = read.named  # goes with the first chunk
        faults = sorted(read.faults, key=lambda fault: fault.row)
        start, total = 0, len(read.rows)
        while True:
            stop = min(start + self._chunk_rows, total)
            rows_done = read.last_row if stop == total else int(read.rows[stop]) - 1
            mine = list(takewhile(lambda fault: fault.row <= rows_done, faults))  # noqa: B023
            faults = faults[len(mine) :]
            part = msgspec.structs.replace(read.take(np.arange(start, stop)), named=named)
            await self._count_chunk(self._chunk(part, mine, rows_done))
            if stop == total:
                return
            start, named = stop, None

    def _chunk(self, part: StockRows, faults: Sequence[Fault], rows_done: int) -> _Chunk:
        counts = Counts(
            product_ids=part.product_ids,
            location_ids=part.location_ids,
            pool_ids=part.pool_ids,
            on_hands=part.on_hands,
            counted_us=part.counted_us,
            source_id=self._subject.source_id,
            cause_id=self._cause_id,
        )
        return _Chunk(part, counts, self._find(counts), faults, rows_done)

    def _find(self, counts: Counts) -> NDArray[np.int32]:
        index = self._knowledge.index
        ids = index.find(counts.product_ids, counts.location_ids, counts.pool_ids)
        return np.maximum(ids, 0)

    async def _count_chunk(self, chunk: _Chunk) -> None:
        """Count by what the index knows; what that could not judge, under locks."""
        outcomes = np.full(len(chunk.part.rows), Outcome.LOST, dtype=np.int8)
        committed: Callable[[], None] | None = None
        if self._marked_us and self._account.follower.age_s < MAX_AGE_S:
            work = partial(self._by_index, chunk=chunk)
            committed, outcomes = await self._knowledge.run_pass("feed", work)
        if committed is None:
            work = partial(self._under_locks, chunk=chunk, before=outcomes)
            committed, outcomes = await self._knowledge.run_pass("feed", work)
        self._remember(chunk, outcomes)
        committed()

    async def _by_index(
        self, tx: Pass, chunk: _Chunk
    ) -> tuple[Callable[[], None] | None, NDArray[np.int8]]:
        """Count rows that were counted before the mark; moves the feed on if none is lost."""
        outcomes = np.full(len(chunk.part.rows), Outcome.LOST, dtype=np.int8)
        places = np.flatnonzero(chunk.counts.counted_us <= self._marked_us)
        index, ids = self._knowledge.index, chunk.ids[places]
        index.reserve_room(0)  # place 0 stands for positions nobody knows
        known = Known(
            ids=ids,
            on_hands=index.on_hand[ids].astype(np.int32),
            reserveds=index.reserved[ids].astype(np.int32),
            versions=index.version[ids].astype(np.int32),
            counted_us=index.counted_at[ids],
        )
        counts = await counts_of_source(tx, chunk.counts.rows(places))
        outcomes[places] = await set_known_stock(tx, counts, known)
        same = np.flatnonzero(outcomes == Outcome.UNCHANGED)
        instants = chunk.counts.counted_us[same]
        tx.on_commit.append(lambda: index.note_counts(chunk.ids[same], instants))
        if np.any(outcomes == Outcome.LOST):
            return None, outcomes
        return await self._keep(tx, chunk, outcomes), outcomes

    async def _under_locks(
        self, tx: Pass, chunk: _Chunk, before: NDArray[np.int8]
    ) -> tuple[Callable[[], None], NDArray[np.int8]]:
        """Count the rows that are lost so far, and move the feed on."""
        outcomes = before.copy()
        lost = np.flatnonzero(before == Outcome.LOST)
        counts = await counts_of_source(tx, chunk.counts.rows(lost))
        outcomes[lost] = await set_stock(tx, counts)
        return await self._keep(tx, chunk, outcomes), outcomes

    async def _keep(
        self, tx: Pass, chunk: _Chunk, outcomes: NDArray[np.int8]
    ) -> Callable[[], None]:
        await self._set_pace(tx)
        faults = [*chunk.faults, *_faults(chunk, outcomes), *self._repeated(chunk, outcomes)]
        ids = np.zeros(0, dtype=np.int32)
        if self._keeper.wants_positions:
            ids = await _named_positions(tx, chunk)
        done = Done(chunk.rows_done, chunk.part.rows, outcomes, faults, ids)
        return await self._keeper.keep(tx, done)

    async def _set_pace(self, tx: Pass) -> None:
        """Take few rows while others write, more and more when nobody does."""
        passes = await tx.fetch(SQL.passes_after, (self._last_number,))
        if any(kind not in OURS for _, kind in passes):
            self._chunk_rows = FEW_ROWS
        else:
            self._chunk_rows = min(self._chunk_rows * 2, MANY_ROWS)
        self._last_number = max([self._last_number, *(number for number, _ in passes)])

    def _repeated(self, chunk: _Chunk, outcomes: NDArray[np.int8]) -> list[Fault]:
        """Tell of rows of earlier chunks whose positions this chunk counts again."""
        places = np.flatnonzero(_is_counted(outcomes) & (chunk.ids < len(self._counted_in)))
        earlier = self._counted_in[chunk.ids[places]]
        rows = earlier[(earlier > 0) & (chunk.ids[places] > 0)]
        return [Fault(row, *_FAULTS[Outcome.SUPERSEDED]) for row in rows.tolist()]

    def _remember(self, chunk: _Chunk, outcomes: NDArray[np.int8]) -> None:
        """Remember which row counted which position, new ones included."""
        places = np.flatnonzero(_is_counted(outcomes))
        ids = chunk.ids[places]
        if not ids.all():
            ids = self._find(chunk.counts.rows(places))
        lacking = int(ids.max(initial=0)) + 1 - len(self._counted_in)
        if lacking > 0:
            size = max(self._knowledge.index.size, len(self._counted_in) + lacking) * 9 // 8
            grown = np.zeros(size, dtype=np.uint32)
            grown[: len(self._counted_in)] = self._counted_in
            self._counted_in = grown
        self._counted_in[ids] = chunk.part.rows[places]


async def learn_skus(knowledge: Knowledge, catalogue_id: int, read: StockRows) -> StockRows:
    """Ask the database once for the SKUs of rows that the process does not know."""
    lacking = {*read.lacking.values(), *(read.named.lacking.values() if read.named else ())}
    if not lacking:
        return read

    async def resolve(tx: Tx) -> None:
        await knowledge.products.resolve(tx, catalogue_id, sorted(lacking))

    await knowledge.database.run(knowledge.schema, resolve)
    return with_learnt(read, knowledge.products.by_sku(catalogue_id))


async def _named_positions(tx: Tx, chunk: _Chunk) -> NDArray[np.int32]:
    """Return the positions that the rows name, those made in this pass and bad rows included."""
    is_known = chunk.ids > 0
    rest = chunk.part.take(np.flatnonzero(~is_known))
    keys = [rest] if chunk.part.named is None else [rest, chunk.part.named]
    found = [await find_positions(tx, k.product_ids, k.location_ids, k.pool_ids) for k in keys]
    ids = np.concatenate([chunk.ids[is_known], *found])
    return np.unique(ids[ids > 0]).astype(np.int32)


def after(read: StockRows, done: int) -> StockRows:
    """Return what comes after a row."""
    kept = np.flatnonzero(read.rows > done)
    place_of = {int(place): new for new, place in enumerate(kept.tolist())}
    return msgspec.structs.replace(
        read.take(kept),
        lacking={place_of[p]: sku for p, sku in read.lacking.items() if p in place_of},
        faults=[fault for fault in read.faults if fault.row > done],
        named=None if read.named is None else after(read.named, done),
    )


def _is_counted(outcomes: NDArray[np.int8]) -> NDArray[np.bool_]:
    return (outcomes == Outcome.CHANGED) | (outcomes == Outcome.UNCHANGED)


def _faults(chunk: _Chunk, outcomes: NDArray[np.int8]) -> list[Fault]:
    """Name the rows that had no effect."""
    return [
        Fault(int(chunk.part.rows[place]), *_FAULTS[Outcome(outcomes[place])])
        for place in np.flatnonzero(np.isin(outcomes, list(_FAULTS))).tolist()
    ]
