"""Stock moves as asked, exactly once, and the journal adds up to the positions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.db.stock_moves import account

from penstock.db import Database
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory import commands
from penstock.inventory.commands import ReserveRequest
from penstock.inventory.counts import (
    Counts,
    Known,
    Outcome,
    adjust_stock,
    microseconds,
    set_known_stock,
    set_stock,
)
from penstock.inventory.decide import expire_holds
from penstock.inventory.ledger import Ledger
from penstock.inventory.model import Adjustment, Reservation, ReservationKind, Terms
from penstock.passes import Pass, run_pass
from penstock.sourcing.model import Demand, Plan

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANNEL = 1
Story = Callable[["Stock"], Awaitable[None]]


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "inventory_test") as name:
        yield name


def terms(floor: int = 0) -> Terms:
    def never(demands: Sequence[Demand], ledger: Ledger) -> list[Plan]:
        raise AssertionError("nothing here may be planned again")

    return Terms(
        lambda channel, product, location, on_hand: floor,
        lambda location, service: -1,
        lambda location, service: date(2026, 3, 1),
        never,
        lambda used: None,
    )


class Stock:
    """The verbs of one account, each in a pass of its own, at an instant of the test's."""

    def __init__(self, database: Database, schema: str) -> None:
        self.database = database
        self.schema = schema
        self.now = NOW
        self.floor = 0

    async def run(self, work: Callable[[Pass], Awaitable[Any]]) -> Any:
        return await run_pass(self.database, self.schema, "test", lambda: self.now, work)

    async def count(self, *rows: tuple[int, int, int], at: datetime | None = None) -> list[Outcome]:
        outcomes = await self.run(lambda tx: set_stock(tx, counts(rows, at or self.now)))
        return [Outcome(one) for one in outcomes]

    async def reserve(
        self, position_id: int, qty: int, expires_at: datetime | None = None
    ) -> Reservation | Refusal:
        request = ReserveRequest(
            new_id(), new_id(), position_id, 1, 1, CHANNEL, qty, expires_at=expires_at
        )
        if expires_at is None:
            request.kind = ReservationKind.ALLOCATION
        (result,) = await self.run(lambda tx: commands.reserve(tx, [request], terms(self.floor)))
        return result

    async def unreserve(self, reservation: Reservation) -> list[Reservation]:
        return await self.run(lambda tx: commands.unreserve(tx, [reservation], terms()))

    async def ship(self, reservation: Reservation) -> list[Reservation]:
        return await self.run(lambda tx: commands.ship(tx, [reservation], terms()))

    def positions(self) -> dict[tuple[int, int], tuple[int, int]]:
        query = "SELECT product_id, location_id, on_hand, reserved FROM position"
        return {(row[0], row[1]): (row[2], row[3]) for row in self.rows(query)}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        options = f"-c search_path={self.schema}"
        with psycopg.connect(self.database.conninfo, options=options) as connection:
            return connection.execute(query.encode()).fetchall()

    def check_journal(self) -> None:
        """Journal sums equal positions, versions have no gap, the chain of rows holds."""
        wrong = self.rows(
            """
            WITH entry AS (
                SELECT e.*, j.id AS journal_id FROM journal j, unnest(j.position_ids,
                    j.on_hand_deltas, j.reserved_deltas, j.on_hands, j.reserveds, j.versions,
                    j.previous_ids) AS e (position_id, d_on_hand, d_reserved, on_hand, reserved,
                    version, previous_id)
            ), running AS (
                SELECT *, sum(d_on_hand) OVER w AS sum_on_hand,
                    sum(d_reserved) OVER w AS sum_reserved,
                    row_number() OVER w AS place, coalesce(lag(journal_id) OVER w, 0) AS before
                FROM entry WINDOW w AS (PARTITION BY position_id ORDER BY version)
            )
            SELECT 'entry', position_id FROM running
            WHERE (sum_on_hand, sum_reserved, place, before)
                <> (on_hand, reserved, version, previous_id)
            UNION ALL
            SELECT 'position', p.id FROM position p LEFT JOIN running r
                ON r.position_id = p.id AND r.version = p.version
            WHERE p.version > 0 AND (r.on_hand, r.reserved, r.journal_id)
                IS DISTINCT FROM (p.on_hand, p.reserved, p.journal_id)
            UNION ALL
            SELECT 'reserved', p.id FROM position p WHERE p.reserved
                <> (SELECT coalesce(sum(qty), 0) FROM reservation WHERE position_id = p.id)
            """
        )
        assert wrong == []


