"""Rules of another package, found by its entry points, that go wrong for some orders.

An order says in its attributes how the rule shall go wrong: `kill` (the process ends at once),
`raise`, `refuse`, or `loop` (emit the event that it is run for).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from penstock.engine.context import Context
from penstock.engine.rule import Rule
from penstock.errors import Refusal
from penstock.passes import Pass

EXIT_STATUS = 86


class Poison(Rule, frozen=True):
    """Go wrong in the way that the order's attribute `on` says, if it has it."""

    on: str = "poison"

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Kill the process, raise, refuse the context alone, or have it go round in circles."""
        for context in contexts:
            how = context.root.attributes.get(self.on)
            if how == "kill":
                os._exit(EXIT_STATUS)
            if how == "raise":
                raise ValueError(f"order {context.root.ref} is poisonous")
            if how == "refuse":
                context.fail(Refusal("poisoned", f"Order {context.root.ref} is refused."))
            if how == "loop":
                context.emit(context.event.name)
