"""What caps and ring-fences count follows every end of a reservation, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.db.stock_moves import account
from tests.db.test_inventory import CHANNEL, NOW, Stock, terms

from penstock.audit.run import audit
from penstock.db import Database
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory import commands
from penstock.inventory.commands import ReserveRequest
from penstock.inventory.decide import expire_holds
from penstock.inventory.model import Counted, Reservation, ReservationKind, Terms
from penstock.sourcing.model import Demand

CAP = Counted(1, "cap", qty=6)
EACH = Counted(2, "each", qty=4, per_location=True)
FENCE = Counted(3, "fence", qty=3, is_fence=True)
OURS = msgspec.structs.replace(FENCE, is_entitled=True)
Story = Callable[["Counting"], Awaitable[None]]


class Counting(Stock):
    """Stock whose every demand meets the controls of the moment; tells what is used."""

    counted: Sequence[Counted] = (CAP, EACH)

    def terms(self) -> Terms:
        def counting(demand: Demand, product_id: int) -> Sequence[Counted]:
            del demand, product_id
            return self.counted

        return msgspec.structs.replace(terms(), counting=counting)

    async def take(self, qty: int, *, holds: bool = False) -> Reservation | Refusal:
        request = ReserveRequest(new_id(), new_id(), 1, 1, 1, CHANNEL, qty)
        if holds:
            request.expires_at = NOW + timedelta(hours=2)
        else:
            request.kind = ReservationKind.ALLOCATION
        work = commands.reserve
        (result,) = await self.run(lambda tx: work(tx, [request], self.terms()))
        return result

    def uses(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT control_id, location_id, reserved, shipped FROM control_use "
            "WHERE (reserved, shipped) <> (0, 0) ORDER BY 1, 2"
        )


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "counting_test") as name:
        yield name


def tell(database: str, schema: str, story: Story) -> None:
    async def whole() -> None:
        pool = Database(database)
        await pool.open()
        try:
            stock = Counting(pool, schema)
            await stock.count((1, 1, 20))
            await story(stock)
            report = await audit(pool, schema)
            (check,) = [one for one in report.checks if one.name == "controls"]
            assert check.examples == []
            assert check.examined > 0
        finally:
            await pool.close()

    asyncio.run(whole())


def taken(result: Reservation | Refusal) -> Reservation:
    assert isinstance(result, Reservation)
    return result


def test_a_reservation_counts_on_all_its_controls_and_gives_back_once(
    database: str, schema: str
) -> None:
    async def story(stock: Counting) -> None:
        first = taken(await stock.take(3))
        assert list(first.counted_by) == [1, -2]
        assert stock.uses() == [(1, 0, 3, 0), (2, 1, 3, 0)]
        assert isinstance(await stock.take(2), Refusal)  # the second allows 4 at a location
        assert [one.id for one in await stock.unreserve(first)] == [first.id]
        assert await stock.unreserve(first) == []
        assert stock.uses() == []

    tell(database, schema, story)


def test_a_part_given_back_and_a_part_shipped_move_as_much(database: str, schema: str) -> None:
    async def story(stock: Counting) -> None:
        kept = taken(await stock.take(4))
        await stock.unreserve(msgspec.structs.replace(kept, qty=1))
        assert stock.uses() == [(1, 0, 3, 0), (2, 1, 3, 0)]
        await stock.ship(msgspec.structs.replace(kept, qty=2))
        assert stock.uses() == [(1, 0, 1, 2), (2, 1, 1, 2)]
        assert isinstance(await stock.take(2), Refusal)
        await stock.ship(msgspec.structs.replace(kept, qty=1))
        assert stock.uses() == [(1, 0, 0, 3), (2, 1, 0, 3)]
        taken(await stock.take(1))

    tell(database, schema, story)


@pytest.mark.parametrize("end", ["expired", "shed"])
def test_a_cart_hold_that_ends_by_itself_is_no_longer_counted(
    database: str, schema: str, end: str
) -> None:
    async def story(stock: Counting) -> None:
        taken(await stock.take(2, holds=True))
        taken(await stock.take(1))
        stock.now = NOW + timedelta(hours=1 if end == "shed" else 3)
        if end == "shed":
            await stock.count((1, 1, 1))
        else:
            await stock.run(lambda tx: expire_holds(tx, 10))
        assert stock.uses() == [(1, 0, 1, 0), (2, 1, 1, 0)]

    tell(database, schema, story)


def test_an_expired_hold_gives_way_in_the_decision_that_needs_its_units(
    database: str, schema: str
) -> None:
    async def story(stock: Counting) -> None:
        taken(await stock.take(4, holds=True))
        assert isinstance(await stock.take(1), Refusal)
        stock.now = NOW + timedelta(hours=3)
        taken(await stock.take(3))
        assert stock.uses() == [(1, 0, 3, 0), (2, 1, 3, 0)]

    tell(database, schema, story)


def test_others_leave_what_is_still_kept_and_ours_consume_it(database: str, schema: str) -> None:
    async def story(stock: Counting) -> None:
        stock.counted = (FENCE,)
        assert isinstance(await stock.take(18), Refusal)
        others = taken(await stock.take(16))
        assert others.counted_by == ()
        stock.counted = (OURS,)
        ours = taken(await stock.take(2))
        stock.counted = (FENCE,)
        taken(await stock.take(1))  # one is still kept
        assert isinstance(await stock.take(1), Refusal)
        await stock.unreserve(ours)
        assert isinstance(await stock.take(1), Refusal)
        stock.counted = (OURS,)
        taken(await stock.take(3))
        assert stock.positions() == {(1, 1): (20, 20)}

    tell(database, schema, story)


def test_what_is_kept_at_each_location_is_counted_there(database: str, schema: str) -> None:
    async def story(stock: Counting) -> None:
        each = msgspec.structs.replace(FENCE, per_location=True)
        stock.counted = (each,)
        assert isinstance(await stock.take(18), Refusal)
        stock.counted = (msgspec.structs.replace(each, is_entitled=True),)
        assert list(taken(await stock.take(2)).counted_by) == [-3]
        stock.counted = (each,)
        taken(await stock.take(17))
        assert isinstance(await stock.take(1), Refusal)

    tell(database, schema, story)
