"""A file of counts becomes stock: every format, every fault, and every way to be interrupted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.db.bulk_imports import (
    FREE_IDS,
    counts,
    errors_of,
    kill_in_the_middle,
    run_import,
    run_import_in,
    write_rows,
)
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    opened,
    order,
    place,
    shop,
    stock_of,
    work,
)

from penstock.app import Account
from penstock.bulk import stock
from penstock.bulk.imports import import_file
from penstock.bulk.jobs import locked
from penstock.bulk.model import Options, Progress
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory import counts as inventory_counts
from penstock.inventory.counts import adjust_stock
from penstock.inventory.model import Adjustment

LOCATIONS = 8
MANY_PRODUCTS = """
INSERT INTO product (catalogue_id, ref, weight_g)
    SELECT 1, 'M' || n, 100 FROM generate_series(1, 25000) AS n;
UPDATE revision SET value = value + 1;
"""


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "bulk_stock", FREE_IDS) as one:
        yield one


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_counts_alike(suffix: str, lent: Shop, tmp_path: Path) -> None:
    rows = counts(("P1", "L1", 5), ("P1", "L2", 0), ("P2", "L1", -3))
    path = write_rows(tmp_path / f"stock.{suffix}", rows)
    summary = asyncio.run(run_import(lent, "stock", path))
    assert (summary.rows, summary.rows_failed, summary.errors_file) == (3, 0, None)
    assert stock_of(lent, "P1") == {"L1": (5, 0), "L2": (0, 0)}
    assert stock_of(lent, "P2") == {"L1": (-3, 0)}


def test_a_server_that_returns_no_old_values_keeps_the_books_too(
    lent: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_counts, "_RETURNS_OLD_VALUES", 10**9)

    async def story() -> None:
        async with opened(lent) as account:
            for on_hand in (5, 6, 7):
                rows = counts(*((f"P{n}", "L1", on_hand) for n in range(1, 51)))
                path = write_rows(tmp_path / f"stock{on_hand}.csv", rows)
                await run_import_in(account, "stock", path)
            await assert_clean(lent, account)

    asyncio.run(story())
    assert lent.value("SELECT min(version) FROM position WHERE on_hand = 7") == 3


def test_rows_that_cannot_be_counted_are_told_and_the_others_count(
    lent: Shop, tmp_path: Path
) -> None:
    lines = ["sku,location,on_hand,note", "P1,L1,5,", "P1,L1,6,", "P2,L1,-7,", "P3,L1,2000000001,"]
    lines += ["P4,L1,,", ",L1,1,", "P5,L9,1,", "P0,L1,1,", "P6,L1,many,", "P7,L1,1,x,y", "P8,L1,8,"]
    path = tmp_path / "stock.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    summary = asyncio.run(run_import(lent, "stock", path))
    assert errors_of(path) == [
        (1, "", "count_superseded"),
        (4, "on_hand", "quantity_out_of_range"),
        (5, "on_hand", "missing_value"),
        (6, "sku", "missing_value"),
        (7, "location", "unknown_location"),
        (8, "sku", "unknown_sku"),
        (9, "on_hand", "not_an_integer"),
        (10, "", "row_unreadable"),
    ]
    assert (summary.rows, summary.rows_failed, summary.ignored) == (11, 8, ("note",))
    assert lent.sql(
        "SELECT o.ref, p.on_hand FROM position p JOIN product o ON o.id = p.product_id ORDER BY 1"
    ) == [("P1", 6), ("P2", -7), ("P8", 8)]


def test_a_change_too_large_to_be_kept_is_told(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 2_000_000_000))
            path = write_rows(tmp_path / "stock.csv", counts(("P1", "L1", -2_000_000_000)))
            await run_import_in(account, "stock", path)
            assert errors_of(path) == [(1, "on_hand", "quantity_out_of_range")]
            await assert_clean(lent, account)

    asyncio.run(story())
    assert stock_of(lent, "P1") == {"L1": (2_000_000_000, 0)}


def test_an_unchanged_file_writes_no_position_and_still_leaves_its_instant(
    lent: Shop, tmp_path: Path
) -> None:
    rows = counts(*((f"P{n}", "L1", n) for n in range(1, 51)))
    path = write_rows(tmp_path / "stock.csv", rows)
    now = datetime.now(UTC)

    async def story() -> None:
        async with opened(lent) as account:
            await run_import_in(account, "stock", path, counted_at=now - timedelta(hours=3))
            again = await run_import_in(
                account, "stock", path, counted_at=now - timedelta(hours=1), again=True
            )
            assert again.rows_unchanged == 50
            older = write_rows(tmp_path / "older.csv", counts(("P1", "L1", 99), ("P2", "L1", 2)))
            await run_import_in(account, "stock", older, counted_at=now - timedelta(hours=2))
            assert errors_of(older) == [
                (1, "counted_at", "count_older"),
                (2, "counted_at", "count_older"),
            ]
            at = now - timedelta(hours=2)
            assert await count(account, ("P1", "L1", 98), at=at) == [3], "set_stock knows it too"

    asyncio.run(story())
    assert lent.value("SELECT max(version) FROM position") == 1
    assert stock_of(lent, "P1") == {"L1": (1, 0)}


def test_a_count_below_what_is_reserved_sheds(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (document,) = await place(account, order("O1", ("P1", 4)))
            assert counters(document) == (4, 0, 0, 0)
            path = write_rows(tmp_path / "stock.csv", counts(("P1", "L1", 1), ("P1", "L2", 4)))
            await run_import_in(account, "stock", path)
            assert stock_of(lent, "P1")["L1"] == (1, 4)
            await work(account)
            assert stock_of(lent, "P1") == {"L1": (1, 0), "L2": (4, 4)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_moved_after_the_count_is_counted_again(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 10))
            counted_at = datetime.now(UTC)
            await _adjust(account, [(1, 1, -3)])
            path = write_rows(tmp_path / "stock.csv", counts(("P1", "L1", 20)))
            await run_import_in(account, "stock", path, counted_at=counted_at)
            assert stock_of(lent, "P1") == {"L1": (17, 0)}

    asyncio.run(story())


async def _adjust(account: Account, changes: list[tuple[int, int, int]]) -> None:
    knowledge = account.knowledge
    adjustments = [Adjustment(*change, occurred_at=knowledge.clock.now()) for change in changes]
    cause_id = new_id()
    await knowledge.run_pass("stock", lambda tx: adjust_stock(tx, adjustments, cause_id))


def test_an_index_that_may_be_late_is_not_trusted(
    lent: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "MARK_WAIT_S", 0.0)

    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 10))
            index = account.knowledge.index
            index.on_hand[index.find(*(np.array([1]),) * 3)] = 7  # as if it were late
            path = write_rows(tmp_path / "stock.csv", counts(("P1", "L1", 7), ("P2", "L1", 1)))
            await run_import_in(account, "stock", path)

    asyncio.run(story())
    assert stock_of(lent, "P1") == {"L1": (7, 0)}
    assert stock_of(lent, "P2") == {"L1": (1, 0)}


def test_instants_and_pools_may_stand_in_the_rows(lent: Shop, tmp_path: Path) -> None:
    lent.sql("INSERT INTO pool (ref, condition) VALUES ('used', 'used')")
    lent.sql("INSERT INTO product (catalogue_id, ref) VALUES (1, 'SINCE')")
    soon = datetime.now(UTC) + timedelta(minutes=2)
    rows = counts(("P1", "L1", 1), ("P1", "L1", 2), ("P2", "L1", 3), ("SINCE", "L1", 4))
    for row, pool in zip(rows, ("used", None, "worn", None), strict=True):
        row["pool"] = pool
    rows[3]["counted_at"] = soon.isoformat()
    path = write_rows(tmp_path / "stock.jsonl", rows)
    asyncio.run(run_import(lent, "stock", path))
    assert errors_of(path) == [(3, "pool", "unknown_pool")]
    assert lent.sql("SELECT pool_id, on_hand FROM position WHERE product_id = 1 ORDER BY 1") == [
        (1, 2),
        (2, 1),
    ]
    assert stock_of(lent, "SINCE") == {"L1": (4, 0)}


def test_a_position_that_a_later_chunk_counts_again_is_told(lent: Shop, tmp_path: Path) -> None:
    lent.sql(MANY_PRODUCTS)
    rows = counts(("P1", "L1", 1), *((f"M{n}", "L1", 1) for n in range(1, 2500)), ("P1", "L1", 2))
    path = write_rows(tmp_path / "stock.csv", rows)
    asyncio.run(run_import(lent, "stock", path))
    assert errors_of(path) == [(1, "", "count_superseded")]
    assert stock_of(lent, "P1") == {"L1": (2, 0)}


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        ("sku,on_hand\nP1,1\n", {}, "missing_column"),
        ("", {}, "file_empty"),
        ("sku,location,on_hand\nP1,L1,1\n", {"source": "nobody"}, "unknown_source"),
        ("sku,location,on_hand\nP1,L1,1\n", {"pool": "none"}, "unknown_pool"),
        ("sku,location,on_hand\nP1,L1,1\n", {"channel": "none"}, "unknown_channel"),
        (
            "sku,location,on_hand\nP1,L1,1\n",
            {"counted_at": datetime(2999, 1, 1, tzinfo=UTC)},
            "instant_unusable",
        ),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_whole(
    content: str, options: dict[str, object], code: str, lent: Shop, tmp_path: Path
) -> None:
    path = tmp_path / "stock.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(Refusal) as refused:
        asyncio.run(run_import(lent, "stock", path, **options))
    assert refused.value.code == code
    assert lent.value("SELECT count(*) FROM position") == 0


def test_one_feed_of_a_source_runs_at_a_time(lent: Shop, tmp_path: Path) -> None:
    lent.sql("INSERT INTO stock_source (ref) VALUES ('till')")
    path = write_rows(tmp_path / "stock.csv", counts(("P1", "L1", 1)))

    async def story() -> None:
        subject = "stock as source 'default' counts it"
        async with opened(lent) as account, locked(lent.conninfo, lent.schema, subject):
            with pytest.raises(Refusal) as refused:
                await run_import_in(account, "stock", path)
            assert refused.value.code == "import_running"
            await run_import_in(account, "stock", path, source="till")
        assert lent.value("SELECT s.ref FROM position p JOIN stock_source s ON s.id = source_id")

    asyncio.run(story())


def test_a_finished_file_is_taken_again_only_when_asked_to(lent: Shop, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "stock.csv", counts(("P1", "L1", 5)))

    async def story() -> None:
        async with opened(lent) as account:
            await run_import_in(account, "stock", path)
            await count(account, ("P1", "L1", 9))
            second = await run_import_in(account, "stock", path)
            assert (second.was_finished, second.rows) == (True, 1)
            assert stock_of(lent, "P1") == {"L1": (9, 0)}
            path.touch()
            third = await run_import_in(account, "stock", path, again=True)
            assert (third.was_finished, third.rows) == (False, 1)
            assert stock_of(lent, "P1") == {"L1": (5, 0)}

    asyncio.run(story())


def test_a_feed_that_was_killed_goes_on_where_it_was(lent: Shop, tmp_path: Path) -> None:
    lent.sql(MANY_PRODUCTS)
    seed = random.randrange(1000)  # noqa: S311 (told on failure)
    chance = random.Random(seed)  # noqa: S311 (told on failure)
    rows = [(f"M{1 + n % 7500}", f"L{1 + n // 7500}", chance.randrange(90)) for n in range(60_000)]
    for n in (10, 1_999, 2_000, 30_000, 59_999):
        rows[n] = ("NONE", "L1", 1)
    path = write_rows(tmp_path / "stock.csv", counts(*rows))
    killed_at = kill_in_the_middle(lent, "stock", path, after=chance.randrange(1, 4))
    assert 0 < killed_at < 60_000, seed

    async def story() -> None:
        async with opened(lent) as account:
            summary = await run_import_in(account, "stock", path)
            assert killed_at <= summary.resumed_at < 60_000, seed
            assert (summary.rows, summary.rows_failed) == (60_000, 5)
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())
    assert [row[0] for row in errors_of(path)] == [11, 2_000, 2_001, 30_001, 60_000]
    wanted = {(sku, ref): on_hand for sku, ref, on_hand in rows if sku != "NONE"}
    found = lent.sql(
        "SELECT o.ref, l.ref, p.on_hand, p.version FROM position p "
        "JOIN product o ON o.id = p.product_id JOIN location l ON l.id = p.location_id"
    )
    assert {(sku, ref): on_hand for sku, ref, on_hand, _ in found} == wanted, seed
    assert {version for *_, version in found} == {1}, seed


def test_a_large_feed_while_others_move_the_same_positions_keeps_the_books(
    lent: Shop, tmp_path: Path
) -> None:
    lent.sql(MANY_PRODUCTS)
    frame = pl.DataFrame({"n": range(200_000)}).select(
        sku=pl.format("M{}", pl.col("n") // LOCATIONS + 1),
        location=pl.format("L{}", pl.col("n") % LOCATIONS + 1),
        on_hand=pl.col("n") % 50,
    )
    frame.write_parquet(tmp_path / "first.parquet")
    frame.with_columns(on_hand=pl.col("on_hand") + 1).write_csv(tmp_path / "second.csv")
    chunks: list[Progress] = []

    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await run_import_in(account, "stock", tmp_path / "first.parquet")
            before = lent.value("SELECT count(*) FROM pass WHERE kind = 'feed'")
            feed = asyncio.create_task(
                import_file(
                    account,
                    "stock",
                    tmp_path / "second.csv",
                    options=Options(source=None),
                    progress=chunks.append,
                )
            )
            moved = await _move_until(other, feed)
            summary = await feed
            assert (summary.rows, summary.rows_failed) == (200_000, 0)
            assert moved > 0
            feeds = lent.value("SELECT count(*) FROM pass WHERE kind = 'feed'") - before
            assert feeds > len(chunks) + 1, "no row was ever lost to a race"
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())
    assert lent.value("SELECT count(*) FROM position") == 200_000


async def _move_until(other: Account, feed: asyncio.Task[object]) -> int:
    """Move positions all over the file until the feed has ended; returns in how many passes."""
    chance = random.Random(4)  # noqa: S311 (told on failure)
    first = other.knowledge.product_id(1, "M1")
    moved = 0
    while not feed.done():
        picked = sorted(chance.sample(range(200_000), 200))
        await _adjust(other, [(first + n // LOCATIONS, 1 + n % LOCATIONS, 1) for n in picked])
        await other.follower.reached(other.follower.version + 1)
        moved += 1
    return moved
