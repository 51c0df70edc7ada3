"""Rules that reach outside: call another system, send a webhook.

Owns what such a job asks for. The call is made after the commit (`connectors/`); what the peer
answers comes back as an event. No secret stands in a document: headers and keys are references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec

from penstock.engine.condition import MAX_EXPRESSION, check_expression
from penstock.engine.context import Context
from penstock.engine.document import EventName, Expression, Name
from penstock.engine.jobs import Job, Retry
from penstock.engine.rule import OneRule, Outcomes
from penstock.engine.secret import Reference, has_reference
from penstock.errors import Refusal
from penstock.passes import Pass
from penstock.rules.flow import evaluated, plain_value

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
MAX_URL = 2_000
WITHOUT_BODY = frozenset({"GET", "DELETE"})
# Tried at once and then for the better part of a day.
WEBHOOK_RETRY = Retry(first="30s", factor=3.0, longest="6h", attempts=10)
_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "upgrade"}
)
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})

AnswerExpression = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_EXPRESSION,
        description="A CEL expression over answer.status and answer.body.",
    ),
]
HeaderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
HeaderValue = Annotated[str, msgspec.Meta(pattern=r"^[ -~]{0,500}$")]
Url = Annotated[
    Expression,
    msgspec.Meta(
        description="A CEL expression that gives the address, http or https: "
        "'https://fraud.example/check'. What customers chose belongs into `query`."
    ),
]
TimeoutS = Annotated[
    float, msgspec.Meta(ge=0.1, le=30, description="Seconds until it counts as failed, in all.")
]
Query = Annotated[
    dict[str, Expression],
    msgspec.Meta(description="Query parameters: a CEL expression by name; escaped for you."),
]
Headers = Annotated[
    dict[HeaderName, HeaderValue],
    msgspec.Meta(
        description="Headers, with env:PENSTOCK_SECRET_… or setting:… where a secret belongs."
    ),
]
Body = Annotated[
    dict[str, Expression],
    msgspec.Meta(description="Fields of the JSON body: a CEL expression by name."),
]
OkStatuses = Annotated[
    list[Annotated[int, msgspec.Meta(ge=200, le=599)]],
    msgspec.Meta(description="Statuses that count as an answer; 200 to 299 if omitted."),
]
AnswerFields = Annotated[
    dict[Name, AnswerExpression],
    msgspec.Meta(description="What the event carries beside job_id and status, by name."),
]
Retried = Annotated[Retry, msgspec.Meta(description="How often, and how soon, it is tried again.")]
OnFailure = Annotated[
    EventName, msgspec.Meta(description="The event when it is given up: error, status, attempts.")
]


class AnswerView(msgspec.Struct):
    """What may be read of a peer's answer; a body that is no JSON object is under value or text."""

    status: int
    body: dict[str, Any]


class HttpRequest(msgspec.Struct, frozen=True):
    """What a job of kind http asks for. Headers are as the document has them, references too."""

    method: Method
    url: str
    query: dict[str, Any]
    headers: dict[str, str]
    body: dict[str, Any] | None
    timeout_s: float
    ok_statuses: list[int]


class WebhookRequest(msgspec.Struct, frozen=True):
    """What a job of kind webhook asks for. `body` is signed with what `secret` refers to."""

    url: str
    secret: str
    body: dict[str, Any]
    timeout_s: float


