"""Flow rules: transition to a status, emit an event."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.engine.context import Context
from penstock.engine.rule import Rule
from penstock.passes import Pass


class Transition(Rule, frozen=True):
    """Move the entity to status `to`, which the workflow has to declare."""

    to: str

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Transition every context; the stream gets `<entity>.<status>`."""
        for context in contexts:
            context.transition(self.to)


class Emit(Rule, frozen=True):
    """Emit event `event` to the same root; it runs in the next wave of the pass."""

    event: str

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Emit for every context."""
        for context in contexts:
            context.emit(self.event)
