"""Blocks: every record has its row, whatever the block's size and whatever cannot be read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.bulk import blocks
from penstock.bulk.blocks import Block, column_names, read_blocks, text_blocks
from penstock.bulk.files import examine
from penstock.errors import Refusal


def read(path: Path, wanted: tuple[str, ...] = ("a", "b")) -> list[Block]:
    return list(read_blocks(examine(path), wanted))


def rows_of(found: list[Block]) -> list[tuple[object, ...]]:
    return [row for block in found for row in block.frame.rows()]


def written(tmp_path: Path, name: str, content: str) -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


texts = st.text(st.sampled_from("ab \",;\n\r'5é"), max_size=6)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=st.lists(st.tuples(texts, texts), min_size=1, max_size=30), size=st.integers(5, 60))
def test_a_csv_reads_back_as_it_was_written_at_any_block_size(
    table: list[tuple[str, str]], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("a", "b"), *table])
    path = written(tmp_path, "table.csv", stream.getvalue())
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    found = read(path)
    assert [tuple(cell or "" for cell in row) for row in rows_of(found)] == table
    starts = [block.first_row for block in found]
    assert starts == [1 + sum(b.frame.height for b in found[:n]) for n in range(len(found))]


def test_blocks_end_where_records_do() -> None:
    text = b'a,"x\ny"\nb,c\nd,"""\n"\n'
    whole = b"".join(text_blocks(io.BytesIO(text), has_quotes=True))
    assert whole == text
    assert list(text_blocks(io.BytesIO(b"no end"), has_quotes=True)) == [b"no end\n"]


def test_a_row_with_too_many_fields_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "a,b\n1,2\n3,4,5\n6\n\n7,8\n")
    (block,) = read(path)
    assert block.frame.rows() == [("1", "2"), ("3", "4"), ("6", None), (None, None), ("7", "8")]
    assert [(fault.row, fault.code) for fault in block.faults] == [(2, "row_unreadable")]


def test_separators_line_ends_and_marks_are_understood(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "\ufeffa;b\r\n1;2\r\n3;4\r\n")
    assert column_names(examine(path)) == ["a", "b"]
    assert rows_of(read(path)) == [("1", "2"), ("3", "4")]


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        column_names(examine(written(tmp_path, "t.csv", "a,b,a\n1,2,3\n")))
    assert refused.value.code == "duplicate_column"


def test_a_line_that_is_no_json_is_named_and_blank_ones_keep_their_number(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '{"a":1,"b":"x"}\n\n{"a":\n[1]\n{"b":2.5}\n')
    (block,) = read(path)
    expected = [("1", "x"), (None, None), (None, None), (None, None), (None, "2.5")]
    assert block.frame.rows() == expected
    assert [(fault.row, fault.code) for fault in block.faults] == [
        (3, "row_unreadable"),
        (4, "row_unreadable"),
    ]


def test_json_lines_read_alike_at_once_and_line_by_line(tmp_path: Path) -> None:
    lines = '{"a":1,"b":"x","c":[1]}\n{"b":null,"a":true}\n{"a":1.5,"b":{"d":1}}\n'
    (at_once,) = read(written(tmp_path, "t.jsonl", lines))
    (by_line,) = read(written(tmp_path, "u.jsonl", lines + "\n"))
    assert at_once.frame.rows()[:2] == by_line.frame.rows()[:2]


def test_parquet_comes_in_order_and_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "PARQUET_ROWS", 100)
    pl.DataFrame({"a": range(1050)}).write_parquet(tmp_path / "t.parquet", row_group_size=300)
    found = read(tmp_path / "t.parquet")
    assert [row[0] for row in rows_of(found)] == list(range(1050))
    assert found[-1].last_row == 1050
