"""Lint: every fault of a document, with its place; and YAML out and in again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock.engine.document import read_document, written
from penstock.engine.lint import Finding, lint, refuse_wrong
from penstock.engine.places import Places, path_of
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import shipped_documents
from penstock.errors import Refusal

SHIPPED = shipped_documents() + shipped_documents("optional")
GOOD = """
name: thing
entity: thing
type: default
statuses:
  - {name: made, phase: begin, category: open, meaning: "Begun."}
  - {name: used, phase: work, category: waiting, meaning: "In use."}
  - {name: gone, phase: end, category: done, meaning: "Over."}
rulesets:
  - name: use
    event: thing.created
    statuses: [made]
    if: thing.type == 'default'
    rules:
      - transition: {to: used}
      - emit: {event: thing.counted}
  - name: count
    event: thing.counted
    statuses: [used]
    rules: []
  - name: end
    event: thing.ended
    statuses: [used]
    rules: [{transition: {to: gone}}]
actions:
  - name: end
    label: End it
    event: thing.ended
    statuses: [used]
    fields: [{name: why, type: text}]
timers:
  - {name: old, event: thing.ended, statuses: [used], after: 2d}
"""


def findings(text: str) -> list[Finding]:
    return lint(read_document(text), load_vocabulary())


def test_a_good_document_has_no_findings() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize("text", SHIPPED)
def test_shipped_documents_have_no_errors(text: str) -> None:
    assert [one for one in findings(text) if one.severity == "error"] == []


FAULTS: list[tuple[str, str, str, int]] = [
    ("statuses: [made]", "statuses: [ghost]", "undeclared_status", 12),
    ("{to: gone}", "{to: ghost}", "undeclared_status", 24),
    ("- emit:", "- emti:", "unknown_rule", 16),
    ("{to: used}", "{too: used}", "wrong_parameter", 15),
    ("rules: []", "rules: [source]", "wrong_entity", 20),
    ("thing.type", "thing.typ", "unknown_field", 13),
    ("thing.type", "thing.attributes.size", "unguarded_field", 13),
    ("thing.type ==", "thing.type =", "invalid_condition", 13),
    ("name: count", "name: use", "name_twice", 17),
    ("[{transition: {to: gone}}]", "[]", "unreachable_status", 8),
    ("category: done", "category: open", "dead_end", 8),
    ("event: thing.counted}", "event: thing.conted}", "unhandled_event", 10),
    (
        "event: thing.ended\n    statuses: [used]\n    rules",
        "event: thing.eneded\n    statuses: [used]\n    rules",
        "unhandled_event",
        32,
    ),
    (
        "event: thing.ended\n    statuses: [used]\n    fields",
        "event: thing.ended\n    statuses: [made]\n    fields",
        "event_never_met",
        26,
    ),
    ("type: text}", "type: option}", "wrong_field", 30),
    ("type: text}", "type: integer, default: x}", "wrong_field", 30),
    ("type: text}", "type: integer, least: 3, most: 2}", "wrong_field", 30),
    (", after: 2d", "", "invalid_timer", 32),
    ("rules: []", "rules: [{emit: {event: thing.counted}}]", "loop", 17),
]


@pytest.mark.parametrize(("before", "after", "code", "line"), FAULTS)
def test_a_fault_is_found_with_its_line(before: str, after: str, code: str, line: int) -> None:
    assert before in GOOD
    text = GOOD.replace(before, after, 1)
    found = {one.code: one for one in findings(text)}
    assert code in found, found
    assert found[code].severity == "error"
    assert found[code].message
    assert Places(text).line(found[code].path) == line


def test_several_faults_are_found_at_once_and_all_of_them_refused() -> None:
    text = GOOD.replace("thing.type", "thing.typ").replace("{to: gone}", "{to: ghost}")
    with pytest.raises(Refusal) as caught:
        refuse_wrong(read_document(text), load_vocabulary())
    listed: Any = caught.value.data["findings"]
    assert {one["code"] for one in listed} >= {"unknown_field", "undeclared_status"}
    assert "more)" in caught.value.message


def test_a_loop_under_a_condition_is_a_warning() -> None:
    text = GOOD.replace(
        "rules: []", "if: thing.ref == 'x'\n    rules: [{emit: {event: thing.counted}}]"
    )
    (found,) = findings(text)
    assert (found.code, found.severity) == ("possible_loop", "warning")


def test_a_fulfilment_needs_the_statuses_that_rules_move_it_to() -> None:
    text = SHIPPED[2].replace("name: rejected", "name: refused")
    assert "missing_status" in {one.code for one in findings(text)}


@pytest.mark.parametrize("text", SHIPPED)
def test_what_is_written_out_reads_back_to_the_same(text: str) -> None:
    document = read_document(text)
    assert read_document(written(document)) == document


def test_a_document_that_aliases_blow_up_is_refused() -> None:
    layers = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 9))
    with pytest.raises(Refusal) as caught:
        read_document("x0: &x0 [1]\n" + layers)
    assert caught.value.code == "invalid_document"


def test_the_path_of_an_error_is_read() -> None:
    assert path_of("$.rulesets[3].rules[0].event") == ("rulesets", 3, "rules", 0, "event")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, Finding)
