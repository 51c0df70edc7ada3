"""What the HTTP interface needs of an account that is open: a protocol, met by `app.Account`.

The interface stands below the composition root and never opens anything: it is handed this.
"""

from __future__ import annotations

from typing import Protocol

from penstock.availability.atp import Availability
from penstock.availability.feeds import Feeds
from penstock.availability.follow import Follower
from penstock.db import Database
from penstock.rules.grouping import Grouping
from penstock.rules.knowledge import Knowledge


class Served(Protocol):
    """An open account: what requests are answered from and given to."""

    @property
    def name(self) -> str: ...  # noqa: D102 (what it says)
    @property
    def schema(self) -> str: ...  # noqa: D102
    @property
    def database(self) -> Database: ...  # noqa: D102
    @property
    def knowledge(self) -> Knowledge: ...  # noqa: D102
    @property
    def follower(self) -> Follower: ...  # noqa: D102
    @property
    def availability(self) -> Availability: ...  # noqa: D102
    @property
    def grouping(self) -> Grouping: ...  # noqa: D102
    @property
    def feeds(self) -> Feeds: ...  # noqa: D102

    async def close(self) -> None:
        """Decide what was submitted, then let go of everything."""
        ...
