"""Every named query is sound: PostgreSQL prepares it against a migrated schema, and it is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from penstock.access.accounts import create_account, drop_account, schema_of

SOURCE = Path(__file__).parent.parent / "src" / "penstock"
FILES = sorted(path for path in SOURCE.rglob("*.sql") if "migrations" not in path.parts)
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def queries_of(path: Path) -> dict[str, str]:
    parts = _NAME.split(path.read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


QUERIES = [(path, name) for path in FILES for name in queries_of(path)]


@pytest.fixture(scope="module")
def connection(database: str) -> Iterator[psycopg.Connection]:
    create_account(database, "queries_test")
    options = f"-c search_path={schema_of('queries_test')}"
    with psycopg.connect(database, options=options, autocommit=True) as connection:
        yield connection
    drop_account(database, "queries_test")


@pytest.mark.parametrize(("path", "name"), QUERIES, ids=[f"{p.stem}-{n}" for p, n in QUERIES])
def test_postgresql_prepares_the_query(
    connection: psycopg.Connection, path: Path, name: str
) -> None:
    places: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        key = match[1] or f"the {len(places)}th"
        return f"${places.setdefault(key, len(places) + 1)}"

    text = re.sub(r"%%|%s|%\((\w+)\)s", place, queries_of(path)[name])
    connection.execute(f"PREPARE one AS {text}".encode())
    connection.execute(b"DEALLOCATE one")


def test_every_query_says_what_it_is_for() -> None:
    silent = [
        f"{path.name}: {name}"
        for path in FILES
        for name, text in queries_of(path).items()
        if not text.strip().startswith("--")
    ]
    assert silent == []


def test_every_query_is_used() -> None:
    code = "\n".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    used = set(re.findall(r"SQL\.(\w+)|\"(\w+)\"", code))
    names = {name for pair in used for name in pair}
    unused = [f"{path.name}: {name}" for path, name in QUERIES if name not in names]
    assert unused == []


def test_names_are_unique_within_a_file() -> None:
    for path in FILES:
        names = _NAME.findall(path.read_text("utf-8"))
        assert len(names) == len(set(names)), path
