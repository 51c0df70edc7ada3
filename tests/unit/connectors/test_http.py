"""What goes over the wire and what comes back, without a wire."""

from datetime import UTC, datetime

import pytest

from penstock.connectors.http import body_of, retry_after_s, signature_headers
from penstock.errors import Refusal

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_a_signature_is_the_one_that_the_standard_gives_as_example() -> None:
    headers = signature_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1_614_265_330, UTC),
        b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_signing_secret_that_is_no_base64_is_refused_without_naming_it() -> None:
    with pytest.raises(Refusal) as refused:
        signature_headers("not a key!", "id", NOON, b"")
    assert refused.value.code == "secret_unusable"
    assert "not a key" not in refused.value.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("9" * 40, 999_999_999.0),
        ("Mon, 02 Mar 2026 12:01:00 GMT", 60.0),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_when_to_come_again_is_read_as_seconds_or_a_date(
    header: str, seconds: float | None
) -> None:
    assert retry_after_s(header, NOON) == seconds


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b'{"score": 7}', {"score": 7}),
        (b"[1, 2]", {"value": [1, 2]}),
        (b"null", {"value": None}),
        (b"  ", {}),
        (b"OK \xff", {"text": "OK \ufffd"}),
        (b"[" * 100_000, {"text": "[" * 100_000}),
    ],
    ids=["object", "list", "null", "empty", "text", "deep"],
)
def test_a_body_is_always_a_mapping(content: bytes, body: dict[str, object]) -> None:
    assert body_of(content) == body
