"""What is different between two workflow documents, in words that a person would use.

Pure. It compares what documents say, in their order: statuses, rulesets with their rules, timers,
actions. The version is no difference: it only names one. What a difference means for entities that
are under way is said where it is certain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from penstock.engine.document import (
    ANY,
    ActionDocument,
    RulesetDocument,
    StatusDocument,
    WorkflowDocument,
    step_of,
)

Part = Literal["workflow", "status", "event", "ruleset", "rule", "timer", "action", "field"]
Kind = Literal["added", "removed", "renamed", "moved", "changed"]
Step: TypeAlias = "tuple[str, dict[str, Any]]"
T = TypeVar("T")


class Change(msgspec.Struct, frozen=True):
    """One difference. `inside` is the ruleset of a rule, or the action of a field, else empty.

    `consequence` is what it means for entities under way; empty where that goes without saying.
    """

    part: Part
    kind: Kind
    name: str
    message: str
    inside: str = ""
    consequence: str = ""


def diff(old: WorkflowDocument, new: WorkflowDocument) -> list[Change]:
    """Return the differences from one document to another: workflow, statuses, rulesets, rest."""
    return [
        *_workflow(old, new),
        *_statuses(old, new),
        *_events(old, new),
        *_rulesets(old, new),
        *_plain("timer", old.timers, new.timers),
        *_actions(old.actions, new.actions),
    ]


# ── the workflow and its statuses ─────────────────────────────────────────────────────────────────


def _workflow(old: WorkflowDocument, new: WorkflowDocument) -> list[Change]:
    means = {
        "entity": "It is for other entities: none under way can move to it.",
        "type": "Entities of the type before are served by another workflow, or by none.",
        "channel": "Which channels' new entities begin with it is different.",
    }
    return [
        Change("workflow", "changed", key, _turned(f"The {key}", a, b), "", means.get(key, ""))
        for key in ("name", "entity", "type", "channel", "description")
        if (a := getattr(old, key)) != (b := getattr(new, key))
    ]


def _statuses(old: WorkflowDocument, new: WorkflowDocument) -> list[Change]:
    changes = _plain("status", old.statuses, new.statuses)
    first_old, first_new = old.statuses[0].name, new.statuses[0].name
    if first_old != first_new:
        said = f"New entities begin in {first_new} instead of {first_old}."
        changes.append(Change("status", "changed", first_new, said))
    return [_with_consequence(change) for change in changes]


def _with_consequence(change: Change) -> Change:
    if change.part != "status" or change.kind != "removed":
        return change
    means = (
        f"An entity in {change.name} can move to the new version only with a mapping of "
        f"{change.name} to one of its statuses."
    )
    return msgspec.structs.replace(change, consequence=means)


def _events(old: WorkflowDocument, new: WorkflowDocument) -> list[Change]:
    """Say which events a status that stays does not handle any more, or handles only now."""
    both = [one.name for one in new.statuses if one.name in {two.name for two in old.statuses}]
    before, after = _handled(old, both), _handled(new, both)
    changes: list[Change] = []
    for event in dict.fromkeys([*before, *after]):
        was, now = before.get(event, set()), after.get(event, set())
        lost = [status for status in both if status in was - now]
        won = [status for status in both if status in now - was]
        if lost:
            said = f"{event} is not handled in {_listed(lost)} any more."
            changes.append(Change("event", "removed", event, said))
        if won:
            said = f"{event} is handled in {_listed(won)} now."
            changes.append(Change("event", "added", event, said))
    return changes


def _handled(document: WorkflowDocument, statuses: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in document.rulesets:
        named = set(statuses) if ANY in one.statuses else set(one.statuses) & set(statuses)
        found.setdefault(one.event, set()).update(named)
    return found


# ── rulesets and their rules ──────────────────────────────────────────────────────────────────────


def _rulesets(old: WorkflowDocument, new: WorkflowDocument) -> list[Change]:
    before, after = _keyed(old.rulesets), _keyed(new.rulesets)
    gone = [key for key in before if key not in after]
    come = [key for key in after if key not in before]
    renamed: dict[str, str] = {}  # the new key to the old one
    for key in come:
        same = [one for one in gone if _is_alike(before[one], after[key])]
        if same:
            renamed[key] = same[0]
            gone.remove(same[0])
    changes = [Change("ruleset", "removed", key, f"Ruleset {key!r} is removed.") for key in gone]
    for key, ruleset in after.items():
        was = renamed.get(key, key)
        if was not in before:
            said = f"Ruleset {key!r} is added, for {ruleset.event} in {_listed(ruleset.statuses)}."
            changes.append(Change("ruleset", "added", key, said))
            continue
        if key in renamed:
            said = f"Ruleset {was!r} is renamed to {key!r}."
            changes.append(Change("ruleset", "renamed", key, said))
        changes += _ruleset(key, before[was], ruleset)
    return changes + _reordered(before, after, renamed)


def _is_alike(one: RulesetDocument, other: RulesetDocument) -> bool:
    return one.event == other.event and one.rules == other.rules


def _ruleset(key: str, old: RulesetDocument, new: RulesetDocument) -> list[Change]:
    place = f"Ruleset {key!r}"
    texts = (("event", "event"), ("when", "condition"), ("on_refusal", "event on refusal"))
    changes = [
        Change("ruleset", "changed", key, _turned(f"{place}: its {words}", a, b))
        for field, words in texts
        if (a := getattr(old, field)) != (b := getattr(new, field))
    ]
    changes += _sets("ruleset", key, f"{place}: its statuses", old.statuses, new.statuses)
    return changes + _rules(key, old, new)


def _reordered(
    before: dict[str, RulesetDocument], after: dict[str, RulesetDocument], renamed: dict[str, str]
) -> list[Change]:
    """Say which rulesets run at another place among those of their event."""
    changes: list[Change] = []
    places = {key: place for place, key in enumerate(before)}
    by_event: dict[str, list[str]] = {}
    for key, ruleset in after.items():
        was = renamed.get(key, key)
        if was in before and before[was].event == ruleset.event:
            by_event.setdefault(ruleset.event, []).append(key)
    for event, keys in by_event.items():
        for place in _moved([places[renamed.get(key, key)] for key in keys]):
            where = f"after {keys[place - 1]!r}" if place else "first"
            said = f"Ruleset {keys[place]!r} is moved: of those for {event} it runs {where} now."
            changes.append(Change("ruleset", "moved", keys[place], said))
    return changes


def _rules(key: str, old: RulesetDocument, new: RulesetDocument) -> list[Change]:
    before, after = [step_of(one) for one in old.rules], [step_of(one) for one in new.rules]
    pairs = _paired(before, after)
    place = f"Ruleset {key!r}"
    changes = [
        Change("rule", "removed", name, f"{place}: rule {name} is removed.", key)
        for at, (name, _) in enumerate(before)
        if at not in pairs.values()
    ]
    for at, (name, parameters) in enumerate(after):
        if at in pairs:
            changes += _parameters(key, name, before[pairs[at]][1], parameters)
        else:
            where = f"after {after[at - 1][0]}" if at else "as the first"
            said = f"{place}: rule {_written(name, parameters)} is added {where}."
            changes.append(Change("rule", "added", name, said, key))
    kept = sorted(pairs)
    for one in _moved([pairs[at] for at in kept]):
        at = kept[one]
        where = f"runs after {after[at - 1][0]}" if at else "runs first"
        said = f"{place}: rule {after[at][0]} is moved: it {where} now."
        changes.append(Change("rule", "moved", after[at][0], said, key))
    return changes


def _paired(before: Sequence[Step], after: Sequence[Step]) -> dict[int, int]:
    """Return which step was which: those that are equal first, then those of the same rule."""
    pairs: dict[int, int] = {}
    free = list(range(len(before)))
    for is_exact in (True, False):
        for at, step in enumerate(after):
            same = [
                one
                for one in free
                if before[one][0] == step[0] and (not is_exact or before[one] == step)
            ]
            if at not in pairs and same:
                pairs[at] = same[0]
                free.remove(same[0])
    return pairs


def _parameters(key: str, rule: str, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    return [
        Change(
            "rule",
            "changed",
            rule,
            _turned(f"Ruleset {key!r}, rule {rule}: {name}", old.get(name), new.get(name)),
            key,
        )
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


# ── timers, actions, fields ───────────────────────────────────────────────────────────────────────


def _actions(old: Sequence[ActionDocument], new: Sequence[ActionDocument]) -> list[Change]:
    changes = _plain("action", old, new)
    before = {one.name: one for one in old}
    for action in new:
        if action.name in before:
            fields = before[action.name].fields, action.fields
            changes += _plain("field", *fields, inside=action.name)
    return changes


def _plain(part: Part, old: Sequence[Any], new: Sequence[Any], inside: str = "") -> list[Change]:
    """Compare what has a name and fields: added, removed, and every field that is different."""
    before, after = _keyed(old), _keyed(new)
    of = f" of action {inside}" if inside else ""
    changes = [
        Change(part, "removed", key, f"{part.capitalize()} {key}{of} is removed.", inside)
        for key in before
        if key not in after
    ]
    for key, one in after.items():
        if key not in before:
            said = f"{part.capitalize()} {key}{of} is added{_told(one)}."
            changes.append(Change(part, "added", key, said, inside))
        else:
            changes += _differing(part, key, before[key], one, inside)
    return changes


def _differing(part: Part, key: str, old: Any, new: Any, inside: str) -> list[Change]:
    changes: list[Change] = []
    of = f" of action {inside}" if inside else ""
    for field in msgspec.structs.fields(type(new)):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if a == b or field.name == "fields":
            continue
        what = f"{part.capitalize()} {key}{of}: its {_WORDS.get(field.name, field.name)}"
        if isinstance(a, list) and isinstance(b, list):
            changes += _sets(part, key, what, a, b, inside)
        else:
            changes.append(Change(part, "changed", key, _turned(what, a, b), inside))
    return changes


_WORDS = {"when": "condition", "confirm": "question"}


def _told(one: Any) -> str:
    """Return what is worth saying of something that is added."""
    if isinstance(one, StatusDocument):
        return f", {one.category}, in phase {one.phase}"
    event = getattr(one, "event", None)
    return f", for {event} in {_listed(one.statuses)}" if event else ""


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def _sets(
    part: Part, key: str, what: str, old: Sequence[str], new: Sequence[str], inside: str = ""
) -> list[Change]:
    """Say what a list gained and lost; its order means nothing."""
    lost = [one for one in old if one not in new]
    won = [one for one in new if one not in old]
    said = [f"gained {_listed(won)}"] if won else []
    said += [f"lost {_listed(lost)}"] if lost else []
    if not said:
        return []
    return [Change(part, "changed", key, f"{what} {' and '.join(said)}.", inside)]


def _turned(what: str, old: Any, new: Any) -> str:
    if old in (None, ""):
        return f"{what} is {_value(new)} now; it had none."
    if new in (None, ""):
        return f"{what} is gone; it was {_value(old)}."
    return f"{what} is changed from {_value(old)} to {_value(new)}."


def _value(value: Any) -> str:
    if isinstance(value, str) and not (" " in value or value.endswith(".")):
        return value
    return msgspec.json.encode(value).decode()


def _written(name: str, parameters: dict[str, Any]) -> str:
    told = ", ".join(f"{key}: {_value(value)}" for key, value in parameters.items())
    return f"{name} ({told})" if told else name


def _listed(names: Iterable[str]) -> str:
    *most, last = ["every status" if name == ANY else name for name in names]
    return f"{', '.join(most)} and {last}" if most else last


def _keyed(items: Sequence[T]) -> dict[str, T]:
    """Return items by name; a second one of a name is told apart by its number."""
    seen: Counter[str] = Counter()
    found: dict[str, T] = {}
    for item in items:
        name: str = getattr(item, "name")  # noqa: B009 (every item has one)
        seen[name] += 1
        found[name if seen[name] == 1 else f"{name} ({seen[name]})"] = item
    return found


def _moved(numbers: Sequence[int]) -> list[int]:
    """Return the places whose numbers are out of order: all but a longest rising row."""
    tails: list[int] = []
    lengths: list[int] = []
    for number in numbers:
        length = bisect_left(tails, number)
        tails[length : length + 1] = [number]
        lengths.append(length)
    wanted, kept = len(tails) - 1, set[int]()
    limit = max(numbers, default=0) + 1
    for place in range(len(numbers) - 1, -1, -1):
        if lengths[place] == wanted and numbers[place] < limit:
            kept.add(place)
            wanted, limit = wanted - 1, numbers[place]
    return [place for place in range(len(numbers)) if place not in kept]
