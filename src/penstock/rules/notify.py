"""Rule `notify`: a message to somebody, sent after the commit.

Owns what such a job asks for; sending is `connectors/email.py`'s. Who has no address is not
written to: a note says so, or the rule refuses, as its parameter says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import EventName, Expression
from penstock.engine.jobs import Job, Retry
from penstock.engine.rule import OneRule, Outcomes
from penstock.engine.template import Template, filled
from penstock.errors import Refusal
from penstock.passes import Pass
from penstock.rules.flow import plain_value
from penstock.rules.outside import OnFailure, Retried

EMAIL_RETRY = Retry(first="30s", factor=3.0, longest="2h", attempts=10)
PEER = "smtp"
MAX_SUBJECT = 200


class EmailRequest(msgspec.Struct, frozen=True):
    """What a job of kind email asks for: one message to one address."""

    to: str
    subject: str
    text: str


class Notify(OneRule, frozen=True):
    """Send an e-mail after the commit, with the entity's values filled in.

    Sent at least once, each time with the same Message-ID. A server that is busy or silent is tried
    again; an address or message that it will not have is final.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "to": "customer.email",
        "subject": "Your order {{ order.ref }}",
        "text": "It has left: {{ order.qty_shipped }} of {{ order.qty }} pieces.",
    }

    to: Annotated[
        Expression, msgspec.Meta(description="A CEL expression that gives the address, or ''.")
    ]
    subject: Annotated[Template, msgspec.Meta(description="The subject, with {{ … }} filled in.")]
    text: Annotated[Template, msgspec.Meta(description="The message, with {{ … }} filled in.")]
    required: Annotated[
        bool, msgspec.Meta(description="Refuse where there is no address; else a note says so.")
    ] = False
    sent: Annotated[EventName, msgspec.Meta(description="The event when it was sent.")] | None = (
        None
    )
    on_failure: OnFailure | None = None
    retry: Retried = EMAIL_RETRY

    def act(self, tx: Pass, context: Context) -> None:
        """Ask for it; refuses `no_address` where one is required, and `condition_failed`."""
        address = plain_value(context, self.to)
        if not isinstance(address, str) or not address:
            if self.required:
                raise Refusal("no_address", "There is no e-mail address to write to.")
            context.add_note("notify", "No e-mail was sent: there is no address.")
            return

        def value(expression: str) -> Any:
            return plain_value(context, expression)

        subject = " ".join(filled(self.subject, value).split())[:MAX_SUBJECT]
        request = EmailRequest(address, subject, filled(self.text, value))
        root, entity = context.root, context.entity
        wanted = msgspec.to_builtins(request)
        job = Job("email", root.kind, root.id, entity.kind, entity.id, wanted, peer=PEER)
        job.answer_event, job.failed_event, job.retry = self.sent, self.on_failure, self.retry
        context.add_job(job)

    def outcomes(self) -> Outcomes:
        """Return the events that come back."""
        return Outcomes(later=tuple(one for one in (self.sent, self.on_failure) if one))