def counts(rows: Sequence[tuple[int, int, int]], at: datetime) -> Counts:
    table = np.array(rows, dtype=np.int32).reshape(-1, 3)
    total = len(table)
    return Counts(
        table[:, 0].copy(),
        table[:, 1].copy(),
        np.ones(total, dtype=np.int16),
        table[:, 2].copy(),
        np.full(total, microseconds(at), dtype=np.int64),
        1,
        new_id(),
    )


def tell(database: str, schema: str, story: Story) -> None:
    async def whole() -> None:
        pool = Database(database)
        await pool.open()
        try:
            stock = Stock(pool, schema)
            await story(stock)
            stock.check_journal()
        finally:
            await pool.close()

    asyncio.run(whole())


def test_a_count_makes_the_position_and_an_unchanged_one_writes_no_entry(
    database: str, schema: str
) -> None:
    async def story(stock: Stock) -> None:
        assert await stock.count((1, 1, 5), (2, 1, -3)) == [Outcome.CHANGED] * 2
        later = NOW + timedelta(minutes=1)
        assert await stock.count((1, 1, 5), (2, 1, -3), at=later) == [Outcome.UNCHANGED] * 2
        assert stock.positions() == {(1, 1): (5, 0), (2, 1): (-3, 0)}
        assert stock.rows("SELECT max(version) FROM position") == [(1,)]

    tell(database, schema, story)


def test_an_older_count_never_overwrites_a_newer_one(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 5))
        before = NOW - timedelta(hours=1)
        assert await stock.count((1, 1, 9), at=before) == [Outcome.OLDER]
        assert stock.positions() == {(1, 1): (5, 0)}

    tell(database, schema, story)


def test_of_two_rows_for_a_position_the_later_in_the_list_counts(
    database: str, schema: str
) -> None:
    async def story(stock: Stock) -> None:
        outcomes = await stock.count((1, 1, 5), (2, 1, 1), (1, 1, 7))
        assert outcomes == [Outcome.SUPERSEDED, Outcome.CHANGED, Outcome.CHANGED]
        assert stock.positions()[(1, 1)] == (7, 0)

    tell(database, schema, story)


def test_what_shipped_after_the_count_was_taken_is_taken_off_again(
    database: str, schema: str
) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 10))
        reservation = await stock.reserve(1, 3)
        assert isinstance(reservation, Reservation)
        stock.now = NOW + timedelta(hours=2)
        assert await stock.ship(reservation) == [reservation]
        counted_before_it_left = NOW + timedelta(hours=1)
        stock.now = NOW + timedelta(hours=3)
        await stock.count((1, 1, 12), at=counted_before_it_left)
        assert stock.positions() == {(1, 1): (9, 0)}

    tell(database, schema, story)


def test_an_adjustment_from_before_the_count_moves_nothing(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 10))
        late = Adjustment(1, 1, -4, NOW - timedelta(minutes=5))
        fresh = Adjustment(1, 1, -2, NOW + timedelta(minutes=5))
        await stock.run(lambda tx: adjust_stock(tx, [late], new_id()))
        await stock.run(lambda tx: adjust_stock(tx, [fresh], new_id()))
        assert stock.positions() == {(1, 1): (8, 0)}

    tell(database, schema, story)


