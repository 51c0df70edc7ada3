"""The audit of lots finds what is made wrong behind Penstock's back, and says where."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.db.stock_moves import account

from penstock.audit.run import audit
from penstock.db import Database
from penstock.ids import new_id
from penstock.inventory.counts import microseconds
from penstock.inventory.lots import LotCounts, LotQty, PositionLots, set_lots
from penstock.passes import Pass, run_pass

NOW = datetime.now(UTC)
MAKE = """
INSERT INTO product_catalogue (ref) VALUES ('main');
INSERT INTO product (id, catalogue_id, ref) VALUES (1, 1, 'P1');
INSERT INTO location (id, ref, kind, latitude, longitude) VALUES (1, 'L1', 'store', 51, -2);
INSERT INTO area (id, location_id, ref, kind) VALUES (1, 1, 'Q', 'quarantine');
INSERT INTO lot_tracked (product_id) VALUES (1);
"""
ORDER = "00000000-0000-7000-8000-000000000001"
# What is done behind its back, and what the audit says of it.
BREACHES = {
    "UPDATE lot_stock SET qty = 9 WHERE lot_id = 1": [
        "Position 1 has 10 on hand, but its lots add up to 12.",
        "Lot 1 in area 0 of position 1 has 9 units, but its entries add up to 7.",
    ],
    "DELETE FROM lot_entry WHERE lot_id = 1": [
        "Lot 1 in area 0 of position 1 has 7 units, but its entries add up to 0.",
    ],
    "INSERT INTO reservation (id, position_id, qty, kind, root_id, demand_id) VALUES "
    f"('{ORDER}', 1, 8, 1, '{ORDER}', '{ORDER}'); INSERT INTO lot_peg VALUES "
    f"('{ORDER}', 1, 1, '{ORDER}', 8, true, now())": [
        "Lot 1 of position 1 has 7 units, but 8 are pegged.",
    ],
    "INSERT INTO reservation (id, position_id, qty, kind, root_id, demand_id) VALUES "
    f"('{ORDER}', 1, 2, 1, '{ORDER}', '{ORDER}'); INSERT INTO lot_peg VALUES "
    f"('{ORDER}', 1, 1, '{ORDER}', 3, true, now())": [
        f"Reservation {ORDER} keeps 2 units of position 1, but 3 are pegged at 1.",
    ],
    "DELETE FROM reservation WHERE kind = 3": [
        "Position 1 keeps 0 units as blocked, but 3 of its lots are.",
    ],
    f"INSERT INTO lot_peg VALUES ('{ORDER}', 1, 1, '{ORDER}', 99, true, now())": [],
}


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "audit_lots_test") as name:
        yield name


@pytest.mark.parametrize("breach", BREACHES, ids=range(len(BREACHES)))
def test_the_audit_says_what_does_not_add_up(database: str, schema: str, breach: str) -> None:
    async def work(tx: Pass) -> None:
        lots = (LotQty("A", 7), LotQty("B", 3, area_id=1, area_kind="quarantine"))
        counts = LotCounts([PositionLots(1, 1, lots)], [microseconds(NOW)], 1, new_id())
        await set_lots(tx, counts)

    async def whole() -> list[str]:
        pool = Database(database)
        await pool.open()
        try:
            await pool.run(schema, lambda tx: tx.script(MAKE))
            await run_pass(pool, schema, "stock", lambda: NOW, work)
            assert await examples(pool) == []
            await pool.run(schema, lambda tx: tx.script(breach))
            return await examples(pool)
        finally:
            await pool.close()

    async def examples(pool: Database) -> list[str]:
        report = await audit(pool, schema)
        (check,) = [one for one in report.checks if one.name == "lots"]
        assert check.examined == 2
        return check.examples

    assert asyncio.run(whole()) == BREACHES[breach]
