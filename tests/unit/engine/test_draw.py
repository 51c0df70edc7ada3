"""Documents drawn: what a picture and an outline tell, and that its lines keep out of the way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from penstock.cli.workflow_tools import add_to
from penstock.engine.document import WorkflowDocument, read_document
from penstock.engine.draw import draw, graph_of, outline, ways_of
from penstock.engine.draw_layout import Card, Column, Drawing, Row, place
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import shipped_document, shipped_documents
from penstock.errors import Refusal

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "docs" / "pictures" / "home_delivery.svg"
DOCUMENT = """
name: sample
entity: parcel
type: sample
statuses:
  - {name: created, phase: begin, category: open, meaning: "Begun & <new>."}
  - {name: held, phase: begin, category: waiting, meaning: "Held."}
  - {name: packed, phase: work, category: open, meaning: "Packed."}
  - {name: gone, phase: end, category: done, meaning: "Gone."}
  - {name: lost, phase: end, category: failed, meaning: "Lost."}
rulesets:
  - {name: begin, event: parcel.created, statuses: [created], rules: [emit: {event: parcel.judged}]}
  - {name: fine, event: parcel.judged, statuses: [created, held], rules: [transition: {to: packed}]}
  - {name: bad, event: parcel.judged, statuses: [created, held], rules: [transition: {to: held}]}
  - {name: cleared, event: parcel.cleared, statuses: [held], rules: [emit: {event: parcel.judged}]}
  - name: hand over
    event: parcel.handed_over
    statuses: [packed]
    rules: [emit: {event: parcel.all_gone}]
  - {name: all gone, event: parcel.all_gone, statuses: [packed], rules: [transition: {to: gone}]}
  - name: late
    event: parcel.late
    statuses: ["*"]
    rules: [transition: {to: lost}]
    on_refusal: parcel.kept
  - {name: note, event: parcel.noted, statuses: ["*"], rules: [add_note: {text: "'x'"}]}
timers:
  - {name: late, event: parcel.late, statuses: [packed], after: 7d, at: promised_at}
  - {name: unheard, event: parcel.unheard, statuses: [held], after: 2h}
actions:
  - {name: clear, label: Clear it, event: parcel.cleared, statuses: [held]}