def test_a_late_count_does_not_add_an_adjustment_that_it_has_seen(
    database: str, schema: str
) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 10))
        seen = Adjustment(1, 1, -2, NOW + timedelta(hours=1))
        not_seen = Adjustment(1, 1, -1, NOW + timedelta(hours=3))
        stock.now = NOW + timedelta(hours=4)
        await stock.run(lambda tx: adjust_stock(tx, [seen, not_seen], new_id()))
        stock.now = NOW + timedelta(hours=5)
        await stock.count((1, 1, 8), at=NOW + timedelta(hours=2))
        assert stock.positions() == {(1, 1): (7, 0)}

    tell(database, schema, story)


def test_a_reservation_leaves_the_floor(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 5))
        stock.floor = 2
        refused = await stock.reserve(1, 4)
        assert isinstance(refused, Refusal)
        assert refused.code == "out_of_stock"
        assert isinstance(await stock.reserve(1, 3), Reservation)

    tell(database, schema, story)


def test_giving_back_twice_gives_back_once(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 5))
        reservation = await stock.reserve(1, 4)
        assert isinstance(reservation, Reservation)
        assert await stock.unreserve(reservation) == [reservation]
        assert await stock.unreserve(reservation) == []
        assert stock.positions() == {(1, 1): (5, 0)}

    tell(database, schema, story)


def test_an_expired_hold_does_not_keep_the_last_unit_from_who_asks(
    database: str, schema: str
) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 1))
        assert isinstance(await stock.reserve(1, 1, NOW + timedelta(minutes=10)), Reservation)
        assert isinstance(await stock.reserve(1, 1), Refusal)
        stock.now = NOW + timedelta(minutes=11)
        assert isinstance(await stock.reserve(1, 1), Reservation)

    tell(database, schema, story)


def test_a_hold_that_expires_while_the_last_unit_is_asked_for_gives_it_once(
    database: str, schema: str
) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 1))
        await stock.reserve(1, 1, NOW + timedelta(minutes=10))
        stock.now = NOW + timedelta(minutes=11)
        asked = [stock.reserve(1, 1) for _ in range(6)]
        expiring = [stock.run(lambda tx: expire_holds(tx, 100)) for _ in range(3)]
        results = await asyncio.gather(*asked, *expiring)
        assert sum(isinstance(one, Reservation) for one in results) == 1
        assert stock.positions() == {(1, 1): (1, 1)}

    tell(database, schema, story)


def test_a_count_below_what_is_reserved_is_accepted_and_sheds(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 10))
        for _ in range(4):
            await stock.reserve(1, 2)
        stock.now = NOW + timedelta(hours=1)
        await stock.count((1, 1, 5))
        assert stock.positions() == {(1, 1): (5, 8)}
        lost = stock.rows("SELECT payload ->> 'qty' FROM inbox WHERE name = 'order.stock_lost'")
        assert lost == [("2",), ("2",)]
        (shortage,) = stock.rows("SELECT payload FROM event WHERE name = 'inventory.shortage'")
        assert shortage[0] == {"position_id": 1, "lacking": 3}

    tell(database, schema, story)


@pytest.mark.parametrize("by_adjustment", [False, True])
def test_cart_holds_end_before_an_allocation_is_shed(
    database: str, schema: str, *, by_adjustment: bool
) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 10), (2, 1, 4))
        await stock.reserve(1, 4)
        expires_at = NOW + timedelta(hours=2)
        kept = [await stock.reserve(1, 2, expires_at), await stock.reserve(2, 2, expires_at)]
        shed = await stock.reserve(1, 3, expires_at)
        assert isinstance(shed, Reservation)
        stock.now = NOW + timedelta(hours=1)
        await _lose(stock, 3, by_adjustment=by_adjustment)
        assert stock.positions() == {(1, 1): (7, 6), (2, 1): (4, 2)}
        left = stock.rows("SELECT id::text FROM reservation WHERE kind = 1 ORDER BY id")
        assert left == [(one.id,) for one in kept if isinstance(one, Reservation)]
        entries = stock.rows(
            "SELECT e.qty, e.cause_id::text FROM journal j, unnest(j.cause_kinds, "
            "j.reserved_deltas, j.cause_ids) AS e (kind, qty, cause_id) WHERE e.kind = 10"
        )
        assert entries == [(-3, shed.root_id)]
        assert stock.rows("SELECT 1 FROM inbox") == []
        assert await stock.unreserve(shed) == []
        stock.check_journal()
        await _lose(stock, 4, by_adjustment=by_adjustment)
        assert stock.positions() == {(1, 1): (3, 4), (2, 1): (4, 2)}
        lost = stock.rows("SELECT payload ->> 'qty' FROM inbox WHERE name = 'order.stock_lost'")
        assert lost == [("4",)]

    tell(database, schema, story)


