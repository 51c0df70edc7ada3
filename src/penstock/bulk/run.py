"""A run: one import on its way, with what it may use and how far it is.

Owns what every kind of import does alike: moving the job on, writing faults before the commit that
makes them true, telling progress.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from penstock.availability.follow import Follower
from penstock.bulk.errors_file import ErrorsFile
from penstock.bulk.files import Source
from penstock.bulk.jobs import Job, advance_job
from penstock.bulk.model import Fault, Options, Progress, Tell
from penstock.db import Tx
from penstock.rules.knowledge import Knowledge


class Account(Protocol):
    """What an import needs of an opened account."""

    @property
    def conninfo(self) -> str:
        """The server's address."""
        ...

    @property
    def schema(self) -> str:
        """The account's schema."""
        ...

    @property
    def knowledge(self) -> Knowledge:
        """What the process knows of the account."""
        ...

    @property
    def follower(self) -> Follower:
        """Who keeps the index fresh."""
        ...


class Run:
    """One run of an import; `job` is as committed."""

    def __init__(
        self, account: Account, source: Source, options: Options, job: Job, tell: Tell
    ) -> None:
        self.account = account
        self.knowledge = account.knowledge
        self.source = source
        self.options = options
        self.job = job
        self.errors = ErrorsFile(source.path, job.rows_done)
        self._mark = self.errors.mark
        self.resumed_at = job.rows_done
        self.ignored: tuple[str, ...] = ()
        self._started_at = time.monotonic()
        self._tell = tell

    async def advance(
        self, tx: Tx, rows_done: int, faults: Sequence[Fault], unchanged: int = 0
    ) -> Job:
        """Move the job on in the transaction that did the rows; returns it as it is then.

        Faults are on disk before the transaction commits; an attempt that is rolled back leaves
        some that the next attempt overwrites.
        """
        moved = await advance_job(tx, self.job, rows_done, len(faults), unchanged)
        self.errors.write(self._mark, sorted(faults, key=lambda fault: fault.row))
        return moved

    def committed(self, job: Job) -> None:
        """Take the job as committed, and tell."""
        self.job = job
        self._mark = self.errors.mark
        total = max(self.source.rows, job.rows_done)
        self._tell(Progress(job.rows_done, total, job.rows_failed, self.rows_per_s))

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self._started_at

    @property
    def rows_per_s(self) -> float:
        """Rows of this run a second."""
        return (self.job.rows_done - self.resumed_at) / max(self.seconds, 1e-6)
