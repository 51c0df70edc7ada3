"""The audit that goes on where it was finds what a whole one finds, and keeps it as findings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import psycopg
import pytest
from tests.db.audited_rows import SEED, journal_row, uid
from tests.db.stock_moves import account
from tests.db.test_audit import BREAKS, breaches, number_until, run_sql, write_until
from tests.shop import shop, until

from penstock.audit.background import Auditor
from penstock.audit.findings import Finding, last_runs, open_findings, resolved_findings
from penstock.audit.report import Report
from penstock.audit.run import audit, audit_forward, audit_fully
from penstock.db import Database

T = TypeVar("T")


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "audit_forward_test") as name:
        run_sql(database, name, SEED)
        yield name


def with_database(conninfo: str, work: Callable[[Database], Awaitable[T]]) -> T:
    async def whole() -> T:
        db = Database(conninfo, size=4)
        await db.open()
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(whole())


def forward(conninfo: str, schema: str) -> Report:
    return with_database(conninfo, lambda db: audit_forward(db, schema))


def fully(conninfo: str, schema: str) -> Report:
    return with_database(conninfo, lambda db: audit_fully(db, schema))


def found(conninfo: str, schema: str) -> list[Finding]:
    return with_database(conninfo, lambda db: db.run(schema, open_findings))


def rows(conninfo: str, schema: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo, options=f"-c search_path={schema}") as connection:
        return connection.execute(query.encode()).fetchall()


def background(conninfo: str, schema: str) -> bool:
    """Run the background audit once, as a worker that has just begun."""
    run_sql(conninfo, schema, "UPDATE audit_checkpoint SET claimed_until = '-infinity'")
    return with_database(conninfo, lambda db: Auditor(db, schema, 60.0).run_once())


def test_the_second_run_reads_only_what_came_since_the_first(database: str, schema: str) -> None:
    first = forward(database, schema)
    assert breaches(first) == {}
    assert (first.figures.journal_entries, first.figures.positions) == (8, 3)
    assert (first.figures.short_by_count, first.figures.units_short_by_count) == (1, 2)
    assert rows(database, schema, "SELECT number FROM audit_checkpoint") == [(3,)]
    run_sql(
        database,
        schema,
        f"INSERT INTO pass (id, kind, stamp, number) VALUES ({uid(4)}, 'count', 4, 4);"
        + journal_row(4000, 4, [(2, 1, 3, 0, 9, 2, 3, 2000)])
        + "UPDATE position SET on_hand = 9, version = 3, journal_id = 4000 WHERE id = 2",
    )
    second = forward(database, schema)
    assert breaches(second) == {}
    assert second.figures.journal_entries == 1
    runs = with_database(database, lambda db: db.run(schema, lambda tx: last_runs(tx, 5)))
    assert [(run.kind, run.from_number, run.to_number, run.entries) for run in runs] == [
        ("forward", 3, 4, 1),
        ("forward", 0, 3, 8),
    ]


# Old rows of the journal changed by hand, and what names no pass: only who reads all again sees it.
IN_THE_PAST = {
    "an entry twice",
    "a wrong result",
    "a wrong link back",
    "a journal row of no pass",
    "a journal of a position beyond the last",
    "a journal of a position in between that is gone",
}
# Passes that get other numbers are read again: their entries are found twice.
RENUMBERED = {"a number left out"}


def numbered(text: str) -> str:
    """Have a break's journal row written by a pass of its own, as writers do."""
    new = f"INSERT INTO pass (id, kind, stamp, number) VALUES ({uid(4)}, 'orders', 4, 4);"
    return new + text.replace(f"VALUES (3001, {uid(3)}", f"VALUES (3001, {uid(4)}")


