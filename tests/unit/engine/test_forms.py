"""Forms of user actions, and what expressions may read: pure checks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from penstock.engine.condition import check_expression
from penstock.engine.document import FieldDocument
from penstock.engine.entities import Entity
from penstock.engine.readable import EntityView, load_vocabulary
from penstock.errors import Refusal
from penstock.fulfilment.model import Fulfilment, FulfilmentView
from penstock.orders.model import Choice, ChoiceView, Destination, Order, OrderView
from penstock.rules.actions import check_form

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def field(kind: str, **more: Any) -> FieldDocument:
    return msgspec.convert({"name": "f", "type": kind, **more}, FieldDocument)


@pytest.mark.parametrize(
    ("form", "given", "kept"),
    [
        (field("text"), "why", "why"),
        (field("text", most=3), "abc", "abc"),
        (field("integer", least=1), 1, 1),
        (field("decimal"), "12.50", "12.50"),
        (field("decimal"), 3, "3"),
        (field("boolean"), False, False),
        (field("option", options=["a", "b"]), "b", "b"),
        (field("options", options=["a", "b"]), ["b"], ["b"]),
        (field("date"), "2026-12-24", "2026-12-24"),
        (field("instant"), "2026-12-24T18:00:00Z", "2026-12-24T18:00:00+00:00"),
    ],
)
def test_what_fits_the_form_is_kept(form: FieldDocument, given: Any, kept: Any) -> None:
    assert check_form([form], {"f": given}) == {"f": kept}


@pytest.mark.parametrize(
    ("form", "given"),
    [
        (field("text"), 3),
        (field("text"), "a\0b"),
        (field("text", most=3), "abcd"),
        (field("text", least=1, required=True), ""),
        (field("text"), "x" * 5_001),
        (field("integer"), "1"),
        (field("integer"), True),
        (field("integer", most=5), 6),
        (field("decimal"), "1e5"),
        (field("decimal"), "NaN"),
        (field("decimal", least=2), "1.99"),
        (field("boolean"), 0),
        (field("option", options=["a"]), "b"),
        (field("option", options=["a"]), ["a"]),
        (field("options", options=["a"]), "a"),
        (field("options", options=["a", "b"], least=1), []),
        (field("date"), "24.12.2026"),
        (field("instant"), "2026-12-24T18:00:00"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field_named(form: FieldDocument, given: Any) -> None:
    with pytest.raises(Refusal) as caught:
        check_form([form], {"f": given})
    assert (caught.value.code, caught.value.data["field"]) == ("invalid_form", "f")


def test_defaults_are_filled_in_and_what_is_needed_is_asked_for() -> None:
    assert check_form([field("text", default="so")], {}) == {"f": "so"}
    assert check_form([field("text")], {"f": ""}) == {}
    for given in ({}, {"other": 1, "f": "x"}):
        with pytest.raises(Refusal):
            check_form([field("text", required=True)], given)


def order() -> Order:
    return Order(
        id="o", channel_id=1, ref="R", type="t", workflow_id=1, status="s", currency="GBP",
        placed_at=NOW, created_at=NOW, choices=[], total_minor=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("thing", "view"),
    [
        (order(), OrderView),
        (Choice("c", 1, "deliver", Destination(0.0, 0.0), []), ChoiceView),
        (Fulfilment("f", "o", None, 1, "deliver", 1, [], NOW), FulfilmentView),
        (Entity("e", "k", "R", "t", 1, "s", NOW), EntityView),
    ],
)
def test_what_is_declared_as_readable_is_what_can_be_read(
    thing: Any, view: type[msgspec.Struct]
) -> None:
    assert set(thing.view()) == set(view.__struct_fields__)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("order.totl_minor > 3", "unknown_field"),
        ("orders.qty > 3", "unknown_field"),
        ("order.qty.more > 3", "unknown_field"),
        ("customer.teir == 'gold'", "unknown_field"),
        ("order.attributes.gift == true", "unguarded_field"),
        ("event.payload.score > 3", "unguarded_field"),
        ("order['qty'] > 3", "invalid_condition"),
        ("order", "invalid_condition"),
        ("order.qty >", "invalid_condition"),
        ("(" * 200 + "true" + ")" * 200, "invalid_condition"),
        (" && ".join(["order.holds.exists(h, h == 'a')"] * 4), "invalid_condition"),
        ("order.qty > 1 && " * 150 + "true", "invalid_condition"),
    ],
)
def test_a_wrong_expression_is_refused_on_upload(text: str, code: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_expression(text, load_vocabulary().variables("order"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "order.qty > 1 && 'fraud' in order.holds",
        "has(order.attributes.gift) && order.attributes.gift == true",
        "order.holds.exists(h, h.startsWith('fraud.'))",
        "size(order.holds) > 1 || customer.tier == 'order.nothing'",
        "has(channel.settings.limit) && order.total_minor > channel.settings.limit",
    ],
)
def test_a_right_expression_is_taken(text: str) -> None:
    check_expression(text, load_vocabulary().variables("order"))
