"""What is wrong with a workflow document: every finding, with its place and how to mend it.

Pure. An error keeps a document from being stored; a warning says what may surprise. What cannot run
is found by compiling part by part, what leads nowhere by the graph of statuses and events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import msgspec

from penstock.engine.compiled import (
    compile_action,
    compile_ruleset,
    compile_step,
    compile_timer,
)
from penstock.engine.document import ANY, FieldDocument, WorkflowDocument, step_of
from penstock.engine.lint_graph import Graph, Step, loops
from penstock.engine.readable import Vocabulary
from penstock.engine.rule import Rule, make_rule
from penstock.errors import Refusal

Path = tuple[str | int, ...]
REMEDIES = {
    "undeclared_status": "Declare it under statuses, or correct its name.",
    "unknown_rule": "`penstock rules list` shows those there are; install the package it is in.",
    "wrong_parameter": "`penstock rules show NAME` has its parameters.",
    "wrong_entity": "Use a rule that works on this kind of entity.",
    "invalid_condition": "Write a CEL expression that gives true or false.",
    "unknown_field": "",
    "unguarded_field": "",
    "invalid_timer": "Say after which duration it is due, at which attribute, or both.",
    "invalid_document": "",
}
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "decimal": (int, float, str),
    "boolean": (bool,),
    "option": (str,),
    "options": (list,),
    "date": (str,),
    "instant": (str,),
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `path` is where in the document: keys and places, from its root."""

    code: str
    severity: Literal["error", "warning"]
    path: Path
    message: str
    remedy: str


def lint(document: WorkflowDocument, vocabulary: Vocabulary) -> list[Finding]:
    """Return everything that is wrong with a document: what cannot run, then what leads nowhere."""
    found = _unrunnable(document, vocabulary)
    graph = graph_of(document, vocabulary)
    found += _lost_statuses(document, graph)
    found += _lost_events(document, graph)
    found += _loops(graph)
    return found


def refuse_wrong(document: WorkflowDocument, vocabulary: Vocabulary) -> None:
    """Refuse a document with the code of its first error, all of them in `findings`."""
    _refuse(lint(document, vocabulary))


def refuse_wrong_part(document: WorkflowDocument, vocabulary: Vocabulary) -> None:
    """Refuse what cannot run, or runs for ever, in a document that stands beside a whole one."""
    found = _unrunnable(document, vocabulary)
    _refuse([*found, *_loops(graph_of(document, vocabulary))])


def _unrunnable(document: WorkflowDocument, vocabulary: Vocabulary) -> list[Finding]:
    return [*_doubled(document), *_uncompiled(document, vocabulary), *_misfilled(document)]


def _refuse(findings: Sequence[Finding]) -> None:
    errors = [one for one in findings if one.severity == "error"]
    if errors:
        first = errors[0]
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise Refusal(
            first.code,
            f"{first.message} {first.remedy}".strip() + more,
            findings=msgspec.to_builtins(errors),
        )


# ── what cannot run ──────────────────────────────────────────────────────────────────────────────


def _doubled(document: WorkflowDocument) -> Iterator[Finding]:
    lists: list[tuple[Path, Sequence[Any]]] = [
        (("statuses",), document.statuses),
        (("rulesets",), document.rulesets),
        (("actions",), document.actions),
        (("timers",), document.timers),
    ]
    lists += [(("actions", n, "fields"), one.fields) for n, one in enumerate(document.actions)]
    for path, things in lists:
        seen: set[str] = set()
        for place, thing in enumerate(things):
            if thing.name in seen:
                message = f"The name {thing.name!r} stands twice under {path[-1]}."
                yield _error("name_twice", (*path, place), message, "Give each a name of its own.")
            seen.add(thing.name)


def _uncompiled(document: WorkflowDocument, vocabulary: Vocabulary) -> Iterator[Finding]:
    """Compile part by part, so that one fault does not hide the next."""
    for place, ruleset in enumerate(document.rulesets):
        path: Path = ("rulesets", place)
        replace = msgspec.structs.replace
        statuses = replace(ruleset, rules=[], when=None)
        condition = replace(ruleset, rules=[], statuses=[ANY])
        for key, part in (("statuses", statuses), ("if", condition)):
            yield from _tried((*path, key), lambda r=part: compile_ruleset(r, document, vocabulary))
        for number, step in enumerate(ruleset.rules):
            name = f"Ruleset {ruleset.name!r}"
            yield from _tried(
                (*path, "rules", number),
                lambda s=step, n=name, w=ruleset.when: compile_step(s, document, vocabulary, n, w),
            )
    for place, timer in enumerate(document.timers):
        yield from _tried(("timers", place), lambda t=timer: compile_timer(t, document))
    for place, action in enumerate(document.actions):
        yield from _tried(
            ("actions", place), lambda a=action: compile_action(a, document, vocabulary)
        )


def _tried(path: Path, compile_part: Callable[[], object]) -> Iterator[Finding]:
    try:
        compile_part()
    except Refusal as refusal:
        yield _error(refusal.code, path, refusal.message, REMEDIES.get(refusal.code, ""))


def _misfilled(document: WorkflowDocument) -> Iterator[Finding]:
    for place, action in enumerate(document.actions):
        for number, field in enumerate(action.fields):
            fault = _fault_of(field)
            if fault:
                path = ("actions", place, "fields", number)
                message = f"Action {action.name}, field {field.name}: {fault}."
                yield _error("wrong_field", path, message, "See the fields of user actions.")