class HttpCall(OneRule, frozen=True):
    """Call another system over HTTP after the commit; its answer comes back as an event.

    Called at least once, each time with the same `Idempotency-Key`. Time-outs, refused connections,
    408, 409, 425, 429 and 5xx are tried again; every other status that is not ok is final.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "url": "'https://fraud.example/check'",
        "headers": {"Authorization": "Bearer env:PENSTOCK_SECRET_FRAUD"},
        "body": {"order": "order.ref", "total_minor": "order.total_minor"},
        "answer": "order.fraud_scored",
        "answer_fields": {"score": "has(answer.body.score) ? answer.body.score : 0"},
        "on_failure": "order.fraud_unknown",
    }

    url: Url
    method: Annotated[Method, msgspec.Meta(description="The method.")] = "POST"
    query: Query = msgspec.field(default_factory=dict)
    headers: Headers = msgspec.field(default_factory=dict)
    body: Body = msgspec.field(default_factory=dict)
    timeout_s: TimeoutS = 5.0
    ok_statuses: OkStatuses = msgspec.field(default_factory=list)
    answer: Annotated[EventName, msgspec.Meta(description="The event with the answer.")] | None = (
        None
    )
    answer_fields: AnswerFields = msgspec.field(default_factory=dict)
    on_failure: OnFailure | None = None
    retry: Retried = Retry()

    def __post_init__(self) -> None:
        """Refuse parameters that contradict one another, or hold a secret."""
        if self.body and self.method in WITHOUT_BODY:
            raise ValueError(f"{self.method} has no body: use `query`")
        if self.answer_fields and self.answer is None:
            raise ValueError("`answer_fields` need `answer`, the event that carries them")
        for name, value in self.headers.items():
            if name.lower() in _OURS:
                raise ValueError(f"header {name} is written for you")
            if name.lower() in _SECRET and not has_reference(value):
                raise ValueError(
                    f"header {name}: no secret stands in a document; "
                    "write env:PENSTOCK_SECRET_… or setting:… in its place"
                )
        for text in self.answer_fields.values():
            _check_answer(text)

    def act(self, tx: Pass, context: Context) -> None:
        """Ask for the call; refuses with `condition_failed` an expression that has no value."""
        request = HttpRequest(
            self.method,
            _address(context, self.url),
            evaluated(context, self.query),
            self.headers,
            None if self.method in WITHOUT_BODY else evaluated(context, self.body),
            self.timeout_s,
            self.ok_statuses,
        )
        job = _job(context, "http", request.url, request)
        job.answer_event, job.answer_fields = self.answer, self.answer_fields
        job.failed_event, job.retry = self.on_failure, self.retry
        context.add_job(job)

    def outcomes(self) -> Outcomes:
        """Return the events that come back."""
        return Outcomes(later=tuple(one for one in (self.answer, self.on_failure) if one))


class Webhook(OneRule, frozen=True):
    """Send a signed webhook after the commit: an event's name, and the entity as it is now.

    The body is {"type", "timestamp", "data"}; signed, identified and retried as Standard Webhooks
    say (standardwebhooks.com): at least once, `webhook-id` is the same every time.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "url": "'https://shop.example/hooks'",
        "secret": "env:PENSTOCK_SECRET_SHOP_HOOKS",
        "event": "order.shipped",
    }

    url: Url
    secret: Annotated[Reference, msgspec.Meta(description="Where the signing secret (whsec_…) is.")]
    event: Annotated[EventName, msgspec.Meta(description="What the receiver is told has happened.")]
    timeout_s: TimeoutS = 15.0
    on_failure: OnFailure | None = None
    retry: Retried = WEBHOOK_RETRY

    def act(self, tx: Pass, context: Context) -> None:
        """Ask for it; refuses with `condition_failed` an address that has no value."""
        data = msgspec.to_builtins(context.entity.view())
        body = {"type": self.event, "timestamp": tx.now.isoformat(), "data": data}
        url = _address(context, self.url)
        job = _job(context, "webhook", url, WebhookRequest(url, self.secret, body, self.timeout_s))
        job.failed_event, job.retry = self.on_failure, self.retry
        context.add_job(job)

    def outcomes(self) -> Outcomes:
        """Return the event that comes back if it is given up."""
        return Outcomes(later=(self.on_failure,) if self.on_failure else ())


def _check_answer(text: str) -> None:
    try:
        check_expression(text, {"answer": AnswerView})
    except Refusal as refusal:
        raise ValueError(f"answer_fields: {refusal.message}") from None


def _address(context: Context, text: str) -> str:
    url = plain_value(context, text)
    if not isinstance(url, str) or len(url) > MAX_URL:
        raise Refusal("condition_failed", f"{text!r} gives no address.")
    return url


def _job(context: Context, kind: str, url: str, request: msgspec.Struct) -> Job:
    root, entity = context.root, context.entity
    wanted = msgspec.to_builtins(request)
    return Job(kind, root.kind, root.id, entity.kind, entity.id, wanted, peer=peer_of(url, kind))


def peer_of(url: str, otherwise: str) -> str:
    """Return host and port of an address, in small letters; `otherwise` if it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return otherwise
    default = 443 if parts.scheme == "https" else 80
    return f"{host}:{port or default}"[:300] if host and host.isprintable() else otherwise
