"""Findings: breaches that an audit has seen, from when until when, and what is still wrong.

Owns tables `audit_finding` and `audit_run`. A breach of one subject is one row however often it is
seen; it is resolved when its subject is looked at again and nothing is found. A finding knows what
to look at again by its key: `position:12`, `chain:12` (an entry that does not follow the one
before: looking again at the position says nothing about it), `root:<id>`, `journal` (all of it),
or `whole`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal

SQL = Queries("penstock.audit", "forward.sql")
MAX_LISTED = 1_000
WHOLE = "whole"
JOURNAL = "journal"
OF_ROOTS = ("lines", "allocations", "fulfilments", "kits", "waiting", "events")
_POSITION = re.compile(r"Position (\d+)")
_ROOT = re.compile(r"\b[Oo]rder ([0-9a-f-]{36})|^\w+ ([0-9a-f-]{36})")
_COUNTED = re.compile(r" has counted -?\d+ of ")
_TELLS = re.compile(r" (?:has|is|names|says|are|belongs)\b|, but|: |\.$")


class Seen(msgspec.Struct, frozen=True):
    """A breach as a check has found it."""

    check: str
    subject: str
    key: str
    sentence: str


class Finding(msgspec.Struct, frozen=True):
    """A breach that is kept; `resolved_at` is None while it stands."""

    id: int
    check: str
    subject: str
    key: str
    sentence: str
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime | None = None


class Run(msgspec.Struct, frozen=True):
    """What one run has looked at, and how many findings were open at its end."""

    id: int
    kind: str
    started_at: datetime
    ended_at: datetime
    from_number: int
    to_number: int
    entries: int
    positions: int
    orders: int
    breaches: int


class Totals(msgspec.Struct, frozen=True):
    """Figures for metrics; `age_s` is -1 where there was no run yet."""

    age_s: float
    passes_behind: int
    positions_read: int
    entries_read: int
    runs: int


def subject_of(sentence: str) -> str:
    """Return what a sentence is about: it stays the same while the figures in it change."""
    position = _POSITION.match(sentence)
    return position[0] if position else _TELLS.split(sentence, maxsplit=1)[0]


def seen_by(check: str, sentence: str) -> Seen:
    """Return what a sentence of a check says, with what has to be looked at again for it."""
    subject = subject_of(sentence)
    position = _POSITION.match(sentence)
    if check == "passes" and sentence.startswith("Journal row"):
        return Seen(check, subject, JOURNAL, sentence)
    if position and check == "journal":
        return Seen(check, f"{subject}, its journal", f"chain:{position[1]}", sentence)
    if position:
        return Seen(check, subject, f"position:{position[1]}", sentence)
    if check == "controls":
        subject = _COUNTED.sub(", ", sentence.partition(", but")[0])
    root = _ROOT.search(sentence) if check in OF_ROOTS else None
    key = f"root:{root[1] or root[2]}" if root else WHOLE
    return Seen(check, subject, key, sentence)


async def note(tx: Tx, seen: Sequence[Seen]) -> None:
    """Keep what was seen, or that it is still there."""
    unique = {(one.check, one.subject): one for one in seen}
    if unique:
        rows = list(unique.values())
        await tx.execute(
            SQL.note_finding,
            (
                [one.check for one in rows],
                [one.subject for one in rows],
                [one.key for one in rows],
                [one.sentence for one in rows],
            ),
        )


async def settle(
    tx: Tx, checks: Sequence[str], keys: Sequence[str] | None, seen: Sequence[Seen]
) -> None:
    """Keep what was seen and resolve what was looked at again and not seen.

    `keys` are what was looked at by the checks; None: everything.
    """
    await note(tx, seen)
    params = (
        list(checks),
        keys is None,
        list(keys or ()),
        [one.check for one in seen],
        [one.subject for one in seen],
    )
    await tx.execute(SQL.resolve_findings, params)


async def open_findings(tx: Tx, limit: int = MAX_LISTED) -> list[Finding]:
    """Return what is wrong, oldest first."""
    return [Finding(*row) for row in await tx.fetch(SQL.open_findings, (limit,))]


async def resolved_findings(tx: Tx, limit: int) -> list[Finding]:
    """Return what was wrong, the last resolved first."""
    return [Finding(*row) for row in await tx.fetch(SQL.resolved_findings, (limit,))]


async def read_finding(tx: Tx, finding_id: int) -> Finding:
    """Return a finding; refuses with `unknown_finding`."""
    row = await tx.fetch_one(SQL.finding, (finding_id,))
    if row is None:
        raise Refusal("unknown_finding", f"There is no finding {finding_id}.", id=finding_id)
    return Finding(*row)


async def count_findings(tx: Tx) -> dict[str, int]:
    """Return how many breaches are open, by check."""
    return dict(await tx.fetch(SQL.count_findings))


async def last_runs(tx: Tx, limit: int) -> list[Run]:
    """Return the last runs, the last first."""
    return [Run(*row) for row in await tx.fetch(SQL.last_runs, (limit,))]


async def read_totals(tx: Tx) -> Totals:
    """Return the figures for metrics."""
    row: Any = await tx.fetch_one(SQL.totals)
    return Totals(*row)
