"""Comparing what was expected with what is: a part of a document against the whole of it.

Pure. Mappings are compared by the keys that are expected; lists item by item, all of them;
everything else has to be equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Difference(msgspec.Struct):
    """One thing that is not as expected; `where` is its place, such as `fulfilments[0].status`."""

    where: str
    expected: Any
    was: Any


def differences(expected: Any, actual: Any, where: str = "") -> list[Difference]:
    """Return where `actual` is not as `expected`."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found: list[Difference] = []
        for key, value in expected.items():
            place = f"{where}.{key}" if where else str(key)
            if key in actual:
                found += differences(value, actual[key], place)
            else:
                found.append(Difference(place, value, "nothing of that name"))
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [Difference(where or "the list", expected, actual)]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [one for n, (a, b) in pairs for one in differences(a, b, f"{where}[{n}]")]
    is_same = type(expected) is type(actual) or {type(expected), type(actual)} == {int, float}
    return [] if is_same and expected == actual else [Difference(where, expected, actual)]


def is_part(expected: Any, actual: Any) -> bool:
    """Tell whether `actual` has everything that is expected."""
    return not differences(expected, actual)


def missing_in_order(expected: Sequence[str], actual: Sequence[str]) -> str | None:
    """Return the first expected name that does not come, in its turn; None if all do."""
    rest = iter(actual)
    return next((name for name in expected if name not in rest), None)
