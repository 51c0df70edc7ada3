"""Jobs: outside effects, written with the decision and done after its commit.

Owns table `job`: writing, claiming, ending, retrying and skipping jobs, and how long to wait before
another attempt. Doing them is the connectors' (`connectors/run.py`): at least once, with the job's
id as idempotency key; what the peer answers comes back as an event.

A claimed job is due again when its lease ends, so one whose process died is called again. Whoever
comes late with an outcome finds another lease and changes nothing: an event is posted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec

from penstock.db import Queries, Tx, copy_text, uuid_array
from penstock.engine.durations import Duration, parse_duration
from penstock.engine.inbox import Event, post
from penstock.errors import Refusal
from penstock.ids import new_id

SQL = Queries("penstock.engine", "engine.sql")
MAX_ATTEMPTS = 100
MAX_ERROR = 500
_COLUMNS = (
    "id, kind, peer, root_kind, root_id, entity, entity_id, request, answer_event, answer_fields, "
    "failed_event, retry, due_at, created_at"
)
_NULL = "\\N"
_encode = msgspec.json.Encoder().encode


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often, and how soon again: waits grow by `factor` from `first` to `longest`, with jitter.

    A wait is at least half of that; a peer that says when to come again (Retry-After) is heard, up
    to `longest`.
    """

    first: Annotated[Duration, msgspec.Meta(description="The wait after the first attempt.")] = "5s"
    factor: Annotated[
        float, msgspec.Meta(ge=1, le=10, description="How much longer each wait is.")
    ] = 2.0
    longest: Annotated[Duration, msgspec.Meta(description="No wait is longer.")] = "1h"
    attempts: Annotated[
        int,
        msgspec.Meta(ge=1, le=MAX_ATTEMPTS, description="How many attempts before it is given up."),
    ] = 10


class Job(msgspec.Struct):
    """An outside effect for an entity; `request` is what its kind's connector understands.

    `peer` is who will be called (a host): a slow one delays its own jobs only. `answer_fields` are
    CEL expressions over `answer`, by name in the payload of `answer_event`.
    """

    kind: str
    root_kind: str
    root_id: str
    entity: str
    entity_id: str
    request: dict[str, Any]
    answer_event: str | None = None
    failed_event: str | None = None
    retry: Retry = Retry()
    id: str = msgspec.field(default_factory=new_id)
    peer: str = ""
    answer_fields: dict[str, str] = {}


class Claimed(msgspec.Struct, frozen=True):
    """A job that this process is at, until `lease` ends; `attempts` counts this one."""

    id: str
    kind: str
    peer: str
    root_kind: str
    root_id: str
    entity: str
    entity_id: str
    request: dict[str, Any]
    answer_event: str | None
    answer_fields: dict[str, str]
    failed_event: str | None
    retry: Retry
    attempts: int
    lease: datetime

    def event(self, name: str, payload: dict[str, Any]) -> Event:
        """Return an event for the entity that wanted the job."""
        payload = {"job_id": self.id, **payload}
        return Event(self.root_kind, self.root_id, self.entity, self.entity_id, name, payload)


class Outcome(msgspec.Struct, frozen=True):
    """What came of an attempt: `done`, `failed`, or `due` again at `due_at`; what to tell whom."""

    job: Claimed
    status: str
    due_at: datetime
    error: str | None = None
    event: Event | None = None


async def write_jobs(tx: Tx, jobs: Sequence[Job], now: datetime) -> None:
    """Write jobs, due at once, with the pass that wants them."""
    instant = now.isoformat()
    lines = [
        f"{j.id}\t{j.kind}\t{copy_text(j.peer or j.kind)}\t{j.root_kind}\t{j.root_id}\t{j.entity}\t"
        f"{j.entity_id}\t{copy_text(_encode(j.request).decode())}\t{j.answer_event or _NULL}\t"
        f"{copy_text(_encode(j.answer_fields).decode())}\t{j.failed_event or _NULL}\t"
        f"{copy_text(_encode(j.retry).decode())}\t{instant}\t{instant}"
        for j in jobs
    ]
    tx.copy_in("job", _COLUMNS, lines)


class Room(msgspec.Struct, frozen=True):
    """How many jobs a process can begin: in all, for each peer, and for those named here."""

    total: int
    per_peer: int
    of_peers: Mapping[str, int] = {}


async def claim_jobs(tx: Tx, room: Room, now: datetime, lease: datetime) -> list[Claimed]:
    """Take due jobs, the oldest first, under a lease; a full peer's are left for later."""
    peers, rooms = list(room.of_peers), list(room.of_peers.values())
    values = (peers, rooms, now, room.per_peer, room.total, now, lease)
    rows = await tx.fetch(SQL.claim_jobs, values)
    return [msgspec.convert(dict(zip(_CLAIMED, row, strict=True)), Claimed) for row in rows]


async def claim_job(tx: Tx, job_id: str, lease: datetime) -> Claimed | None:
    """Take one job under a lease, due or not yet; None if it is not waiting any more."""
    row = await tx.fetch_one(SQL.claim_job, (lease, job_id))
    return msgspec.convert(dict(zip(_CLAIMED, row, strict=True)), Claimed) if row else None