def _fault_of(field: FieldDocument) -> str:
    chooses = field.type in {"option", "options"}
    if chooses and not field.options:
        return "it has no options to choose from"
    if not chooses and field.options:
        return f"a field of type {field.type} has no options"
    if field.least is not None and field.most is not None and field.least > field.most:
        return "its least is more than its most"
    return "" if field.default is None else _fault_of_default(field)


def _fault_of_default(field: FieldDocument) -> str:
    default = field.default
    fits = isinstance(default, _JSON_TYPES[field.type])
    if not fits or (isinstance(default, bool) and field.type != "boolean"):
        return f"its default {default!r} is no {field.type}"
    if field.type == "option" and default not in field.options:
        return f"its default {default!r} is not among its options"
    return ""


# ── what leads nowhere ───────────────────────────────────────────────────────────────────────────


def graph_of(document: WorkflowDocument, vocabulary: Vocabulary) -> Graph:
    """Return what leads where, as far as the rules that are known tell."""
    declared = [status.name for status in document.statuses]

    def spread(named: Sequence[str]) -> frozenset[str]:
        return frozenset(declared if ANY in named else set(named) & set(declared))

    steps: list[Step] = []
    for place, ruleset in enumerate(document.rulesets):
        moves: list[str] = []
        emits: list[str] = []
        later: list[str] = []
        for rule in _rules_of(ruleset.rules, vocabulary):
            outcomes = rule.outcomes()
            moves += [outcomes.status] if outcomes.status else []
            emits += outcomes.events
            later += outcomes.later
        if ruleset.on_refusal is not None:
            emits.append(ruleset.on_refusal)
        steps.append(
            Step(
                place,
                ruleset.name,
                ruleset.event,
                spread(ruleset.statuses),
                tuple(moves),
                tuple(emits),
                tuple(later),
                is_conditional=ruleset.when is not None,
            )
        )
    needed = getattr(vocabulary.entities.get(document.entity), "needed", ())
    return Graph(declared, steps, spread, frozenset(needed))


def _rules_of(steps: Sequence[str | dict[str, Any]], vocabulary: Vocabulary) -> Iterator[Rule]:
    for step in steps:
        try:
            yield make_rule(vocabulary.rules, *step_of(step))
        except Refusal:  # told already
            continue


def _lost_statuses(document: WorkflowDocument, graph: Graph) -> Iterator[Finding]:
    for name in sorted(graph.needed - set(graph.declared)):
        message = f"Rules move a {document.entity} to {name}, which is not declared."
        yield _error("missing_status", ("statuses",), message, "Declare it under statuses.")
    reached = graph.reached() | graph.needed
    left = {status for step in graph.steps for status in step.statuses}
    left |= {status for timer in document.timers for status in graph.spread(timer.statuses)}
    left |= {status for one in document.actions for status in graph.spread(one.statuses)}
    for place, status in enumerate(document.statuses):
        path = ("statuses", place)
        if status.name not in reached:
            message = f"No ruleset moves anything to {status.name}."
            remedy = "Move something there with `transition`, or take the status out."
            yield _error("unreachable_status", path, message, remedy)
        if status.category in {"open", "waiting"} and status.name not in left:
            message = f"Nothing leads on from {status.name}: no event is handled there."
            remedy = "Handle an event there, or make its category done or failed."
            yield _error("dead_end", path, message, remedy)


def _lost_events(document: WorkflowDocument, graph: Graph) -> Iterator[Finding]:
    handled: dict[str, frozenset[str]] = {}
    for step in graph.steps:
        handled[step.event] = handled.get(step.event, frozenset()) | step.statuses
    for path, event, statuses in _arrivals(document, graph):
        if event not in handled:
            close = get_close_matches(event, handled, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            remedy = f"Add a ruleset for it.{hint}"
            yield _error("unhandled_event", path, f"No ruleset handles {event}.", remedy)
        elif not statuses & handled[event]:
            message = f"{event} arrives in {', '.join(sorted(statuses))}, where nothing handles it."
            yield _error("event_never_met", path, message, "Add the status to a ruleset of it.")


def _arrivals(
    document: WorkflowDocument, graph: Graph
) -> Iterator[tuple[Path, str, frozenset[str]]]:
    """Give every event that this document brings about, with the statuses it may arrive in."""
    for step in graph.steps:
        arrives = frozenset(step.moves[-1:]) or step.statuses
        for event in step.emits:
            yield ("rulesets", step.place), event, arrives
        for event in step.later:
            yield ("rulesets", step.place), event, frozenset(graph.declared)
    for place, action in enumerate(document.actions):
        yield ("actions", place), action.event, graph.spread(action.statuses)
    for place, timer in enumerate(document.timers):
        yield ("timers", place), timer.event, graph.spread(timer.statuses)


def _loops(graph: Graph) -> Iterator[Finding]:
    for loop in loops(graph):
        way = " → ".join(step.name for step in (*loop, loop[0]))
        path: Path = ("rulesets", loop[0].place)
        if any(step.is_conditional for step in loop):
            message = f"These rulesets may call each other within one pass: {way}."
            remedy = "See that their conditions cannot all hold for ever."
            yield Finding("possible_loop", "warning", path, message, remedy)
        else:
            message = f"These rulesets call each other without end: {way}."
            yield _error("loop", path, message, "Break it with a condition, or another status.")


def _error(code: str, path: Path, message: str, remedy: str) -> Finding:
    return Finding(code, "error", path, message, remedy)