"""


@pytest.fixture(scope="module")
def sample() -> WorkflowDocument:
    return read_document(DOCUMENT)


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314 (our own text)
    return [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]


# ── what is told ──────────────────────────────────────────────────────────────────────────────────


def test_the_picture_in_the_documentation_is_what_the_command_draws() -> None:
    drawn = draw(read_document(shipped_document("home_delivery")), load_vocabulary())
    told = (
        "run `penstock workflow draw src/penstock/workflows/home_delivery.yaml "
        "-o docs/pictures/home_delivery.svg`"
    )
    assert PICTURE.read_text("utf-8") == drawn, told


@pytest.mark.parametrize("text", [*shipped_documents(), *shipped_documents("optional"), DOCUMENT])
def test_every_picture_is_whole_and_asks_nobody_for_anything(text: str) -> None:
    document = read_document(text)
    svg = draw(document, load_vocabulary())
    assert {one.name for one in document.statuses} <= set(texts(svg))
    assert not [word for word in ("<script", "href", "@import", "url(") if word in svg]


def test_phases_timers_actions_and_events_are_in_the_picture(sample: WorkflowDocument) -> None:
    told = texts(draw(sample, load_vocabulary()))
    for text in ("BEGIN", "WORK", "END", "7d after promised_at", "2h", "Clear it", "unheard"):
        assert text in told
    assert "Begun & <new>." in told


def test_an_event_with_several_ways_on_is_a_junction(sample: WorkflowDocument) -> None:
    graph = graph_of(sample, load_vocabulary())
    assert graph.junctions == ("parcel.judged",)
    assert ways_of(graph, "parcel.created", "created") == {"junction parcel.judged": ""}


def test_an_event_with_one_way_on_is_followed(sample: WorkflowDocument) -> None:
    graph = graph_of(sample, load_vocabulary())
    assert ways_of(graph, "parcel.handed_over", "packed") == {"gone": "all_gone"}
    assert ways_of(graph, "parcel.handed_over", "held") == {}


def test_an_event_that_goes_in_a_circle_leads_nowhere(sample: WorkflowDocument) -> None:
    text = DOCUMENT.replace(
        "rules: [transition: {to: gone}]", "rules: [emit: {event: parcel.all_gone}]"
    )
    graph = graph_of(read_document(text), load_vocabulary())
    assert ways_of(graph, "parcel.handed_over", "packed") == {}


def test_what_leads_to_the_same_status_is_no_way_on(sample: WorkflowDocument) -> None:
    assert ways_of(graph_of(sample, load_vocabulary()), "parcel.late", "lost") == {}


def test_the_outline_says_the_same_in_lines(sample: WorkflowDocument) -> None:
    lines = outline(sample, load_vocabulary()).splitlines()
    assert lines[0] == "sample, version 1"
    assert "  held (waiting): Held." in lines
    assert [one.split() for one in lines if one.strip().startswith("cleared")] == [
        ["cleared", "→", "judged", "[Clear", "it]"]
    ]
    assert "    handed_over > all_gone  → gone" in lines
    assert "    late                    → lost  7d after promised_at" in lines
    assert "  bad   → held" in lines


# ── where it stands ───────────────────────────────────────────────────────────────────────────────


@st.composite
def columns(draw_one: st.DrawFn) -> list[Column]:
    sizes = draw_one(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    keys = [[f"c{at}_{row}" for row in range(size)] for at, size in enumerate(sizes)]
    flat = [key for column in keys for key in column]
    leads = st.lists(st.sampled_from(flat), max_size=3, unique=True)
    return [
        Column(
            f"phase {at}",
            [
                Card(
                    key, key, "What it means, in some words.", "open",
                    [Row(f"event_{n}", tuple(one)) for n, one in
                     enumerate(draw_one(st.lists(leads, max_size=4)))],
                )
                for key in column
            ],
        )
        for at, column in enumerate(keys)
    ]  # fmt: skip


Segment = tuple[float, float, float, float]


def segments(drawing: Drawing) -> Iterator[tuple[str, Segment]]:
    """Give every straight part of every wire: its net, and left, top, right, bottom."""
    for wire in drawing.wires:
        for line in wire.lines:
            for (ax, ay), (bx, by) in pairwise(line):
                assert ax == bx or ay == by, "a wire is level or upright"
                yield wire.target, (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


@settings(deadline=None, max_examples=20)
@given(columns())
def test_no_wire_runs_over_a_card_or_along_another(given_columns: list[Column]) -> None:
    drawing = place(given_columns)
    parts = list(dict.fromkeys(segments(drawing)))
    for key, (left, top, right, bottom) in parts:
        for box in drawing.boxes:
            beside = right <= box.x or left >= box.x + box.width
            apart = bottom <= box.y or top >= box.y + box.height
            assert beside or apart, f"what leads to {key} runs over {box.card.key}"
    for at, (key, one) in enumerate(parts):
        for other_key, other in parts[:at]:
            assert key == other_key or not along(one, other), f"{key} runs along {other_key}"


def along(one: Segment, other: Segment) -> bool:
    """Tell whether two level or two upright parts lie on each other for a while."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return (height == 0 and width > 0) or (width == 0 and height > 0)


@settings(deadline=None, max_examples=20)
@given(columns())
def test_cards_and_their_rows_keep_apart(given_columns: list[Column]) -> None:
    drawing = place(given_columns)
    for at, box in enumerate(drawing.boxes):
        assert 0 <= box.x <= drawing.width - box.width
        assert 0 <= box.y <= drawing.height - box.height
        for other in drawing.boxes[:at]:
            beside = box.x >= other.x + other.width or other.x >= box.x + box.width
            assert beside or box.y >= other.y + other.height or other.y >= box.y + box.height
        tops = [group.top for group in box.groups]
        assert tops == sorted(set(tops))
        for group in box.groups:
            assert all(group.top < y < box.y + box.height for _, y in group.ports)


# ── the commands ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    app = typer.Typer()
    add_to(app)
    return app


def test_the_commands_read_files(commands: typer.Typer, tmp_path: Path) -> None:
    one, other, svg = tmp_path / "one.yaml", tmp_path / "other.yaml", tmp_path / "one.svg"
    one.write_text(DOCUMENT, "utf-8")
    other.write_text(DOCUMENT.replace("after: 2h", "after: 3h"), "utf-8")
    run = CliRunner().invoke
    assert run(commands, ["diff", str(one), str(one)]).stdout == "no difference\n"
    changed = run(commands, ["diff", str(one), str(other)])
    assert changed.exit_code == 0
    assert changed.stdout == "Timer unheard: its after is changed from 2h to 3h.\n"
    assert '"changes"' in run(commands, ["diff", str(one), str(other), "--json"]).stdout
    assert "held (waiting)" in run(commands, ["draw", str(one), "--text"]).stdout
    assert run(commands, ["draw", str(one), "-o", str(svg)]).exit_code == 0
    assert svg.read_text("utf-8").startswith("<svg")
    assert '"$schema"' in run(commands, ["schema"]).stdout


def test_a_file_that_is_not_there_is_refused(commands: typer.Typer, tmp_path: Path) -> None:
    done = CliRunner().invoke(commands, ["draw", str(tmp_path / "none.yaml")])
    assert isinstance(done.exception, Refusal)
    assert done.exception.code == "file_unreadable"
