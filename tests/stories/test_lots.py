"""Lots through whole orders: counted, kept from promises where blocked, picked, shipped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.shop import (
    Shop,
    assert_clean,
    assert_index_equals_database,
    count,
    counters,
    opened,
    order,
    place,
    stock_of,
    tell,
    until,
    work,
)

from penstock.app import Account
from penstock.bulk.imports import import_file
from penstock.clock import ManualClock
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.areas import AreaInput, find_areas, upsert_areas
from penstock.inventory.counts import adjust_stock, microseconds
from penstock.inventory.lots import (
    LotCounts,
    LotMove,
    LotQty,
    PegAsk,
    PositionLots,
    Want,
    block_expired,
    change_lots,
    fix_lots,
    move_lots,
    peg_lots,
    set_lots,
    suggest_lots,
    track_products,
)
from penstock.inventory.model import Adjustment
from penstock.inventory.shelves import Pick
from penstock.passes import Pass

TODAY = datetime.now(UTC).date()
SOON, LATER = TODAY + timedelta(days=5), TODAY + timedelta(days=50)


async def track(account: Account, *skus: str) -> None:
    ids = [account.knowledge.product_id(1, sku) for sku in skus]
    await account.database.run(account.schema, lambda tx: track_products(tx, ids))


async def count_lots(
    account: Account, sku: str, location: str, *lots: LotQty, at: datetime | None = None
) -> int:
    knowledge = account.knowledge
    one = PositionLots(knowledge.product_id(1, sku), knowledge.location_id(location), lots)
    instant = microseconds(at or knowledge.clock.now())
    counts = LotCounts([one], [instant], 1, new_id())
    outcomes = await knowledge.run_pass("stock", lambda tx: set_lots(tx, counts))
    return int(outcomes[0])


def lots_of(lent: Shop, sku: str, location: str) -> dict[str, int]:
    rows = lent.sql(
        "SELECT t.ref, sum(s.qty)::int FROM lot_stock s JOIN lot t ON t.id = s.lot_id "
        "JOIN position p ON p.id = s.position_id JOIN product o ON o.id = p.product_id "
        f"JOIN location l ON l.id = p.location_id WHERE o.ref = '{sku}' AND l.ref = '{location}' "
        "GROUP BY 1 ORDER BY 1"
    )
    return dict(rows)


def reservations(lent: Shop, order_id: str) -> list[str]:
    rows = lent.sql(f"SELECT id::text FROM reservation WHERE root_id = '{order_id}' ORDER BY id")
    return [row[0] for row in rows]


def position_of(lent: Shop, sku: str, location: str) -> int:
    return int(
        lent.value(
            "SELECT p.id FROM position p JOIN product o ON o.id = p.product_id "
            "JOIN location l ON l.id = p.location_id "
            f"WHERE o.ref = '{sku}' AND l.ref = '{location}'"
        )
    )


async def ship(account: Account, document: Any) -> Any:
    fulfilment_id = document["fulfilments"][0]["id"]
    return await tell(account, document["id"], "fulfilment.shipped", fulfilment_id=fulfilment_id)


async def peg(account: Account, ask: PegAsk) -> list[list[Pick] | Refusal]:
    return await account.knowledge.run_pass("lots", lambda tx: peg_lots(tx, [ask]))


async def move(account: Account, one: LotMove) -> list[Refusal | None]:
    return await account.knowledge.run_pass("lots", lambda tx: move_lots(tx, [one]))


async def upsert(account: Account, *areas: AreaInput) -> None:
    done = await account.database.run(account.schema, lambda tx: upsert_areas(tx, areas))
    assert done == ["created"] * len(areas)


async def area(account: Account, location: str, ref: str) -> int:
    key = (account.knowledge.location_id(location), ref)
    found = await account.database.run(account.schema, lambda tx: find_areas(tx, [key]))
    return found[key][0]


def names(picks: Sequence[Pick] | Refusal) -> list[tuple[str, int]]:
    assert not isinstance(picks, Refusal), picks.as_document()
    return [(pick.lot, pick.qty) for pick in picks]


async def check(lent: Shop, account: Account) -> None:
    await assert_index_equals_database(lent, account)
    await assert_clean(lent, account)


def test_a_count_by_lot_is_the_count_of_its_position(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P1")
            lots = (LotQty("A", 4, SOON, "dairy"), LotQty("B", 6, LATER))
            assert await count_lots(account, "P1", "L1", *lots) == 1
            assert stock_of(lent, "P1") == {"L1": (10, 0)}
            assert lots_of(lent, "P1", "L1") == {"A": 4, "B": 6}
            assert await count_lots(account, "P1", "L1", *lots) == 2
            early = datetime.now(UTC) - timedelta(days=1)
            assert await count_lots(account, "P1", "L1", LotQty("A", 1), at=early) == 3
            assert lots_of(lent, "P1", "L1") == {"A": 4, "B": 6}
            await count(account, ("P1", "L1", 5))
            assert lots_of(lent, "P1", "L1") == {"B": 5}
            assert lent.sql("SELECT ref, expires_on, supplier FROM lot ORDER BY 1") == [
                ("A", SOON, "dairy"),
                ("B", LATER, ""),
            ]
            await check(lent, account)

    asyncio.run(story())


def test_what_expires_first_leaves_first_unless_other_lots_were_picked(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P1")
            await count_lots(account, "P1", "L1", LotQty("B", 6, LATER), LotQty("A", 4, SOON))
            first, second = await place(account, order("a", ("P1", 3)), order("b", ("P1", 3)))
            (picked,) = reservations(lent, second["id"])
            ask = PegAsk(picked, [("B", 3)])
            (fixed,) = await account.knowledge.run_pass("lots", lambda tx: fix_lots(tx, [ask]))
            assert not isinstance(fixed, Refusal)
            await ship(account, second)
            assert lots_of(lent, "P1", "L1") == {"A": 4, "B": 3}
            await ship(account, first)
            assert lots_of(lent, "P1", "L1") == {"A": 1, "B": 3}
            assert stock_of(lent, "P1") == {"L1": (4, 0)}
            left = lent.sql(
                "SELECT t.ref, e.qty_delta, e.is_assumed, o.ref FROM lot_entry e "
                "JOIN lot t ON t.id = e.lot_id JOIN orders o ON o.id = e.cause_id ORDER BY e.id"
            )
            assert left == [("B", -3, False, "b"), ("A", -3, True, "a")]
            assert lent.value("SELECT count(*) FROM lot_peg") == 0
            await check(lent, account)

    asyncio.run(story())


def test_nobody_is_promised_what_lies_in_quarantine_or_has_expired(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(datetime.now(UTC))
        async with opened(lent, clock) as account:
            await track(account, "P1")
            await upsert(account, AreaInput("L1", "Q", "quarantine"), AreaInput("L1", "shelf"))
            quarantine = await area(account, "L1", "Q")
            await count_lots(
                account,
                *("P1", "L1"),
                LotQty("A", 4, SOON),
                LotQty("B", 3, LATER, area_id=quarantine, area_kind="quarantine"),
            )
            assert stock_of(lent, "P1") == {"L1": (7, 3)}
            (short,) = await place(account, order("a", ("P1", 5)))
            assert (short["status"], counters(short)) == ("partly_allocated", (4, 1, 0, 0))
            position_id = position_of(lent, "P1", "L1")
            back = LotMove(position_id, "B", 1, quarantine, 0)
            assert await move(account, back) == [None]
            assert stock_of(lent, "P1") == {"L1": (7, 6)}
            clock.advance_to(clock.now() + timedelta(days=6))
            await account.knowledge.run_pass("expiry", lambda tx: block_expired(tx, 100))
            assert lent.value("SELECT qty FROM reservation WHERE kind = 3") == 6
            await work(account)
            assert stock_of(lent, "P1") == {"L1": (7, 7)}
            await check(lent, account)

    asyncio.run(story())


def test_what_was_promised_of_a_lot_that_goes_into_quarantine_is_sourced_again(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P1")
            await upsert(account, AreaInput("L1", "Q", "quarantine"))
            await count_lots(account, "P1", "L1", LotQty("A", 4), LotQty("B", 4))
            await count(account, ("P1", "L2", 5))
            await place(account, order("a", ("P1", 3)), order("b", ("P1", 3)))
            quarantine = await area(account, "L1", "Q")
            position_id = position_of(lent, "P1", "L1")
            away = LotMove(position_id, "A", 4, 0, quarantine, "quarantine")
            assert await move(account, away) == [None]
            assert stock_of(lent, "P1") == {"L1": (8, 10), "L2": (5, 0)}
            await work(account)
            assert stock_of(lent, "P1") == {"L1": (8, 7), "L2": (5, 3)}
            (gone,) = await move(account, msgspec.structs.replace(away, qty=1))
            assert isinstance(gone, Refusal)
            assert gone.code == "lot_unavailable"
            await check(lent, account)

    asyncio.run(story())


def test_a_pegged_lot_is_nobody_elses_until_its_reservation_ends(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P1")
            await count_lots(account, "P1", "L1", LotQty("A", 4, SOON), LotQty("B", 4, LATER))
            first, second = await place(account, order("a", ("P1", 3)), order("b", ("P1", 4)))
            mine, theirs = reservations(lent, first["id"])[0], reservations(lent, second["id"])[0]
            (kept,) = await peg(account, PegAsk(mine, (), 30))
            assert names(kept) == [("B", 3)]
            (refused,) = await peg(account, PegAsk(theirs, [("B", 2)]))
            assert isinstance(refused, Refusal)
            assert refused.code == "lot_unavailable"
            (refused,) = await peg(account, PegAsk(theirs, (), 30))
            assert isinstance(refused, Refusal)
            position_id = position_of(lent, "P1", "L1")
            wants = [Want(position_id, 8), Want(position_id, 3, 0, mine), Want(position_id, 2, 30)]
            found = await account.database.run(
                account.schema, lambda tx: suggest_lots(tx, wants, datetime.now(UTC))
            )
            assert [names(one) for one in found] == [
                [("A", 4), ("B", 1)],
                [("B", 3)],
                [("B", 1)],
            ]
            await tell(account, first["id"], "order.cancellation_requested")
            assert lent.value("SELECT count(*) FROM lot_peg") == 0
            (kept,) = await peg(account, PegAsk(theirs, (), 30))
            assert names(kept) == [("B", 4)]
            (gone,) = await peg(account, PegAsk(mine))
            assert isinstance(gone, Refusal)
            assert gone.code == "unknown_reservation"
            await count(account, ("P1", "L1", 2))
            assert lent.value("SELECT sum(qty) FROM lot_peg") == 2
            lost = "SELECT payload->>'lot', payload->>'qty' FROM event WHERE name = '{}'"
            assert lent.sql(lost.format("inventory.peg_lost")) == [("B", "2")]
            await check(lent, account)

    asyncio.run(story())


def test_a_count_told_late_takes_off_what_has_left_of_its_lots_since(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(datetime.now(UTC))
        async with opened(lent, clock) as account:
            await track(account, "P1")
            await count_lots(account, "P1", "L1", LotQty("A", 4, SOON), LotQty("B", 4, LATER))
            (placed,) = await place(account, order("a", ("P1", 3)))
            clock.advance_to(clock.now() + timedelta(minutes=10))
            counted_at = clock.now()
            clock.advance_to(clock.now() + timedelta(minutes=10))
            await ship(account, placed)
            clock.advance_to(clock.now() + timedelta(minutes=10))
            lots = (LotQty("A", 6, SOON), LotQty("B", 4, LATER))
            await count_lots(account, "P1", "L1", *lots, at=counted_at)
            assert stock_of(lent, "P1") == {"L1": (7, 0)}
            assert lots_of(lent, "P1", "L1") == {"A": 3, "B": 4}
            await check(lent, account)

    asyncio.run(story())


def test_what_is_received_by_lot_raises_the_position_and_what_is_thrown_away_lowers_it(
    lent: Shop,
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P1")
            knowledge = account.knowledge
            product_id, location_id = knowledge.product_id(1, "P1"), knowledge.location_id("L1")

            async def change(*lots: LotQty) -> None:
                one = PositionLots(product_id, location_id, lots)
                await knowledge.run_pass("stock", lambda tx: change_lots(tx, [one], new_id()))

            await change(LotQty("A", 5, SOON), LotQty("B", 7, LATER))
            await change(LotQty("A", -2), LotQty("B", 1))
            assert lots_of(lent, "P1", "L1") == {"A": 3, "B": 8}
            assert stock_of(lent, "P1") == {"L1": (11, 0)}
            await change(LotQty("A", -5))
            assert lots_of(lent, "P1", "L1") == {"B": 6}
            assert stock_of(lent, "P1") == {"L1": (6, 0)}
            await check(lent, account)

    asyncio.run(story())


def test_a_feed_that_knows_no_lots_leaves_them_within_what_it_counts(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P1")
            await count_lots(account, "P1", "L1", LotQty("A", 4, SOON), LotQty("B", 6, LATER))
            for on_hand, lots in ((7, {"A": 1, "B": 6}), (9, {"A": 1, "B": 6}), (3, {"B": 3})):
                feed = tmp_path / f"{on_hand}.csv"
                feed.write_text(f"sku,location,on_hand\nP1,L1,{on_hand}\nP2,L1,5\n", "utf-8")
                summary = await import_file(account, "stock", feed)
                assert summary.rows_failed == 0
                assert stock_of(lent, "P1") == {"L1": (on_hand, 0)}
                assert lots_of(lent, "P1", "L1") == lots
            await check(lent, account)

    asyncio.run(story())


def test_lots_of_a_product_that_keeps_none_are_refused(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            with pytest.raises(Refusal) as refused:
                await count_lots(account, "P1", "L1", LotQty("A", 4))
            assert refused.value.code == "lots_not_tracked"

    asyncio.run(story())


def test_of_two_pickers_one_gets_the_last_lot(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await track(account, "P1")
            await count_lots(account, "P1", "L1", LotQty("A", 3, SOON), LotQty("B", 9, LATER))
            placed = await place(account, *(order(f"o{n}", ("P1", 2)) for n in range(6)))
            ids = [reservations(lent, one["id"])[0] for one in placed]

            async def pick(opened_by: Account, reservation_id: str) -> bool:
                ask = PegAsk(reservation_id, [("A", 2)])
                (done,) = await opened_by.knowledge.run_pass("lots", lambda tx: fix_lots(tx, [ask]))
                return not isinstance(done, Refusal)

            takers = [pick(account if n % 2 else other, one) for n, one in enumerate(ids)]
            assert sum(await asyncio.gather(*takers)) == 1
            shipping = [ship(account if n % 2 else other, one) for n, one in enumerate(placed)]
            await asyncio.gather(*shipping)
            assert stock_of(lent, "P1") == {"L1": (0, 0)}
            assert lots_of(lent, "P1", "L1") == {}
            fixed = lent.value(
                "SELECT sum(qty_delta) FROM lot_entry WHERE NOT is_assumed AND cause_kind = 6"
            )
            assert fixed == -2
            await check(lent, account)

    asyncio.run(story())


def test_orders_of_products_without_lots_never_look_at_them(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await track(account, "P3")
            await count_lots(account, "P3", "L1", LotQty("A", 5))
            await count(account, ("P1", "L1", 50), ("P2", "L1", 50))
            await place(account, order("warm", ("P1", 1)))
            tables = "lot, lot_stock, lot_peg, lot_entry, lot_tracked, area"
            options = f"-c search_path={lent.schema}"
            with psycopg.connect(lent.conninfo, options=options) as nobody_else:
                nobody_else.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE".encode())
                (placed,) = await place(account, order("a", ("P1", 1), ("P2", 1)))
                done = await ship(account, placed)
                assert done["status"] == "shipped"

    asyncio.run(story())


def test_lots_are_kept_from_the_first_pass_that_begins_after(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account, opened(lent) as other:
            await count(account, ("P1", "L1", 9))
            (placed,) = await place(account, order("a", ("P1", 2)))
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def slow(tx: Pass) -> None:
                begun.set()
                await go_on.wait()
                change = Adjustment(1, 1, -1, tx.now)
                await adjust_stock(tx, [change], new_id())

            passing = asyncio.create_task(other.knowledge.run_pass("stock", slow))
            await begun.wait()
            tracking = asyncio.create_task(track(account, "P1"))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await until(lambda: lent.value(waiting) > 0, "tracking does not wait")
            assert not tracking.done()
            go_on.set()
            await asyncio.gather(passing, tracking)
            await count_lots(account, "P1", "L1", LotQty("A", 8))
            await ship(other, placed)
            assert lots_of(lent, "P1", "L1") == {"A": 6}
            await check(lent, account)

    asyncio.run(story())
