"""Files of products and locations: made, changed, left alone, or told why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.db.bulk_imports import FREE_IDS, errors_of, run_import, write_rows
from tests.shop import Shop, shop

from penstock.errors import Refusal


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "bulk_records", FREE_IDS) as one:
        yield one


def products(**more: Any) -> list[dict[str, Any]]:
    return [
        {"ref": f"N{n}", "name": f'Mug, "{n}"', "weight_g": 100 + n, "is_stocked": n != 3, **more}
        for n in range(1, 6)
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_products_of_every_format_are_made_and_then_left_alone(
    suffix: str, lent: Shop, tmp_path: Path
) -> None:
    rows = products(attributes='{"colour":"blue"}') if suffix != "jsonl" else products()
    path = write_rows(tmp_path / f"products.{suffix}", rows)
    summary = asyncio.run(run_import(lent, "products", path))
    assert (summary.rows, summary.rows_failed, summary.rows_unchanged) == (5, 0, 0)
    found = lent.sql("SELECT ref, name, weight_g, is_stocked FROM product WHERE ref LIKE 'N%'")
    assert sorted(found)[2] == ("N3", 'Mug, "3"', 103, False)
    again = asyncio.run(run_import(lent, "products", path, again=True))
    assert again.rows_unchanged == 5


def test_a_product_that_cannot_be_is_told_and_the_others_are_made(
    lent: Shop, tmp_path: Path
) -> None:
    rows = [
        {"sku": "A", "gtin": "4006381333931", "price_minor": 250},
        {"sku": "B", "gtin": "4006381333932", "price_minor": 250},
        {"sku": "C", "gtin": None, "price_minor": -1},
        {"sku": "D", "gtin": None, "price_minor": 10**30},
        {"sku": "E", "gtin": None, "price_minor": 1},
        {"sku": "E", "gtin": None, "price_minor": 2},
    ]
    path = tmp_path / "products.csv"
    lines = [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    path.write_text("\n".join(["sku,gtin,price_minor", *lines]), encoding="utf-8")
    asyncio.run(run_import(lent, "products", path))
    assert [(row, code) for row, _, code in errors_of(path)] == [
        (2, "invalid_product"),
        (3, "invalid_product"),
        (4, "invalid_product"),
        (5, "superseded"),
    ]
    found = lent.sql("SELECT ref, price_minor FROM product WHERE ref IN ('A', 'E') ORDER BY 1")
    assert found == [("A", 250), ("E", 2)]


def test_locations_are_made_from_dotted_columns_and_json(lent: Shop, tmp_path: Path) -> None:
    path = tmp_path / "locations.csv"
    path.write_text(
        "ref,kind,latitude,longitude,address.town,daily_capacity.deliver,capabilities\n"
        'W1,warehouse,52.1,-1.2,Daventry,500,"[""deliver""]"\n'
        "W2,castle,52.1,-1.2,Daventry,,\n"
        "W3,store,north,-1.2,Daventry,,\n",
        encoding="utf-8",
    )
    summary = asyncio.run(run_import(lent, "locations", path))
    assert [(row, code) for row, _, code in errors_of(path)] == [
        (2, "invalid_location"),
        (3, "invalid_record"),
    ]
    assert summary.rows == 3
    query = "SELECT address, daily_capacity, capabilities FROM location WHERE ref = 'W1'"
    assert lent.sql(query) == [({"town": "Daventry"}, {"deliver": 500}, ["deliver"])]


def test_products_go_to_the_catalogue_that_is_named_or_the_only_one(
    lent: Shop, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "products.csv", [{"sku": "X"}])
    asyncio.run(run_import(lent, "products", path, catalogue="other"))
    with pytest.raises(Refusal) as refused:
        asyncio.run(run_import(lent, "products", path))
    assert refused.value.code == "catalogue_needed"
    asyncio.run(run_import(lent, "products", path, catalogue="main"))
    rows = lent.sql("SELECT catalogue_id FROM product WHERE ref = 'X' ORDER BY 1")
    assert rows == [(1,), (2,)]


def test_a_kind_that_nobody_knows_is_refused(lent: Shop, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "prices.csv", [{"sku": "X"}])
    with pytest.raises(Refusal) as refused:
        asyncio.run(run_import(lent, "prices", path))
    assert refused.value.code == "unknown_kind"
