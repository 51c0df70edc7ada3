"""Blocks: a file as polars frames of bounded size, whatever its format, with what cannot be read.

Owns the reading. A block of text is some megabytes, cut where a record ends (a line break outside
quotes); it is parsed at once, and record by record only when that fails, so that the one bad
record is named and the others are taken. Text columns stay text: what they mean is the reader's.

Invariants: a frame has a row for every record, blank and unreadable ones included (null in every
column), so that the row of place n is `first_row + n`; blocks come in order and without a gap.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec
import polars as pl

from penstock.bulk.files import Source
from penstock.bulk.model import Fault
from penstock.errors import Refusal

BLOCK_BYTES = 4_000_000
MAX_RECORD_BYTES = 64_000_000
PARQUET_ROWS = 100_000
MAX_HEADER_BYTES = 1_000_000
SEPARATORS = ",;\t"
_QUOTE = b'"'


class Block(msgspec.Struct):
    """Some records: one row each, the number of the first, and what cannot be read of them."""

    frame: pl.DataFrame
    first_row: int
    faults: list[Fault]

    @property
    def last_row(self) -> int:
        """The number of the last row."""
        return self.first_row + self.frame.height - 1


class Header(msgspec.Struct, frozen=True):
    """The columns of a CSV file, what separates them, and where its first record begins."""

    names: list[str]
    separator: str
    size: int


def column_names(source: Source) -> list[str]:
    """Return the names of a file's columns; of JSON Lines those that its first lines have.

    Refuses with `file_unreadable` and `duplicate_column`.
    """
    if source.format == "parquet":
        return pl.scan_parquet(source.path).collect_schema().names()
    if source.format == "csv":
        return _header(source).names
    names: dict[str, None] = {}
    with source.path.open("rb") as stream:
        for line in stream.read(BLOCK_BYTES).splitlines()[:100]:
            try:
                record = msgspec.json.decode(line.removeprefix(codecs.BOM_UTF8))
            except msgspec.DecodeError:
                continue
            names |= dict.fromkeys(record if isinstance(record, dict) else ())
    return list(names)


def read_blocks(source: Source, wanted: Sequence[str]) -> Iterator[Block]:
    """Read a file block by block: CSV and Parquet whole, of JSON Lines the wanted fields as text.

    Refuses with `file_unreadable`.
    """
    if source.format == "parquet":
        return _read_parquet(source)
    if source.format == "csv":
        return _read_csv(source)
    return _read_jsonl(source, list(wanted))


def _read_parquet(source: Source) -> Iterator[Block]:
    row = 1
    lazy = pl.scan_parquet(source.path)
    for frame in lazy.collect_batches(chunk_size=PARQUET_ROWS, maintain_order=True):
        yield Block(frame, row, [])
        row += frame.height


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def text_blocks(stream: BinaryIO, *, has_quotes: bool) -> Iterator[bytes]:
    """Cut what is left of a text into blocks that end where a record does."""
    kept = b""
    coming = stream.read(BLOCK_BYTES)
    while coming:
        block = kept + coming
        coming = stream.read(BLOCK_BYTES)
        if not coming and not block.endswith(b"\n"):
            block += b"\n"
        end = _end_of_last_record(block) if has_quotes else block.rfind(b"\n") + 1
        if end:
            yield block[:end]
        kept = block[end:]
        if len(kept) > MAX_RECORD_BYTES:
            raise Refusal("file_unreadable", "A record does not end: is a quote never closed?")
    if kept:
        yield kept


def _end_of_last_record(block: bytes) -> int:
    """Return where the last line break outside quotes ends; 0 where there is none."""
    end = len(block)
    quotes_after = 0
    quotes = block.count(_QUOTE)
    while True:
        line_break = block.rfind(b"\n", 0, end)
        if line_break < 0:
            return 0
        quotes_after += block.count(_QUOTE, line_break, end)
        if (quotes - quotes_after) % 2 == 0:
            return line_break + 1
        end = block.rfind(_QUOTE, 0, line_break)
        quotes_after += 1
        if end < 0:
            return 0


def _header(source: Source) -> Header:
    with source.path.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    end = head.find(b"\n") + 1
    if not end:
        raise Refusal("file_unreadable", f"{source.path.name} has no header line.")
    line = head[start:end].decode("utf-8")
    separator = max(SEPARATORS, key=line.count)
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        sentence = f"{source.path.name} has more than one column {twice[0]!r}."
        raise Refusal("duplicate_column", sentence, column=twice[0])
    return Header(names, separator, end)


def _read_csv(source: Source) -> Iterator[Block]:
    header = _header(source)
    row = 1
    with source.path.open("rb") as stream:
        stream.seek(header.size)
        for text in text_blocks(stream, has_quotes=True):
            block = _parse_csv(text, header, row)
            yield block
            row += block.frame.height


def _parse_csv(text: bytes, header: Header, row: int) -> Block:
    schema = dict.fromkeys(header.names, pl.String())
    try:
        frame = pl.read_csv(text, has_header=False, schema=schema, separator=header.separator)
    except pl.exceptions.PolarsError:
        return _parse_csv_by_record(text, header, row)
    return Block(frame, row, [])


def _parse_csv_by_record(text: bytes, header: Header, row: int) -> Block:
    width = len(header.names)
    columns: list[list[str | None]] = [[] for _ in header.names]
    faults: list[Fault] = []
    reader = csv.reader(io.StringIO(text.decode("utf-8"), newline=""), delimiter=header.separator)
    while (fields := _next_record(reader)) is not None:
        number = row + len(columns[0])
        if isinstance(fields, csv.Error):
            faults.append(Fault(number, "", f"The row cannot be read: {fields}.", "row_unreadable"))
            fields = []
        elif len(fields) > width:
            sentence = f"The row has {len(fields)} fields, the header {width}."
            faults.append(Fault(number, "", sentence, "row_unreadable"))
        for place, column in enumerate(columns):
            column.append(fields[place] or None if place < len(fields) else None)
    schema = dict.fromkeys(header.names, pl.String())
    frame = pl.DataFrame(dict(zip(header.names, columns, strict=True)), schema=schema)
    return Block(frame, row, faults)


def _next_record(reader: Iterator[list[str]]) -> list[str] | csv.Error | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        return error


def _read_jsonl(source: Source, wanted: list[str]) -> Iterator[Block]:
    row = 1
    with source.path.open("rb") as stream:
        for text in text_blocks(stream, has_quotes=False):
            block = _parse_jsonl(text.removeprefix(codecs.BOM_UTF8), wanted, row)
            yield block
            row += block.frame.height


def _parse_jsonl(text: bytes, wanted: list[str], row: int) -> Block:
    schema = dict.fromkeys(wanted, pl.String())
    try:
        frame = pl.read_ndjson(text, schema=schema)
    except pl.exceptions.PolarsError:
        return _parse_jsonl_by_line(text, wanted, row)
    if frame.height != text.count(b"\n"):
        return _parse_jsonl_by_line(text, wanted, row)
    return Block(frame, row, [])


def _parse_jsonl_by_line(text: bytes, wanted: list[str], row: int) -> Block:
    columns: list[list[str | None]] = [[] for _ in wanted]
    faults: list[Fault] = []
    for number, line in enumerate(text.split(b"\n")[:-1], row):
        record: object = {}
        try:
            record = msgspec.json.decode(line) if line.strip() else {}
        except msgspec.DecodeError as error:
            faults.append(Fault(number, "", f"The row is no JSON: {error}.", "row_unreadable"))
        if not isinstance(record, dict):
            faults.append(Fault(number, "", "The row is no JSON object.", "row_unreadable"))
            record = {}
        for name, column in zip(wanted, columns, strict=True):
            column.append(_as_text(record.get(name)))
    schema = dict.fromkeys(wanted, pl.String())
    frame = pl.DataFrame(dict(zip(wanted, columns, strict=True)), schema=schema)
    return Block(frame, row, faults)


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
