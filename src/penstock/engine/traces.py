"""Traces: for each event the workflow version, rulesets, rules with durations, what came of it.

Owns table `trace`'s write side. One row per root and pass holds the events of all its waves, as
JSON. What a batch shares (rulesets, rules, durations) is encoded once per batch, not per entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.db import copy_text
from penstock.engine.compiled import Ruleset, Workflow
from penstock.engine.context import Context
from penstock.passes import Pass

_COLUMNS = "pass_id, root_id, event, detail"
_encode = msgspec.json.Encoder().encode


class Ran(NamedTuple):
    """A ruleset that ran, and its rules with the seconds that each took for the batch."""

    ruleset: Ruleset
    rules: list[tuple[str, float]]


def shared_part(
    workflow: Workflow,
    event: str,
    status: str,
    not_met: Sequence[str],
    ran: Sequence[Ran],
    batch: int,
) -> str:
    """Encode what a batch shares, as the beginning of a JSON object left open for the rest."""
    shared: dict[str, Any] = {
        "event": event,
        "workflow": f"{workflow.name}@{workflow.version}",
        "batch": batch,
        "from": status,
        "rulesets": [_ruleset_part(one) for one in ran],
    }
    if not_met:
        shared["not_met"] = not_met
    return _encode(shared).decode()[:-1]


def _ruleset_part(ran: Ran) -> dict[str, Any]:
    rules = [{"rule": name, "us": round(seconds * 1e6)} for name, seconds in ran.rules]
    part: dict[str, Any] = {"name": ran.ruleset.name}
    if ran.ruleset.condition is not None:
        part["if"] = ran.ruleset.condition.text
    return part | {"rules": rules}


def trace_part(context: Context, entity: Any, changes: int, posts: int) -> str:
    """Encode what is one context's own: where it ended, what it recorded, emitted and sent.

    `changes` and `posts` are how many there were before the batch.
    """
    part = f',"to":"{entity.status}"'
    if entity is not context.root:
        part += f',"entity":"{entity.kind}","entity_id":"{entity.id}"'
    if context.emitted:
        part += ',"emitted":' + _names(context.emitted)
    if len(context.changes) > changes:
        part += ',"changes":' + _names(context.changes[changes:])
    if len(context.to_post) > posts:
        part += ',"posted":' + _names(context.to_post[posts:])
    return part + "}"


def _names(things: Sequence[Any]) -> str:
    return '["' + '","'.join(thing.name for thing in things) + '"]'


async def write_traces(tx: Pass, contexts: Sequence[Context]) -> None:
    """Write one trace row for each context that ran anything."""
    lines = [
        f"{tx.id}\t{context.root.id}\t{context.decided_events[0].name}\t"
        f"{copy_text('[' + ','.join(context.fragments) + ']')}"
        for context in contexts
        if context.fragments
    ]
    tx.copy_in("trace", _COLUMNS, lines)
