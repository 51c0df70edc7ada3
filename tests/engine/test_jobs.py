"""Outside effects: called after the commit, at least once; their answers come back as events."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from tests.engine.parcels import (
    JOB,
    NOON,
    STATUSES,
    TOKEN,
    calling_shop,
    http_call,
    make,
    put,
    running,
    until_jobs,
    until_tried,
)
from tests.engine.peer import Asked, Said, peer
from tests.shop import Shop, until, work

from penstock.clock import ManualClock
from penstock.connectors.run import MAX_CALLS_PER_PEER


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with calling_shop(database, "jobs") as one:
        yield one


def test_an_answer_comes_back_as_an_event_and_moves_its_entity(lent: Shop) -> None:
    async def story() -> None:
        async with peer() as fraud, running(lent) as account:
            score = "has(answer.body.score) ? answer.body.score : 0"
            await put(
                account,
                http_call(fraud.url, query={"of": "parcel.ref"}, answer_fields={"score": score}),
            )

            async def judge(asked: Asked) -> Said:
                score = 90 if asked.fields == {"parcel": "two & three"} else 10
                return Said(body=msgspec.json.encode({"score": score}))

            fraud.answering = judge
            await make(account, "one", "two & three")
            await until_jobs(lent, done=2)
            await work(account)
            rows = lent.sql("SELECT ref, status FROM entity ORDER BY ref")
            assert rows == [("one", "good"), ("two & three", "bad")]
            assert {one.target for one in fraud.asked} == {
                "/check?of=one",
                "/check?of=two+%26+three",
            }
            assert {one.headers["authorization"] for one in fraud.asked} == {f"Bearer {TOKEN}"}
            keys = [key for (key,) in lent.sql("SELECT id::text FROM job")]
            assert sorted(fraud.keys) == sorted(keys)

    asyncio.run(story())


def test_no_secret_is_anywhere_in_the_database_or_the_log(
    lent: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with peer() as fraud, running(lent) as account:
            bad = {"X-Note": "line\u007f"[:4] + " env:PENSTOCK_SECRET_UNSENDABLE"}
            await put(account, http_call(fraud.url), http_call(fraud.url, headers=bad))
            await make(account, "one")
            await until_jobs(lent, done=1, failed=1)
            await work(account)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_SECRET_UNSENDABLE", f"{TOKEN}\nx")
        asyncio.run(story())
    assert lent.value("SELECT last_error FROM job WHERE status = 'failed'").startswith(
        "header_unusable"
    )
    tables = lent.sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    for (table,) in tables:
        rows = lent.sql(f"SELECT t::text FROM {table} t")
        assert not any(TOKEN in text for (text,) in rows), table
    assert lent.value("SELECT count(*) FROM job WHERE request::text LIKE '%FRAUD%'") == 1
    out, err = capfd.readouterr()
    assert TOKEN not in out + err


def test_a_peer_that_is_down_is_called_again_with_growing_waits(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with peer() as fraud, running(lent, clock) as account:
            await fraud.close()
            await put(account, http_call(fraud.url))
            await make(account, "one")
            first = await until_tried(lent, 1, clock)
            assert timedelta(seconds=5) <= first - NOON <= timedelta(seconds=10)
            clock.advance_to(first)
            second = await until_tried(lent, 2, clock)
            assert timedelta(seconds=10) <= second - first <= timedelta(seconds=20)
            await fraud.open()
            assert lent.value("SELECT last_error FROM job").startswith("no_connection")
            clock.advance_to(second)
            await until_jobs(lent, done=1)
            await work(account)
            assert lent.sql(STATUSES) == [("good", 1)]
            assert len(fraud.asked) == 1

    asyncio.run(story())


def test_a_job_is_given_up_after_its_attempts_and_says_so(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with peer() as fraud, running(lent, clock) as account:
            fraud.said = Said(503, headers={"Retry-After": "120"})
            await put(account, http_call(fraud.url))
            await make(account, "one")
            for attempt in (1, 2):
                before = clock.now()
                due_at = await until_tried(lent, attempt, clock)
                assert due_at - before == timedelta(seconds=120)
                clock.advance_to(due_at)
            await until_jobs(lent, failed=1)
            assert len(set(fraud.keys)) == 1
            assert len(fraud.keys) == 3
            ((payload,),) = lent.sql("SELECT payload FROM inbox")
            assert payload | {"job_id": ""} == {
                "job_id": "",
                "error": "status 503",
                "status": 503,
                "attempts": 3,
            }
            await work(account)
            assert lent.sql(STATUSES) == [("lost", 1)]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Said(400), "status 400"),
        (Said(302, headers={"Location": "http://elsewhere.example/"}), "status 302: redirects"),
        (Said(body=b"x" * 1_000_001), "answer_unusable: it is over"),
        (Said(headers={"Content-Encoding": "gzip"}), "answer_unusable: it is compressed"),
        (Said(body=b'{"score": 1}'), "answer_not_understood"),
    ],
    ids=lambda one: str(one.status) if isinstance(one, Said) else "",
)
def test_what_trying_again_does_not_mend_is_not_tried_again(
    lent: Shop, said: Said, error: str
) -> None:
    async def story() -> None:
        async with peer() as fraud, running(lent) as account:
            fraud.said = said
            fields = {"name": "has(answer.body.score.of) ? answer.body.score.of : 0"}
            await put(account, http_call(fraud.url, answer_fields=fields))
            await make(account, "one")
            await until_jobs(lent, failed=1)
            await work(account)
            assert lent.sql(STATUSES) == [("lost", 1)]
            assert len(fraud.asked) == 1
            assert lent.value("SELECT last_error FROM job").startswith(error)

    asyncio.run(story())


def test_a_peer_that_hangs_delays_neither_passes_nor_other_peers(lent: Shop) -> None:
    async def story() -> None:
        never = asyncio.Event()

        async def hang(_: Asked) -> Said:
            await never.wait()
            return Said()

        async with peer() as slow, peer() as quick, running(lent) as account:
            slow.answering = hang
            hanging = http_call(slow.url, timeout_s=30, answer="parcel.late")
            await put(account, hanging, http_call(quick.url))
            refs = [f"p{n}" for n in range(60)]
            await make(account, *refs)
            await until(lambda: len(quick.asked) == 60, "the quick peer waits for the slow one")
            await until_jobs(lent, done=60, due=60)
            started = time.monotonic()
            await work(account)
            assert lent.sql(STATUSES) == [("good", 60)]
            assert time.monotonic() - started < 15
            assert slow.most_in_flight == MAX_CALLS_PER_PEER
            waiting = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND xact_start < now() - interval '2 s'"
            )
            assert lent.value(waiting) == 0
            never.set()

    asyncio.run(story())


def test_a_silent_peer_is_called_one_job_at_a_time_until_it_answers(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with peer() as fraud, running(lent, clock) as account:
            await fraud.close()
            await put(account, http_call(fraud.url))
            await make(account, "first")
            due_at = await until_tried(lent, 1, clock)
            await make(account, *(f"p{n}" for n in range(10)))
            tried = "SELECT count(*) FROM job WHERE last_error IS NOT NULL"
            await until(lambda: lent.value(tried) == 11, "not every job is tried")
            await fraud.open()
            go = asyncio.Event()

            async def wait(_: Asked) -> Said:
                await go.wait()
                return Said()

            fraud.answering = wait
            clock.advance_to(due_at + timedelta(minutes=1))
            await until(lambda: len(fraud.asked) == 1, "it is not called again")
            leased = "SELECT count(*) FROM job WHERE attempts = 2"
            assert lent.value(leased) == 1
            go.set()
            await until_jobs(lent, done=11)

    asyncio.run(story())


def test_a_webhook_is_signed_as_its_receiver_checks_it(
    lent: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b"0123456789abcdef0123456789abcdef"
    secret = "whsec_" + base64.b64encode(key).decode()
    monkeypatch.setenv("PENSTOCK_SECRET_HOOK", secret)

    async def story() -> None:
        async with peer() as shop_hooks, running(lent) as account:
            hook = {
                "url": f"'{shop_hooks.url}/hooks'",
                "secret": "env:PENSTOCK_SECRET_HOOK",
                "event": "parcel.made",
            }
            await put(account, {"webhook": hook})
            await make(account, "one")
            await until_jobs(lent, done=1)
            (asked,) = shop_hooks.asked
            headers = asked.headers
            signed = (
                f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + asked.body
            )
            wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{wanted}"
            assert headers["webhook-id"] == lent.value("SELECT id FROM job").__str__()
            assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
            assert asked.fields["type"] == "parcel.made"
            assert asked.fields["data"]["ref"] == "one"
            assert lent.value("SELECT count(*) FROM inbox") == 0

    asyncio.run(story())


def test_a_thousand_jobs_are_drained(lent: Shop) -> None:
    async def story() -> None:
        async with peer() as one, peer() as other, running(lent) as account:
            await put(account, http_call(one.url), http_call(other.url, answer="parcel.told"))
            await make(account, *(f"p{n}" for n in range(500)))
            await until_jobs(lent, done=1_000)
            await work(account)
            assert lent.sql(STATUSES) == [("good", 500)]
            assert len(set(one.keys + other.keys)) == len(one.keys + other.keys) == 1_000
            assert max(one.most_in_flight, other.most_in_flight) <= MAX_CALLS_PER_PEER

    asyncio.run(story())


def test_a_missing_secret_is_tried_again_and_named(lent: Shop) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with peer() as fraud, running(lent, clock) as account:
            missing = {"Authorization": "env:PENSTOCK_SECRET_NEVER_SET"}
            await put(account, http_call(fraud.url, headers=missing))
            await make(account, "one")
            await until_tried(lent, 1, clock)
            ((status, _, _, error),) = lent.sql(JOB)
            assert (status, error) == (
                "due",
                "secret_missing: env:PENSTOCK_SECRET_NEVER_SET is not set.",
            )
            assert fraud.asked == []

    asyncio.run(story())
