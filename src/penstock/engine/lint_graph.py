"""The graph of a workflow: which ruleset leads to which status, and calls which within one pass.

Pure. An event that is emitted inline meets the status that its ruleset ends in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec


class Step(msgspec.Struct, frozen=True, eq=False):
    """A ruleset as the graph has it: where it applies, and what it brings about."""

    place: int
    name: str
    event: str
    statuses: frozenset[str]
    moves: tuple[str, ...]
    emits: tuple[str, ...]
    later: tuple[str, ...]
    is_conditional: bool


class Graph(msgspec.Struct, frozen=True, eq=False):
    """Declared statuses, the rulesets, how `*` spreads, and the statuses that the kind needs."""

    declared: Sequence[str]
    steps: Sequence[Step]
    spread: Callable[[Sequence[str]], frozenset[str]]
    needed: frozenset[str]

    def reached(self) -> frozenset[str]:
        """Return the statuses that something moves to, the first among them."""
        moved = {status for step in self.steps for status in step.moves}
        return frozenset({self.declared[0], *moved})

    def called_by(self, step: Step) -> list[Step]:
        """Return the rulesets that an inline event of a ruleset may meet."""
        ends = frozenset(step.moves[-1:]) or step.statuses
        return [
            other for other in self.steps if other.event in step.emits and ends & other.statuses
        ]


def loops(graph: Graph) -> list[list[Step]]:
    """Return the loops of rulesets that call each other inline, one for each set of rulesets.

    Those without any condition come first, and hide loops that share all of their rulesets.
    """
    found: dict[frozenset[int], list[Step]] = {}
    for start in graph.steps:
        for loop in _from(graph, start):
            found.setdefault(frozenset(step.place for step in loop), loop)
    ordered = sorted(found.values(), key=lambda loop: any(step.is_conditional for step in loop))
    return [loop for n, loop in enumerate(ordered) if not _is_within(loop, ordered[:n])]


def _from(graph: Graph, start: Step) -> list[list[Step]]:
    """Return the shortest loop from a ruleset back to itself, if there is one."""
    ways: list[list[Step]] = [[start]]
    seen: set[int] = set()
    while ways:
        way = ways.pop(0)
        for other in graph.called_by(way[-1]):
            if other is start:
                return [way]
            if other.place not in seen:
                seen.add(other.place)
                ways.append([*way, other])
    return []


def _is_within(loop: Sequence[Step], others: Sequence[Sequence[Step]]) -> bool:
    mine = {step.place for step in loop}
    return any(mine & {step.place for step in other} for other in others)
