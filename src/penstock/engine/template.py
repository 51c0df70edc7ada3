"""Texts for people, with places to fill such as `{{ order.ref }}`.

Pure. What stands in a place is a CEL expression, checked on upload like any other; nothing else is
interpreted, so that a template can do no more than an expression can.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

MAX_TEMPLATE = 20_000
_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)

Template = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_TEMPLATE,
        description="Text; {{ … }} holds a CEL expression, such as {{ order.ref }}.",
    ),
]


def places_of(template: str) -> list[str]:
    """Return the expressions of a template's places."""
    return [match[1].strip() for match in _PLACE.finditer(template)]


def filled(template: str, value: Callable[[str], Any]) -> str:
    """Return the text with each place filled by the value of its expression."""

    def fill(match: re.Match[str]) -> str:
        found = value(match[1].strip())
        return found if isinstance(found, str) else msgspec.json.encode(found).decode()

    return _PLACE.sub(fill, template)
