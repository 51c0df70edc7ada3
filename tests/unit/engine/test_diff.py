"""Differences between two workflow documents, as they are said."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engine.diff import Change, _moved, diff
from penstock.engine.document import WorkflowDocument, read_document
from penstock.engine.workflows import shipped_documents

DOCUMENT = """
name: sample
entity: order
type: sample
statuses:
  - {name: created, phase: intake, category: open, meaning: "Begun."}
  - {name: held, phase: intake, category: waiting, meaning: "Held."}
  - {name: done, phase: done, category: done, meaning: "Over."}
rulesets:
  - name: hold
    event: order.created
    statuses: [created]
    if: order.qty > 1
    rules:
      - add_note: {text: "'held'"}
      - transition: {to: held}
  - name: finish
    event: order.created
    statuses: [created]
    rules:
      - transition: {to: done}
  - name: finish what was held
    event: order.cleared
    statuses: [created, held]
    rules:
      - emit: {event: order.a}
      - emit: {event: order.b}
timers:
  - {name: waiting, event: order.cleared, statuses: [held], after: 7d}
actions:
  - name: clear
    label: Clear
    event: order.cleared
    statuses: [held]
    roles: [store]
    fields:
      - {name: why, type: text, most: 500}
"""


def changed(*replacements: tuple[str, str]) -> list[Change]:
    text = DOCUMENT
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return diff(read_document(DOCUMENT), read_document(text))


def said(*replacements: tuple[str, str]) -> list[str]:
    return [one.message for one in changed(*replacements)]


@pytest.mark.parametrize("text", shipped_documents())
def test_a_document_is_not_different_from_itself(text: str) -> None:
    assert diff(read_document(text), read_document(text)) == []


def test_another_version_of_the_same_is_no_difference() -> None:
    assert said(("type: sample", "type: sample\nversion: 9")) == []


def test_a_removed_status_asks_for_a_mapping() -> None:
    line = '  - {name: held, phase: intake, category: waiting, meaning: "Held."}\n'
    found = changed((line, ""))
    assert found[0].message == "Status held is removed."
    assert "only with a mapping of held" in found[0].consequence


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("phase: intake, category: waiting", "phase: hold, category: waiting",
         "Status held: its phase is changed from intake to hold."),
        ("category: waiting", "category: open",
         "Status held: its category is changed from waiting to open."),
        ('"Held."', '"Kept."', 'Status held: its meaning is changed from "Held." to "Kept.".'),
        ("if: order.qty > 1", "if: order.qty > 2",
         "Ruleset 'hold': its condition is changed from \"order.qty > 1\" to \"order.qty > 2\"."),
        ("    if: order.qty > 1\n", "",
         "Ruleset 'hold': its condition is gone; it was \"order.qty > 1\"."),
        ("    if: order.qty > 1\n", "    if: order.qty > 1\n    on_refusal: order.no\n",
         "Ruleset 'hold': its event on refusal is order.no now; it had none."),
        ("{to: done}", "{to: held}",
         "Ruleset 'finish', rule transition: to is changed from done to held."),
        ("      - transition: {to: done}", "      - transition: {to: done}\n      - source",
         "Ruleset 'finish': rule source is added after transition."),
        ("      - emit: {event: order.a}\n", "",
         "Ruleset 'finish what was held': rule emit is removed."),
        ("after: 7d", "after: 2d", "Timer waiting: its after is changed from 7d to 2d."),
        ("label: Clear", "label: Free", "Action clear: its label is changed from Clear to Free."),
        ("[store]", "[planner]", "Action clear: its roles gained planner and lost store."),
        ("most: 500", "most: 60",
         "Field why of action clear: its most is changed from 500 to 60."),
        ("{name: why,", "{name: reason,", "Field reason of action clear is added."),
        ("name: finish\n", "name: end\n", "Ruleset 'finish' is renamed to 'end'."),
        ("entity: order", "entity: parcel", "The entity is changed from order to parcel."),
    ],
)  # fmt: skip
def test_every_difference_is_said(old: str, new: str, message: str) -> None:
    assert message in said((old, new))


def test_statuses_of_a_ruleset_change_what_is_handled_where() -> None:
    assert said(("[created, held]", "[held]")) == [
        "order.cleared is not handled in created any more.",
        "Ruleset 'finish what was held': its statuses lost created.",
    ]


def test_rules_that_change_places_are_moved_not_replaced() -> None:
    (only,) = changed(
        ("{event: order.a}", "{event: order.x}"),
        ("{event: order.b}", "{event: order.a}"),
        ("{event: order.x}", "{event: order.b}"),
    )
    assert (only.kind, only.name, only.inside) == ("moved", "emit", "finish what was held")


def test_a_ruleset_that_runs_before_another_is_moved() -> None:
    old = read_document(DOCUMENT)
    first, second, third = old.rulesets
    new = _with(old, [second, first, third])
    (only,) = diff(old, new)
    assert (only.part, only.kind) == ("ruleset", "moved")
    assert diff(old, _with(old, [third, first, second])) == []  # of another event: no matter


def test_a_first_status_that_is_another_is_where_new_entities_begin() -> None:
    old = read_document(DOCUMENT)
    a, b, c = old.statuses
    new = WorkflowDocument(
        old.name, old.entity, old.type, [b, a, c], old.rulesets, actions=old.actions,
        timers=old.timers,
    )  # fmt: skip
    assert [one.message for one in diff(old, new)] == [
        "New entities begin in held instead of created."
    ]


def _with(old: WorkflowDocument, rulesets: list) -> WorkflowDocument:
    return WorkflowDocument(
        old.name, old.entity, old.type, old.statuses, rulesets, actions=old.actions,
        timers=old.timers,
    )  # fmt: skip


@given(st.permutations(range(8)))
def test_what_is_not_moved_stays_in_order(numbers: list[int]) -> None:
    moved = set(_moved(numbers))
    kept = [number for place, number in enumerate(numbers) if place not in moved]
    assert all(a < b for a, b in pairwise(kept))
    assert not moved or numbers != sorted(numbers)