async def _lose(stock: Stock, qty: int, *, by_adjustment: bool) -> None:
    """Let the first position have fewer, by a count or by an adjustment of it."""
    if by_adjustment:
        lost = [Adjustment(1, 1, -qty, stock.now)]
        await stock.run(lambda tx: adjust_stock(tx, lost, new_id()))
    else:
        on_hand, _ = stock.positions()[(1, 1)]
        await stock.count((1, 1, on_hand - qty), at=stock.now)


def test_a_row_that_lost_a_race_is_left_to_be_judged_again(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 10), (2, 1, 10))
        known = Known(
            ids=np.array([1, 2], dtype=np.int32),
            on_hands=np.array([10, 10], dtype=np.int32),
            reserveds=np.array([0, 0], dtype=np.int32),
            versions=np.array([1, 1], dtype=np.int32),
            counted_us=np.array([microseconds(NOW)] * 2, dtype=np.int64),
        )
        await stock.reserve(1, 1)
        stock.now = NOW + timedelta(minutes=1)
        feed = counts([(1, 1, 7), (2, 1, 7)], stock.now)
        outcomes = await stock.run(lambda tx: set_known_stock(tx, feed, known))
        assert outcomes.tolist() == [Outcome.LOST, Outcome.CHANGED]
        assert stock.positions() == {(1, 1): (10, 1), (2, 1): (7, 0)}

    tell(database, schema, story)


def test_many_clients_cannot_take_more_than_there_is(database: str, schema: str) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 20))
        results = await asyncio.gather(*(stock.reserve(1, 1) for _ in range(40)))
        assert sum(isinstance(one, Reservation) for one in results) == 20
        assert stock.positions() == {(1, 1): (20, 20)}

    tell(database, schema, story)


operation = st.tuples(
    st.sampled_from(["count", "adjust", "reserve", "hold", "unreserve", "ship", "expire", "wait"]),
    st.integers(1, 3),
    st.integers(0, 6),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(operation, min_size=5, max_size=30))
def test_journal_sums_equal_positions_under_any_operations(
    database: str, operations: list[tuple[str, int, int]]
) -> None:
    async def story(stock: Stock) -> None:
        await stock.count((1, 1, 4), (2, 1, 4), (3, 1, 4))
        live: list[Reservation] = []
        for name, position_id, qty in operations:
            await step(stock, live, name, position_id, qty)
            stock.now += timedelta(seconds=1)

    with account(database, "inventory_operations_test") as name:
        tell(database, name, story)


async def step(
    stock: Stock, live: list[Reservation], name: str, position_id: int, qty: int
) -> None:
    if name == "count":
        await stock.count((position_id, 1, qty))
    elif name == "adjust":
        change = Adjustment(position_id, 1, qty - 3, stock.now)
        await stock.run(lambda tx: adjust_stock(tx, [change], new_id()))
    elif name in {"reserve", "hold"} and qty:
        expires_at = stock.now + timedelta(seconds=3) if name == "hold" else None
        result = await stock.reserve(position_id, qty, expires_at)
        if isinstance(result, Reservation):
            live.append(result)
    elif name in {"unreserve", "ship"} and live:
        reservation = live.pop(qty % len(live))
        await (stock.unreserve(reservation) if name == "unreserve" else stock.ship(reservation))
    elif name == "expire":
        await stock.run(lambda tx: expire_holds(tx, 10))
    elif name == "wait":
        stock.now += timedelta(seconds=qty)
