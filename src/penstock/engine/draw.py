"""Workflow documents drawn: what leads from which status where, as a picture or an outline.

Owns what is told. Where it stands is in `draw_layout.py`, how it looks in `draw_svg.py`. An event
that rules emit inside a pass, and from which more than one way leads on, is a card of its own
between the statuses (a junction); one with a single way is followed: `ready > all_ready`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.engine.document import ANY, RulesetDocument, TimerDocument, WorkflowDocument, step_of
from penstock.engine.draw_layout import Card, Column, Row, place
from penstock.engine.draw_svg import Caption, written
from penstock.engine.readable import Vocabulary
from penstock.engine.rule import make_rule

MOST_IN_COLUMN = 6  # statuses of one phase beyond these begin another column
MOST_LETTERS, MOST_OF_TAG = 44, 30  # a longer text is cut; the tooltip has all of it
JUNCTION = "junction"


class Effect(msgspec.Struct, frozen=True):
    """What a ruleset may bring about: a status, events inside the pass, events to others."""

    ruleset: RulesetDocument
    statuses: tuple[str, ...]
    status: str | None
    events: tuple[str, ...]
    sends: tuple[tuple[str, str], ...]


class Graph(msgspec.Struct, frozen=True):
    """A document by what leads on: effects by event, and the events that are junctions."""

    document: WorkflowDocument
    effects: dict[str, list[Effect]]
    junctions: tuple[str, ...]


def draw(document: WorkflowDocument, vocabulary: Vocabulary) -> str:
    """Return a document as an SVG picture; refuses rules that are not known, as compiling does."""
    graph = graph_of(document, vocabulary)
    cards = {one.key: one for one in [*_status_cards(graph), *_junction_cards(graph)]}
    columns = _columns(graph, cards)
    return written(place(columns), _caption(document))


def graph_of(document: WorkflowDocument, vocabulary: Vocabulary) -> Graph:
    """Return what leads on in a document."""
    effects: dict[str, list[Effect]] = {}
    for ruleset in document.rulesets:
        effect = _effect(ruleset, document, vocabulary)
        effects.setdefault(ruleset.event, []).append(effect)
    inner = {event for found in effects.values() for one in found for event in one.events}
    junctions: list[str] = []
    for event, found in effects.items():
        ways = {one.status for one in found if one.status}
        ways |= {emitted for one in found for emitted in one.events if emitted in effects}
        if event in inner and len(ways) > 1:
            junctions.append(event)
    return Graph(document, effects, tuple(junctions))


def _effect(ruleset: RulesetDocument, document: WorkflowDocument, vocabulary: Vocabulary) -> Effect:
    status, events, sends = None, list[str](), list[tuple[str, str]]()
    for step in ruleset.rules:
        name, parameters = step_of(step)
        outcomes = make_rule(vocabulary.rules, name, parameters).outcomes()
        status = outcomes.status or status
        events += outcomes.events
        sends += outcomes.sends
    if ruleset.on_refusal:
        events.append(ruleset.on_refusal)
    statuses = _meant(ruleset.statuses, document)
    return Effect(ruleset, statuses, status, tuple(dict.fromkeys(events)), tuple(sends))


def _meant(named: Sequence[str], document: WorkflowDocument) -> tuple[str, ...]:
    return tuple(one.name for one in document.statuses if ANY in named or one.name in named)


# ── what leads on ─────────────────────────────────────────────────────────────────────────────────


def _ways(graph: Graph, effect: Effect, status: str, seen: frozenset[str]) -> dict[str, str]:
    """Return where a ruleset leads from a status, with the events between that were followed."""
    found: dict[str, str] = {}
    if effect.status is not None and effect.status != status:
        return {effect.status: ""}
    for event in effect.events:
        if event in graph.junctions:
            found.setdefault(_junction_key(event), "")
        elif event not in seen:
            for way, between in ways_of(graph, event, status, seen | {event}).items():
                short = _short(event, graph.document)
                found.setdefault(way, f"{short} > {between}" if between else short)
    return found


def ways_of(
    graph: Graph, event: str, status: str, seen: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Return where an event leads from a status: keys of cards, with what was followed between."""
    found: dict[str, str] = {}
    for effect in graph.effects.get(event, ()):
        if status in effect.statuses:
            for way, between in _ways(graph, effect, status, seen).items():
                found.setdefault(way, between)
    return found


def _junction_key(event: str) -> str:
    return f"{JUNCTION} {event}"


def _rows(graph: Graph, status: str) -> list[Row]:
    """Return a status's events: those that rulesets handle, timers and actions bring."""
    document = graph.document
    timers = {one.event: one for one in document.timers if status in one.statuses}
    actions = {
        one.event: one.label for one in document.actions if status in _meant(one.statuses, document)
    }
    inside = {
        event
        for found in graph.effects.values()
        for one in found
        if status in one.statuses and one.status in {None, status}
        for event in one.events
    }
    handled = [
        event
        for event, found in graph.effects.items()
        if event not in inside and any(status in one.statuses for one in found)
    ]
    events = dict.fromkeys([*handled, *timers, *actions])
    return [
        _row(graph, event, status, timers.get(event), actions.get(event, "")) for event in events
    ]


