"""The contract of a connector: how one kind of job is done. Pure.

A connector is a class without arguments, found by the entry point group `penstock.connectors`; the
entry point's name is the kind of the jobs it does. A package that has one, and a rule that writes
such jobs (`context.add_job(Job("erp", …))`), talks to a system of its own.

What a connector may rely on: a call is cancelled after `MAX_CALL_S`; it holds no transaction and
no lock. What it must keep: calling again with the same `job_id` has no second effect at the peer;
a failure's text holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

MAX_CALL_S = 35.0


class Call(msgspec.Struct, frozen=True):
    """One attempt at a job. `job_id` is its idempotency key; `attempt` counts from 1.

    `settings` are the account's, for references to secrets (`engine.secret.resolve`).
    """

    job_id: str
    kind: str
    request: Mapping[str, Any]
    attempt: int
    at: datetime
    settings: Mapping[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """The peer did it, and said this: expressions read it as `answer.status`, `answer.body`."""

    status: int
    body: dict[str, Any]


class Failure(msgspec.Struct, frozen=True):
    """The peer did not do it, or nobody knows; a final failure is not tried again.

    `is_silent` says that nobody answered: the peer is called one job at a time until it answers.
    """

    error: str
    status: int | None = None
    is_final: bool = False
    is_silent: bool = False
    retry_after_s: float | None = None


class Connector(Protocol):
    """Does the jobs of one kind, many at a time."""

    async def call(self, call: Call) -> Answer | Failure:
        """Do a job once, or fail; what is raised counts as a failure to be tried again."""
        ...

    async def close(self) -> None:
        """Close what is open; nothing is called any more."""
        ...
