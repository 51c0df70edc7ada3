"""The audit is clean on consistent rows, names each breach, and is not misled by writers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from io import StringIO

import numpy as np
import psycopg
import pytest
from rich.console import Console
from tests.db.audited_rows import SEED, entity_row, journal_row, line_row, order_rows, uid
from tests.db.stock_moves import CLOCK, account

from penstock.audit.report import Report, render
from penstock.audit.run import audit
from penstock.db import Connection, Database
from penstock.events.sequencer import number_passes
from penstock.passes import Pass, run_pass


@pytest.fixture
def schema(database: str) -> Iterator[str]:
    with account(database, "audit_test") as name:
        run_sql(database, name, SEED)
        yield name


def run_sql(conninfo: str, schema: str, text: str) -> None:
    with psycopg.connect(conninfo, options=f"-c search_path={schema}") as connection:
        connection.execute(text.encode())


def with_database(conninfo: str, story: Callable[[Database], Awaitable[Report]]) -> Report:
    async def whole() -> Report:
        database = Database(conninfo)
        await database.open()
        try:
            return await asyncio.wait_for(story(database), 60)
        finally:
            await database.close()

    return asyncio.run(whole())


def audited(conninfo: str, schema: str) -> Report:
    return with_database(conninfo, lambda database: audit(database, schema))


def breaches(report: Report) -> dict[str, int]:
    return {check.name: check.breaches for check in report.checks if check.breaches}


def test_consistent_rows_are_clean_and_a_count_that_left_too_little_is_a_figure(
    database: str, schema: str
) -> None:
    report = audited(database, schema)
    assert [check.examples for check in report.checks if check.examples] == []
    assert report.breaches == 0
    figures = report.figures
    assert (figures.positions, figures.journal_entries, figures.orders) == (3, 8, 4)
    assert (figures.short_by_count, figures.units_short_by_count) == (1, 2)


# What breaks, the only check that may say so, and what it has to say.
BREAKS: dict[str, tuple[str, str, list[str]]] = {
    "a reservation that no position counts": (
        "reserved",
        f"INSERT INTO reservation VALUES ({uid(900)}, 2, 3, 1, 0, {uid(901)}, {uid(902)})",
        ["Position 2 (product 1, location 2) has 2 reserved", "keep 5."],
    ),
    "a cap that has counted what nobody keeps": (
        "controls",
        """INSERT INTO control (kind, qty, ref) VALUES ('cap', 9, 'few');
        INSERT INTO control_use VALUES (1, 1, 0, 2, 4);
        UPDATE reservation SET counted_by = '{1}' WHERE position_id = 1""",
        ["Control 1 (few) has counted 2 of product 1, but live reservations keep 1."],
    ),
    "a promise of more than there is": (
        "oversold",
        journal_row(3001, 3, [(2, 4, 0, 7, 6, 9, 3, 2000)])
        + "UPDATE position SET reserved = 9, version = 3, journal_id = 3001 WHERE id = 2;"
        + f"INSERT INTO reservation VALUES ({uid(900)}, 2, 7, 1, 0, {uid(901)}, {uid(902)})",
        ["Position 2", "9 reserved and 6 on hand", "Version 3", "cart hold"],
    ),
    "a promise from what a count had made short": (
        "oversold",
        journal_row(3001, 3, [(3, 4, 0, 1, 3, 6, 4, 3000)])
        + "UPDATE position SET reserved = 6, version = 4, journal_id = 3001 WHERE id = 3;"
        + f"INSERT INTO reservation VALUES ({uid(900)}, 3, 1, 1, 0, {uid(901)}, {uid(902)})",
        ["Position 3", "6 reserved and 3 on hand", "Version 4"],
    ),
    "stock that no entry moved": (
        "journal",
        "UPDATE position SET on_hand = 8 WHERE id = 1",
        ["Position 1", "adds up to 7 on hand, the row says 8"],
    ),
    "an entry lost": (
        "journal",
        "UPDATE position SET version = 4 WHERE id = 1",
        ["Position 1", "version 4, but its journal lacks 4"],
    ),
    "an entry twice": (
        "journal",
        journal_row(3000, 3, [(3, 1, -2, 0, 3, 5, 3, 2000)]),
        ["Position 3", "version 3 more than once"],
    ),
    "an entry beyond the position": (
        "journal",
        journal_row(3001, 3, [(2, 2, -1, 0, 5, 2, 3, 2000)]),
        ["Position 2", "is at version 2, but its journal goes on to version 3"],
    ),
    "a wrong result": (
        "journal",
        "UPDATE journal SET on_hands[1] = 11 WHERE id = 2000",
        ["Position 1", "version 2 (journal row 2000) says 11 on hand and 4 reserved", "make 10"],
    ),
    "a wrong link back": (
        "journal",
        "UPDATE journal SET previous_ids[1] = 1000 WHERE id = 3000",
        ["Position 3", "names 1000 as the journal row before, which is 2000"],
    ),
    "a wrong last link": (
        "journal",
        "UPDATE position SET journal_id = 1000 WHERE id = 2",
        ["Position 2", "names 1000 as its last journal row, which is 2000"],
    ),
    "a product that is gone": (
        "positions",
        "INSERT INTO position VALUES (4, 77, 1, 1, 1, 0, 0, 0, 0)",
        ["Position 4 names product 77"],
    ),
    "a journal of a position in between that is gone": (
        "positions",
        "INSERT INTO pool (ref) VALUES ('used');"
        "INSERT INTO position VALUES (5, 1, 2, 2, 1, 0, 0, 0, 0);"
        + journal_row(3001, 3, [(4, 1, 1, 0, 1, 0, 1, 0)]),
        ["The journal moves position 4, which does not exist."],
    ),
    "a journal of a position beyond the last": (
        "positions",
        journal_row(3001, 3, [(2_000_000_000, 1, 1, 0, 1, 0, 1, 0)]),
        ["Journal row 3001 moves position 2000000000, which does not exist."],
    ),
    "a line that does not add up": (
        "lines",
        f"""ALTER TABLE order_line DROP CONSTRAINT order_line_adds_up;
        UPDATE order_line SET qty = 5 WHERE id = {uid(202)}""",
        ["quantity of 5, but 0 allocated, 4 unsourced"],
    ),
    "an allocation that nothing reserves": (
        "allocations",
        f"""UPDATE reservation SET demand_id = {uid(202)}, root_id = {uid(200)}
        WHERE id = {uid(121)}; UPDATE order_line SET is_stocked = false WHERE id = {uid(202)}""",
        ["has 8 allocated, but its live reservations keep 6."],
    ),
    "an allocation that nobody works for": (
        "fulfilments",
        f"UPDATE fulfilment_line SET qty = 4 WHERE fulfilment_id = {uid(113)}",
        ["8 allocated and 0 shipped, but its live fulfilments have 7."],
    ),
    "a kit without components": (
        "kits",
        f"UPDATE order_line SET per_kit = 0 WHERE id = {uid(202)}",
        ["(SKU) has a quantity of 4 with 4 unsourced", "components do not bear out"],
    ),
    "a kit torn apart": (
        "kits",
        f"""{line_row(405, 1, 3, 0, 0, 3, 0)} {line_row(406, 9, 3, 0, 0, 3, 0)}
        UPDATE order_line SET per_kit = 0 WHERE id = {uid(405)};
        UPDATE order_line SET per_kit = 1, parent_line_id = {uid(405)}
        WHERE id IN ({uid(402)}, {uid(406)})""",
        ["has to ship whole, but fulfilment"],
    ),
    "an order that nothing will move": (
        "waiting",
        order_rows(500, "allocated", 1) + line_row(502, 9, 1, 1, 0, 0, 0),
        ["(R500) is allocated, but no event, timer"],
    ),
    "an entity that nothing will move": (
        "waiting",
        entity_row(700, "allocated", 0),
        ["Payment 00000000-0000-7000-8000-000000000700 (E700) is allocated, but no event"],
    ),
    "an entity that lost an event": (
        "events",
        entity_row(700, "payment", 2),
        ["(E700) is at event 2, but has 0"],
    ),
    "an entity in a status that nobody declares": (
        "references",
        entity_row(700, "odd", 0),
        ["(E700) is odd, which workflow version 1 does not declare."],
    ),
    "an event lost": (
        "events",
        f"DELETE FROM event WHERE root_id = {uid(400)} AND seq = 2",
        ["(R400) is at event 4, but has 3 events; missing: 2."],
    ),
    "an event twice": (
        "events",
        f"INSERT INTO event SELECT * FROM event WHERE root_id = {uid(400)} AND seq = 2",
        ["has 5 events; more than once or beyond: 2."],
    ),
    "an event of no pass": (
        "passes",
        f"UPDATE event SET pass_id = {uid(77)} WHERE root_id = {uid(400)} AND seq = 2",
        ["Event 2 of order", "which does not exist"],
    ),
    "a journal row of no pass": (
        "passes",
        f"UPDATE journal SET pass_id = {uid(77)} WHERE id = 3000",
        ["Journal row 3000 says it was written by pass"],
    ),
    "a number left out": (
        "passes",
        "UPDATE pass SET number = 7 WHERE number = 3",
        ["After pass number 2 comes 7"],
    ),
    "a pass never numbered": (
        "passes",
        "UPDATE pass SET number = NULL WHERE number = 3",
        ["(count), begun at", "has no number"],
    ),
    "a reservation of a position that is gone": (
        "references",
        f"INSERT INTO reservation VALUES ({uid(900)}, 99, 3, 1, 0, {uid(901)}, {uid(902)})",
        ["of 3 units names position 99, which does not exist"],
    ),
    "an allocation for a line that is gone": (
        "references",
        f"""UPDATE order_line SET is_stocked = false WHERE id = {uid(102)};
        UPDATE reservation SET demand_id = {uid(77)} WHERE id = {uid(122)}""",
        ["of 5 units names line"],
    ),
    "a ref nobody has claimed": (
        "references",
        "DELETE FROM order_ref WHERE ref = 'R300'",
        ["has the ref R300 in channel 1, which nobody has claimed"],
    ),
    "a claim for no order": (
        "references",
        f"INSERT INTO order_ref VALUES (1, 'R999', {uid(999)}, '')",
        ["The ref R999 in channel 1 is claimed for order"],
    ),
    "a line of no order": (
        "references",
        line_row(902, 1, 1, 0, 1, 0, 0).replace(uid(901), uid(101)),
        ["names order 00000000-0000-7000-8000-000000000900, which"],
    ),
    "a fulfilment of no order": (
        "references",
        f"""INSERT INTO fulfilment (id, root_id, demand_kind, ordinal, status, service, origin_id,
            cost_minor, distance_m, weight_g, created_at)
        VALUES ({uid(910)}, {uid(900)}, 'order', 1, 'created', 'deliver', 8, 1, 1, 1, now())""",
        ["order 00000000-0000-7000-8000-000000000900 origin 8"],
    ),
    "a fulfilment line of nothing": (
        "references",
        f"INSERT INTO fulfilment_line VALUES ({uid(910)}, {uid(900)}, {uid(102)}, 1, 2, 0)",
        ["A fulfilment line over 2 units names fulfilment"],
    ),
    "capacity not given back": (
        "capacity",
        "UPDATE capacity SET used = 2 WHERE location_id = 2",
        ["Location 2, deliver on 2026-03-02: 2 used, but 1 live"],
    ),
    "capacity never taken": (
        "capacity",
        "DELETE FROM capacity WHERE location_id = 2",
        ["Location 2, deliver on 2026-03-02: 0 used, but 1 live"],
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_breach_is_found_by_its_check_alone_and_explained(
    database: str, schema: str, what: str
) -> None:
    check_name, break_it, fragments = BREAKS[what]
    run_sql(database, schema, break_it)
    report = audited(database, schema)
    (check,) = [check for check in report.checks if check.name == check_name]
    assert breaches(report) == {check_name: 1}, [c.examples for c in report.checks]
    assert [f for f in fragments if f not in check.examples[0]] == [], check.examples


WAITS_FOR = {
    "an event": f"""
        INSERT INTO inbox (id, root_kind, root_id, entity, entity_id, name, payload, due_at)
        VALUES ({uid(9)}, 'order', {uid(500)}, 'order', {uid(500)}, 'x', '{{}}', now())""",
    "a hold": f"""
        INSERT INTO order_hold (id, order_id, scope_id, kind, reason, placed_by, placed_at)
        VALUES ({uid(9)}, {uid(500)}, {uid(500)}, 'fraud', '', 'x', now())""",
    "a dead letter": f"""
        INSERT INTO dead_letter (id, root_kind, root_id, entity, entity_id, name, payload, error,
            traceback, died_at)
        VALUES ({uid(9)}, 'order', {uid(500)}, 'order', {uid(500)}, 'x', '{{}}', '', '', now())""",
    "a person": f"UPDATE orders SET status = 'payment' WHERE id = {uid(500)}",
    "the outside": f"UPDATE order_line SET pinned_location_id = 1 WHERE order_id = {uid(500)}",
}


@pytest.mark.parametrize("reason", WAITS_FOR)
def test_an_open_order_that_waits_for_something_is_no_breach(
    database: str, schema: str, reason: str
) -> None:
    order = order_rows(500, "allocated", 1) + line_row(502, 9, 1, 1, 0, 0, 0)
    run_sql(database, schema, order + WAITS_FOR[reason])
    report = audited(database, schema)
    assert breaches(report) == {}
    assert report.figures.dead_letters == (reason == "a dead letter")


def test_an_order_whose_workflow_says_nothing_is_open_unless_its_status_is_final(
    database: str, schema: str
) -> None:
    final = [order_rows(500 + n * 100, s, 1) for n, s in enumerate(("completed", "odd"))]
    run_sql(database, schema, "".join(final))
    report = audited(database, schema)
    assert breaches(report) == {"waiting": 1}
    assert "(R600) is odd" in next(c.examples[0] for c in report.checks if c.examples)


def test_more_breaches_than_are_explained_are_counted(database: str, schema: str) -> None:
    run_sql(
        database,
        schema,
        "INSERT INTO pool (id, ref) SELECT n, n FROM generate_series(100, 149) AS n;"
        "INSERT INTO position SELECT n, 1, 1, n, 1, 5, 0, 0, 0 FROM generate_series(100, 149) AS n",
    )
    report = audited(database, schema)
    (check,) = [check for check in report.checks if check.breaches]
    assert (check.name, check.breaches, len(check.examples)) == ("journal", 50, 20)
    drawn = StringIO()
    Console(width=100, file=drawn).print(render(report))
    text = drawn.getvalue()
    assert "… and 30 more." in text
    assert "50 breaches." in text


def test_writers_at_work_are_no_breach(database: str, schema: str) -> None:
    """Two writers reserve and count while audits run; passes get numbers late and out of order."""

    async def story(db: Database) -> Report:
        stop = asyncio.Event()
        writers = [asyncio.create_task(write_until(db, schema, seed, stop)) for seed in (1, 2)]
        numbers = asyncio.create_task(number_until(db, schema, stop))
        reports = [await audit(db, schema) for _ in range(8)]
        stop.set()
        moved = sum(await asyncio.gather(*writers))
        await numbers
        assert moved > len(reports)
        assert [breaches(report) for report in reports] == [{}] * len(reports)
        return await audit(db, schema)

    report = with_database(database, story)
    assert breaches(report) == {}
    assert report.figures.journal_entries > 8


async def write_until(db: Database, schema: str, seed: int, stop: asyncio.Event) -> int:
    random = np.random.default_rng(seed)
    done = 0
    while not stop.is_set():
        qty = int(random.integers(1, 4))

        async def work(tx: Pass, qty: int = qty) -> None:
            for ordinal, position_id in enumerate((1, 2)):
                await _count_in_and_reserve(tx, position_id, qty, tx.journal_base + ordinal)

        await run_pass(db, schema, "test", lambda: CLOCK, work)
        done += 1
    return done


async def _count_in_and_reserve(tx: Pass, position_id: int, qty: int, journal_id: int) -> None:
    """Move a position twice in one journal row: what was counted in is reserved at once."""
    lock = b"SELECT on_hand, reserved, version, journal_id FROM position WHERE id = %s FOR UPDATE"
    row = await tx.fetch_one(lock, (position_id,))
    assert row is not None
    on_hand, reserved, version, previous_id = row
    entries = [
        (position_id, 1, qty, 0, on_hand + qty, reserved, version + 1, previous_id),
        (position_id, 4, 0, qty, on_hand + qty, reserved + qty, version + 2, journal_id),
    ]
    await tx.script(
        journal_row(journal_id, 0, entries).replace(uid(0), f"'{tx.id}'", 1)
        + f"UPDATE position SET on_hand = {on_hand + qty}, reserved = {reserved + qty}, "
        f"version = {version + 2}, journal_id = {journal_id} WHERE id = {position_id};"
        "INSERT INTO reservation (id, position_id, qty, kind, root_id, demand_id) "
        f"VALUES (gen_random_uuid(), {position_id}, {qty}, 1, {uid(901)}, {uid(902)})"
    )


async def number_until(db: Database, schema: str, stop: asyncio.Event) -> None:
    """Give numbers to what is visible, as a sequencer does, but only to a few at a time."""
    limits = np.random.default_rng(3)
    while not stop.is_set():
        async with db.connection() as connection:
            borrowed: Connection = connection
            async with borrowed.transaction():
                await borrowed.execute(f"SET LOCAL search_path TO {schema}".encode())
                await number_passes(borrowed, int(limits.integers(1, 5)))
