"""User actions: what somebody may do now with an entity, by which form, and doing it.

Owns finding the actions that a workflow allows in the entity's status, for a role, under their
conditions; and checking what was filled in. Doing one sends its event, which the workflow decides:
so an action that is not possible any more is refused there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from penstock.engine.compiled import Action, Workflow
from penstock.engine.context import Context
from penstock.engine.document import FieldDocument
from penstock.engine.inbox import Event
from penstock.errors import Refusal
from penstock.rules.roots import Root
from penstock.rules.take import RootEvent

MAX_TEXT = 5_000
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")


class Possible(msgspec.Struct, omit_defaults=True):
    """An action that is possible now, and its form. Without `roles` everybody may."""

    name: str
    label: str
    entity: str
    entity_id: str
    event: str
    fields: list[FieldDocument]
    roles: list[str] = []
    confirm: str = ""


class Doing(msgspec.Struct):
    """Who does which action, with what was filled in.

    One whose key is known `is_repeat`: it was possible once, and its stored answer is wanted.
    """

    name: str
    fields: Mapping[str, Any]
    by: str
    role: str | None = None
    key: str | None = None
    is_repeat: bool = False


def possible_actions(
    root: Root, workflows: Mapping[int, Workflow], role: str | None
) -> list[Possible]:
    """Return what a role may do now with a root and the entities inside it; None is every role."""
    return [
        Possible(
            document.name,
            document.label,
            subject.kind,
            subject.id,
            document.event,
            document.fields,
            document.roles,
            document.confirm,
        )
        for subject, action in _allowed(root, workflows, role)
        if (document := action.document)
    ]


def action_event(
    root: Root, workflows: Mapping[int, Workflow], entity_id: str, doing: Doing
) -> RootEvent:
    """Return the event of an action; refuses `action_not_possible`, `invalid_form` with `field`."""
    there_are = _declared(root, workflows) if doing.is_repeat else None
    for subject, action in there_are or _allowed(root, workflows, doing.role):
        if subject.id == entity_id and action.document.name == doing.name:
            payload = check_form(action.document.fields, doing.fields)
            return RootEvent(
                root.id,
                action.document.event,
                {**payload, "action": doing.name, "by": doing.by},
                doing.key,
                root.kind,
                subject.kind,
                subject.id,
            )
    names = sorted({action.document.name for _, action in _allowed(root, workflows, doing.role)})
    raise Refusal(
        "action_not_possible",
        f"{doing.name} is not possible now; possible are: {', '.join(names) or 'none'}.",
        action=doing.name,
    )


def _declared(root: Root, workflows: Mapping[int, Workflow]) -> Iterator[tuple[Any, Action]]:
    for subject in (root, *root.subjects()):
        workflow = workflows.get(subject.workflow_id or 0)
        for action in workflow.actions if workflow is not None else ():
            yield subject, action


def _allowed(
    root: Root, workflows: Mapping[int, Workflow], role: str | None
) -> Iterator[tuple[Any, Action]]:
    for subject in (root, *root.subjects()):
        workflow = workflows.get(subject.workflow_id or 0)
        if workflow is None or not workflow.actions:
            continue
        event = Event(root.kind, root.id, subject.kind, subject.id, "action.asked")
        context = Context(root, workflows, [event])
        context.meet(event)
        for action in workflow.actions:
            roles = action.document.roles
            if subject.status not in action.statuses or (role and roles and role not in roles):
                continue
            if action.condition is None or action.condition.holds(context.views):
                yield subject, action


def check_form(fields: list[FieldDocument], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check what was filled in against a form; refuses `invalid_form`, naming the field."""
    known = {field.name for field in fields}
    unknown = sorted(given.keys() - known)
    if unknown:
        there_are = ", ".join(sorted(known)) or "none"
        raise _invalid(unknown[0], f"There is no such field; there are: {there_are}.")
    values: dict[str, Any] = {}
    for field in fields:
        value = given.get(field.name, field.default)
        if value is None or (value == "" and not field.required):
            if field.required:
                raise _invalid(field.name, "It is needed.")
            continue
        values[field.name] = _checked(field, value)
    return values


def _checked(field: FieldDocument, value: Any) -> Any:
    check = {
        "text": _text,
        "integer": _integer,
        "decimal": _decimal,
        "boolean": _boolean,
        "option": _option,
        "options": _options,
        "date": _date,
        "instant": _instant,
    }[field.type]
    return check(field, value)


def _text(field: FieldDocument, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _invalid(field.name, "It is a text.")
    _bounded(field, len(value), "characters", MAX_TEXT)
    return value


def _integer(field: FieldDocument, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid(field.name, "It is a whole number.")
    _bounded(field, value, "", 2**53)
    return value


def _decimal(field: FieldDocument, value: Any) -> str:
    """Decimals travel as text, so that none is rounded on its way."""
    if isinstance(value, bool) or not _DECIMAL.fullmatch(str(value)):
        raise _invalid(field.name, "It is a number such as 12.50.")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _invalid(field.name, "It is a number such as 12.50.") from None
    _bounded(field, number, "", 10**18)
    return str(number)


def _boolean(field: FieldDocument, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(field.name, "It is true or false.")
    return value


def _option(field: FieldDocument, value: Any) -> str:
    if value not in field.options:
        raise _invalid(field.name, f"It is one of {', '.join(field.options)}.")
    return str(value)


def _options(field: FieldDocument, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _invalid(field.name, f"It is a list of {', '.join(field.options)}.")
    chosen = [_option(field, one) for one in value]
    _bounded(field, len(chosen), "choices", len(field.options))
    return chosen


def _date(field: FieldDocument, value: Any) -> str:
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise _invalid(field.name, "It is a date such as 2026-12-24.") from None


def _instant(field: FieldDocument, value: Any) -> str:
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise _invalid(field.name, "It is an instant such as 2026-12-24T18:00:00Z.")
    return instant.isoformat()


def _bounded(field: FieldDocument, size: Decimal | int, unit: str, largest: int) -> None:
    least, most = field.least, largest if field.most is None else field.most
    words = f" {unit}" if unit else ""
    if least is not None and size < least:
        raise _invalid(field.name, f"It is at least {least}{words}.")
    if size > most:
        raise _invalid(field.name, f"It is at most {most}{words}.")


def _invalid(field: str, sentence: str) -> Refusal:
    return Refusal("invalid_form", f"{field}: {sentence}", field=field)
