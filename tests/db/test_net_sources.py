"""Sources that count net of what they acknowledged, and sources whose stock leaves at the pick."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.db.bulk_imports import FREE_IDS, counts, run_import_in, write_rows
from tests.shop import (
    Shop,
    assert_clean,
    assert_numbered,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
)

from penstock.app import Account
from penstock.audit.run import audit
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.inventory import picking, store
from penstock.inventory.model import Cause, Reservation
from penstock.inventory.sources import (
    Acknowledgement,
    SourceInput,
    acknowledge,
    list_sources,
    upsert_sources,
)
from penstock.passes import Pass

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    more = "INSERT INTO stock_source (ref, basis) VALUES ('erp', 'net')"
    with shop(database, "net_sources", FREE_IDS + more) as one:
        yield one


async def fed(account: Account, folder: Path, on_hand: int, at: datetime, sku: str = "P1") -> None:
    """Let the source `erp` count a SKU at L1 at an instant."""
    name = f"{sku}-{at.timestamp()}-{on_hand}.csv"
    path = write_rows(folder / name, counts((sku, "L1", on_hand)))
    await run_import_in(account, "stock", path, source="erp", counted_at=at)


async def said(account: Account, at: datetime, until: datetime, *places: int) -> None:
    """Let the source `erp` acknowledge."""

    async def work(tx: Tx) -> None:
        what = Acknowledgement(at, until, places or None)
        await acknowledge(tx, "erp", what, datetime.now(UTC))

    await account.database.run(account.schema, work)


def handed_over(lent: Shop, order_id: str, at: datetime) -> None:
    """Say that an order was handed to its location at another instant than now."""
    lent.sql(f"UPDATE fulfilment SET released_at = '{at}' WHERE root_id = '{order_id}'")


async def story_of(lent: Shop, account: Account, folder: Path) -> tuple[list[Any], datetime]:
    """Count 10, sell 3 and 2 that are handed over ten and four minutes ago."""
    now = datetime.now(UTC)
    await fed(account, folder, 10, now - 20 * MINUTE)
    placed = await place(account, order("O1", ("P1", 3)), order("O2", ("P1", 2)))
    assert stock_of(lent, "P1") == {"L1": (10, 5)}
    handed_over(lent, placed[0]["id"], now - 10 * MINUTE)
    handed_over(lent, placed[1]["id"], now - 4 * MINUTE)
    return placed, now


def test_a_net_count_adds_what_its_source_had_acknowledged(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            _, now = await story_of(lent, account, tmp_path)
            await said(account, now - 5 * MINUTE, now - 6 * MINUTE)  # has O1, not O2
            await fed(account, tmp_path, 7, now - MINUTE)
            assert stock_of(lent, "P1") == {"L1": (10, 5)}
            await said(account, now - MINUTE / 2, now - MINUTE)  # has both
            await fed(account, tmp_path, 5, now)
            assert stock_of(lent, "P1") == {"L1": (10, 5)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_count_from_before_an_acknowledgement_does_not_have_it(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            _, now = await story_of(lent, account, tmp_path)
            await said(account, now - MINUTE, now - MINUTE)  # made after the count was taken
            await fed(account, tmp_path, 10, now - 2 * MINUTE)
            assert stock_of(lent, "P1") == {"L1": (10, 5)}

    asyncio.run(story())


def test_an_acknowledgement_of_another_place_adds_nothing(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            _, now = await story_of(lent, account, tmp_path)
            await said(account, now - 2 * MINUTE, now - 2 * MINUTE, 2)
            await fed(account, tmp_path, 9, now - MINUTE)
            assert stock_of(lent, "P1") == {"L1": (9, 5)}
            await said(account, now, now - 2 * MINUTE, 1, 2)
            await fed(account, tmp_path, 5, now)
            assert stock_of(lent, "P1") == {"L1": (10, 5)}

    asyncio.run(story())


def test_what_was_shipped_since_a_net_count_is_right_acknowledged_or_not(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            placed, now = await story_of(lent, account, tmp_path)
            await said(account, now - 2 * MINUTE, now - 6 * MINUTE)  # has O1
            for document in placed:
                (one,) = document["fulfilments"]
                await tell(account, document["id"], "fulfilment.shipped", fulfilment_id=one["id"])
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            handed_over(lent, placed[0]["id"], now - 10 * MINUTE)
            handed_over(lent, placed[1]["id"], now - 4 * MINUTE)
            await fed(account, tmp_path, 7, now - MINUTE)  # 10 lay there, less O1
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            await fed(account, tmp_path, 5, datetime.now(UTC))
            assert stock_of(lent, "P1") == {"L1": (5, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_source_that_counts_what_lies_there_is_taken_at_its_word(
    lent: Shop, tmp_path: Path
) -> None:
    lent.sql("UPDATE stock_source SET basis = 'on_hand'")

    async def story() -> None:
        async with opened(lent) as account:
            _, now = await story_of(lent, account, tmp_path)
            await said(account, now - MINUTE, now - MINUTE)
            await fed(account, tmp_path, 9, now)
            assert stock_of(lent, "P1") == {"L1": (9, 5)}

    asyncio.run(story())


def test_sources_say_what_they_count_and_keep_what_is_not_said(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:

            async def put(*sources: SourceInput) -> list[Any]:
                async def work(tx: Tx) -> list[Any]:
                    return await upsert_sources(tx, sources)

                return await account.database.run(account.schema, work)

            till = SourceInput("till", "net", "pick")
            assert await put(till, SourceInput("erp")) == ["created", "unchanged"]
            assert await put(till, SourceInput("erp", leaves_at="pick")) == [
                "unchanged",
                "updated",
            ]
            (wrong,) = await put(SourceInput("till", "gross"))
            assert isinstance(wrong, Refusal)
            assert (wrong.code, wrong.data["field"]) == ("invalid_source", "basis")
            found = await account.database.run(account.schema, list_sources)
            assert [(one.ref, one.basis, one.leaves_at) for one in found] == [
                ("default", "on_hand", "ship"),
                ("erp", "net", "pick"),
                ("till", "net", "pick"),
            ]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 (the point)
        (datetime(2999, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_an_acknowledgement_that_cannot_be_is_refused(
    at: datetime, until: datetime, lent: Shop
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            with pytest.raises(Refusal) as refused:
                await said(account, at, until)
            assert refused.value.code == "instant_unusable"

    asyncio.run(story())


# ── pick ─────────────────────────────────────────────────────────────────────────────────────────


async def picked(account: Account, root_id: str) -> list[Reservation]:
    """Pick everything that an order has reserved."""

    async def work(tx: Pass) -> list[Reservation]:
        return await picking.pick(tx, await store.reservations_of_roots(tx, [root_id]))

    return await account.knowledge.run_pass("stock", work)


async def assert_stock_is_clean(lent: Shop, account: Account) -> None:
    """Audit the stock; no verb of orders picks yet, so not the counters of their lines."""
    await assert_numbered(lent)
    report = await audit(account.database, lent.schema)
    checks = {"positions", "journal", "reserved", "oversold", "passes"}
    found = {check.name: check.breaches for check in report.checks if check.name in checks}
    assert found == dict.fromkeys(checks, 0)


def causes(lent: Shop) -> list[tuple[int, int, int]]:
    """Return what moved, in order: cause, on-hand and reserved delta."""
    return lent.sql(
        "SELECT e.cause, e.on_hand, e.reserved FROM journal j CROSS JOIN LATERAL unnest("
        "j.cause_kinds, j.on_hand_deltas, j.reserved_deltas, j.versions) "
        "AS e (cause, on_hand, reserved, version) ORDER BY e.version"
    )


def test_stock_that_leaves_at_the_pick_makes_a_count_before_the_shipment_right(
    lent: Shop, tmp_path: Path
) -> None:
    lent.sql("UPDATE stock_source SET basis = 'on_hand', leaves_at = 'pick' WHERE ref = 'erp'")

    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            await fed(account, tmp_path, 10, now - 2 * MINUTE)
            (document,) = await place(account, order("O1", ("P1", 3)))
            assert [one.qty for one in await picked(account, document["id"])] == [3]
            assert await picked(account, document["id"]) == []
            assert stock_of(lent, "P1") == {"L1": (7, 0)}
            await fed(account, tmp_path, 7, datetime.now(UTC))
            assert stock_of(lent, "P1") == {"L1": (7, 0)}
            await fed(account, tmp_path, 10, now - MINUTE)  # taken before the pick, told after
            assert stock_of(lent, "P1") == {"L1": (7, 0)}
            await assert_stock_is_clean(lent, account)

    asyncio.run(story())
    assert causes(lent) == [(Cause.COUNT, 10, 0), (Cause.ALLOCATION, 0, 3), (Cause.PICK, -3, -3)]


def test_a_count_from_before_a_pick_is_less_what_was_picked(lent: Shop, tmp_path: Path) -> None:
    lent.sql("UPDATE stock_source SET basis = 'on_hand', leaves_at = 'pick' WHERE ref = 'erp'")

    async def story() -> None:
        async with opened(lent) as account:
            now = datetime.now(UTC)
            await fed(account, tmp_path, 10, now - 2 * MINUTE)
            (document,) = await place(account, order("O1", ("P1", 3)))
            gone = await picked(account, document["id"])
            await fed(account, tmp_path, 12, now - MINUTE)
            assert stock_of(lent, "P1") == {"L1": (9, 0)}
            await account.knowledge.run_pass("stock", lambda tx: picking.put_back(tx, gone))
            assert stock_of(lent, "P1") == {"L1": (12, 0)}
            await assert_stock_is_clean(lent, account)

    asyncio.run(story())


def test_stock_that_leaves_when_shipped_stays_reserved_at_the_pick(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await fed(account, tmp_path, 10, datetime.now(UTC))
            (document,) = await place(account, order("O1", ("P1", 3)))
            assert await picked(account, document["id"]) == []
            assert stock_of(lent, "P1") == {"L1": (10, 3)}

    asyncio.run(story())
