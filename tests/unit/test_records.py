"""A list of records: each is judged by itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Refusal
from penstock.records import MAX_RECORD_BYTES, answers, insist, sift


class Thing(msgspec.Struct):
    """A record with anything in it."""

    ref: str
    more: Any = None


def check(thing: Thing) -> None:
    if thing.ref == "bad":
        raise Refusal("invalid_thing", "It is bad.", field="ref")


def ref_of(thing: Thing) -> str:
    return thing.ref


def codes(*things: Thing) -> list[str | None]:
    refusals = sift(things, check, ref_of, "invalid_thing").refusals
    return [one and one.code for one in refusals]


def test_of_two_records_with_one_ref_the_later_stands() -> None:
    sifted = sift([Thing("a", 1), Thing("b"), Thing("a", 2)], check, ref_of, "invalid_thing")
    assert [one and one.code for one in sifted.refusals] == ["superseded", None, None]
    assert sifted.good == [Thing("b"), Thing("a", 2)]
    assert msgspec.json.decode(sifted.body) == [
        {"ref": "b", "more": None},
        {"ref": "a", "more": 2},
    ]


def test_a_bad_record_supersedes_nothing() -> None:
    assert codes(Thing("a", "fine"), Thing("a", "\0")) == [None, "invalid_thing"]


@pytest.mark.parametrize(
    "more",
    ["\0", {"deep": ["\0"]}, {"\0": 1}, "\\\0", "\ud800", "x" * MAX_RECORD_BYTES],
    ids=["nul", "nul inside", "nul key", "backslash nul", "surrogate", "long"],
)
def test_what_postgresql_cannot_store_refuses_its_record_only(more: Any) -> None:
    assert codes(Thing("a", more), Thing("b")) == ["invalid_thing", None]


def test_the_field_that_cannot_be_stored_is_named() -> None:
    (refusal,) = sift([Thing("a", "\0")], check, ref_of, "invalid_thing").refusals
    assert refusal is not None
    assert refusal.data == {"field": "more"}


@given(st.text(alphabet="\\u0"))
def test_text_that_only_looks_like_an_escape_is_stored(text: str) -> None:
    assert codes(Thing("a", text)) == [None]


def test_results_come_in_the_order_of_the_records() -> None:
    things = [Thing("b"), Thing("bad"), Thing("a"), Thing("c")]
    refusals = sift(things, check, ref_of, "invalid_thing").refusals
    results = answers(things, refusals, {"a": "created", "b": "updated"}, ref_of)
    assert [one if isinstance(one, str) else one.code for one in results] == [
        "updated",
        "invalid_thing",
        "created",
        "unchanged",
    ]
    with pytest.raises(Refusal, match="It is bad"):
        insist(results)
