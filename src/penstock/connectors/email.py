"""Jobs of kind `email`: messages handed to an SMTP server.

Owns what goes over the wire and what a server's reply means. The server is `PENSTOCK_SMTP_URL`
(`smtp://`, `smtps://`, or `smtp+starttls://`, user and password in it), the sender
`PENSTOCK_MAIL_FROM`. A message's id is made of the job's, so that one which was handed over twice
is known for the same. What an error says holds no password.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import unquote, urlsplit

import msgspec

from penstock.config import Config, from_env
from penstock.connectors.model import Answer, Call, Failure
from penstock.rules.notify import EmailRequest

TIMEOUT_S = 20.0
SENT = 250
_PERMANENT = 500
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}


class EmailConnector:
    """Does jobs of kind `email`, each over a connection of its own, in a thread."""

    async def call(self, call: Call) -> Answer | Failure:
        """Hand the message over once."""
        config = from_env(os.environ)
        if config.smtp_url is None or config.mail_from is None:
            return Failure("mail_not_set_up: set PENSTOCK_SMTP_URL and PENSTOCK_MAIL_FROM.")
        try:
            message = message_of(call, config.mail_from)
        except (ValueError, HeaderParseError, IndexError, msgspec.ValidationError) as error:
            return Failure(f"message_unusable: {error}", is_final=True)
        return await asyncio.to_thread(_send, config, message)

    async def close(self) -> None:
        """Nothing is open."""


def message_of(call: Call, sender: str) -> EmailMessage:
    """Write a job's message; raises ValueError where an address is none."""
    asked = msgspec.convert(call.request, EmailRequest)
    if not asked.to.isprintable() or " " in asked.to:
        raise ValueError(f"{asked.to[:100]!r} is no address")
    to = Address(addr_spec=asked.to)
    if not to.domain:
        raise ValueError(f"{asked.to[:100]!r} is no address")
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = asked.subject
    message["Date"] = call.at
    domain = sender.rpartition("@")[2].rstrip(">") or "localhost"
    message["Message-ID"] = f"<{call.job_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
    message.set_content(asked.text)
    return message


def _send(config: Config, message: EmailMessage) -> Answer | Failure:
    try:
        with _connected(config) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return _refused(code, text)
    except smtplib.SMTPResponseException as error:
        return _refused(error.smtp_code, error.smtp_error)
    except smtplib.SMTPNotSupportedError as error:
        return Failure(f"message_unusable: {error}", is_final=True)
    except (OSError, smtplib.SMTPException) as error:
        return Failure(f"no_answer: {type(error).__name__}", is_silent=True)
    return Answer(SENT, {})


def _connected(config: Config) -> smtplib.SMTP:
    parts = urlsplit(config.smtp_url or "")
    host, port = parts.hostname or "localhost", parts.port or _PORTS[parts.scheme]
    if parts.scheme == "smtps":
        context = ssl.create_default_context()
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        if parts.scheme == "smtp+starttls":
            server.starttls(context=ssl.create_default_context())
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _refused(code: int, text: bytes | str) -> Failure:
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return Failure(f"smtp {code}: {told[:200]}", status=code, is_final=code >= _PERMANENT)