@pytest.mark.parametrize("what", [what for what in BREAKS if what not in IN_THE_PAST | RENUMBERED])
def test_a_breach_after_the_checkpoint_is_found_kept_and_explained(
    database: str, schema: str, what: str
) -> None:
    forward(database, schema)
    check_name, break_it, fragments = BREAKS[what]
    is_entry = "3001" in break_it
    run_sql(database, schema, numbered(break_it) if is_entry else break_it)
    report = forward(database, schema)
    assert breaches(report) == {check_name: 1}, [c.examples for c in report.checks]
    (finding,) = found(database, schema)
    assert finding.check == check_name
    if check_name not in {"journal", "oversold"}:  # those two are explained in words of their own
        assert [f for f in fragments if f not in finding.sentence] == [], finding.sentence
    assert fragments[0].split(" (")[0] in finding.sentence
    again = forward(database, schema)
    assert breaches(again) == {check_name: 1}
    assert [one.id for one in found(database, schema)] == [finding.id]


@pytest.mark.parametrize("what", sorted(IN_THE_PAST))
def test_what_was_changed_in_the_past_is_found_by_reading_all_and_stays_open(
    database: str, schema: str, what: str
) -> None:
    forward(database, schema)
    check_name, break_it, fragments = BREAKS[what]
    run_sql(database, schema, break_it)
    assert breaches(fully(database, schema)) == {check_name: 1}
    assert breaches(forward(database, schema)) == {check_name: 1}
    (finding,) = found(database, schema)
    assert fragments[0] in finding.sentence


def test_an_entry_that_does_not_follow_the_one_before_is_found_when_it_comes(
    database: str, schema: str
) -> None:
    forward(database, schema)
    run_sql(
        database,
        schema,
        f"INSERT INTO pass (id, kind, stamp, number) VALUES ({uid(4)}, 'count', 4, 4);"
        + journal_row(
            4000,
            4,
            [(1, 1, 1, 0, 9, 1, 4, 2000), (2, 1, 1, 0, 7, 2, 4, 2000), (3, 1, 1, 0, 4, 5, 4, 1000)],
        )
        + "UPDATE position SET on_hand = 9, version = 4, journal_id = 4000 WHERE id = 1;"
        "UPDATE position SET on_hand = 7, version = 4, journal_id = 4000 WHERE id = 2;"
        "UPDATE position SET on_hand = 4, version = 4, journal_id = 4000 WHERE id = 3",
    )
    assert breaches(forward(database, schema)) == {"journal": 3}
    at = "version 4 (journal row 4000)"
    assert [one.sentence for one in found(database, schema)] == [
        f"Position 1: {at} says 9 on hand and 1 reserved, the entries up to it make 8 and 1.",
        f"Position 2: after version 2 its journal has {at}.",
        f"Position 3: {at} names 1000 as the journal row before, which is 3000.",
    ]
    assert [one.key for one in found(database, schema)] == ["chain:1", "chain:2", "chain:3"]


def test_a_finding_is_resolved_when_the_breach_is_gone(database: str, schema: str) -> None:
    forward(database, schema)
    run_sql(database, schema, "UPDATE position SET on_hand = 8 WHERE id = 1")
    run_sql(database, schema, "UPDATE capacity SET used = 2 WHERE location_id = 2")
    assert breaches(forward(database, schema)) == {"journal": 1, "capacity": 1}
    run_sql(database, schema, "UPDATE position SET on_hand = 7 WHERE id = 1")
    assert breaches(forward(database, schema)) == {"capacity": 1}
    run_sql(database, schema, "UPDATE capacity SET used = 1 WHERE location_id = 2")
    assert breaches(forward(database, schema)) == {}
    gone = with_database(database, lambda db: db.run(schema, lambda tx: resolved_findings(tx, 9)))
    assert {one.check for one in gone} == {"journal", "capacity"}
    assert all(one.resolved_at is not None for one in gone)


ONCE = {
    "stock that no entry moved",
    "an entry lost",
    "a wrong last link",
    "a reservation that no position counts",
    "a product that is gone",
    "capacity not given back",
    "a cap that has counted what nobody keeps",
}


