"""Compiled workflows: a document's version as it runs.

Pure. Compiling refuses what cannot run; what can run but is wrong, lint tells (`lint.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, get_args

import msgspec

from penstock.engine.condition import Condition, check_expression
from penstock.engine.document import (
    ANY,
    ActionDocument,
    Expression,
    RulesetDocument,
    TimerDocument,
    WorkflowDocument,
    step_of,
)
from penstock.engine.durations import parse_duration
from penstock.engine.readable import Vocabulary
from penstock.engine.rule import Rule, make_rule
from penstock.engine.template import Template, places_of
from penstock.errors import Refusal

# A parameter may be annotated with more beside it.
_EXPRESSION, _TEMPLATE = get_args(Expression)[1], get_args(Template)[1]


class Ruleset(msgspec.Struct, frozen=True, eq=False):
    """A compiled ruleset. `number` is its place in the document; `asks`: a rule asks stock."""

    number: int
    name: str
    statuses: frozenset[str]
    condition: Condition | None
    rules: tuple[tuple[str, Rule], ...]
    asks: bool
    on_refusal: str | None = None


class Timer(msgspec.Struct, frozen=True):
    """A compiled timer: due `after` entering, or at the attribute `at`, or `after` that."""

    name: str
    event: str
    statuses: frozenset[str]
    after: timedelta
    at: str | None


class Action(msgspec.Struct, frozen=True):
    """A user action: its document, the statuses it is possible in, its condition."""

    document: ActionDocument
    statuses: frozenset[str]
    condition: Condition | None


class Workflow(msgspec.Struct, frozen=True, eq=False):
    """A compiled workflow version: rulesets by event, in order.

    `run` is the id of a document that was supplied for one event (`rules/run_once.py`); the
    rulesets of that have negative numbers.
    """

    id: int
    name: str
    version: int
    entity: str
    type: str
    initial: str
    categories: Mapping[str, str]
    rulesets: Mapping[str, Sequence[Ruleset]]
    channel: str | None = None
    timers: Sequence[Timer] = ()
    actions: Sequence[Action] = ()
    run: str | None = None


def compile_document(
    document: WorkflowDocument, workflow_id: int, vocabulary: Vocabulary
) -> Workflow:
    """Check a document and compile its expressions and rules; refuses what cannot run.

    Refuses with `undeclared_status`, `unknown_rule`, `wrong_parameter`, `wrong_entity`,
    `invalid_condition`, `unknown_field`, `unguarded_field`, `invalid_timer`, `invalid_document`.
    """
    names = [status.name for status in document.statuses]
    if len(set(names)) != len(names):
        raise Refusal("invalid_document", "Two statuses have the same name.")
    by_event: dict[str, list[Ruleset]] = {}
    for number, ruleset in enumerate(document.rulesets):
        compiled = compile_ruleset(ruleset, document, vocabulary, number)
        by_event.setdefault(ruleset.event, []).append(compiled)
    return Workflow(
        id=workflow_id,
        name=document.name,
        version=document.version,
        entity=document.entity,
        type=document.type,
        initial=names[0],
        categories={status.name: status.category for status in document.statuses},
        rulesets=by_event,
        channel=document.channel,
        timers=tuple(compile_timer(timer, document) for timer in document.timers),
        actions=tuple(compile_action(one, document, vocabulary) for one in document.actions),
    )


def compile_ruleset(
    ruleset: RulesetDocument, document: WorkflowDocument, vocabulary: Vocabulary, number: int = 0
) -> Ruleset:
    """Compile the document's ruleset of that number; refuses as `compile_document` does."""
    place = f"Ruleset {ruleset.name!r}"
    rules = tuple(
        compile_step(step, document, vocabulary, place, ruleset.when) for step in ruleset.rules
    )
    return Ruleset(
        number=number,
        name=ruleset.name,
        statuses=_statuses(ruleset.statuses, document, place),
        condition=_condition(ruleset.when, document, vocabulary, place),
        rules=rules,
        asks=any(rule.asks for _, rule in rules),
        on_refusal=ruleset.on_refusal,
    )


def compile_step(
    step: str | dict[str, Any],
    document: WorkflowDocument,
    vocabulary: Vocabulary,
    place: str,
    when: str | None = None,
) -> tuple[str, Rule]:
    """Compile one step of a ruleset: its rule, with parameters checked; `when` guards them."""
    name, parameters = step_of(step)
    rule = make_rule(vocabulary.rules, name, parameters)
    if rule.entities is not None and document.entity not in rule.entities:
        kinds = ", ".join(sorted(rule.entities))
        raise Refusal(
            "wrong_entity", f"{place}: rule {name} works on {kinds}, not on {document.entity}."
        )
    for text in expressions_of(rule):
        _check(text, document, vocabulary, f"{place}, rule {name}", when)
    status = rule.outcomes().status
    if status is not None:
        _statuses([status], document, f"{place}, rule {name}")
    return name, rule


def expressions_of(rule: Rule) -> list[str]:
    """Return the expressions in a rule's parameters, those of mappings and templates too."""
    found: list[str] = []
    for field in msgspec.structs.fields(type(rule)):
        value = getattr(rule, field.name)
        if value is not None and _is_marked(field.type, _EXPRESSION):
            found += value.values() if isinstance(value, dict) else [value]
        elif value is not None and _is_marked(field.type, _TEMPLATE):
            found += places_of(value)
    return found


def _is_marked(annotation: Any, mark: Any) -> bool:
    if mark in getattr(annotation, "__metadata__", ()):
        return True
    return any(_is_marked(part, mark) for part in getattr(annotation, "__args__", ()))


def compile_timer(timer: TimerDocument, document: WorkflowDocument) -> Timer:
    """Compile a timer; refuses with `invalid_timer` one that is never due."""
    if timer.after is None and timer.at is None:
        raise Refusal("invalid_timer", f"Timer {timer.name} needs `after`, `at`, or both.")
    return Timer(
        timer.name,
        timer.event,
        _statuses(timer.statuses, document, f"Timer {timer.name}"),
        timedelta(0) if timer.after is None else parse_duration(timer.after),
        timer.at,
    )


def compile_action(
    action: ActionDocument, document: WorkflowDocument, vocabulary: Vocabulary
) -> Action:
    """Compile a user action; refuses as `compile_document` does."""
    place = f"Action {action.name}"
    return Action(
        action,
        _statuses(action.statuses, document, place),
        _condition(action.when, document, vocabulary, place),
    )


def _statuses(named: Sequence[str], document: WorkflowDocument, place: str) -> frozenset[str]:
    declared = {status.name for status in document.statuses}
    if ANY in named:
        return frozenset(declared)
    undeclared = sorted(set(named) - declared)
    if undeclared:
        raise Refusal(
            "undeclared_status",
            f"{place} names {', '.join(undeclared)}, which is not declared.",
            status=undeclared[0],
        )
    return frozenset(named)


def _condition(
    text: str | None, document: WorkflowDocument, vocabulary: Vocabulary, place: str
) -> Condition | None:
    if text is None:
        return None
    _check(text, document, vocabulary, place)
    return Condition(text)


def _check(
    text: str,
    document: WorkflowDocument,
    vocabulary: Vocabulary,
    place: str,
    guard: str | None = None,
) -> None:
    try:
        check_expression(text, vocabulary.variables(document.entity), guard)
    except Refusal as refusal:
        raise Refusal(refusal.code, f"{place}: {refusal.message}", **refusal.data) from None
