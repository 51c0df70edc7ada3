"""Files of channels, networks, customers, sources, pools, controls and profiles."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.db.bulk_imports import FREE_IDS, errors_of, run_import, write_rows
from tests.shop import LOCATIONS, PROFILE, Shop, opened, order, place, shop

FREE = FREE_IDS + "ALTER TABLE channel ALTER COLUMN id RESTART WITH 101;"
CARD = {name: json.dumps(value) for name, value in PROFILE.items()}
CONTROL: dict[str, Any] = dict.fromkeys(
    (
        *("ref", "kind", "qty", "percent", "sku", "location", "location_kind", "daily_from"),
        *("kept_tiers", "active_from", "group"),
    )
)
RECORDS: dict[str, list[dict[str, Any]]] = {
    "channels": [
        {"ref": "site", "parent": "house", "kind": "site", "settings": '{"a":1}', "networks": None},
        {"ref": "house", "parent": None, "kind": "retailer", "settings": None, "networks": "[]"},
    ],
    "networks": [{"ref": "north", "locations": '["L7","L8"]'}, {"ref": "south", "locations": None}],
    "customers": [{"ref": "C-1", "tier": "gold", "address.town": "Bath"}],
    "sources": [{"ref": "erp"}, {"ref": "wms"}],
    "pools": [{"ref": "worn", "condition": "used", "owner": "a lender"}],
    "controls": [
        {**CONTROL, "qty": 2, "sku": "P1"},
        {**CONTROL, "qty": 0, "location": "L1"},
        {**CONTROL, "ref": "a", "kind": "cap", "qty": 2, "sku": "P1", "location_kind": "store"},
        {**CONTROL, "ref": "b", "kind": "exclusion", "sku": "P3"},
        {**CONTROL, "ref": "c", "percent": 2.5, "daily_from": "09:00"},
        {**CONTROL, "ref": "d", "kind": "ring_fence", "qty": 3, "sku": "P2", "kept_tiers": '["x"]'},
        {**CONTROL, "ref": "e", "qty": 1, "active_from": "2026-03-01T00:00:00Z", "group": "more"},
    ],
    "thresholds": [
        {"ref": None, "at_risk": 5, "sku": "P1", "channel": None, "watch": None},
        {"ref": "web", "at_risk": 9, "sku": None, "channel": "web", "watch": "base"},
    ],
    "profiles": [
        {"ref": "dear", "channel": "web", **CARD},
        {"ref": "default", "channel": None, **CARD},
    ],
}  # fmt: skip


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "bulk_kinds", FREE) as one:
        yield one


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows; in JSON Lines, what is JSON text in a table is JSON, and what is None is not."""
    if path.suffix != ".jsonl":
        return write_rows(path, rows)
    lines: list[str] = []
    for row in rows:
        plain = {
            name: json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
            for name, value in row.items()
            if value is not None and "." not in name
        }
        lines.append(json.dumps(plain))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("kind", RECORDS)
def test_records_of_every_kind_and_format_are_taken_in_and_then_left_alone(
    kind: str, suffix: str, lent: Shop, tmp_path: Path
) -> None:
    path = write(tmp_path / f"{kind}.{suffix}", RECORDS[kind])
    total = len(RECORDS[kind])
    was_there = kind == "profiles"  # the shop's own
    first = asyncio.run(run_import(lent, kind, path))
    assert (first.rows, first.rows_failed, first.rows_unchanged) == (total, 0, int(was_there))
    again = asyncio.run(run_import(lent, kind, path, again=True))
    assert (again.rows_failed, again.rows_unchanged) == (0, total)


def test_a_channel_is_served_by_the_networks_its_row_names_or_not_made_at_all(
    lent: Shop, tmp_path: Path
) -> None:
    networks = write_rows(tmp_path / "networks.csv", RECORDS["networks"])
    asyncio.run(run_import(lent, "networks", networks))
    path = tmp_path / "channels.jsonl"
    path.write_text(
        '{"ref": "one", "networks": ["north", "south"]}\n'
        '{"ref": "two", "networks": ["nowhere"]}\n'
        '{"ref": "web", "kind": "site", "currency": "GBP", "product_catalogue": "main", '
        '"networks": ["north"]}\n'
        '{"ref": "three", "parent": "two"}\n'
        '{"ref": "four", "kind": "market stall"}\n',
        encoding="utf-8",
    )
    summary = asyncio.run(run_import(lent, "channels", path))
    assert errors_of(path) == [
        (2, "networks", "unknown_network"),
        (4, "parent", "unknown_channel"),
        (5, "kind", "invalid_channel"),
    ]
    assert summary.rows_unchanged == 0
    found = lent.sql(
        "SELECT c.ref, n.ref FROM channel_network JOIN channel c ON c.id = channel_id "
        "JOIN network n ON n.id = network_id ORDER BY 1, 2"
    )
    assert found == [("one", "north"), ("one", "south"), ("web", "north")]
    assert lent.sql("SELECT ref FROM channel WHERE ref IN ('two', 'three', 'four')") == []


def test_a_new_profile_of_a_channel_is_what_its_next_order_costs(
    lent: Shop, tmp_path: Path
) -> None:
    amounts = [[5_300 + 100 * n] for n in range(LOCATIONS)]
    dear: dict[str, Any] = {**PROFILE, "amount_minor": amounts}
    path = tmp_path / "profiles.jsonl"
    lines = [
        {"ref": "dear", "channel": "web", **dear},
        {"ref": "lost", "channel": "nowhere", **dear},
        {"ref": "bent", **dear, "per_extra_kg_minor": []},
        {"ref": "early", "channel": "market", **dear},
        {"ref": "late", "channel": "market", **dear},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    asyncio.run(run_import(lent, "profiles", path))
    assert [(row, code) for row, _, code in errors_of(path)] == [
        (2, "unknown_channel"),
        (3, "invalid_profile"),
        (4, "superseded"),
    ]
    stock = write_rows(tmp_path / "stock.csv", [{"sku": "P1", "location": "L1", "on_hand": 5}])
    asyncio.run(run_import(lent, "stock", stock))

    async def costs() -> list[int]:
        async with opened(lent) as account:
            one, other = order("a", ("P1", 1)), order("b", ("P1", 1), channel="market")
            documents = await place(account, one, other)
            return [document["fulfilments"][0]["cost_minor"] for document in documents]

    assert asyncio.run(costs()) == [5_300, 5_300]


def test_stock_of_a_pool_that_is_not_new_is_kept_and_not_sold(lent: Shop, tmp_path: Path) -> None:
    pools = write_rows(
        tmp_path / "pools.csv",
        [{"ref": "worn", "condition": "used"}, {"ref": "odd", "condition": "borrowed"}],
    )
    asyncio.run(run_import(lent, "pools", pools))
    assert errors_of(pools) == [(2, "condition", "invalid_pool")]
    sources = write_rows(tmp_path / "sources.csv", [{"ref": "erp"}, {"ref": "x" * 101}])
    asyncio.run(run_import(lent, "sources", sources))
    assert errors_of(sources) == [(2, "ref", "invalid_source")]
    stock = write_rows(tmp_path / "stock.csv", [{"sku": "P1", "location": "L1", "on_hand": 5}])
    summary = asyncio.run(run_import(lent, "stock", stock, pool="worn", source="erp"))
    assert summary.rows_failed == 0

    async def status() -> str:
        async with opened(lent) as account:
            (document,) = await place(account, order("a", ("P1", 1)))
            return document["status"]

    assert asyncio.run(status()) == "unsourced"