@pytest.mark.parametrize("what", sorted(ONCE))
def test_the_background_audit_finds_it_by_itself_and_sees_when_it_is_gone(
    database: str, schema: str, what: str
) -> None:
    assert background(database, schema)
    check_name, break_it, _ = BREAKS[what]
    run_sql(database, schema, break_it)
    assert background(database, schema)
    assert [one.check for one in found(database, schema)] == [check_name]


def test_the_background_audit_looks_at_the_orders_that_passes_have_moved(
    database: str, schema: str
) -> None:
    assert background(database, schema)
    run_sql(
        database,
        schema,
        f"""INSERT INTO pass (id, kind, stamp, number) VALUES ({uid(4)}, 'orders', 4, 4);
        INSERT INTO event (pass_id, ordinal, occurred_at, root_kind, root_id, seq, entity,
                           entity_id, name, payload)
        VALUES ({uid(4)}, 1, now(), 'order', {uid(100)}, 9, 'order', {uid(100)}, 'x', '{{}}')""",
    )
    assert background(database, schema)
    (finding,) = found(database, schema)
    assert (finding.check, finding.key) == ("events", f"root:{uid(100)[1:-1]}")
    run_sql(database, schema, f"DELETE FROM event WHERE root_id = {uid(100)} AND seq = 9")
    assert background(database, schema)
    assert found(database, schema) == []


def test_who_asks_too_early_or_while_another_audits_does_not(database: str, schema: str) -> None:
    async def story(db: Database) -> list[bool]:
        first, second = Auditor(db, schema, 60.0), Auditor(db, schema, 60.0)
        return [await first.run_once(), await second.run_once(), await first.run_once()]

    assert with_database(database, story) == [True, False, False]


def test_a_background_audit_runs_in_the_worker_until_it_is_told_to_stop(
    database: str, schema: str
) -> None:
    async def story(db: Database) -> int:
        stop = asyncio.Event()
        task = asyncio.create_task(Auditor(db, schema, 0.05).run(stop))
        await until(
            lambda: len(rows(database, schema, "SELECT 1 FROM audit_run")) >= 3, "no three runs"
        )
        stop.set()
        await asyncio.wait_for(task, 10)
        return len(await db.run(schema, lambda tx: last_runs(tx, 9)))

    assert with_database(database, story) >= 3


def test_a_full_audit_says_the_same_as_one_from_nothing_that_goes_forward(database: str) -> None:
    with shop(database, "audit_same_test") as lent:
        reports = [forward(lent.conninfo, lent.schema), fully(lent.conninfo, lent.schema)]
        assert [breaches(report) for report in reports] == [{}, {}]
        whole = with_database(lent.conninfo, lambda db: audit(db, lent.schema))
        assert breaches(whole) == {}


def test_writers_at_work_are_no_breach_to_audits_that_go_on(database: str, schema: str) -> None:
    """Two writers reserve and count, numbers come late, and two kinds of audit run at once."""

    async def background_audits(db: Database, stop: asyncio.Event) -> int:
        ran = 0
        while not stop.is_set():
            run_sql(database, schema, "UPDATE audit_checkpoint SET claimed_until = '-infinity'")
            ran += await Auditor(db, schema, 0.0).run_once()
        return ran

    async def story(db: Database) -> list[Report]:
        stop, over = asyncio.Event(), asyncio.Event()
        writers = [asyncio.create_task(write_until(db, schema, seed, stop)) for seed in (4, 5)]
        others = asyncio.create_task(background_audits(db, over))
        numbers = asyncio.create_task(number_until(db, schema, stop))
        reports = [await audit_forward(db, schema) for _ in range(6)]
        over.set()
        assert await others > 0
        stop.set()
        moved = sum(await asyncio.gather(*writers))
        await numbers
        assert moved > len(reports)
        reports.append(await audit_forward(db, schema))
        return [*reports, await audit_fully(db, schema)]

    reports = with_database(database, story)
    assert [breaches(report) for report in reports] == [{}] * len(reports)
    assert rows(database, schema, "SELECT sentence FROM audit_finding") == []
