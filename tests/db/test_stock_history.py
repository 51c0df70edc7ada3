"""What stock was at an instant, and why it is what it is, as the journal tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.db.in_account import run
from tests.shop import Shop, count, opened, order, place, shop, tell

from penstock.app import Account
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.causes import SQL, note_cause, note_reasons
from penstock.inventory.counts import adjust_stock
from penstock.inventory.history import (
    History,
    Stock,
    StockQuery,
    history,
    stock_as_of,
    stock_now,
)
from penstock.inventory.model import Adjustment
from penstock.passes import Pass


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "history_test") as made:
        yield made


def whole(lent: Shop, story: Callable[[Account], Awaitable[None]]) -> None:
    async def run_it() -> None:
        async with opened(lent) as account:
            await story(account)

    asyncio.run(run_it())


def page(
    lent: Shop, sku: str, location: str, before: str | None = None, limit: int = 50
) -> History:
    query = StockQuery([sku], [location])
    return run(lent.conninfo, lent.schema, lambda tx: history(tx, query, before, limit))


def as_of(lent: Shop, at: datetime, *skus: str) -> dict[tuple[str, str], tuple[int, int, int]]:
    query = StockQuery(skus)
    found: list[Stock] = run(lent.conninfo, lent.schema, lambda tx: stock_as_of(tx, query, at))
    return {(s.sku, s.location): (s.on_hand, s.reserved, s.available) for s in found}


def now_of(lent: Shop) -> datetime:
    return lent.value("SELECT clock_timestamp()")


def test_the_history_of_a_position_names_the_cause_of_every_movement(lent: Shop) -> None:
    async def story(account: Account) -> None:
        await count(account, ("P1", "L1", 10))
        (first,) = await place(account, order("W-1", ("P1", 3)))
        (second,) = await place(account, order("W-2", ("P1", 2)))
        await tell(account, second["id"], "order.cancellation_requested")
        fulfilment = first["fulfilments"][0]
        released = await tell(
            account, first["id"], "fulfilment.shipped", fulfilment_id=fulfilment["id"], lines=None
        )
        assert not isinstance(released, Refusal), released
        await _adjust(account, -1, "dropped")

    whole(lent, story)
    found = page(lent, "P1", "L1")
    told = [(e.on_hand_delta, e.reserved_delta, e.on_hand, e.reserved) for e in found.entries]
    assert told[-1] == (10, 0, 10, 0)
    assert told[-2] == (0, 3, 10, 3)
    says = [entry.why.says for entry in found.entries]
    assert says[-3:] == [
        "reserved for order W-2 of web",
        "reserved for order W-1 of web",
        "counted",
    ]
    assert "given back by order W-2 of web" in says
    assert "shipped for order W-1 of web" in says
    assert says[0] == "adjusted: dropped"
    assert found.entries[0].why.reason == "dropped"
    assert (found.on_hand, found.reserved) == told[0][2:]
    assert [entry.version for entry in found.entries] == list(range(len(told), 0, -1))
    assert found.next is None
    assert not found.is_cut


async def _adjust(account: Account, delta: int, reason: str) -> None:
    async def work(tx: Pass) -> None:
        product_id = account.knowledge.product_id(1, "P1")
        location_id = account.knowledge.location_id("L1")
        change = Adjustment(product_id, location_id, delta, tx.now, reason=reason)
        await adjust_stock(tx, [change], new_id())
        note_reasons(tx, [change])

    await account.knowledge.run_pass("stock", work)


def test_a_count_names_its_source_and_file(lent: Shop) -> None:
    async def story(account: Account) -> None:
        await count(account, ("P1", "L1", 10))
        cause_id = lent.value("SELECT cause_ids[1] FROM journal")
        work: Callable[[Tx], Awaitable[None]] = lambda tx: note_cause(  # noqa: E731 (one line)
            tx, str(cause_id), "feed", "erp", "monday.csv"
        )
        await account.database.run(lent.schema, work)

    whole(lent, story)
    (entry,) = page(lent, "P1", "L1").entries
    assert entry.why.says == "counted by erp, by feed (monday.csv)"
    assert (entry.why.source, entry.why.reference) == ("erp", "monday.csv")
    assert entry.counted_at is not None


def test_pages_of_a_history_follow_each_other_without_gap_or_repetition(lent: Shop) -> None:
    async def story(account: Account) -> None:
        for n in range(1, 24):
            await count(account, ("P1", "L1", n), ("P2", "L1", n))

    whole(lent, story)
    versions: list[int] = []
    before: str | None = None
    for _ in range(10):
        found = page(lent, "P1", "L1", before, 5)
        versions += [entry.version for entry in found.entries]
        before = found.next
        if before is None:
            break
    assert versions == list(range(23, 0, -1))


def test_stock_as_of_an_instant_is_what_it_was_then_for_many_positions(lent: Shop) -> None:
    instants: list[tuple[datetime, dict[tuple[str, str], tuple[int, int, int]]]] = []

    async def story(account: Account) -> None:
        instants.append((now_of(lent), {}))
        await count(account, ("P1", "L1", 10), ("P1", "L2", 4))
        instants.append((now_of(lent), {("P1", "L1"): (10, 0, 10), ("P1", "L2"): (4, 0, 4)}))
        await place(account, order("W-1", ("P1", 3)))
        await count(account, ("P2", "L3", 0))
        instants.append(
            (
                now_of(lent),
                {
                    ("P1", "L1"): (10, 3, 7),
                    ("P1", "L2"): (4, 0, 4),
                    ("P2", "L3"): (0, 0, 0),
                },
            )
        )
        await count(account, ("P1", "L1", 2), ("P2", "L3", 5))

    whole(lent, story)
    for at, was in instants:
        assert as_of(lent, at, "P1", "P2") == was
    now = run(lent.conninfo, lent.schema, lambda tx: stock_now(tx, StockQuery(["P2"])))
    assert [(one.location, one.on_hand) for one in now] == [("L3", 5)]


def test_what_does_not_exist_is_refused_by_name(lent: Shop) -> None:
    def refused(work: Callable[[Tx], Awaitable[Any]]) -> str:
        with pytest.raises(Refusal) as caught:
            run(lent.conninfo, lent.schema, work)
        return caught.value.code

    assert refused(lambda tx: stock_now(tx, StockQuery(["NOPE"]))) == "unknown_sku"
    assert refused(lambda tx: stock_now(tx, StockQuery(["P1"], ["NOPE"]))) == "unknown_location"
    assert refused(lambda tx: history(tx, StockQuery(["P1"], ["L1"]))) == "no_such_position"
    whole(lent, _counted)
    bad = refused(lambda tx: history(tx, StockQuery(["P1"], ["L1"]), "x-y"))
    assert bad == "invalid_query"


async def _counted(account: Account) -> None:
    await count(account, ("P1", "L1", 1))


def test_a_history_in_several_pools_asks_which(lent: Shop) -> None:
    whole(lent, _counted)
    lent.sql(
        "INSERT INTO pool (ref) VALUES ('used');"
        "INSERT INTO position SELECT nextval('position_id'), product_id, location_id, 2, 1,"
        " 0, 0, 0, 0 FROM position"
    )
    with pytest.raises(Refusal) as caught:
        page(lent, "P1", "L1")
    assert caught.value.code == "pool_needed"
    query = StockQuery(["P1"], ["L1"], pool="used")
    found = run(lent.conninfo, lent.schema, lambda tx: history(tx, query))
    assert found.entries == []


SEED = 20260301
MOVES = 150


def test_the_past_of_random_movements_is_that_of_a_plain_list(lent: Shop) -> None:
    """Positions move at random; the list of what they were is kept here, and compared."""
    random = np.random.default_rng(SEED)
    kept: list[tuple[datetime, dict[tuple[str, str], int]]] = []
    keys = [(f"P{n}", f"L{m}") for n in (1, 2, 3) for m in (1, 2, 3)]

    async def story(account: Account) -> None:
        state: dict[tuple[str, str], int] = {}
        for _ in range(MOVES):
            chosen = random.choice(len(keys), size=random.integers(1, 6), replace=False)
            values = {keys[n]: int(random.integers(0, 90)) for n in chosen}
            await count(account, *((*key, on_hand) for key, on_hand in values.items()))
            state = {**state, **values}
            kept.append((lent.value("SELECT max(recorded_at) FROM journal"), state))

    whole(lent, story)
    for n in random.integers(0, MOVES, size=40).tolist():
        at, was = kept[n]
        found = as_of(lent, at, "P1", "P2", "P3")
        assert {key: values[0] for key, values in found.items()} == was, f"seed {SEED}"
    before = kept[0][0] - timedelta(seconds=1)
    assert as_of(lent, before, "P1", "P2", "P3") == {}


def test_the_far_past_of_a_busy_position_is_entered_at_a_mark(lent: Shop) -> None:
    """Of a position with 10,000 entries few rows are read near a mark, and never the journal."""
    lent.sql(BUSY)
    middle = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=5_000, seconds=1)
    assert as_of(lent, middle, "P1") == {("P1", "L1"): (5_000, 0, 5_000)}
    rows_without = _rows_read(lent, middle)
    lent.sql(
        "INSERT INTO journal_mark SELECT 1, n, n, '2026-01-01Z'::timestamptz + n * interval '1 min'"
        " FROM generate_series(256, 10000, 256) AS n"
    )
    assert as_of(lent, middle, "P1") == {("P1", "L1"): (5_000, 0, 5_000)}
    assert _rows_read(lent, middle) < 300 < rows_without < 5_500


BUSY = """
INSERT INTO position (id, product_id, location_id, pool_id, on_hand, reserved, version, journal_id)
VALUES (1, 1, 1, 1, 10000, 0, 10000, 10000);
INSERT INTO journal (id, pass_id, recorded_at, occurred_at, position_ids, product_ids,
    location_ids, pool_ids, cause_kinds, cause_ids, on_hand_deltas, reserved_deltas, on_hands,
    reserveds, versions, previous_ids, counted_ats, moves_on_hand)
