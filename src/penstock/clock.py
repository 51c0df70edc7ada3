"""Clocks: the only source of `now` in Penstock.

Owns the protocol and the two clocks: the system's, and one that is moved by hand (tests, and the
demo, whose clock follows the instants at which orders were placed). All instants are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the present instant, with time zone."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock moved by hand; it never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the instant the clock was last moved to."""
        return self._now

    def advance_to(self, instant: datetime) -> None:
        """Move to the instant unless the clock is already past it."""
        self._now = max(self._now, instant)
