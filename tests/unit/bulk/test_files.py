"""A file is looked at as a whole before a row of it is taken."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from penstock.bulk.files import examine
from penstock.errors import Refusal


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(Refusal) as refused:
        examine(path)
    return refused.value.code


def test_the_format_is_told_by_name_and_else_by_how_the_file_begins(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1]})
    frame.write_parquet(tmp_path / "plain")
    assert examine(tmp_path / "plain").format == "parquet"
    assert examine(written(tmp_path, "b", b'{"a":1}\n')).format == "jsonl"
    assert examine(written(tmp_path, "c", b"a\n1\n")).format == "csv"
    assert examine(written(tmp_path, "d.ndjson", b'{"a":1}\n')).format == "jsonl"


def test_rows_are_counted_without_the_header(tmp_path: Path) -> None:
    assert examine(written(tmp_path, "a.csv", b"a\n1\n2")).rows == 2
    assert examine(written(tmp_path, "a.jsonl", b'{"a":1}\n{"a":2}\n')).rows == 2
    pl.DataFrame({"a": [1, 2, 3]}).write_parquet(tmp_path / "a.parquet")
    assert examine(tmp_path / "a.parquet").rows == 3


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert code_of(written(tmp_path, "a.csv", b"")) == "file_empty"
    assert code_of(written(tmp_path, "b.csv", b" \n\n")) == "file_empty"
    assert code_of(written(tmp_path, "c.csv", b"sku,on_hand\n")) == "file_empty"
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "d.parquet")
    assert code_of(tmp_path / "d.parquet") == "file_empty"


def test_another_encoding_is_refused_wherever_it_shows(tmp_path: Path) -> None:
    rows = b"sku,name\nA,plain\n" * 400_000
    assert code_of(written(tmp_path, "a.csv", rows + "B,café\n".encode("latin-1"))) == (
        "wrong_encoding"
    )
    assert code_of(written(tmp_path, "b.csv", "a,b\n1,2\n".encode("utf-16"))) == "wrong_encoding"
    assert code_of(written(tmp_path, "c.csv", "a\né".encode()[:-1])) == "wrong_encoding"
    assert examine(written(tmp_path, "d.csv", "a\né\n".encode("utf-8-sig"))).rows == 1


def test_what_is_no_such_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    assert code_of(tmp_path / "nowhere.csv") == "file_unreadable"
    assert code_of(tmp_path) == "file_unreadable"
    assert code_of(written(tmp_path, "a.csv", b"a\n\0\n")) == "file_unreadable"
    assert code_of(written(tmp_path, "a.parquet", b"PAR1 no more")) == "file_unreadable"
    assert code_of(written(tmp_path, "a.jsonl", b'[{"a":1}]')) == "file_unreadable"


def test_a_digest_tells_contents_apart_and_not_names(tmp_path: Path) -> None:
    first = examine(written(tmp_path, "a.csv", b"a\n1\n")).digest
    assert examine(written(tmp_path, "b.csv", b"a\n1\n")).digest == first
    assert examine(written(tmp_path, "c.csv", b"a\n2\n")).digest != first
