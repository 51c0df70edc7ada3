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
        return msgspec.convert(yaml.safe_load(text), WorkflowDocument)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        raise Refusal("invalid_document", f"The workflow document: {error}") from None


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
