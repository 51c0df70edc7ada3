"""Full feeds from files: foreseen, retired, gone on with; and one of a million rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
    LOCATIONS,
    Shop,
    assert_clean,
    assert_index_equals_database,
    opened,
    shop,
    stock_of,
)

from penstock.bulk import imports
from penstock.bulk.model import Options
from penstock.bulk.stock_retire import Retirement
from penstock.errors import Refusal

ROWS = 1_000_000
CHANGED = ROWS // 20
BAD = ROWS // 1_000
HOUR = timedelta(hours=1)


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    more = "INSERT INTO stock_source (ref) VALUES ('till'), ('erp');"
    with shop(database, "full_feeds", FREE_IDS + more) as one:
        yield one


async def foreseen(lent: Shop, path: Path, **options: Any) -> Retirement:
    """Make the dry run of a full feed."""
    async with opened(lent) as account:
        return await imports.foresee_import(account, path, Options(full=True, **options))


def counted_before(lent: Shop, folder: Path, at: datetime) -> None:
    """Count some positions as `till` and one as `erp`."""
    rows = counts(("P1", "L1", 4), ("P2", "L1", 5), ("P3", "L1", 0), ("P4", "L1", -2))
    path = write_rows(folder / "first.csv", rows)
    asyncio.run(run_import(lent, "stock", path, source="till", counted_at=at))
    path = write_rows(folder / "other.csv", counts(("P5", "L1", 9)))
    asyncio.run(run_import(lent, "stock", path, source="erp", counted_at=at))


def test_a_full_file_retires_what_it_does_not_mention_and_no_more_than_expected(
    lent: Shop, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    counted_before(lent, tmp_path, now - 2 * HOUR)
    rows = [*counts(("P1", "L1", 7)), {"sku": "P2", "location": "L1", "on_hand": None}]
    path = write_rows(tmp_path / "all.csv", rows)
    asked: dict[str, Any] = {"source": "till", "counted_at": now - HOUR}
    found = asyncio.run(foreseen(lent, path, **asked))
    assert (found.positions, found.units) == (1, -2)
    assert [(one.sku, one.location, one.on_hand) for one in found.examples] == [("P4", "L1", -2)]
    assert stock_of(lent, "P1") == {"L1": (4, 0)}, "a dry run changes nothing"
    assert lent.value("SELECT count(*) FROM bulk_job") == 2
    with pytest.raises(Refusal) as needed:
        asyncio.run(run_import(lent, "stock", path, full=True, **asked))
    assert needed.value.code == "retire_at_most_needed"
    with pytest.raises(Refusal) as many:
        asyncio.run(run_import(lent, "stock", path, full=True, retire_at_most=0, **asked))
    assert many.value.code == "too_many_to_retire"
    assert (stock_of(lent, "P1"), stock_of(lent, "P4")) == ({"L1": (7, 0)}, {"L1": (-2, 0)})
    summary = asyncio.run(run_import(lent, "stock", path, full=True, retire_at_most=1, **asked))
    assert (summary.rows, summary.rows_failed, summary.resumed_at) == (2, 1, 2)
    assert (summary.retired, summary.units_retired) == (1, -2)
    assert [stock_of(lent, sku)["L1"][0] for sku in ("P2", "P4", "P5")] == [5, 0, 9]
    again = asyncio.run(run_import(lent, "stock", path, full=True, retire_at_most=1, **asked))
    assert (again.was_finished, again.retired) == (True, 1)


def test_only_a_stock_file_is_a_full_feed(lent: Shop, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "products.csv", [{"sku": "P1"}])
    with pytest.raises(Refusal) as refused:
        asyncio.run(run_import(lent, "products", path, full=True))
    assert refused.value.code == "option_unusable"


def test_a_full_feed_of_a_pool_leaves_the_other_pools_alone(lent: Shop, tmp_path: Path) -> None:
    lent.sql("INSERT INTO pool (ref, condition) VALUES ('used', 'used')")
    at = datetime.now(UTC) - 2 * HOUR
    rows = counts(("P1", "L1", 4), ("P1", "L1", 5), ("P2", "L1", 6))
    for row, pool in zip(rows, ("default", "used", "used"), strict=True):
        row["pool"] = pool
    path = write_rows(tmp_path / "first.csv", rows)
    asyncio.run(run_import(lent, "stock", path, source="till", counted_at=at))
    path = write_rows(tmp_path / "used.csv", counts(("P2", "L1", 6)))
    found = asyncio.run(foreseen(lent, path, source="till", pool="used"))
    assert [(one.sku, one.pool) for one in found.examples] == [("P1", "used")]
    found = asyncio.run(foreseen(lent, path, source="till"))
    assert [(one.sku, one.pool) for one in found.examples] == [
        ("P1", "default"),
        ("P1", "used"),
        ("P2", "used"),
    ]


def test_a_full_feed_that_was_killed_knows_what_it_had_mentioned(
    lent: Shop, tmp_path: Path
) -> None:
    lent.sql(
        "INSERT INTO product (catalogue_id, ref) SELECT 1, 'M' || n "
        "FROM generate_series(1, 5000) AS n; UPDATE revision SET value = value + 1"
    )
    rows = [(f"M{1 + n % 5000}", f"L{1 + n // 5000}", 1 + n % 7) for n in range(40_000)]
    first = write_rows(tmp_path / "first.csv", counts(*rows))
    asyncio.run(run_import(lent, "stock", first, counted_at=datetime.now(UTC) - HOUR))
    path = write_rows(tmp_path / "stock.csv", counts(*rows[:39_000]))
    killed_at = kill_in_the_middle(lent, "stock", path, after=2, full=True, retire_at_most=1_000)
    assert 0 < killed_at < 39_000

    async def story() -> None:
        async with opened(lent) as account:
            summary = await run_import_in(account, "stock", path, full=True, retire_at_most=1_000)
            assert summary.resumed_at >= killed_at
            assert (summary.rows, summary.rows_unchanged) == (39_000, 39_000)
            assert (summary.retired, summary.units_retired) == (
                1_000,
                sum(on_hand for *_, on_hand in rows[39_000:]),
            )
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())
    assert lent.value("SELECT count(*) FROM position WHERE on_hand = 0") == 1_000


# ── a million rows ───────────────────────────────────────────────────────────────────────────────

MANY = f"""
INSERT INTO product (catalogue_id, ref)
    SELECT 1, 'M' || n FROM generate_series(1, {ROWS // LOCATIONS}) AS n;
UPDATE revision SET value = value + 1;
"""


def a_million(path: Path) -> tuple[Path, Path]:
    """Write a first feed, and one in which 5 % are changed and 0.1 % cannot be taken."""
    places = np.arange(ROWS)
    frame = pl.DataFrame({"n": places}).select(
        sku=pl.format("M{}", pl.col("n") // LOCATIONS + 1),
        location=pl.format("L{}", pl.col("n") % LOCATIONS + 1),
        on_hand=pl.col("n") % 50,
    )
    is_bad, is_changed = places % 1_000 == 7, places % 20 == 3
    second = frame.with_columns(
        sku=pl.when(pl.Series(is_bad & (places % 2_000 == 7)))
        .then(pl.lit("NONE"))
        .otherwise(pl.col("sku")),
        on_hand=pl.when(pl.Series(is_bad & (places % 2_000 != 7)))
        .then(pl.lit("many"))
        .otherwise((pl.col("on_hand") + pl.Series(is_changed.astype(np.int64))).cast(pl.String)),
    )
    frame.write_parquet(path / "first.parquet")
    second.write_csv(path / "second.csv")
    return path / "first.parquet", path / "second.csv"


@pytest.mark.slow
def test_of_a_million_rows_every_changed_unchanged_and_bad_one_is_counted(
    lent: Shop, tmp_path: Path
) -> None:
    lent.sql(MANY)
    first, second = a_million(tmp_path)

    async def story() -> None:
        async with opened(lent) as account:
            await run_import_in(account, "stock", first)
            asked: dict[str, Any] = {"full": True, "retire_at_most": BAD // 2}
            summary = await run_import_in(account, "stock", second, **asked)
            assert (summary.rows, summary.rows_failed) == (ROWS, BAD)
            assert summary.rows_unchanged == ROWS - CHANGED - BAD
            assert summary.retired == BAD // 2  # of those whose SKU is nobody's
            await assert_index_equals_database(lent, account)
            await assert_clean(lent, account)

    asyncio.run(story())
    told = errors_of(second)
    assert [row for row, *_ in told] == list(range(8, ROWS + 1, 1_000))
    assert {code for *_, code in told} == {"unknown_sku", "not_an_integer"}
    assert lent.sql("SELECT version, count(*) FROM position GROUP BY 1 ORDER BY 1") == [
        (1, ROWS - CHANGED - BAD // 2),
        (2, CHANGED + BAD // 2),
    ]
    noted = "SELECT sum(cardinality(position_ids)) FROM count_note"
    assert lent.value(noted) == ROWS - CHANGED - BAD
