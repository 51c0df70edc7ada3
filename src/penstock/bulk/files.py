"""Files before anything is taken from them: which format, which content, whether they can be read.

Owns every refusal of a whole file that needs no account: `file_unreadable`, `file_empty`,
`wrong_encoding`. A text is read once from end to end for this, so that nothing is written of a
file whose last row is in another encoding; its digest tells it from other files.
"""

from __future__ import annotations

import codecs
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
import polars as pl

from penstock.errors import Refusal

READ_BYTES = 4_000_000
DIGEST_BYTES = 16
PARQUET_MAGIC = b"PAR1"
Format = Literal["csv", "jsonl", "parquet"]
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


class Source(msgspec.Struct, frozen=True):
    """A file that can be read: its format, digest, about how many rows, and when it was written."""

    path: Path
    format: Format
    digest: bytes
    rows: int
    written_at: datetime


def examine(path: Path) -> Source:
    """Look at a file as a whole; refuses with `file_unreadable`, `file_empty`, `wrong_encoding`."""
    try:
        with path.open("rb") as stream:
            head = stream.read(READ_BYTES)
            if not head.strip():
                raise Refusal("file_empty", f"{path.name} is empty.", file=str(path))
            stream.seek(0)
            form = _format(path, head)
            digest, lines = _digest(path, stream, is_text=form != "parquet")
        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        sentence = f"{path} cannot be read: {error.strerror or error}."
        raise Refusal("file_unreadable", sentence, file=str(path)) from error
    rows = _parquet_rows(path) if form == "parquet" else lines - (form == "csv")
    if rows == 0:
        raise Refusal("file_empty", f"{path.name} has no rows.", file=str(path))
    return Source(path, form, digest, rows, written_at)


def _format(path: Path, head: bytes) -> Format:
    """Go by the name; where that says nothing, by how the file begins."""
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        first = head.lstrip(b" \t\r\n" + codecs.BOM_UTF8)[:1]
        form = "jsonl" if first == b"{" else "csv"
        form = "parquet" if head.startswith(PARQUET_MAGIC) else form
    if form == "jsonl" and head.lstrip()[:1] == b"[":
        sentence = f"{path.name} is one JSON array; JSON Lines has one object on each line."
        raise Refusal("file_unreadable", sentence, file=str(path))
    return form


def _digest(path: Path, stream: BinaryIO, *, is_text: bool) -> tuple[bytes, int]:
    """Return the file's digest and its lines; a text has to be UTF-8 from end to end."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    lines = position = 0
    last = b""
    while block := stream.read(READ_BYTES):
        digest.update(block)
        if is_text:
            _check_text(path, block, position)
            try:
                decode(block)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, lines + block.count(b"\n", 0, error.start) + 1) from error
            lines += block.count(b"\n")
        position += len(block)
        last = block
    if is_text:
        try:
            decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, lines + 1) from error
    return digest.digest(), lines + (not last.endswith(b"\n"))


def _check_text(path: Path, block: bytes, position: int) -> None:
    is_utf16 = position == 0 and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if is_utf16:
        raise _not_utf8(path, 1)
    if b"\0" in block:
        sentence = f"{path.name} is no text: it has a zero byte at {position + block.find(0)}."
        raise Refusal("file_unreadable", sentence, file=str(path))


def _not_utf8(path: Path, line: int) -> Refusal:
    sentence = f"{path.name} is not in UTF-8 (line {line}): save it in that encoding."
    return Refusal("wrong_encoding", sentence, file=str(path), line=line)


def _parquet_rows(path: Path) -> int:
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        sentence = f"{path.name} cannot be read as Parquet: {reason}"
        raise Refusal("file_unreadable", sentence, file=str(path)) from error
