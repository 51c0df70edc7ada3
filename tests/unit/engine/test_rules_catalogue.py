"""Rules describe themselves: words, parameters, examples; and the reference page is of the code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml

from penstock.engine.compiled import compile_step
from penstock.engine.condition import check_expression
from penstock.engine.described import describe, describe_all, explained, page, type_in_words
from penstock.engine.document import (
    EventName,
    Expression,
    Name,
    StatusDocument,
    WorkflowDocument,
    step_of,
)
from penstock.engine.durations import Duration
from penstock.engine.jobs import Retry
from penstock.engine.readable import Vocabulary, load_vocabulary
from penstock.engine.rule import OneRule, Rule, load_rules

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rules.md"


@pytest.fixture(scope="module")
def shipped() -> dict[str, type[Rule]]:
    rules = load_rules()
    return {name: rule for name, rule in rules.items() if rule.__module__.startswith("penstock.")}


def test_the_reference_page_is_what_the_code_says(shipped: Mapping[str, type[Rule]]) -> None:
    assert PAGE.read_text("utf-8") == page(shipped), "run `penstock rules docs --to " + f"{PAGE}`"


def test_every_shipped_rule_explains_itself_and_its_parameters(
    shipped: Mapping[str, type[Rule]],
) -> None:
    silent = [
        f"{one.name}.{parameter.name}"
        for one in describe_all(shipped)
        for parameter in one.parameters
        if not parameter.description
    ]
    silent += [one.name for one in describe_all(shipped) if not (one.summary and one.effect)]
    assert not silent


def test_every_example_compiles(shipped: Mapping[str, type[Rule]]) -> None:
    vocabulary = load_vocabulary()
    for one in describe_all(shipped):
        (step,) = yaml.safe_load(one.example)
        named = one.outcomes.status or "created"
        document = WorkflowDocument(
            "trial",
            one.entities[0] if one.entities else "order",
            "trial",
            [StatusDocument(named, "begin", "open", "A status.")],
            [],
        )
        name, _ = compile_step(step, document, vocabulary, one.name)
        assert (name, step_of(step)[0]) == (one.name, one.name)


class Weigh(OneRule, frozen=True, rename={"when": "if"}):
    """Weigh it.

    More about weighing.
    """

    when: Annotated[Expression, msgspec.Meta(description="Whether.")]
    weight: Annotated[
        int, msgspec.Meta(ge=1, le=30_000, description="At most.", extra={"unit": "g"})
    ] = 500
    how: Annotated[Literal["net", "gross"], msgspec.Meta(description="How.")] = "net"
    names: Annotated[list[Name], msgspec.Meta(description="Names.", min_length=1)] = msgspec.field(
        default_factory=list
    )

    def act(self, tx: Any, context: Any) -> None:
        """Weigh it, then."""


def test_a_parameter_has_type_unit_range_and_default() -> None:
    one = describe(Weigh)
    assert (one.name, one.summary, one.details) == ("weigh", "Weigh it.", "More about weighing.")
    assert (one.effect, one.is_for_one) == ("Weigh it, then.", True)
    when, weight, how, names = one.parameters
    assert (when.name, when.type, when.is_required) == ("if", "CEL expression", True)
    assert (weight.type, weight.default, weight.is_required) == ("whole number", 500, False)
    assert explained(weight) == "At most. (in g, 1 to 30000)"
    assert how.type == "`net` or `gross`"
    assert (names.type, names.range) == ("list of names", "at least 1 long")
    assert one.example == "- weigh: {if: order.total_minor > 10000}"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Duration | None, "duration"),
        (dict[Name, Expression], "mapping of CEL expressions"),
        (int | str, "whole number or text"),
        (Retry, "mapping of first, factor, longest, attempts"),
        (list[EventName] | None, "list of event names"),
        (bool, "true or false"),
        (Any, "anything"),
    ],
)
def test_types_are_said_in_words(annotation: Any, words: str) -> None:
    assert type_in_words(annotation) == words


def test_an_expression_with_words_of_its_own_is_checked_like_any_other() -> None:
    vocabulary = Vocabulary({"weigh": Weigh}, {})
    statuses: Sequence[StatusDocument] = [StatusDocument("a", "a", "open", "A.")]
    document = WorkflowDocument("t", "parcel", "t", list(statuses), [])
    with pytest.raises(Exception, match="did you mean status"):
        compile_step({"weigh": {"if": "parcel.statuss == 'a'"}}, document, vocabulary, "here")
    check_expression("parcel.status == 'a'", vocabulary.variables("parcel"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("list",), "place_hold"),
        (("list", "--json"), '"is_for_one": true'),
        (("show", "place_hold"), "order.hold_expired"),
        (("docs",), "# Rules"),
    ],
)
def test_the_command_tells_the_same(arguments: tuple[str, ...], expected: str) -> None:
    command = [sys.executable, "-m", "penstock.cli.main", "rules", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert expected in done.stdout


def test_an_unknown_rule_is_refused_with_those_there_are() -> None:
    command = [sys.executable, "-m", "penstock.cli.main", "rules", "show", "teleport"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there are add_note" in done.stderr
