"""Records: rows of a file as the structs that verbs take, with what is wrong with each.

Owns the translation. A line of JSON is the struct as it stands. In CSV and Parquet a nested field
is a column of JSON text (`attributes`), or one column for each of its parts (`address.town`); an
empty cell is a field that is not given. Values are converted, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from penstock.bulk.blocks import column_names, read_blocks, text_blocks
from penstock.bulk.files import Source
from penstock.bulk.model import Fault
from penstock.errors import Refusal

T = TypeVar("T")
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_OUTER = re.compile(r" - at `[^`]*`$")
_FIELD = re.compile(r"field `([^`]+)`")
_NUL = "A zero character cannot be stored."
JSON_STARTS = ("{", "[")


class Shape(msgspec.Struct, Generic[T], frozen=True):
    """What the records of a kind are: the struct, and columns that stand for a field of it."""

    type: type[T]
    aliases: dict[str, str] = {}
    required: tuple[str, ...] = ()


class Chunk(msgspec.Struct, Generic[T]):
    """Some records for one pass: their row numbers, faults, and the row that is done with them."""

    values: list[T]
    rows: list[int]
    faults: list[Fault]
    rows_done: int


def record_chunks(source: Source, shape: Shape[T], done: int, size: int) -> Iterator[Chunk[T]]:
    """Read the records after the row `done` in chunks of at most `size`.

    Refuses with `missing_column`, `unknown_column` and what reading refuses.
    """
    parts = _lines(source, shape) if source.format == "jsonl" else _rows(source, shape)
    return sliced(parts, done, size)


def sliced(parts: Iterator[Chunk[T]], done: int, size: int) -> Iterator[Chunk[T]]:
    """Cut chunks into smaller ones, without what comes up to the row `done`."""
    for part in parts:
        if part.rows_done <= done:
            continue
        first = next((n for n, row in enumerate(part.rows) if row > done), len(part.rows))
        faults = [fault for fault in part.faults if fault.row > done]
        for start in range(first, max(len(part.rows), first + 1), size):
            rows = part.rows[start : start + size]
            is_last = start + size >= len(part.rows)
            upto = part.rows_done if is_last else part.rows[start + size] - 1
            mine = [fault for fault in faults if fault.row <= upto]
            faults = [fault for fault in faults if fault.row > upto]
            yield Chunk(part.values[start : start + size], rows, mine, upto)


def _lines(source: Source, shape: Shape[T]) -> Iterator[Chunk[T]]:
    decoder = msgspec.json.Decoder(shape.type)
    row = 1
    with source.path.open("rb") as stream:
        for text in text_blocks(stream, has_quotes=False):
            lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:-1]
            chunk: Chunk[T] = Chunk([], [], [], row + len(lines) - 1)
            for number, line in enumerate(lines, row):
                _decode(decoder, line, number, chunk)
            yield chunk
            row += len(lines)


def _decode(decoder: msgspec.json.Decoder[T], line: bytes, row: int, chunk: Chunk[T]) -> None:
    if not line.strip():
        return
    try:
        value = decoder.decode(line)
    except msgspec.ValidationError as error:
        chunk.faults.append(fault_of(row, error))
    except msgspec.DecodeError as error:
        sentence = f"The row is no JSON: {error}."
        chunk.faults.append(Fault(row, "", sentence, "row_unreadable"))
    else:
        if b"\\u0000" in line:
            chunk.faults.append(Fault(row, "", _NUL, "invalid_record"))
            return
        chunk.values.append(value)
        chunk.rows.append(row)


def _rows(source: Source, shape: Shape[T]) -> Iterator[Chunk[T]]:
    names = [shape.aliases.get(name, name) for name in column_names(source)]
    check_columns(source, names, shape)
    paths = [tuple(name.split(".")) for name in names]
    nested = nested_fields(shape.type)
    for block in read_blocks(source, names):
        unreadable = {fault.row for fault in block.faults}
        chunk: Chunk[T] = Chunk([], [], list(block.faults), block.last_row)
        for row, cells in enumerate(block.frame.iter_rows(), block.first_row):
            if row in unreadable or all(cell is None for cell in cells):
                continue
            try:
                value = msgspec.convert(nest(paths, cells, nested), shape.type, strict=False)
            except msgspec.ValidationError as error:
                chunk.faults.append(fault_of(row, error))
            else:
                chunk.values.append(value)
                chunk.rows.append(row)
        yield chunk


def check_columns(source: Source, names: Sequence[str], shape: Shape[Any]) -> None:
    """Refuse with `missing_column` or `unknown_column`, naming it."""
    fields = {field.encode_name for field in msgspec.structs.fields(shape.type)}
    roots = {name.split(".")[0] for name in names}
    for name in shape.required:
        if name not in roots:
            shown = next((alias for alias, to in shape.aliases.items() if to == name), name)
            raise missing_column(source, shown, names)
    for name in names:
        if name.split(".")[0] not in fields:
            known = ", ".join(sorted(fields))
            sentence = f"{source.path.name} has a column {name!r}; known are {known}."
            raise Refusal("unknown_column", sentence, column=name)


def missing_column(source: Source, name: str, names: Sequence[str]) -> Refusal:
    """Return the refusal of a file that lacks a column."""
    has = ", ".join(names) if names else "none"
    sentence = f"{source.path.name} has no column {name!r}; its columns are {has}."
    return Refusal("missing_column", sentence, column=name)


def nested_fields(type_: type[Any]) -> frozenset[str]:
    """Return the fields of a struct that are objects or lists: JSON, in a text column."""
    simple = (msgspec.inspect.StrType, msgspec.inspect.IntType, msgspec.inspect.BoolType)
    simple += (msgspec.inspect.FloatType, msgspec.inspect.DecimalType, msgspec.inspect.NoneType)
    simple += (msgspec.inspect.DateTimeType, msgspec.inspect.LiteralType)
    names: set[str] = set()
    for field in msgspec.structs.fields(type_):
        found = msgspec.inspect.type_info(field.type)
        kinds = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
        if not all(isinstance(_inner(kind), simple) for kind in kinds):
            names.add(field.encode_name)
    return frozenset(names)


def _inner(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return _inner(kind.type) if isinstance(kind, msgspec.inspect.Metadata) else kind


def nest(
    paths: Sequence[tuple[str, ...]], cells: Sequence[Any], nested: frozenset[str]
) -> dict[str, Any]:
    """Put the cells of a row into a nested document; empty cells are left out."""
    document: dict[str, Any] = {}
    for path, cell in zip(paths, cells, strict=True):
        if cell is None or cell == "":
            continue
        place = document
        for name in path[:-1]:
            place = place.setdefault(name, {})
        is_json = path[0] in nested and isinstance(cell, str) and cell.startswith(JSON_STARTS)
        place[path[-1]] = _json(cell) if is_json else cell
    return document


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text  # what is no JSON is told by the conversion, unless a text is wanted


def fault_of(row: int, error: msgspec.ValidationError) -> Fault:
    """Return a record's conversion error as a fault that names the field."""
    text = str(error)
    path = _PATH.search(text)
    named = _FIELD.search(text)
    field = ".".join(part for part in (path and path[1], named and named[1]) if part)
    return Fault(row, field, f"{_OUTER.sub('', text)}.", "invalid_record")


def fault_of_refusal(row: int, refusal: Refusal) -> Fault:
    """Return a record's refusal as a fault; the field is named, or what the refusal is about."""
    field = refusal.data.get("field") or next(iter(refusal.data), "")
    return Fault(row, str(field), refusal.message, refusal.code)
