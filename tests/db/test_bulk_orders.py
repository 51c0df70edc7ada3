"""A file of orders is taken in and decided, once, whatever interrupts it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.db.bulk_imports import (
    FREE_IDS,
    errors_of,
    kill_in_the_middle,
    run_import,
    run_import_in,
    write_rows,
)
from tests.shop import Shop, assert_clean, count, opened, shop, stock_of

from penstock.errors import Refusal

BATH = {"latitude": 51.38, "longitude": -2.36, "town": "Bath", "country": "GB"}


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "bulk_orders", FREE_IDS) as one:
        yield one


def line(ref: str, sku: str, qty: object, **more: Any) -> dict[str, Any]:
    """Return a row of a flat file."""
    place = {f"destination.{name}": value for name, value in BATH.items()}
    return {"channel": "web", "order_ref": ref, "sku": sku, "qty": qty, **place, **more}


def write_orders(path: Path, *orders: dict[str, Any]) -> Path:
    path.write_bytes(b"\n".join(msgspec.json.encode(order) for order in orders))
    return path


def document(ref: str, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
    asked = [{"sku": sku, "qty": qty, "unit_price": "2.50"} for sku, qty in lines]
    return {"channel": "web", "ref": ref, "lines": asked, "destination": BATH, **more}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_orders_of_every_format_are_decided(suffix: str, lent: Shop, tmp_path: Path) -> None:
    path = tmp_path / f"orders.{suffix}"
    if suffix == "jsonl":
        write_orders(path, document("O1", ("P1", 2), ("P2", 1)), document("O2", ("P1", 1)))
    else:
        write_rows(path, [line("O1", "P1", 2), line("O1", "P2", 1), line("O2", "P1", 1)])

    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 10), ("P2", "L1", 10))
            summary = await run_import_in(account, "orders", path)
            assert (summary.rows, summary.rows_failed) == (2 if suffix == "jsonl" else 3, 0)
            assert stock_of(lent, "P1") == {"L1": (10, 3)}
            assert stock_of(lent, "P2") == {"L1": (10, 1)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_order_that_is_refused_is_told_and_the_others_are_taken(
    lent: Shop, tmp_path: Path
) -> None:
    path = write_orders(
        tmp_path / "orders.jsonl",
        document("O1", ("P1", 1)),
        document("O2", ("NONE", 1)),
        document("O3", ("P1", 0)),
        document("O4", ("P1", 1), colour="red"),
        document("O1", ("P2", 1)),
        document("O5", ("P2", 1), channel="nowhere"),
        document("O6", ("P1", 1)),
    )
    summary = asyncio.run(run_import(lent, "orders", path))
    assert [(row, code) for row, _, code in errors_of(path)] == [
        (2, "unknown_sku"),
        (3, "quantity_out_of_range"),
        (4, "invalid_record"),
        (5, "order_ref_taken"),
        (6, "unknown_channel"),
    ]
    assert (summary.rows, summary.rows_failed) == (7, 5)
    assert [row[0] for row in lent.sql("SELECT ref FROM orders ORDER BY 1")] == ["O1", "O6"]


def test_a_channel_may_stand_for_those_that_rows_do_not_name(lent: Shop, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "orders.csv", [line("O1", "P1", 1, channel=None)])
    asyncio.run(run_import(lent, "orders", path, channel="market"))
    assert lent.sql("SELECT channel_id, ref FROM orders") == [(2, "O1")]
    with pytest.raises(Refusal) as refused:
        asyncio.run(run_import(lent, "orders", path, channel="nowhere"))
    assert refused.value.code == "unknown_channel"


def test_orders_of_an_import_that_was_killed_are_there_once(lent: Shop, tmp_path: Path) -> None:
    seed = random.randrange(1000)  # noqa: S311 (told on failure)
    chance = random.Random(seed)  # noqa: S311 (told on failure)
    orders = [document(f"O{n}", (f"P{chance.randint(1, 60)}", 1)) for n in range(4_000)]
    orders[2_500] = document("bad", ("NONE", 1))
    path = write_orders(tmp_path / "orders.jsonl", *orders)

    async def stock() -> None:
        async with opened(lent) as account:
            rows = [(f"P{n}", f"L{1 + n % 8}", 1_000) for n in range(1, 61)]
            await count(account, *rows)

    asyncio.run(stock())
    killed_at = kill_in_the_middle(lent, "orders", path, after=chance.randrange(1, 4))
    assert 0 < killed_at < 4_000, seed

    async def story() -> None:
        async with opened(lent) as account:
            summary = await run_import_in(account, "orders", path)
            assert killed_at <= summary.resumed_at < 4_000, seed
            assert (summary.rows, summary.rows_failed) == (4_000, 1)
            await assert_clean(lent, account)

    asyncio.run(story())
    assert errors_of(path) == [(2_501, "sku", "unknown_sku")]
    assert lent.value("SELECT count(*) FROM orders") == 3_999
    assert lent.value("SELECT sum(reserved) FROM position") == 3_999
