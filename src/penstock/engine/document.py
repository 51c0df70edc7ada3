"""Workflow documents: what a business changes without a deployment, as it is written.

Owns the document's form (YAML or JSON) and reading it. What a document comes to when it runs is in
`compiled.py`, what is wrong with one in `lint.py`. Pure.
"""

from typing import Annotated, Any, Literal

import msgspec
import yaml

from penstock.engine.durations import Duration
from penstock.errors import Refusal

MAX_DOCUMENT_BYTES = 1_000_000
MAX_NODES = 200_000
FLOW_WIDTH = 140
ANY = "*"

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Small letters, digits and underscores."
    ),
]
TypeName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([a-z][a-z0-9_]{0,62}|\*)$",
        description="A type of the entity; * is every type without a workflow of its own.",
    ),
]
EventName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$",
        description="An event's name, such as order.created.",
    ),
]
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
StatusName = Annotated[
    str,
    msgspec.Meta(pattern=r"^([a-z][a-z0-9_]{0,62}|\*)$", description="A status; * is every one."),
]
Expression = Annotated[
    str, msgspec.Meta(min_length=1, max_length=2_000, description="A CEL expression.")
]
Category = Literal["open", "waiting", "done", "failed"]
FieldType = Literal["text", "integer", "decimal", "boolean", "option", "options", "date", "instant"]


class StatusDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A status: where in its life the entity is, and whether anybody waits for anything."""

    name: Name
    phase: Name
    category: Category
    meaning: Sentence


class RulesetDocument(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"when": "if"},
):
    """Rules to run in order when an event meets a status and the condition holds.

    `on_refusal` is an event that is emitted when a rule refuses; nothing of the ruleset stays then.
    Its payload has `code`, `message`, `ruleset` and `event`.
    """

    name: Sentence
    event: EventName
    statuses: Annotated[list[StatusName], msgspec.Meta(min_length=1)]
    rules: list[Name | dict[Name, Any]]
    when: Expression | None = None
    on_refusal: EventName | None = None


class FieldDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A field of a user action's form; its value is in the event's payload under `name`.

    `options` are the values of types option and options. `least` and `most` bound a number, or the
    length of a text.
    """

    name: Name
    type: FieldType
    label: str = ""
    required: bool = False
    default: Any = None
    options: list[str] = []
    least: int | None = None
    most: int | None = None
    help: str = ""


class ActionDocument(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"when": "if"},
):
    """A user action: a button with a form in every app, while the status and condition allow.

    Without `roles` every user may. `confirm` is asked before it is done.
    """

    name: Name
    label: Sentence
    event: EventName
    statuses: Annotated[list[StatusName], msgspec.Meta(min_length=1)]
    roles: list[Name] = []
    when: Expression | None = None
    fields: list[FieldDocument] = []
    confirm: str = ""


class TimerDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An event at a later instant, cancelled when the entity leaves the statuses.

    Due `after` a duration from entering (90s, 30m, 2h, 3d, 2w), or `at` the instant (ISO 8601)
    that an attribute of the entity has, or `after` that.
    """

    name: Name
    event: EventName
    statuses: Annotated[list[Name], msgspec.Meta(min_length=1)]
    after: Duration | None = None
    at: Name | None = None


class WorkflowDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A workflow for one type of one entity; the first status is the one it begins in.

    `channel` is the ref of the channel it is for, with those below; without one it is the
    account's. Entity and type are open: an account may add its own.
    """

    name: Name
    entity: Name
    type: TypeName
    statuses: Annotated[list[StatusDocument], msgspec.Meta(min_length=1)]
    rulesets: list[RulesetDocument]
    version: Annotated[int, msgspec.Meta(ge=1, le=2_000_000_000)] = 1
    channel: str | None = None
    description: str = ""
    actions: list[ActionDocument] = []
    timers: list[TimerDocument] = []


def read_document(text: str) -> WorkflowDocument:
    """Read a document from YAML or JSON; refuses with `invalid_document`, naming the place."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise Refusal("invalid_document", f"The document is over {MAX_DOCUMENT_BYTES} bytes.")
    try:
        value = yaml.safe_load(text)
        _refuse_bomb(value)
        return msgspec.convert(value, WorkflowDocument)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        raise Refusal("invalid_document", f"The workflow document: {error}") from None


def _refuse_bomb(value: Any) -> None:
    """Refuse a few lines that YAML's aliases make millions of."""
    waiting: list[Any] = [value]
    seen = 0
    while waiting:
        seen += 1
        if seen > MAX_NODES:
            raise Refusal("invalid_document", f"The document has over {MAX_NODES} parts.")
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


class _Dumper(yaml.SafeDumper):
    """Writes small mappings and lists on one line, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (none is ever wanted)
        """Write everything out."""
        return True


def _in_one_line(value: Any) -> bool:
    return len(str(value)) <= FLOW_WIDTH


def _mapping(dumper: _Dumper, value: dict[str, Any]) -> yaml.Node:
    flow = _in_one_line(value) and not any(isinstance(v, dict) for v in value.values())
    pairs = value.items()
    return dumper.represent_mapping("tag:yaml.org,2002:map", pairs, flow_style=flow)


def _sequence(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    flow = _in_one_line(value) and not any(isinstance(v, dict) for v in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)


_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(list, _sequence)


def written(document: WorkflowDocument) -> str:
    """Write a document as YAML that reads back to the same, for people to change."""
    value = msgspec.to_builtins(document)
    value["rulesets"] = [_with_rules_last(one) for one in value["rulesets"]]
    ends = {"rulesets", "actions", "timers", "statuses"}
    head = {name: part for name, part in value.items() if name not in ends}
    parts = [yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=200)]
    for name in ("statuses", "rulesets", "actions", "timers"):
        if value.get(name):
            between = "\n" if name in {"rulesets", "actions"} else ""
            items = between.join(_dumped([one]) for one in value[name])
            parts.append(f"{name}:\n{items}")
    return "\n".join(parts)


def _with_rules_last(ruleset: dict[str, Any]) -> dict[str, Any]:
    return {name: ruleset[name] for name in sorted(ruleset, key=lambda name: name == "rules")}


def _dumped(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=200)


def step_of(step: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of a ruleset's step; refuses with `invalid_document`."""
    if isinstance(step, str):
        return step, {}
    if len(step) != 1:
        named = ", ".join(step) or "nothing"
        raise Refusal("invalid_document", f"A step names one rule; this one names {named}.")
    name, parameters = next(iter(step.items()))
    if parameters is not None and not isinstance(parameters, dict):
        raise Refusal("wrong_parameter", f"Rule {name}: parameters are given as name: value.")
    return name, parameters or {}