SELECT n, gen_random_uuid(), at, at, '{7,1}', '{7,1}', '{1,1}', '{1,1}', '{2,2}',
       ARRAY[gen_random_uuid(), gen_random_uuid()], '{1,1}', '{0,0}', ARRAY[n, n], '{0,0}',
       ARRAY[n, n], ARRAY[n - 1, n - 1], '{0,0}', true
FROM (SELECT n, '2026-01-01Z'::timestamptz + n * interval '1 min' AS at
      FROM generate_series(1, 10000) AS n) AS s;
ANALYZE journal;
"""


def _rows_read(lent: Shop, at: datetime) -> int:
    """Return how many journal rows one question reads; fails if one is found without an index."""
    params = {"at": at, "ids": np.array([1], dtype=np.int32), "most": 50_000}

    async def explain(tx: Tx) -> Any:
        query = b"EXPLAIN (ANALYZE, FORMAT JSON) " + SQL.stock_as_of
        return (await tx.fetch(query, params, binary=False))[0][0]  # pyright: ignore[reportArgumentType] (a mapping is as good)

    nodes = list(_nodes(run(lent.conninfo, lent.schema, explain)[0]["Plan"]))
    scans = [node for node in nodes if node.get("Relation Name", "").startswith("journal_")]
    scans = [node for node in scans if node["Relation Name"] != "journal_mark"]
    assert {node["Node Type"] for node in scans} == {"Index Scan"}
    return sum(round(node["Actual Rows"] * node["Actual Loops"]) for node in scans)


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)
