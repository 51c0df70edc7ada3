"""E-mails of workflows: written after the commit, to a real server, with the values filled in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.engine.mail_peer import MailPeer, mail_peer
from tests.engine.parcels import JOB, NOON, STATUSES, calling_shop, put, running, until_jobs
from tests.shop import Shop, answered, until, work

from penstock.app import Account
from penstock.clock import ManualClock
from penstock.connectors.email import message_of
from penstock.connectors.model import Call
from penstock.engine.entities import EntityInput
from penstock.errors import Refusal
from penstock.rules.take import NewEntity

MESSAGE = {
    "to": "has(parcel.attributes.email) ? parcel.attributes.email : ''",
    "subject": "Parcel {{ parcel.ref }}",
    "text": "It weighs {{ has(parcel.attributes.kg) ? parcel.attributes.kg : 0 }} kg.\nGrüße",
    "sent": "parcel.scored",
    "on_failure": "parcel.unknown",
    "retry": {"first": "10s", "factor": 2, "longest": "1h", "attempts": 2},
}


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with calling_shop(database, "notify") as one:
        yield one


async def make(account: Account, ref: str, **attributes: Any) -> Any:
    item = NewEntity(EntityInput(kind="parcel", ref=ref, attributes=attributes))
    (result,) = await account.grouping.submit([item])
    return result


def content(message: Any) -> str:
    return message.get_content().strip()


def set_up(patch: pytest.MonkeyPatch, peer: MailPeer) -> None:
    patch.setenv("PENSTOCK_SMTP_URL", peer.url)
    patch.setenv("PENSTOCK_MAIL_FROM", "The Shop <shop@example.com>")


def test_a_message_is_sent_with_its_places_filled(
    lent: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with mail_peer() as peer, running(lent) as account:
            set_up(monkeypatch, peer)
            await put(account, {"notify": MESSAGE})
            answered(await make(account, "P-1", email="somebody@example.org", kg=3))
            await until_jobs(lent, done=1)
            await work(account)
            assert lent.sql(STATUSES) == [("good", 1)]
            assert [one.upper() for one in peer.recipients] == ["RCPT TO:<SOMEBODY@EXAMPLE.ORG>"]
            (message,) = peer.messages
            assert (message["From"], message["To"], message["Subject"]) == (
                "The Shop <shop@example.com>",
                "somebody@example.org",
                "Parcel P-1",
            )
            assert message["Message-ID"] == f"<{lent.value('SELECT id FROM job')}@example.com>"
            assert content(message).splitlines() == ["It weighs 3 kg.", "Grüße"]

    asyncio.run(story())


def test_a_busy_server_is_tried_again_with_the_same_message_id(
    lent: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        clock = ManualClock(NOON)
        async with mail_peer() as peer, running(lent, clock) as account:
            set_up(monkeypatch, peer)
            peer.says = b"451 come back later"
            await put(account, {"notify": MESSAGE})
            await make(account, "P-1", email="somebody@example.org")
            await until_error(lent, "smtp 451: come back later")
            peer.says = b"250 fine"
            clock.advance_to(NOON + timedelta(minutes=1))
            await until_jobs(lent, done=1)
            assert len(peer.messages) == 1

    asyncio.run(story())


async def until_error(lent: Shop, error: str) -> None:
    await until(lambda: [row[3] for row in lent.sql(JOB)] == [error], f"it never says {error}")


def test_an_address_that_the_server_will_not_have_is_final(
    lent: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with mail_peer() as peer, running(lent) as account:
            set_up(monkeypatch, peer)
            peer.says = b"550 nobody of that name"
            await put(account, {"notify": MESSAGE})
            await make(account, "P-1", email="somebody@example.org")
            await until_jobs(lent, failed=1)
            await work(account)
            assert lent.sql(STATUSES) == [("lost", 1)]
            assert len(peer.recipients) == 1

    asyncio.run(story())


def test_without_a_server_the_job_waits_and_says_what_to_set(lent: Shop) -> None:
    async def story() -> None:
        async with running(lent, ManualClock(NOON)) as account:
            await put(account, {"notify": MESSAGE})
            await make(account, "P-1", email="somebody@example.org")
            sentence = "mail_not_set_up: set PENSTOCK_SMTP_URL and PENSTOCK_MAIL_FROM."
            await until_error(lent, sentence)

    asyncio.run(story())


def test_without_an_address_a_note_says_so_or_the_rule_refuses(lent: Shop) -> None:
    async def story() -> None:
        async with running(lent) as account:
            await put(account, {"notify": MESSAGE})
            answered(await make(account, "P-1"))
            assert lent.value("SELECT text FROM note").startswith("No e-mail was sent")
            assert lent.value("SELECT count(*) FROM job") == 0

    asyncio.run(story())


def test_a_required_address_that_is_missing_is_refused(lent: Shop) -> None:
    async def story() -> None:
        async with running(lent) as account:
            await put(account, {"notify": MESSAGE | {"required": True}})
            refused = await make(account, "P-1")
            assert isinstance(refused, Refusal)
            assert refused.code == "no_address"

    asyncio.run(story())


def test_a_place_that_reads_what_is_not_there_is_refused_on_upload(lent: Shop) -> None:
    async def story() -> None:
        async with running(lent) as account:
            with pytest.raises(Refusal) as caught:
                await put(account, {"notify": MESSAGE | {"text": "Dear {{ parcel.owner }}"}})
            assert caught.value.code == "unknown_field"

    asyncio.run(story())


@pytest.mark.parametrize(
    "address",
    ["", "somebody", "a@b\r\nBcc: c@d", "a b@c", "@example.org", "a@", "<a@b>", "a@b,c@d"],
)
def test_what_is_no_address_is_not_written_to(address: str) -> None:
    request = {"to": address, "subject": "A", "text": "B"}
    call = Call("1", "email", request, 1, NOON, {})
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the library raises several kinds)
        message_of(call, "shop@example.com")
    assert not isinstance(caught.value, AssertionError)