def _row(graph: Graph, event: str, status: str, timer: TimerDocument | None, action: str) -> Row:
    is_junction = event in graph.junctions
    ways = {_junction_key(event): ""} if is_junction else ways_of(graph, event, status)
    between = next(iter(ways.values()), "")
    short = _short(event, graph.document)
    return Row(
        text=_cut(f"{short} > {between}" if between else short, MOST_LETTERS),
        leads=tuple(ways),
        action=_cut(action, MOST_OF_TAG),
        after=_due(timer) if timer else "",
        told=_told(graph, event, status),
    )


def _due(timer: TimerDocument) -> str:
    """Return when a timer is due: `7d`, `at promised_at`, `2h after promised_at`."""
    if timer.at is None:
        return timer.after or ""
    return f"{timer.after} after {timer.at}" if timer.after else f"at {timer.at}"


def _told(graph: Graph, event: str, status: str) -> str:
    """Return an event's full name, its actions, rulesets, and what these send to whom."""
    found = [one for one in graph.effects.get(event, ()) if status in one.statuses]
    sends = [f"sends {sent} to: {whom}" for one in found for whom, sent in one.sends]
    labels = [one.label for one in graph.document.actions if one.event == event]
    return "\n".join([event, *labels, *(one.ruleset.name for one in found), *sends])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _short(event: str, document: WorkflowDocument) -> str:
    return event.removeprefix(f"{document.entity}.")


# ── cards and columns ─────────────────────────────────────────────────────────────────────────────


def _status_cards(graph: Graph) -> list[Card]:
    return [
        Card(one.name, one.name, one.meaning, one.category, _rows(graph, one.name))
        for one in graph.document.statuses
    ]


def _junction_cards(graph: Graph) -> list[Card]:
    return [
        Card(
            _junction_key(event),
            _short(event, graph.document),
            "",
            JUNCTION,
            [_branch(graph, one) for one in graph.effects[event]],
        )
        for event in graph.junctions
    ]


def _branch(graph: Graph, effect: Effect) -> Row:
    ways: dict[str, str] = {}
    if effect.status is not None:
        ways[effect.status] = ""
    else:
        for status in effect.statuses:
            ways |= _ways(graph, effect, status, frozenset())
    told = "\n".join(filter(None, [effect.ruleset.name, effect.ruleset.when]))
    return Row(_cut(effect.ruleset.name, MOST_LETTERS), tuple(ways), told=told)


def _columns(graph: Graph, cards: dict[str, Card]) -> list[Column]:
    """Return a column per phase, and one for junctions before the first status they lead to."""
    phases: dict[str, list[Card]] = {}
    for status in graph.document.statuses:
        phases.setdefault(status.phase, []).append(cards[status.name])
    columns: list[Column] = []
    for phase, found in phases.items():
        for first in range(0, len(found), MOST_IN_COLUMN):
            title = "" if first else phase.replace("_", " ")
            columns.append(Column(title, found[first : first + MOST_IN_COLUMN]))
    places = {card.key: at for at, column in enumerate(columns) for card in column.cards}
    between: dict[int, list[Card]] = {}
    for event in graph.junctions:
        card = cards[_junction_key(event)]
        reached = [places[way] for row in card.rows for way in row.leads if way in places]
        between.setdefault(max(1, min(reached, default=1)), []).append(card)
    mixed: list[Column] = []
    for at, column in enumerate(columns):
        if at in between:
            mixed.append(Column("", between[at]))
        mixed.append(column)
    if len(columns) in between:  # there is one phase only
        mixed.append(Column("", between[len(columns)]))
    return mixed


def _caption(document: WorkflowDocument) -> Caption:
    kind = document.entity if document.type == ANY else f"{document.entity} of type {document.type}"
    channel = f", in channel {document.channel}" if document.channel else ""
    return Caption(
        f"{document.name}, version {document.version}",
        f"{kind}{channel}. {document.description}".strip(),
        document.statuses[0].name,
    )


# ── the outline ───────────────────────────────────────────────────────────────────────────────────


def outline(document: WorkflowDocument, vocabulary: Vocabulary) -> str:
    """Return a document as a text: statuses by phase, what leads on, timers and actions."""
    graph = graph_of(document, vocabulary)
    caption = _caption(document)
    lines = [caption.title, caption.about, ""]
    phase = ""
    for status, card in zip(document.statuses, _status_cards(graph), strict=True):
        if status.phase != phase:
            phase = status.phase
            lines.append(phase.replace("_", " ").upper())
        lines.append(f"  {status.name} ({status.category}): {status.meaning}")
        lines += _outlined(card, "    ")
    for card in _junction_cards(graph):
        lines += ["", f"{card.title.upper()}, in the same pass", *_outlined(card, "  ")]
    return "\n".join(lines) + "\n"


def _outlined(card: Card, indent: str) -> list[str]:
    width = max((len(row.text) for row in card.rows), default=0)
    lines: list[str] = []
    for row in card.rows:
        ways = ", ".join(one.rpartition(".")[2] for one in row.leads)
        notes = [row.after if " " in row.after else f"after {row.after}"] if row.after else []
        notes += [f"[{row.action}]"] if row.action else []
        arrow = f"→ {ways}" if ways else "·"
        lines.append(f"{indent}{row.text:<{width}}  {arrow}  {'  '.join(notes)}".rstrip())
    return lines
