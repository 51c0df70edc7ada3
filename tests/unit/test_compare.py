"""Comparing a part of a document with the whole of it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.scenarios.compare import differences, missing_in_order


@pytest.mark.parametrize(
    ("expected", "actual", "places"),
    [
        ({}, {"a": 1}, []),
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": None}, {}, ["a"]),
        ({"a": None}, {"a": None}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b"]),
        ({"a": [{"b": 1}, {}]}, {"a": [{"b": 2}, {"c": 3}]}, ["a[0].b"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({"a": {}}, {"a": "x"}, ["a"]),
    ],
)
def test_only_what_is_expected_is_compared(expected: Any, actual: Any, places: list[str]) -> None:
    assert [one.where for one in differences(expected, actual)] == places


def test_names_have_to_come_in_their_order_with_others_between() -> None:
    assert missing_in_order(["a", "c"], ["a", "b", "c"]) is None
    assert missing_in_order(["c", "a"], ["a", "b", "c"]) == "a"
    assert missing_in_order(["a", "a"], ["a"]) == "a"
