"""Scenario files: those that come with Penstock end well, and a wrong one is told where."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock.access.accounts import list_accounts
from penstock.errors import Refusal
from penstock.scenarios.document import read_scenarios
from penstock.scenarios.play import Played, play

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples/scenarios").glob("[!.]*.yaml"))
FILES = [path for path in EXAMPLES if not path.name.endswith(".workflow.yaml")]
HEAD = """
given: {stock: [{sku: MUG, location: bath, on_hand: 3}]}
scenarios:
  - name: a story
    steps:
"""


def played(database: str, path: Path, number: int = 0) -> Played:
    return asyncio.run(play(database, read_scenarios(path), number))


def story(tmp_path: Path, *steps: str) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(HEAD + "".join(f"      - {step}\n" for step in steps), "utf-8")
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_scenarios_of_the_examples_end_as_expected(database: str, path: Path) -> None:
    read = read_scenarios(path)
    for number, scenario in enumerate(read.file.scenarios):
        result = asyncio.run(play(database, read, number))
        assert result.differences == [], scenario.name


ORDER = "order: {lines: [{sku: MUG, qty: 2}]}"


@pytest.mark.parametrize(
    ("step", "where"),
    [
        (ORDER[:-1] + "}\n        expect: {status: shipped}", "order A-1: status"),
        (
            ORDER + "\n        expect: {document: {fulfilments: [{location: york}]}}",
            "order A-1: fulfilments[0].location",
        ),
        (ORDER + "\n        expect: {refused: out_of_stock}", "refused"),
        (ORDER + "\n        expect: {events: [order.shipped]}", "events"),
        (ORDER + "\n        expect: {events: [order.allocated, order.created]}", "events"),
        (ORDER + "\n        expect: {timers: [overdue]}", "timers"),
        (ORDER + "\n        expect: {calls: [{kind: http}]}", "calls"),
        (ORDER + "\n        expect: {dead_letters: 1}", "dead letters"),
        (ORDER + "\n        expect: {unhandled: [order.lost]}", "unhandled"),
        (
            ORDER + "\n        expect: {stock: [{sku: MUG, location: bath, reserved: 1}]}",
            "stock of MUG at bath.reserved",
        ),
        (
            ORDER + "\n        expect: {entities: [{of: {payment: P-1}, status: captured}]}",
            "payment P-1",
        ),
        ("order: {lines: [{sku: MUG, qty: 0}]}", "refused"),
        ("event: {name: order.hold_cleared, of: {order: A-9}}", "refused"),
        ("event: {name: order.hold_cleared}", "refused"),
        ("answer: {}", "refused"),
    ],
)
def test_what_is_not_as_expected_is_told_with_its_step_and_line(
    database: str, tmp_path: Path, step: str, where: str
) -> None:
    result = played(database, story(tmp_path, "wait: 1h", step))
    assert [one.where for one in result.differences] == [where]
    assert (result.step, result.line) == (2, 7)
    assert not [name for name in list_accounts(database) if name.startswith("scenario_")]


def test_what_happened_to_the_entity_is_told_with_a_failure(database: str, tmp_path: Path) -> None:
    result = played(database, story(tmp_path, ORDER + "\n        expect: {status: shipped}"))
    assert [event["event"] for event in result.ran[-1].detail["events"]] == [
        "order.created",
        "order.routed",
    ]


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("odrer: {}", "unknown field `odrer`"),
        ("wait: soon", "matching regex"),
        ("{wait: 1h, stock: []}", "A step is one thing; this one is stock and wait."),
        ("stock: [{sku: MUG}]", "missing required field `location`"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, step: str, sentence: str
) -> None:
    path = story(tmp_path, step)
    with pytest.raises(Refusal) as caught:
        read_scenarios(path)
    assert caught.value.code == "invalid_scenario"
    assert sentence in caught.value.message
    assert f"{path}:6" in caught.value.message


def test_a_workflow_that_lint_refuses_is_named(database: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\n", "utf-8")
    path = story(tmp_path, "wait: 1h")
    path.write_text("workflows: [own.yaml]\n" + path.read_text("utf-8"), "utf-8")
    with pytest.raises(Refusal, match=r"workflow own\.yaml: The workflow document"):
        played(database, path)
    path.write_text(path.read_text("utf-8").replace("own.yaml", "nothing"), "utf-8")
    with pytest.raises(Refusal, match="'nothing' is neither a file"):
        read_scenarios(path)


@pytest.mark.parametrize(
    ("now", "at"),
    [
        ("2026-03-02T18:00", "2026-03-02T19:00"),
        ("2026-03-02T18:00:00", "2026-03-02T19:00:00Z"),
        ("2026-03-02T18:00:00+01:00", "'2026-03-02T18:00'"),
    ],
)
def test_an_instant_may_leave_out_its_seconds_and_its_zone(
    database: str, tmp_path: Path, now: str, at: str
) -> None:
    path = story(tmp_path, ORDER, f"at: {at}")
    path.write_text(f"now: {now}\n" + path.read_text("utf-8"), "utf-8")
    assert played(database, path).differences == []
