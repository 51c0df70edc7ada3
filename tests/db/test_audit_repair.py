"""What the audit finds wrong is repaired by a person's word, adds up again, and can be undone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.db.audited_rows import SEED, journal_row, uid
from tests.db.stock_moves import account
from tests.db.test_audit import BREAKS, breaches, run_sql
from tests.db.test_audit_forward import background, forward, found, fully, rows, with_database

from penstock.audit.repair import Proposal, Repair, list_repairs, propose, repair, undo
from penstock.audit.report import Report
from penstock.audit.run import audit_forward
from penstock.db import Database
from penstock.errors import Refusal


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "audit_repair_test") as name:
        run_sql(database, name, SEED)
        yield name


def repaired(conninfo: str, schema: str, finding_id: int) -> Repair:
    return with_database(conninfo, lambda db: repair(db, schema, finding_id, "test"))


def undone(conninfo: str, schema: str, repair_id: int) -> Repair:
    return with_database(conninfo, lambda db: undo(db, schema, repair_id, "test"))


def proposed(conninfo: str, schema: str) -> Proposal | None:
    (finding,) = found(conninfo, schema)
    return with_database(conninfo, lambda db: propose(db, schema, finding))


def number_all(conninfo: str, schema: str) -> None:
    """Give the passes of repairs numbers, as the sequencer does."""
    run_sql(
        conninfo,
        schema,
        "UPDATE pass SET number = (SELECT max(number) FROM pass) + 1 WHERE number IS NULL",
    )


# What is broken, what the repair says it writes, and what the rows are afterwards and undone.
STOCK = "SELECT on_hand, reserved FROM position WHERE id = {}"
USED = "SELECT used FROM capacity WHERE location_id = 2"
MENDED: dict[str, tuple[str, str, tuple[int, ...], tuple[int, ...]]] = {
    "a reservation that no position counts": (
        "reserved 2 becomes 5, version 2 becomes 3",
        STOCK.format(2),
        (6, 5),
        (6, 2),
    ),
    "stock that no entry moved": (
        "on hand 8 becomes 7, version 3 becomes 4",
        STOCK.format(1),
        (7, 1),
        (8, 1),
    ),
    "an entry lost": ("version 4 becomes 5", STOCK.format(1), (7, 1), (7, 1)),
    "a wrong last link": ("version 2 becomes 3", STOCK.format(2), (6, 2), (6, 2)),
    "capacity not given back": ("used 2 becomes 1", USED, (1,), (2,)),
    "capacity never taken": ("used 0 becomes 1", USED, (1,), (0,)),
    "a cap that has counted what nobody keeps": (
        "reserved 2 becomes 1",
        "SELECT reserved FROM control_use",
        (1,),
        (2,),
    ),
}


@pytest.mark.parametrize("what", MENDED)
def test_a_mechanical_breach_is_repaired_and_the_repair_undone(
    database: str, schema: str, what: str
) -> None:
    says, query, after, before = MENDED[what]
    check_name, break_it, _ = BREAKS[what]
    forward(database, schema)
    run_sql(database, schema, break_it)
    assert breaches(forward(database, schema)) == {check_name: 1}
    before_rows = rows(database, schema, query)
    proposal = proposed(database, schema)
    assert proposal is not None
    assert proposal.says == says
    assert rows(database, schema, query) == before_rows, "who only looks writes nothing"
    done = repaired(database, schema, proposal.finding_id)
    assert rows(database, schema, query) == [after]
    number_all(database, schema)
    assert breaches(fully(database, schema)) == {}
    assert breaches(forward(database, schema)) == {}
    assert found(database, schema) == []
    with pytest.raises(Refusal) as refused:
        repaired(database, schema, proposal.finding_id)
    assert refused.value.code == "nothing_to_repair"
    back = undone(database, schema, done.id)
    assert back.undone_by == "test"
    assert rows(database, schema, query) == [before]
    number_all(database, schema)
    expected = {"reserved", "capacity", "controls"} & {check_name}
    assert breaches(fully(database, schema)) == dict.fromkeys(expected, 1)
    assert breaches(forward(database, schema)) == dict.fromkeys(expected, 1)
    with pytest.raises(Refusal) as refused:
        undone(database, schema, done.id)
    assert refused.value.code == "repair_undone"
    (kept,) = with_database(database, lambda db: db.run(schema, lambda tx: list_repairs(tx, 9)))
    assert (kept.done_by, kept.undone_by, kept.before) == ("test", "test", done.before)


def test_undoing_takes_off_what_the_repair_added_whatever_has_moved_since(
    database: str, schema: str
) -> None:
    forward(database, schema)
    run_sql(database, schema, BREAKS["a reservation that no position counts"][1])
    forward(database, schema)
    (finding,) = found(database, schema)
    done = repaired(database, schema, finding.id)
    number_all(database, schema)
    (journal_id,) = rows(database, schema, "SELECT journal_id FROM position WHERE id = 2")[0]
    run_sql(
        database,
        schema,
        f"INSERT INTO pass (id, kind, stamp, number) VALUES ({uid(40)}, 'count', 40, 5);"
        + journal_row(9_000, 40, [(2, 1, 4, 0, 10, 5, 4, journal_id)])
        + "UPDATE position SET on_hand = 10, version = 4, journal_id = 9000 WHERE id = 2",
    )
    undone(database, schema, done.id)
    number_all(database, schema)
    assert rows(database, schema, STOCK.format(2)) == [(10, 2)]
    assert breaches(fully(database, schema)) == {"reserved": 1}


@pytest.mark.parametrize("what", ["a wrong result", "a wrong link back", "an entry twice"])
def test_a_broken_journal_is_kept_and_no_longer_added_up(
    database: str, schema: str, what: str
) -> None:
    forward(database, schema)
    run_sql(database, schema, BREAKS[what][1])
    assert breaches(fully(database, schema)) == {"journal": 1}
    proposal = proposed(database, schema)
    assert proposal is not None
    assert proposal.says == "its kept journal begins after version 3"
    done = repaired(database, schema, proposal.finding_id)
    assert found(database, schema) == []
    assert breaches(fully(database, schema)) == {}
    run_sql(database, schema, "UPDATE position SET on_hand = on_hand + 1 WHERE id IN (1, 3)")
    assert breaches(fully(database, schema)) == {"journal": 2}
    run_sql(database, schema, "UPDATE position SET on_hand = on_hand - 1 WHERE id IN (1, 3)")
    assert breaches(fully(database, schema)) == {}
    undone(database, schema, done.id)
    assert [one.check for one in found(database, schema)] == ["journal"]
    assert breaches(fully(database, schema)) == {"journal": 1}


def test_a_row_that_a_full_audit_finds_wrong_is_repaired_by_its_journal(
    database: str, schema: str
) -> None:
    forward(database, schema)
    run_sql(database, schema, BREAKS["stock that no entry moved"][1])
    assert breaches(fully(database, schema)) == {"journal": 1}
    proposal = proposed(database, schema)
    assert proposal is not None
    assert proposal.says == "on hand 8 becomes 7, version 3 becomes 4"
    done = repaired(database, schema, proposal.finding_id)
    number_all(database, schema)
    assert breaches(fully(database, schema)) == {}
    undone(database, schema, done.id)
    assert rows(database, schema, STOCK.format(1)) == [(8, 1)]


def test_a_breach_that_takes_a_person_to_decide_is_not_repaired(database: str, schema: str) -> None:
    forward(database, schema)
    run_sql(database, schema, BREAKS["an allocation that nobody works for"][1])
    forward(database, schema)
    (finding,) = found(database, schema)
    assert proposed(database, schema) is None
    for finding_id, code in ((finding.id, "not_repairable"), (9_999, "unknown_finding")):
        with pytest.raises(Refusal) as refused:
            repaired(database, schema, finding_id)
        assert refused.value.code == code
    with pytest.raises(Refusal) as refused:
        undone(database, schema, 9_999)
    assert refused.value.code == "unknown_repair"


def test_an_audit_that_is_killed_goes_on_from_its_last_piece(database: str, schema: str) -> None:
    """Of many passes some pieces are written; then it dies; the next run reads only the rest."""
    moves = [
        f"INSERT INTO pass (id, kind, stamp, number) VALUES ({uid(1000 + n)}, 'c', {n}, {n});"
        + journal_row(10_000 + n, 1000 + n, [(1, 1, 1, 0, 7 + n - 3, 1, n, 9_999 + n)])
        for n in range(4, 904)
    ]
    text = "".join(moves).replace("ARRAY[10003]", "ARRAY[2000]")
    last = "UPDATE position SET on_hand = 907, version = 903, journal_id = 10903 WHERE id = 1"
    run_sql(database, schema, text + last)
    run_sql(database, schema, f"UPDATE audit_checkpoint SET number = 0; {FAILS_LATER}")
    with pytest.raises(Exception, match="the server is gone"):
        forward(database, schema)
    ((number,),) = rows(database, schema, "SELECT number FROM audit_checkpoint")
    assert 0 < number < 903
    run_sql(database, schema, "DROP TRIGGER fails_later ON audit_checkpoint")
    report = forward(database, schema)
    assert breaches(report) == {}
    assert report.figures.journal_entries == 903 - number
    marks = rows(database, schema, "SELECT version FROM journal_mark ORDER BY 1")
    assert marks == [(256,), (512,), (768,)]
    assert background(database, schema)
    assert found(database, schema) == []


FAILS_LATER = """
CREATE FUNCTION fail_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.number > 300 THEN RAISE EXCEPTION 'the server is gone'; END IF;
    RETURN new;
END $$;
CREATE TRIGGER fails_later BEFORE UPDATE OF number ON audit_checkpoint
    FOR EACH ROW EXECUTE FUNCTION fail_later();
"""


def test_two_audits_at_once_do_not_add_up_a_pass_twice(database: str, schema: str) -> None:
    async def story(db: Database) -> list[Report]:
        return list(await asyncio.gather(*(audit_forward(db, schema) for _ in range(3))))

    assert [breaches(report) for report in with_database(database, story)] == [{}, {}, {}]
    assert rows(database, schema, "SELECT version FROM position_baseline ORDER BY position_id") == [
        (3,),
        (2,),
        (3,),
    ]
    assert breaches(forward(database, schema)) == {}
