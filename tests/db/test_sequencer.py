"""The sequencer numbers committed passes in one order, and always somebody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import psycopg
import pytest
from tests.db.stock_moves import CLOCK, account, move_stock

from penstock.db import Connection, Database
from penstock.events.sequencer import Sequencer, lock_key, number_passes
from penstock.passes import Pass, run_pass

Work = Callable[[Pass], Awaitable[None]]


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "sequencer_test") as name:
        yield name


def numbers(conninfo: str, schema: str) -> dict[str, int | None]:
    with psycopg.connect(conninfo, options=f"-c search_path={schema}") as connection:
        rows = connection.execute("SELECT kind, number FROM pass ORDER BY number").fetchall()
    return dict(rows)


async def number_now(database: Database, schema: str, limit: int = 5_000) -> int:
    async with database.connection() as connection:
        borrowed: Connection = connection
        async with borrowed.transaction():
            await borrowed.execute(f"SET LOCAL search_path TO {schema}".encode())
            return await number_passes(borrowed, limit)


def run(conninfo: str, story: Callable[[Database], Awaitable[None]]) -> None:
    async def whole() -> None:
        database = Database(conninfo)
        await database.open()
        try:
            await asyncio.wait_for(story(database), 30)
        finally:
            await database.close()

    asyncio.run(whole())


async def nothing(_: Pass) -> None:
    pass


async def somebody_waits(database: Database) -> None:
    query = b"SELECT 1 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')"
    async with database.connection() as connection:
        while await (await connection.execute(query)).fetchone() is None:
            pass


async def until(database: Database, condition: Callable[[], bool]) -> None:
    async with database.connection() as connection:
        while not condition():
            await connection.execute(b"SELECT")  # others run while the server answers


def test_passes_are_numbered_contiguously_in_the_order_of_their_stamps(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> None:
        for kind in ("a", "b", "c"):
            await run_pass(db, schema, kind, lambda: CLOCK, nothing)
        assert await number_now(db, schema, limit=2) == 2
        assert await number_now(db, schema) == 1
        assert await number_now(db, schema) == 0

    run(database, story)
    assert numbers(database, schema) == {"a": 1, "b": 2, "c": 3}


def test_a_pass_begun_first_and_committed_last_is_numbered_when_it_is_there(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(tx: Pass) -> None:
            await move_stock(tx, {1: (5, 0)})
            begun.set()
            await go_on.wait()

        early = asyncio.create_task(run_pass(db, schema, "early", lambda: CLOCK, slow))
        await begun.wait()
        await run_pass(db, schema, "late", lambda: CLOCK, nothing)
        assert await number_now(db, schema) == 1
        go_on.set()
        await early
        assert await number_now(db, schema) == 1

    run(database, story)
    assert numbers(database, schema) == {"late": 1, "early": 2}


def test_a_pass_that_waited_for_a_lock_is_numbered_after_the_one_it_waited_for(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def holder(tx: Pass) -> None:
            await move_stock(tx, {1: (5, 0)})
            begun.set()
            await go_on.wait()

        async def waiter(tx: Pass) -> None:
            await move_stock(tx, {1: (6, 0)})

        first = asyncio.create_task(run_pass(db, schema, "holder", lambda: CLOCK, holder))
        await begun.wait()
        second = asyncio.create_task(run_pass(db, schema, "waiter", lambda: CLOCK, waiter))
        await somebody_waits(db)
        go_on.set()
        await asyncio.gather(first, second)
        assert await number_now(db, schema) == 2

    run(database, story)
    assert numbers(database, schema) == {"holder": 1, "waiter": 2}


def test_another_sequencer_takes_over_when_the_leader_s_session_dies(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> None:
        stop = asyncio.Event()
        sequencers = [Sequencer(database, schema), Sequencer(database, schema)]
        tasks = [asyncio.create_task(sequencer.run(stop)) for sequencer in sequencers]
        for number in range(3):
            await until(db, lambda: any(s.is_leading for s in sequencers))
            before = sum(s.numbered for s in sequencers)
            await run_pass(db, schema, f"pass_{number}", lambda: CLOCK, nothing)
            await until(db, lambda seen=before: sum(s.numbered for s in sequencers) > seen)
            assert sum(s.is_leading for s in sequencers) == 1
            leader = next(s for s in sequencers if s.is_leading)
            async with db.connection() as connection:
                await connection.execute(
                    b"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                    b" AND granted AND (classid::bigint << 32) + objid::bigint = %s",
                    (lock_key(schema),),
                )
            await until(db, lambda was=leader: not was.is_leading)
        stop.set()
        await asyncio.gather(*tasks)

    run(database, story)
    assert numbers(database, schema) == {"pass_0": 1, "pass_1": 2, "pass_2": 3}


def test_a_sequencer_s_key_is_the_same_in_every_process() -> None:
    assert lock_key("account_demo") == -8_991_383_445_334_405_243
    assert lock_key("account_demo") != lock_key("account_other")
