"""Traces: for each event the workflow version, rulesets, rules with durations, what came of it.

Owns table `trace`'s write side. One row per root and pass holds the events of all its waves, as
JSON. What a batch shares (rulesets, rules, durations) is encoded once per batch, not per entity.
Rulesets stand in it by their number in the workflow's version, which never changes: names and
conditions are put in on reading (`expand`), so that an order's trace is a third of the size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.db import copy_text
from penstock.engine.compiled import Ruleset, Workflow
from penstock.engine.context import Context
from penstock.engine.document import RulesetDocument, WorkflowDocument, step_of
from penstock.passes import Pass

_COLUMNS = "pass_id, root_id, event, detail"
_encode = msgspec.json.Encoder().encode


NotMet = int | tuple[int, str]  # a ruleset's number; with the code of the refusal, if one came


class Ran(NamedTuple):
    """A ruleset that ran, and its rules with the seconds that each took for the batch."""

    ruleset: Ruleset
    rules: list[tuple[str, float]]


def shared_part(
    workflow: Workflow,
    event: str,
    status: str,
    not_met: Sequence[NotMet],
    ran: Sequence[Ran],
    batch: int,
) -> str:
    """Encode what a batch shares, as the beginning of a JSON object left open for the rest."""
    shared: dict[str, Any] = {
        "event": event,
        "workflow": workflow.id,
        "batch": batch,
        "from": status,
        "rulesets": [
            (one.ruleset.number, *(round(seconds * 1e6) for _, seconds in one.rules)) for one in ran
        ],
    }
    if not_met:
        shared["not_met"] = not_met
    if workflow.run is not None:
        shared["run"] = workflow.run
    return _encode(shared).decode()[:-1]


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


Documents = Mapping[int | str, WorkflowDocument]


def expand(event: dict[str, Any], documents: Documents) -> dict[str, Any]:
    """Return an event of a trace with the names and conditions that its numbers stand for.

    `documents` are versions by id, and documents that were run once by the id of the run. An event
    that met no workflow has none.
    """
    document = documents.get(event["workflow"])
    if document is None:
        return event | {"workflow": None}
    supplied = documents.get(event.get("run", ""))

    def ruleset(number: int) -> RulesetDocument:
        if number >= 0 or supplied is None:
            return document.rulesets[number]
        return supplied.rulesets[-number - 1]

    full = event | {"workflow": f"{document.name}@{document.version}"}
    full["rulesets"] = [_ruleset_part(ruleset(one[0]), one[1:]) for one in event["rulesets"]]
    if "not_met" in event:
        full["not_met"] = [
            ruleset(one).name
            if isinstance(one, int)
            else f"{ruleset(one[0]).name} (refused: {one[1]})"
            for one in event["not_met"]
        ]
    return full


def _ruleset_part(ruleset: RulesetDocument, durations: Sequence[int]) -> dict[str, Any]:
    names = [step_of(step)[0] for step in ruleset.rules]
    rules = [{"rule": name, "us": us} for name, us in zip(names, durations, strict=False)]
    part: dict[str, Any] = {"name": ruleset.name}
    if ruleset.when is not None:
        part["if"] = ruleset.when
    return part | {"rules": rules}


async def write_traces(tx: Pass, contexts: Sequence[Context]) -> None:
    """Write one trace row for each context that ran anything."""
    lines = [
        f"{tx.id}\t{context.root.id}\t{context.decided_events[0].name}\t"
        f"{copy_text('[' + ','.join(context.fragments) + ']')}"
        for context in contexts
        if context.fragments
    ]
    tx.copy_in("trace", _COLUMNS, lines)
