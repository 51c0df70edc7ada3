"""What a rule is, and what it tells of itself.

A rule is a small frozen struct whose fields are its parameters and whose `apply` works on a whole
batch of contexts. Rules are found by the entry point group `penstock.rules`, so that a package
adds its own without touching Penstock. Names are the classes' names in snake case.

A parameter that is an expression is annotated `Expression` (`document.py`): it is checked on
upload, and read with `context.evaluate`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from penstock.errors import Refusal, invariant

if TYPE_CHECKING:
    from penstock.engine.context import Context
    from penstock.passes import Pass

ENTRY_POINTS = "penstock.rules"


class Outcomes(msgspec.Struct, frozen=True):
    """What a rule may bring about, as far as its parameters tell: for lint and drawings.

    `events` go to the same entity in the same pass; `later` come back to it (timers, answers);
    `sends` are (to whom, event).
    """

    status: str | None = None
    events: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    sends: tuple[tuple[str, str], ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a ruleset. `asks` says that it asks stock, which a pass decides once.

    `entities` are the kinds of entity it works on; None is every kind. `example` are parameters
    that its documentation shows.
    """

    asks: ClassVar[bool] = False
    entities: ClassVar[frozenset[str] | None] = None
    example: ClassVar[Mapping[str, Any] | None] = None

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:  # noqa: ARG002 (theirs)
        """Do the rule's work for every context of the batch; each rule has its own."""
        invariant(condition=False, message=f"rule {type(self).__name__} has no apply")

    def outcomes(self) -> Outcomes:
        """Return what the rule may bring about."""
        return Outcomes()


class OneRule(Rule, frozen=True):
    """A rule that is written for one entity: `act` instead of `apply`. It reads no database."""

    def act(self, tx: Pass, context: Context) -> None:  # noqa: ARG002 (theirs)
        """Do the rule's work for one context; a `Refusal` raised here refuses that one."""
        invariant(condition=False, message=f"rule {type(self).__name__} has no act")

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Act on every context."""
        for context in contexts:
            try:
                self.act(tx, context)
            except Refusal as refusal:
                context.fail(refusal)


def rule_name(rule: type[Rule]) -> str:
    """Return the name by which documents call a rule: `PlaceHold` is `place_hold`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", rule.__name__).lower()


def load_rules() -> dict[str, type[Rule]]:
    """Load every rule of every installed package, by name."""
    rules: dict[str, type[Rule]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        rule = entry.load()
        invariant(issubclass(rule, Rule), f"entry point {entry.name} is no rule")
        rules[rule_name(rule)] = rule
    return rules


def make_rule(rules: Mapping[str, type[Rule]], name: str, parameters: Mapping[str, Any]) -> Rule:
    """Make a rule from its name and parameters in a document; refuses what is not right."""
    if name not in rules:
        close = get_close_matches(name, rules, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(rules))}."
        raise Refusal("unknown_rule", f"There is no rule {name!r}; {hint}", rule=name)
    try:
        return msgspec.convert(parameters, rules[name])
    except msgspec.ValidationError as error:
        raise Refusal("wrong_parameter", f"Rule {name}: {error}", rule=name) from None
