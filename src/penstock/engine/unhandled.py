"""Events that no ruleset names in the status they met: nothing is dropped in silence.

Owns table `unhandled_event`'s write side. An event whose rulesets were all passed over, because
their conditions did not hold, is not among them: its trace says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.db import copy_text
from penstock.engine.context import Context
from penstock.passes import Pass

_COLUMNS = "id, root_kind, root_id, entity, entity_id, name, payload, status, workflow_id, met_at"
_encode = msgspec.json.Encoder().encode


async def write_unhandled(tx: Pass, contexts: Sequence[Context]) -> None:
    """Write the unhandled events of the contexts, with the status their entity has now."""
    now = tx.now.isoformat()
    lines: list[str] = []
    for context in contexts:
        for event in context.unhandled:
            context.meet(event)
            lines.append(
                f"{event.id}\t{event.root_kind}\t{event.root_id}\t{event.entity}\t"
                f"{event.entity_id}\t{event.name}\t{copy_text(_encode(event.payload).decode())}\t"
                f"{context.entity.status}\t{context.workflow.id}\t{now}"
            )
    tx.copy_in("unhandled_event", _COLUMNS, lines)
