"""The stuck desk and the timeline: what is stuck is shown, mended by hand, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.engine.test_entities import PARCEL, make, put, timers
from tests.shop import Shop, assert_clean, count, opened, order, place, shop, tell, work

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.engine import inbox
from penstock.engine.inbox import Event
from penstock.engine.jobs import Decision
from penstock.errors import Refusal
from penstock.orders.intake import HoldInput
from penstock.passes import Pass
from penstock.rules import desk
from penstock.rules.desk import Limits, Stuck
from penstock.rules.finding import Found
from penstock.rules.pruning import count_old, prune
from penstock.rules.timeline import Entry, timeline

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "desk") as one:
        yield one


async def stuck(account: Account, limits: Limits | None = None) -> list[Stuck]:
    now = account.knowledge.clock.now()
    return await account.database.run(
        account.schema, lambda tx: desk.find_stuck(tx, account.knowledge, now, limits or Limits())
    )


async def post(account: Account, order_id: str, name: str, **payload: object) -> None:
    event = Event("order", order_id, "order", order_id, name, dict(payload))
    now = account.knowledge.clock.now()
    await account.database.run(account.schema, lambda tx: inbox.post(tx, [event], now))


async def entries(account: Account, root_id: str) -> list[Entry]:
    return await account.database.run(account.schema, lambda tx: timeline(tx, root_id))


def decision(account: Account) -> Decision:
    return Decision("desk", "looked at it", account.knowledge.clock.now())


def test_a_dead_letter_is_shown_retried_when_its_cause_is_gone_and_kept(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            (placed,) = await place(account, order("a", ("P1", 1), holds=[HoldInput("address")]))
            await post(account, placed["id"], "order.hold_cleared", kind="fraud")
            assert await work(account) == 1
            (found,) = await stuck(account)
            assert (found.cause, found.remedies) == ("dead_letter", ["retry", "skip"])
            assert "no_such_hold" in found.sentence
            await tell(account, placed["id"], "order.hold_requested", kind="fraud")
            chosen = decision(account)
            done = await account.database.run(
                account.schema, lambda tx: desk.retry(tx, [found.id], chosen)
            )
            assert done == [found.id]
            assert await work(account) == 1
            assert await stuck(account) == []
            told = [(one.what, one.detail.get("resolution")) for one in
                    await entries(account, placed["id"])]  # fmt: skip
            assert ("dead_letter", "retried") in told
            assert ("intervention", None) in told
            holds = "SELECT kind FROM order_hold WHERE cleared_at IS NULL"
            assert lent.sql(holds) == [("address",)]
            await assert_clean(lent, account)

    asyncio.run(story())


def test_retry_and_skip_have_one_effect_and_name_what_they_did(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            first, second = await place(account, order("a", ("P1", 1)), order("b", ("P1", 1)))
            for one in (first, second):
                await post(account, one["id"], "order.hold_cleared", kind="fraud")
            await work(account)
            await tell(account, first["id"], "order.cancellation_requested")
            ids = {one.root_id: one.id for one in await stuck(account)}
            chosen = decision(account)

            async def remedy(name: str, event_id: str) -> list[str]:
                verb = getattr(desk, name)
                return await account.database.run(
                    account.schema, lambda tx: verb(tx, [event_id], chosen)
                )

            assert await remedy("skip", ids[first["id"]]) == [ids[first["id"]]]
            assert await remedy("skip", ids[first["id"]]) == []
            assert await remedy("retry", ids[second["id"]]) == [ids[second["id"]]]
            assert await remedy("retry", ids[second["id"]]) == []
            assert lent.value("SELECT count(*) FROM inbox") == 1
            await work(account)
            (again,) = await stuck(account)
            assert again.id != ids[second["id"]]
            kept = lent.sql("SELECT action, by, reason FROM intervention ORDER BY done_at, action")
            assert sorted(row[0] for row in kept) == ["retry", "skip"]
            assert {row[1:] for row in kept} == {("desk", "looked at it")}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_event_that_nothing_handles_is_shown(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            (placed,) = await place(account, order("a", ("P1", 1)))
            await post(account, placed["id"], "order.sung_about")
            await work(account)
            (found,) = await stuck(account)
            assert (found.cause, found.entity_id) == ("unhandled", placed["id"])
            assert "unhandled" in [one.what for one in await entries(account, placed["id"])]

    asyncio.run(story())


def test_a_status_is_moved_by_hand_with_its_timers(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await put(account, PARCEL)
            parcel = await make(account, "p1")
            assert len(timers(lent)) == 1
            found = Found("parcel", parcel["id"], "parcel", parcel["id"])

            async def move(to: str) -> None:
                async def in_pass(tx: Pass) -> None:
                    await desk.move(tx, found, to, decision(account))

                await account.knowledge.run_pass("desk", in_pass)

            await move("late")
            assert timers(lent) == []
            assert lent.value("SELECT status FROM entity") == "late"
            await move("packed")
            assert timers(lent) == [("overdue", NOON + timedelta(hours=2))]
            with pytest.raises(Refusal) as caught:
                await move("nowhere")
            assert caught.value.code == "undeclared_status"
            assert lent.value("SELECT count(*) FROM intervention WHERE action = 'move'") == 2
            await assert_clean(lent, account)

    asyncio.run(story())


def test_what_stands_still_is_shown_until_it_moves(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            await count(account, ("P1", "L1", 5), at=NOON)
            placed, short = await place(account, order("a", ("P1", 1)), order("b", ("P2", 1)))
            assert await stuck(account) == []
            now = datetime.now(UTC)
            clock.advance_to(now + timedelta(hours=2))
            causes = {(one.entity, one.entity_id): one.cause for one in await stuck(account)}
            assert causes == {("order", placed["id"]): "no_progress_open"}
            clock.advance_to(now + timedelta(days=8))
            causes = {(one.entity, one.entity_id): one.cause for one in await stuck(account)}
            fulfilment_id = placed["fulfilments"][0]["id"]
            assert causes == {
                ("order", placed["id"]): "no_progress_open",
                ("order", short["id"]): "no_progress_waiting",
                ("fulfilment", fulfilment_id): "no_progress_waiting",
            }
            await tell(account, placed["id"], "fulfilment.shipped", fulfilment_id=fulfilment_id)
            left = [one.entity_id for one in await stuck(account)]
            assert left == [short["id"]]

    asyncio.run(story())


def test_an_overdue_event_is_shown_until_a_worker_runs_it(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with opened(lent, clock) as account:
            (placed,) = await place(account, order("a", ("P1", 1)))
            await post(account, placed["id"], "order.sourcing_retried")
            clock.advance_to(NOON + timedelta(minutes=2))
            (found,) = await stuck(account)
            assert (found.cause, found.remedies) == ("overdue", ["look"])
            waiting = (await entries(account, placed["id"]))[-1]
            assert (waiting.what, waiting.detail["event"]) == ("waiting", "order.sourcing_retried")
            await work(account)
            assert await stuck(account) == []

    asyncio.run(story())


def test_old_traces_are_pruned_and_new_ones_stay(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await place(account, order("a", ("P1", 1)), order("b", ("P1", 1)))
            lent.sql("UPDATE trace SET recorded_at = now() - interval '40 days' WHERE root_id = "
                     "(SELECT id FROM orders WHERE ref = 'a')")  # fmt: skip
            before = datetime.now(UTC) - timedelta(days=30)
            run = account.database.run
            assert await run(account.schema, lambda tx: prune(tx, "traces", before)) == 1
            assert await run(account.schema, lambda tx: prune(tx, "traces", before)) == 0
            assert lent.value("SELECT count(*) FROM trace") == 1

    asyncio.run(story())


def test_what_is_over_is_pruned_and_what_waits_for_a_person_stays(lent: Shop) -> None:
    jobs = """
        INSERT INTO job (id, kind, peer, root_kind, root_id, entity, entity_id, request,
            answer_fields, retry, status, due_at, created_at, ended_at)
        SELECT gen_random_uuid(), 'http', 'peer', 'parcel', gen_random_uuid(), 'parcel',
            gen_random_uuid(), '{}', '{}', '{}', status, now(), now(),
            now() - age * interval '1 day'
        FROM unnest(ARRAY['done', 'skipped', 'failed', 'done']) WITH ORDINALITY AS s (status, n),
             unnest(ARRAY[40, 1]) AS a (age)"""
    letters = """
        INSERT INTO {} (id, root_kind, root_id, entity, entity_id, name, payload, {}, resolved_at)
        SELECT gen_random_uuid(), 'parcel', gen_random_uuid(), 'parcel', gen_random_uuid(), 'a.b',
            '{{}}', {}, now() - interval '90 days', resolved
        FROM unnest(ARRAY[now() - interval '40 days', now() - interval '1 day', NULL])
            AS r (resolved)"""

    async def story() -> None:
        async with opened(lent) as account:
            lent.sql(jobs)
            lent.sql(letters.format("dead_letter", "error, traceback, died_at", "'e', 't'"))
            lent.sql(letters.format("unhandled_event", "status, met_at", "'made'"))
            before = account.knowledge.clock.now() - timedelta(days=30)
            run = account.database.run
            old = await run(account.schema, lambda tx: count_old(tx, before))
            letters_old = {"dead letters": 1, "unhandled events": 1}
            assert old == {"traces": 0, "jobs": 3, **letters_old, "stock jobs": 0}
            for kind, count in old.items():
                for left in (count, 0):
                    done = await run(account.schema, lambda tx, k=kind: prune(tx, k, before))
                    assert done == left
            assert lent.value("SELECT count(*) FROM job WHERE status = 'failed'") == 2
            assert lent.value("SELECT count(*) FROM job") == 5

    asyncio.run(story())
