"""Workflow documents: what a business changes without a deployment.

Owns the document's form (YAML or JSON), its checks, and its compiled shape. A version is
immutable. Pure: reading from and writing to the database is in `workflows.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import yaml

from penstock.engine.condition import Condition
from penstock.engine.rule import Rule, make_rule
from penstock.errors import Refusal

MAX_DOCUMENT_BYTES = 1_000_000


class StatusDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A status: where in its life the entity is, and whether anybody waits for anything."""

    name: str
    phase: str
    category: Literal["open", "waiting", "done", "failed"]
    meaning: str


class RulesetDocument(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"when": "if"}
):
    """Rules to run in order when an event meets a status and the condition holds."""

    name: str
    event: str
    statuses: list[str]
    rules: list[str | dict[str, Any]]
    when: str | None = None


class WorkflowDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A workflow for one type of one entity."""

    name: str
    entity: str
    type: str
    statuses: list[StatusDocument]
    rulesets: list[RulesetDocument]
    version: int = 1


class Ruleset(msgspec.Struct, frozen=True, eq=False):
    """A compiled ruleset. `asks` is true if any of its rules asks stock."""

    name: str
    statuses: frozenset[str]
    condition: Condition | None
    rules: tuple[tuple[str, Rule], ...]
    asks: bool


class Workflow(msgspec.Struct, frozen=True):
    """A compiled workflow version: rulesets by event, in order."""

    id: int
    name: str
    version: int
    entity: str
    type: str
    initial: str
    categories: Mapping[str, str]
    rulesets: Mapping[str, Sequence[Ruleset]]


def read_document(text: str) -> WorkflowDocument:
    """Read a document from YAML or JSON; refuses with `invalid_document`, naming the place."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise Refusal("invalid_document", f"The document is over {MAX_DOCUMENT_BYTES} bytes.")
    try:
        return msgspec.convert(yaml.safe_load(text), WorkflowDocument)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise Refusal("invalid_document", f"The workflow document: {error}") from None


def compile_document(
    document: WorkflowDocument, workflow_id: int, rules: Mapping[str, type[Rule]]
) -> Workflow:
    """Check a document and compile its conditions and rules; refuses what cannot run."""
    declared = {status.name for status in document.statuses}
    if not document.statuses:
        raise Refusal("invalid_document", "A workflow needs at least one status.")
    by_event: dict[str, list[Ruleset]] = {}
    for ruleset in document.rulesets:
        undeclared = sorted(set(ruleset.statuses) - declared)
        if undeclared:
            raise Refusal(
                "undeclared_status",
                f"Ruleset {ruleset.name!r} names {', '.join(undeclared)}, which is not declared.",
                ruleset=ruleset.name,
            )
        by_event.setdefault(ruleset.event, []).append(_compile_ruleset(ruleset, rules))
    return Workflow(
        id=workflow_id,
        name=document.name,
        version=document.version,
        entity=document.entity,
        type=document.type,
        initial=document.statuses[0].name,
        categories={status.name: status.category for status in document.statuses},
        rulesets=by_event,
    )


def _compile_ruleset(ruleset: RulesetDocument, rules: Mapping[str, type[Rule]]) -> Ruleset:
    steps: list[tuple[str, Rule]] = []
    for step in ruleset.rules:
        name, parameters = (step, None) if isinstance(step, str) else next(iter(step.items()))
        steps.append((name, make_rule(rules, name, parameters)))
    return Ruleset(
        name=ruleset.name,
        statuses=frozenset(ruleset.statuses),
        condition=None if ruleset.when is None else Condition(ruleset.when),
        rules=tuple(steps),
        asks=any(rule.asks for _, rule in steps),
    )
