"""Traces: for each event the workflow version, rulesets, rules with durations, status change.

Owns table `trace`. One row per root and pass holds the events of all its waves, as JSON. What a
batch shares (rulesets, rules, durations) is encoded once per batch, not once per entity.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.db import copy_text
from penstock.engine.context import Context
from penstock.passes import Pass

_COLUMNS = "pass_id, root_id, event, detail"
_encode = msgspec.json.Encoder().encode


def fragment(
    context: Context, ran: Sequence[tuple[str, Sequence[tuple[str, float]]]], batch: int
) -> str:
    """Encode what a batch shares, as the beginning of a JSON object left open for the rest."""
    workflow = context.workflow
    shared = {
        "event": context.event.name,
        "workflow": f"{workflow.name}@{workflow.version}",
        "batch": batch,
        "rulesets": [
            {"name": name, "rules": [{"rule": r, "us": round(s * 1e6)} for r, s in rules]}
            for name, rules in ran
        ],
    }
    return _encode(shared).decode()[:-1]


async def write_traces(tx: Pass, contexts: Sequence[Context]) -> None:
    """Write one trace row for each context that ran anything."""
    lines = [
        f"{tx.id}\t{context.root.id}\t{context.decided_events[0].name}\t"
        f"{copy_text('[' + ','.join(context.fragments) + ']')}"
        for context in contexts
        if context.fragments
    ]
    tx.copy_in("trace", _COLUMNS, lines)
