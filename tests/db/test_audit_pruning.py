"""The journal is pruned behind baselines: it audits clean, and tells what it no longer knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.db.in_account import run
from tests.db.test_audit import breaches
from tests.db.test_audit_forward import background, forward, found, fully, with_database
from tests.shop import Shop, assert_numbered, count, opened, order, place, shop, work

from penstock.audit.pruning import Pruned, count_journal, month_of, prune_journal
from penstock.errors import Refusal
from penstock.inventory.history import StockQuery, history, stock_as_of

NOW = datetime.now(UTC)
THIS_MONTH = month_of(NOW)
LAST = THIS_MONTH - timedelta(days=10)


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    """Lend a shop whose stock began last month, and of which some has moved since."""
    with shop(database, "pruning_test") as made:
        asyncio.run(_last_month(made))
        month = f"{LAST:%Y_%m}"
        begin = month_of(LAST)
        made.sql(
            f"CREATE TABLE journal_{month} PARTITION OF journal FOR VALUES FROM ('{begin}') "
            f"TO ('{THIS_MONTH}');"
            f"UPDATE journal SET recorded_at = '{LAST}' WHERE id <= (SELECT max(id) FROM journal)"
        )
        asyncio.run(_this_month(made))
        yield made


async def _last_month(lent: Shop) -> None:
    async with opened(lent) as account:
        await count(account, ("P1", "L1", 10), ("P2", "L1", 5), ("P3", "L1", 2))
        await place(account, order("W-1", ("P1", 3), ("P2", 1)))
        await place(account, order("W-2", ("P3", 2)))
        await count(account, ("P3", "L1", 1))  # less than is reserved: short by a count
        await work(account)
        await assert_numbered(lent)


async def _this_month(lent: Shop) -> None:
    async with opened(lent) as account:
        await place(account, order("W-3", ("P1", 2)))
        await count(account, ("P4", "L2", 7))
        await assert_numbered(lent)


def silence(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def pruned(lent: Shop, before: datetime = NOW) -> Pruned:
    return with_database(lent.conninfo, lambda db: prune_journal(db, lent.schema, before, silence))


def test_an_account_audits_clean_over_a_prune_and_goes_on(lent: Shop) -> None:
    rows = lent.value("SELECT count(*) FROM journal")
    assert run(lent.conninfo, lent.schema, lambda tx: count_journal(tx, NOW)) == rows - 2
    done = pruned(lent)
    assert (done.since, done.baselines, done.rows) == (THIS_MONTH, 3, rows - 2)
    assert done.months == [f"journal_{LAST:%Y_%m}"]
    assert lent.value("SELECT count(*) FROM journal") == 2
    assert breaches(fully(lent.conninfo, lent.schema)) == {}
    assert breaches(forward(lent.conninfo, lent.schema)) == {}
    asyncio.run(_this_month_again(lent))
    assert breaches(fully(lent.conninfo, lent.schema)) == {}
    assert background(lent.conninfo, lent.schema)
    assert found(lent.conninfo, lent.schema) == []
    lent.sql("UPDATE position SET on_hand = 11, version = version + 1 WHERE id = 1")
    report = fully(lent.conninfo, lent.schema)
    assert breaches(report) == {"journal": 1}
    (sentence,) = next(check.examples for check in report.checks if check.breaches)
    assert "adds up to 10 on hand, the row says 11" in sentence
    again = pruned_again(lent)
    assert again == "journal_not_clean"


async def _this_month_again(lent: Shop) -> None:
    async with opened(lent) as account:
        await place(account, order("W-4", ("P1", 1), ("P2", 2)))
        await assert_numbered(lent)


def pruned_again(lent: Shop) -> str:
    with pytest.raises(Refusal) as refused:
        pruned(lent)
    return refused.value.code


def test_what_was_before_is_no_longer_told_and_what_came_after_is(lent: Shop) -> None:
    query = StockQuery(["P1", "P2"])
    before = THIS_MONTH - timedelta(days=1)
    was = run(lent.conninfo, lent.schema, lambda tx: stock_as_of(tx, query, before))
    assert {(one.sku, one.on_hand, one.reserved) for one in was} == {("P1", 10, 3), ("P2", 5, 1)}
    pruned(lent)
    with pytest.raises(Refusal) as refused:
        run(lent.conninfo, lent.schema, lambda tx: stock_as_of(tx, query, before))
    assert refused.value.code == "history_pruned"
    begin = run(lent.conninfo, lent.schema, lambda tx: stock_as_of(tx, query, THIS_MONTH))
    assert {(one.sku, one.on_hand, one.reserved) for one in begin} == {("P1", 10, 3), ("P2", 5, 1)}
    now = run(lent.conninfo, lent.schema, lambda tx: stock_as_of(tx, query, datetime.now(UTC)))
    assert {(one.sku, one.on_hand, one.reserved) for one in now} == {("P1", 10, 5), ("P2", 5, 1)}
    one = StockQuery(["P1"], ["L1"])
    told = run(lent.conninfo, lent.schema, lambda tx: history(tx, one))
    assert [entry.why.order for entry in told.entries] == ["W-3"]
    assert told.is_cut
    none = run(lent.conninfo, lent.schema, lambda tx: history(tx, StockQuery(["P2"], ["L1"])))
    assert (list(none.entries), none.is_cut) == ([], True)


def test_a_prune_that_was_killed_after_its_baselines_audits_clean_and_is_done_again(
    lent: Shop,
) -> None:
    lent.sql(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'killed'; END $$;"
        "CREATE TRIGGER dies BEFORE UPDATE OF journal_from ON audit_checkpoint "
        "FOR EACH ROW EXECUTE FUNCTION die()"
    )
    rows = lent.value("SELECT count(*) FROM journal")
    with pytest.raises(Exception, match="killed"):
        pruned(lent)
    assert lent.value("SELECT count(*) FROM journal") == rows
    assert lent.value("SELECT count(*) FROM position_baseline WHERE kind = 1") == 3
    assert breaches(fully(lent.conninfo, lent.schema)) == {}
    lent.sql("DROP TRIGGER dies ON audit_checkpoint")
    assert pruned(lent).rows == rows - 2
    assert breaches(fully(lent.conninfo, lent.schema)) == {}


def test_a_shortage_by_count_is_still_no_oversale_after_a_prune(lent: Shop) -> None:
    lent.sql("UPDATE position SET reserved = reserved WHERE id = 3")
    before = fully(lent.conninfo, lent.schema).figures.short_by_count
    pruned(lent)
    report = fully(lent.conninfo, lent.schema)
    assert report.figures.short_by_count == before
    assert breaches(report) == {}
    lent.sql("DELETE FROM audit_finding")


def test_nothing_old_prunes_nothing(lent: Shop) -> None:
    done = pruned(lent, NOW - timedelta(days=400))
    assert (done.baselines, done.rows, done.months) == (0, 0, [])
    assert breaches(fully(lent.conninfo, lent.schema)) == {}