_CLAIMED = tuple(field.name for field in msgspec.structs.fields(Claimed))


def wait_after(
    retry: Retry, attempts: int, chance: float, asked_s: float | None = None
) -> timedelta | None:
    """Return how long to wait after so many attempts; None: it is given up.

    `chance` (0 to 1) is the jitter, half of the wait; `asked_s` is what the peer asked for.
    """
    if attempts >= retry.attempts:
        return None
    longest_s = parse_duration(retry.longest).total_seconds()
    grown_s = parse_duration(retry.first).total_seconds() * retry.factor ** (attempts - 1)
    wait_s = min(grown_s, longest_s) * (0.5 + 0.5 * chance)
    return timedelta(seconds=max(wait_s, min(asked_s or 0.0, longest_s)))


async def end_attempts(tx: Tx, outcomes: Sequence[Outcome], now: datetime) -> int:
    """Write what came of attempts, and post the events that tell of it; returns how many counted.

    An attempt whose lease has ended counts no more: another one was begun, or a person decided.
    """
    rows = sorted((one.job.id, place) for place, one in enumerate(outcomes))
    ordered = [outcomes[place] for _, place in rows]
    ended = await tx.fetch(
        SQL.end_attempts,
        (
            now,
            uuid_array(one.job.id for one in ordered),
            [one.job.lease for one in ordered],
            [one.status for one in ordered],
            [one.due_at for one in ordered],
            [_kept(one.error) for one in ordered],
        ),
    )
    counted = {(row[0], row[1]) for row in ended}
    told = [one for one in ordered if one.event and (one.job.id, one.job.lease) in counted]
    await post(tx, [one.event for one in told if one.event], now)
    return len(counted)


def _kept(error: str | None) -> str | None:
    return None if error is None else error.replace("\0", "")[:MAX_ERROR]


# ── what a person sees and does ───────────────────────────────────────────────────────────────────

_SHOWN = (
    "id", "kind", "peer", "status", "root_kind", "root_id", "entity", "entity_id", "request",
    "answer_event", "answer_fields", "failed_event", "retry", "attempts", "due_at", "last_error",
    "created_at", "ended_at",
)  # fmt: skip


async def list_jobs(
    tx: Tx, statuses: Sequence[str], root_id: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return the newest jobs in some statuses, of one root or of any, as documents."""
    values = (list(statuses), root_id, root_id, limit)
    return [dict(zip(_SHOWN, row, strict=True)) for row in await tx.fetch(SQL.list_jobs, values)]


async def read_job(tx: Tx, job_id: str) -> dict[str, Any]:
    """Return a job as a document; refuses with `unknown_job`. Secrets are not in it."""
    row = await tx.fetch_one(SQL.read_job, (job_id,))
    if row is None:
        raise _unknown(job_id)
    return dict(zip(_SHOWN, row, strict=True))


class Decision(msgspec.Struct, frozen=True):
    """What a person decides about jobs, and why."""

    by: str
    reason: str
    at: datetime


async def retry_jobs(tx: Tx, ids: Sequence[str], decision: Decision) -> None:
    """Make jobs due now, with all their attempts again, under the same idempotency key.

    Refuses, all of them, with `unknown_job`, or `job_is_done` where one is done.
    """
    await _decide(tx, "retry job", ids, decision)
    await tx.execute(SQL.retry_jobs, (decision.at, uuid_array(ids)))


async def skip_jobs(tx: Tx, ids: Sequence[str], decision: Decision) -> None:
    """Give jobs up without telling their entities; what waits for an answer is sent it by hand.

    Refuses as `retry_jobs` does.
    """
    await _decide(tx, "skip job", ids, decision)
    await tx.execute(SQL.skip_jobs, (decision.at, uuid_array(ids)))


async def _decide(tx: Tx, action: str, ids: Sequence[str], decision: Decision) -> None:
    """Lock jobs, refuse what cannot be decided of them, and keep who decided what and why."""
    rows = await tx.fetch(SQL.lock_jobs, (uuid_array(ids),))
    found = {row[0]: row for row in rows}
    lines: list[str] = []
    for job_id in ids:
        if job_id not in found:
            raise _unknown(job_id)
        _, root_id, kind, status = found[job_id]
        if status == "done":
            raise Refusal("job_is_done", f"Job {job_id} is done: its answer was posted.", id=job_id)
        subject = _encode({"job_id": job_id, "kind": kind, "status": status}).decode()
        fields = (new_id(), action, root_id, copy_text(subject))
        told = (copy_text(decision.by), copy_text(decision.reason), decision.at.isoformat())
        lines.append("\t".join((*fields, *told)))
    tx.copy_in("intervention", "id, action, root_id, subject, by, reason, done_at", lines)


def _unknown(job_id: str) -> Refusal:
    return Refusal("unknown_job", f"There is no job {job_id}.", id=job_id)
