"""`wait_for`: go on once all children, or any of them, have come to certain statuses.

The rule looks when it is asked, and keeps nothing: each child's workflow tells its parent
(`send: {to: parent}`), and the parent's ruleset for that event looks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from penstock.db import uuid_array
from penstock.engine.context import Context
from penstock.engine.document import EventName, Name
from penstock.engine.entities import SQL
from penstock.engine.rule import Outcomes, Rule
from penstock.passes import Pass


class WaitFor(Rule, frozen=True, rename={"statuses": "in"}):
    """Emit an event to the same entity once its children of a kind are in certain statuses.

    Until then nothing happens, and neither does where it has no such child. A choice's children are
    its fulfilments. It emits each time it finds the condition met: the ruleset's statuses say when
    it is asked at all.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "children": "fulfilment",
        "in": ["shipped", "cancelled"],
        "how": "all",
        "then": "order.all_shipped",
    }

    children: Annotated[Name, msgspec.Meta(description="The kind of the children.")]
    statuses: Annotated[
        list[Name], msgspec.Meta(min_length=1, description="The statuses they are waited for in.")
    ]
    then: Annotated[EventName, msgspec.Meta(description="The event.")]
    how: Annotated[
        Literal["all", "any"], msgspec.Meta(description="All of them, or any: one is enough.")
    ] = "all"

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Look at the children, in one query where they are roots of their own, and emit."""
        inside = tx.knowledge.vocabulary.entities.get(self.children)
        if getattr(inside, "root", None) is not None:
            for context in contexts:
                self._judge(context, [one.status for one in _inside(context, self.children)])
            return
        roots = [context for context in contexts if context.entity is context.root]
        found = await _statuses_of(tx, [context.root.id for context in roots], self.children)
        for context in roots:
            self._judge(context, found.get(context.root.id, []))

    def _judge(self, context: Context, statuses: Sequence[str]) -> None:
        met = [status in self.statuses for status in statuses]
        if met and (all(met) if self.how == "all" else any(met)):
            context.emit(self.then)

    def outcomes(self) -> Outcomes:
        """Return the event."""
        return Outcomes(events=(self.then,))


def _inside(context: Context, kind: str) -> list[Any]:
    """Return the entities of a kind inside the root, or inside the choice the event is for."""
    found = [one for one in context.root.subjects() if one.kind == kind]
    if context.entity is context.root:
        return found
    return [one for one in found if getattr(one, "choice_id", None) == context.entity.id]


async def _statuses_of(tx: Pass, root_ids: Sequence[str], kind: str) -> dict[str, list[str]]:
    """Return the statuses of the child roots of a kind, by the parent's id."""
    found: dict[str, list[str]] = {}
    if root_ids:
        for row in await tx.fetch(SQL.children_of_roots, (uuid_array(root_ids),)):
            if row[1] == kind:
                found.setdefault(row[0], []).append(row[3])
    return found
