"""Beginning a rule of one's own: a package with an entry point, the rule, a test and a README.

Owns the templates. What they make works as it is: it installs, its test passes, and the rule can be
named by a workflow document.
"""

from __future__ import annotations

import re
from pathlib import Path

from penstock.errors import Refusal

_PROJECT = """\
[build-system]
requires = ["flit_core>=3.12"]
build-backend = "flit_core.buildapi"

[project]
name = "penstock-@dashed@"
version = "0.1.0"
description = "A rule for Penstock's workflows: @name@"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["penstock"]

# Penstock finds the rule by this; its name in documents is the class's in snake case.
[project.entry-points."penstock.rules"]
@name@ = "penstock_@name@:@class@"

[tool.flit.module]
name = "penstock_@name@"
"""
_RULE = '''\
"""Rule `@name@`: say here what it is for."""

from __future__ import annotations

from typing import Annotated

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import Name
from penstock.engine.rule import OneRule
from penstock.passes import Pass


class @class@(OneRule, frozen=True):
    """Set an attribute of orders whose total is at or above an amount.

    The fields are the parameters that documents give; the first line above is what
    `penstock rules list` says.
    """

    amount_minor: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            description="The least total.",
            extra={"unit": "minor units of the order's currency"},
        ),
    ]
    attribute: Annotated[Name, msgspec.Meta(description="The attribute.")] = "@name@"

    def act(self, tx: Pass, context: Context) -> None:
        """Set it to true; a `Refusal` raised here would refuse this one entity alone."""
        if context.root.total_minor >= self.amount_minor:
            context.set_attribute(self.attribute, True)
'''
_TEST = '''\
"""Rule `@name@`, tried without a database."""

from __future__ import annotations

from penstock_@name@ import @class@

from penstock.rules.trial import order_to_try, try_rule


def test_an_order_at_the_amount_gets_the_attribute() -> None:
    context = try_rule(@class@(amount_minor=5_000), order_to_try(total_minor=5_000))
    assert context.refusal is None
    assert context.root.attributes == {"@name@": True}


def test_a_smaller_order_is_left_as_it_is() -> None:
    context = try_rule(@class@(amount_minor=5_000), order_to_try(total_minor=4_999))
    assert context.root.attributes == {}
'''
_README = """\
# @name@

A rule for Penstock's workflows, in a package of its own.

    pip install --editable .
    python -m pytest
    penstock rules show @name@

In a workflow document for orders:

    rules:
      - @name@: {amount_minor: 5000}

A process that runs finds a new rule when the next workflow is pushed; one whose code has changed
needs a restart.
"""
_FILES = {
    "pyproject.toml": _PROJECT,
    "README.md": _README,
    "src/penstock_@name@.py": _RULE,
    "tests/test_@name@.py": _TEST,
}
MAX_NAME = 40


def begin_package(name: str, parent: Path) -> Path:
    """Make the folder of a package with a rule of that name; returns it.

    Refuses with `invalid_rule_name`, and with `folder_taken` where something is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > MAX_NAME:
        sentence = f"{name[:MAX_NAME]!r} is no name of a rule; one is gift_wrap."
        raise Refusal("invalid_rule_name", sentence)
    words = {"@name@": name, "@dashed@": name.replace("_", "-"), "@class@": _class_name(name)}
    folder = parent / f"penstock-{words['@dashed@']}"
    if folder.exists():
        raise Refusal("folder_taken", f"{folder} is there already.")
    for path, text in _FILES.items():
        file = folder / _filled(path, words)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_filled(text, words), "utf-8")
        except OSError as error:
            raise Refusal("file_unwritable", f"{file} cannot be written: {error}.") from error
    return folder


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _filled(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
