"""How long a job waits before it is tried again, and what stands for a secret."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import Config, from_env
from penstock.engine.durations import parse_duration
from penstock.engine.jobs import Retry, wait_after
from penstock.engine.secret import has_reference, resolve
from penstock.errors import Refusal
from penstock.rules.outside import WEBHOOK_RETRY, HttpCall, Webhook, peer_of

retries = st.builds(
    Retry,
    first=st.sampled_from(["0s", "1s", "5m", "3d"]),
    factor=st.floats(1, 10),
    longest=st.sampled_from(["10s", "1h", "2w"]),
    attempts=st.integers(1, 100),
)


@given(retry=retries, attempts=st.integers(1, 100), chance=st.floats(0, 1), asked=st.floats(0, 1e9))
def test_no_wait_is_longer_than_the_longest_whatever_the_peer_asks(
    retry: Retry, attempts: int, chance: float, asked: float
) -> None:
    wait = wait_after(retry, attempts, chance, asked)
    if attempts >= retry.attempts:
        assert wait is None
    else:
        assert wait is not None
        assert timedelta(0) <= wait <= parse_duration(retry.longest)


@given(retry=retries, attempts=st.integers(1, 98), chance=st.floats(0, 1))
def test_waits_never_shrink_but_for_their_jitter(
    retry: Retry, attempts: int, chance: float
) -> None:
    before, after = wait_after(retry, attempts, chance), wait_after(retry, attempts + 1, chance)
    assert before is None or after is None or before <= after


def test_a_webhook_is_tried_for_less_than_a_day_in_all() -> None:
    waits = [wait_after(WEBHOOK_RETRY, n, 1.0) for n in range(1, WEBHOOK_RETRY.attempts)]
    total = sum((wait for wait in waits if wait is not None), timedelta(0))
    assert timedelta(hours=18) < total < timedelta(hours=24)


def test_a_reference_becomes_its_secret_where_it_stands() -> None:
    environment = {"PENSTOCK_SECRET_A": "x", "PENSTOCK_DATABASE_URL": "postgresql://me:pw@here"}
    assert resolve("Bearer env:PENSTOCK_SECRET_A", {}, environment) == "Bearer x"
    assert resolve("setting:erp.tenant", {"erp.tenant": 7}, {}) == "7"
    other = "env:PENSTOCK_DATABASE_URL"
    assert resolve(other, {}, environment) == other
    assert not has_reference(other)


def test_a_secret_in_the_environment_is_no_setting_of_the_process() -> None:
    assert from_env({"PENSTOCK_SECRET_A": "x"}) == Config()


def test_a_secret_that_is_not_set_is_named_and_its_value_never() -> None:
    with pytest.raises(Refusal) as refused:
        resolve("env:PENSTOCK_SECRET_A env:PENSTOCK_SECRET_B", {}, {"PENSTOCK_SECRET_A": "hush"})
    assert refused.value.code == "secret_missing"
    assert refused.value.message == "env:PENSTOCK_SECRET_B is not set."


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"headers": {"Authorization": "Bearer abc"}}, "no secret stands in a document"),
        ({"headers": {"Host": "elsewhere"}}, "header Host is written for you"),
        ({"method": "GET", "body": {"a": "1"}}, "GET has no body"),
        ({"answer_fields": {"a": "answer.status"}}, "`answer_fields` need `answer`"),
        (
            {"answer": "order.scored", "answer_fields": {"a": "answer.bodi.x"}},
            "did you mean body?",
        ),
        (
            {"answer": "order.scored", "answer_fields": {"a": "answer.body.x"}},
            "has(answer.body.x)",
        ),
        ({"answer": "order.scored", "answer_fields": {"a": "order.ref"}}, "there are answer"),
        ({"timeout_s": 31}, "<= 30"),
        ({"retry": {"attempts": 101}}, "<= 100"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused_with_its_document(
    parameters: dict[str, object], sentence: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=r".") as refused:
        msgspec.convert({"url": "'http://x'", **parameters}, HttpCall)
    assert sentence in str(refused.value)


def test_a_webhook_s_secret_is_a_reference_and_nothing_else() -> None:
    parameters = {"url": "'http://x'", "event": "order.shipped", "secret": "whsec_abc"}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(parameters, Webhook)


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("https://ERP.example/x?y", "erp.example:443"),
        ("http://erp.example:8080/x", "erp.example:8080"),
        ("no address", "http"),
        ("http://[::1", "http"),
        ("http://x:99999999/", "http"),
    ],
)
def test_who_is_called_is_host_and_port(url: str, peer: str) -> None:
    assert peer_of(url, "http") == peer
