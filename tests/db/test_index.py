"""The index in memory equals the database, however late and in whatever order the journal comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Self

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.db.stock_moves import (
    CLOCK,
    account,
    move_stock,
    positions_in_database,
    positions_in_index,
)

from penstock.availability.follow import Follower
from penstock.availability.index import Index, Rows
from penstock.db import Database
from penstock.events.sequencer import Sequencer, number_passes
from penstock.passes import Pass, run_pass

Values = Mapping[int, tuple[int, int]]
VALUES = st.dictionaries(
    st.integers(1, 12), st.tuples(st.integers(-5, 90_000), st.integers(0, 70_000)), min_size=1
)
JOURNAL = """
SELECT position_ids, product_ids, location_ids, pool_ids, on_hands, reserveds, versions, counted_ats
FROM journal ORDER BY id
"""


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "index_test") as name:
        yield name


def run(conninfo: str, story: Callable[[Database], Awaitable[None]]) -> None:
    async def whole() -> None:
        database = Database(conninfo)
        await database.open()
        try:
            await asyncio.wait_for(story(database), 60)
        finally:
            await database.close()

    asyncio.run(whole())


async def move(database: Database, schema: str, *rows: Values) -> None:
    async def work(tx: Pass) -> None:
        for ordinal, values in enumerate(rows):
            await move_stock(tx, values, ordinal)

    await run_pass(database, schema, "move", lambda: CLOCK, work)


class Following:
    """A follower and a sequencer at work for the length of a `with`."""

    def __init__(self, conninfo: str, schema: str, **more: Any) -> None:
        self.follower = Follower(conninfo, schema, **more)
        self._sequencer = Sequencer(conninfo, schema)
        self._conninfo, self._schema = conninfo, schema

    async def __aenter__(self) -> Self:
        self._stop = asyncio.Event()
        runs = (self._sequencer.run(self._stop), self.follower.run(self._stop))
        self._tasks = [asyncio.create_task(task) for task in runs]
        await self.follower.is_ready.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def caught_up(self) -> list[tuple[int, ...]]:
        """Wait until all passes are numbered and followed; return what the index holds."""
        with psycopg.connect(self._conninfo, options=f"-c search_path={self._schema}") as tx:
            row = tx.execute("SELECT count(*), max(number) FROM pass").fetchone()
            assert row is not None
            last = max(row[0], row[1] or 0)
        await self.follower.reached(last)
        return positions_in_index(self.follower.index)


async def rows_of_journal(database: Database, schema: str) -> list[Rows]:
    async def read(tx: object) -> list[Rows]:
        return [Rows(*row) for row in await tx.fetch(JOURNAL.encode())]  # type: ignore[attr-defined]

    return await database.run(schema, read)


def test_an_empty_account_has_an_empty_index_that_then_follows(database: str, schema: str) -> None:
    async def story(db: Database) -> None:
        async with Following(database, schema) as following:
            assert await following.caught_up() == []
            await move(db, schema, {1: (7, 2), 40: (3, 0)}, {1: (6, 2)})
            assert await following.caught_up() == positions_in_database(database, schema)
            assert following.follower.snapshots == 1
            assert following.follower.age_s < 30

    run(database, story)


def test_an_index_loaded_late_starts_from_a_snapshot(database: str, schema: str) -> None:
    async def story(db: Database) -> None:
        for step in range(5):
            await move(db, schema, {n: (n * step, step) for n in range(1, 300, 7)})
        async with Following(database, schema) as following:
            assert positions_in_index(following.follower.index) == positions_in_database(
                database, schema
            )

    run(database, story)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=1, max_size=6),
    load_at=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)
def test_the_index_equals_the_database_after_any_interleaving_with_duplicates_and_reordering(
    database: str, schema: str, steps: list[list[Values]], load_at: int, seed: int
) -> None:
    async def story(db: Database) -> None:
        loaded: Index | None = None
        for place, rows in enumerate(steps):
            if place == load_at:
                async with Following(database, schema) as following:
                    loaded = following.follower.index
            await move(db, schema, *rows)
        journal = await rows_of_journal(db, schema)
        journal += journal[: len(journal) // 2 + 1]
        # Not hypothesis's own: the journal has the rows of earlier examples too.
        random.Random(seed).shuffle(journal)  # noqa: S311 (a test's)
        for index in (loaded, Index()):
            if index is not None:
                for row in journal:
                    index.apply(row)
                assert_equal(index, database, schema)

    run(database, story)


def assert_equal(index: Index, conninfo: str, schema: str) -> None:
    assert positions_in_index(index) == positions_in_database(conninfo, schema)


def test_a_journal_row_committed_late_is_taken_in(database: str, schema: str) -> None:
    async def story(db: Database) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(tx: Pass) -> None:
            await move_stock(tx, {1: (5, 0)})
            begun.set()
            await go_on.wait()

        async with Following(database, schema) as following:
            early = asyncio.create_task(run_pass(db, schema, "early", lambda: CLOCK, slow))
            await begun.wait()
            await move(db, schema, {2: (9, 1)})
            await following.caught_up()
            assert [row[0] for row in positions_in_index(following.follower.index)] == [2]
            go_on.set()
            await early
            assert [row[0] for row in await following.caught_up()] == [1, 2]

    run(database, story)


def test_a_pass_applied_by_its_own_process_is_followed_without_harm(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> None:
        async with Following(database, schema) as following:
            await move(db, schema, {1: (5, 0)}, {1: (5, 1)}, {2: (1, 0)})
            for row in await rows_of_journal(db, schema):
                following.follower.index.apply(row)
            assert_equal(following.follower.index, database, schema)
            assert await following.caught_up() == positions_in_database(database, schema)

    run(database, story)


def test_a_follower_far_behind_loads_a_snapshot_into_the_same_index(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> None:
        following = Following(database, schema, max_passes_behind=3)
        async with following:
            await move(db, schema, {1: (5, 0)})
            await following.caught_up()
            index = following.follower.index
        for step in range(6):
            await move(db, schema, {1: (step, 0), 9 + step: (1, 0)})
        await number_all(db, schema)
        async with following:
            assert await following.caught_up() == positions_in_database(database, schema)
            assert following.follower.index is index
            assert following.follower.snapshots == 2

    run(database, story)


async def number_all(database: Database, schema: str) -> None:
    async with database.connection() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL search_path TO {schema}".encode())
        await number_passes(connection)


def test_a_pruned_journal_is_bridged_by_a_snapshot(database: str, schema: str) -> None:
    async def story(db: Database) -> None:
        following = Following(database, schema)
        async with following:
            await move(db, schema, {1: (5, 0)})
            await following.caught_up()
            index = following.follower.index
        for step in range(3):
            await move(db, schema, {1: (step, 0), 2: (step, 0)})
        await number_all(db, schema)
        with psycopg.connect(database, options=f"-c search_path={schema}") as tx:
            tx.execute("DELETE FROM journal USING pass WHERE pass_id = pass.id AND number < 4")
            tx.execute("DELETE FROM pass WHERE number < 4")
        async with following:
            assert await following.caught_up() == positions_in_database(database, schema)
            assert following.follower.index is index
            assert following.follower.snapshots == 2

    run(database, story)


def test_a_restored_copy_behind_the_cursor_means_a_new_index(database: str, schema: str) -> None:
    async def story(db: Database) -> None:
        renewed = asyncio.Event()

        async def notice(index: Index) -> None:
            if index.size < 103:
                renewed.set()

        async with Following(database, schema, on_index=notice) as following:
            for step in range(1, 4):
                await move(db, schema, {1: (step, 0), 100 + step: (step, 0)})
            await following.caught_up()
            index = following.follower.index
            with psycopg.connect(database, options=f"-c search_path={schema}") as tx:
                tx.execute("DELETE FROM journal USING pass WHERE pass_id = pass.id AND number > 1")
                tx.execute("DELETE FROM pass WHERE number > 1")
                tx.execute("DELETE FROM position WHERE id > 101")
                tx.execute("UPDATE position SET on_hand = 1, version = 1 WHERE id = 1")
            renewed.clear()
            await renewed.wait()
            await move(db, schema, {1: (77, 0)})
            assert await following.caught_up() == positions_in_database(database, schema)
            assert following.follower.index is not index

    run(database, story)


def test_a_changed_revision_is_told_to_the_process(database: str, schema: str) -> None:
    told: list[Mapping[str, int]] = []
    loads_before: list[int] = []

    async def story(_: Database) -> None:
        told_twice = asyncio.Event()

        async def hear(revisions: Mapping[str, int]) -> None:
            told.append(revisions)
            loads_before.append(following.follower.snapshots)
            if len(told) > 1:
                told_twice.set()

        following = Following(database, schema, on_revisions=hear)
        async with following:
            await following.caught_up()
            with psycopg.connect(database, options=f"-c search_path={schema}") as tx:
                tx.execute("UPDATE revision SET value = value + 1 WHERE name = 'network'")
            await told_twice.wait()

    run(database, story)
    assert [revisions["network"] for revisions in told] == [1, 2]
    assert loads_before == [0, 1]


def test_a_follower_survives_the_loss_of_its_connection(database: str, schema: str) -> None:
    async def story(db: Database) -> None:
        async with Following(database, schema) as following:
            await move(db, schema, {1: (5, 0)})
            await following.caught_up()
            async with db.connection() as connection:
                await connection.execute(
                    b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    b"WHERE pid <> pg_backend_pid() AND query LIKE %s",
                    ("%newest.number%",),
                )
            await move(db, schema, {1: (6, 0), 8: (1, 0)})
            assert await following.caught_up() == positions_in_database(database, schema)
            assert following.follower.snapshots == 1

    run(database, story)


def test_the_instants_of_unchanged_counts_are_followed_and_loaded(
    database: str, schema: str
) -> None:
    instant = 1_900_000_000_123_456

    async def note(tx: Pass, position_ids: list[int], counted_us: int) -> None:
        await tx.connection.execute(
            b"INSERT INTO count_note (pass_id, source_id, position_ids, counted_ats)"
            b" VALUES (%s, 1, %s, %s)",
            (tx.id, position_ids, [counted_us] * len(position_ids)),
        )

    async def story(db: Database) -> None:
        async def first(tx: Pass) -> None:
            await move_stock(tx, {1: (5, 0), 2: (7, 0)})
            await note(tx, [1], instant)

        async def second(tx: Pass) -> None:
            await note(tx, [1, 2], instant - 1)
            await move_stock(tx, {1: (8, 0)})

        await run_pass(db, schema, "count", lambda: CLOCK, first)
        async with Following(database, schema) as following:
            await run_pass(db, schema, "count", lambda: CLOCK, second)
            await following.caught_up()
            counted_at = following.follower.index.counted_at
            assert counted_at[[1, 2]].tolist() == [instant, instant - 1]

    run(database, story)
