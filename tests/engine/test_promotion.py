"""A standby is promoted: the same data on another timeline, which processes notice and follow."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from tests.conftest import FOLDER_PREFIX, discard
from tests.engine.faulty_wire import Wire, faulty_wire
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    assert_numbered,
    count,
    make_shop,
    opened,
    order,
    place,
    stock_of,
    tell,
    until,
)

from penstock.availability.snapshot import Origin, read_origin
from penstock.cluster import SOCKET_NAME, locate
from penstock.config import Config
from penstock.embedded import ensure_server, stop_server

NAME = "promoted"


@pytest.fixture
def homes() -> Iterator[list[Path]]:
    """Lend the data folders of two servers, and a folder for a wire; servers end with the test."""
    prefix = f"{FOLDER_PREFIX}{os.getpid()}-"
    paths = [Path(tempfile.mkdtemp(prefix=prefix)) for _ in range(3)]
    for path in paths:
        path.chmod(0o755)  # as root, servers run as another user, who must get in
    yield paths
    for path in paths:
        discard(Config(data_dir=path))


def promoted_copy(first: Config, copy: Config) -> str:
    """Stop the first server cleanly, and promote a standby that has everything it had."""
    assert stop_server(first)
    source, target = locate(first.data_dir).data, copy.data_dir / "postgres"
    subprocess.run(["/bin/cp", "-a", source, target], check=True)  # owners are kept
    shutil.copy(first.data_dir / "postgres.conf", copy.data_dir)
    (target / "standby.signal").touch()
    conninfo = ensure_server(copy)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
    return conninfo


def lead_to(wire: Wire, copy: Config) -> None:
    """Let the wire lead to another server from now on."""
    wire.target = str(locate(copy.data_dir).socket_folder / SOCKET_NAME)
    wire.is_down = False


async def origin_of(conninfo: str) -> Origin:
    async with await AsyncConnection.connect(conninfo) as connection:
        return await read_origin(connection)


def numbers(lent: Shop) -> list[int]:
    """Return the numbers of all passes, in the order in which they were decided."""
    return [number for (number,) in lent.sql("SELECT number FROM pass ORDER BY stamp, id")]


def test_a_promoted_standby_is_followed_and_numbering_goes_on(homes: list[Path]) -> None:
    first, copy = Config(data_dir=homes[0]), Config(data_dir=homes[1])
    lent = make_shop(ensure_server(first), NAME)

    async def story() -> None:
        async with (
            faulty_wire(lent.conninfo, homes[2]) as wire,
            opened(Shop(wire.conninfo, NAME)) as account,
        ):
            await count(account, ("P1", "L1", 20), ("P2", "L2", 20))
            (kept,) = await place(account, order("kept", ("P1", 3)))
            await assert_index_equals_database(lent, account)
            old = await origin_of(lent.conninfo)
            before, snapshots = numbers(lent), account.follower.snapshots
            await wire.take_down()
            new_conninfo = await asyncio.to_thread(promoted_copy, first, copy)
            moved = Shop(new_conninfo, NAME)
            new = await origin_of(new_conninfo)
            assert (old.timeline, new.timeline) == ("00000001", "00000002")
            assert new.system_id == old.system_id
            lead_to(wire, copy)
            await until(lambda: account.follower.snapshots > snapshots, "no new snapshot")
            await assert_index_equals_database(moved, account)
            again, more = await place(account, order("kept", ("P1", 3)), order("b", ("P1", 20)))
            assert again["id"] == kept["id"]
            assert (more["status"], more["choices"][0]["lines"][0]["qty_allocated"]) == (
                "partly_allocated",
                17,
            )
            await count(account, ("P1", "L3", 3))
            retried = await tell(account, more["id"], "order.sourcing_retried")
            assert retried["status"] == "allocated"
            assert stock_of(moved, "P1") == {"L1": (20, 20), "L3": (3, 3)}
            await assert_index_equals_database(moved, account)
            await assert_numbered(moved)
            after = numbers(moved)
            assert after[: len(before)] == before
            assert after == list(range(after[0], after[0] + len(after)))
            assert len(after) > len(before)
            assert account.follower.snapshots == snapshots + 1
            await assert_clean(moved, account)

    asyncio.run(story())
