"""Files that go out: CSV, JSON Lines or Parquet, written frame by frame, put in place when whole.

Owns the formats, that nobody ever sees half a file (it is renamed when it is written, and then the
cursor beside it), and sending one to an address by HTTP PUT, which is tried again a bounded number
of times. Memory is bounded by a few frames.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import httpx
import msgspec
import polars as pl
from polars.io.plugins import register_io_source

from penstock.bulk.export_rows import Rows
from penstock.errors import Refusal, Transient

Format: TypeAlias = Literal["csv", "jsonl", "parquet"]
FORMATS: Mapping[str, Format] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
MEDIA_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
ROWS_PER_GROUP = 200_000  # of a Parquet file
FRAMES_AHEAD = 2
MAX_ATTEMPTS = 5
FIRST_PAUSE_S = 0.5
SEND_TIMEOUT_S = 60.0
SEND_BYTES = 1 << 20
_TRY_AGAIN = frozenset({408, 425, 429})
_SERVER_ERROR = 500


class Done(msgspec.Struct, frozen=True):
    """What came of an export."""

    target: str
    rows: int
    bytes: int
    cursor: str
    full: bool


def format_of(target: str, stated: str | None = None) -> Format:
    """Return the format of a target, as stated or by its name; refuses with `option_unusable`."""
    name = stated and f".{stated}"
    found = FORMATS.get(name or Path(target.split("?", maxsplit=1)[0]).suffix.lower())
    if found is None:
        sentence = f"{target[:100]!r} does not say which format: use --format csv|jsonl|parquet."
        raise Refusal("option_unusable", sentence)
    return found


def is_address(target: str) -> bool:
    """Tell whether a target is an address to send to, and no file."""
    return target.startswith(("http://", "https://"))


async def write_file(rows: Rows, target: Path, form: Format, told: Callable[[int], None]) -> Done:
    """Write a file and, beside it, its cursor (`FILE.cursor`); refuses with `file_unwritable`."""
    try:
        count, size = await _write_whole(rows, target, form, told)
        put_in_place(target.with_name(f"{target.name}.cursor"), f"{rows.cursor}\n")
    except OSError as error:
        sentence = f"{target} cannot be written: {error.strerror or error}."
        raise Refusal("file_unwritable", sentence, file=str(target)) from error
    return Done(str(target), count, size, rows.cursor, rows.is_full)


async def _write_whole(
    rows: Rows, target: Path, form: Format, told: Callable[[int], None]
) -> tuple[int, int]:
    part = _begun(target)
    try:
        count = await _write(rows, part, form, told)
        size = await asyncio.to_thread(_finished, part, target)
    except BaseException:
        _dropped(part)
        raise
    return count, size


def _begun(target: Path) -> Path:
    """Make a file beside the target, to be renamed."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    return Path(name)


def _finished(part: Path, target: Path) -> int:
    """Put a file that is written in its place, once it is on the disk; returns its bytes."""
    with part.open("rb+") as stream:
        os.fsync(stream.fileno())
    part.chmod(0o644)
    size = part.stat().st_size
    part.replace(target)
    return size


def _dropped(part: Path) -> None:
    part.unlink(missing_ok=True)


def put_in_place(target: Path, text: str) -> None:
    """Write a small text whole or not at all."""
    with tempfile.NamedTemporaryFile(
        "w", prefix=f".{target.name}.", dir=target.parent, delete=False, encoding="utf-8"
    ) as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(stream.name).replace(target)


async def _write(rows: Rows, path: Path, form: Format, told: Callable[[int], None]) -> int:
    count = 0
    with path.open("wb") as stream:
        writer = _Parquet(stream, rows.columns) if form == "parquet" else _Text(stream, form)
        try:
            async for frame in rows.frames:
                await asyncio.to_thread(writer.write, frame)
                count += len(frame)
                told(count)
            await asyncio.to_thread(writer.write, pl.DataFrame(schema=rows.columns))
        finally:
            await asyncio.to_thread(writer.close)
    return count


class _Text:
    """Writes frames as lines; the first says the names of the columns, in CSV."""

    def __init__(self, stream: IO[bytes], form: Format) -> None:
        self._stream = stream
        self._form = form
        self._is_first = True

    def write(self, frame: pl.DataFrame) -> None:
        """Write one frame."""
        if self._form == "jsonl":
            frame.write_ndjson(self._stream)
        else:
            frame.write_csv(self._stream, include_header=self._is_first)
        self._is_first = False

    def close(self) -> None:
        """End."""


class _Parquet:
    """Writes frames as row groups: a thread of its own takes them as they come."""

    def __init__(self, stream: IO[bytes], columns: Mapping[str, Any]) -> None:
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(FRAMES_AHEAD)
        self._error: BaseException | None = None
        self._stream = stream
        self._schema = dict(columns)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def write(self, frame: pl.DataFrame) -> None:
        """Hand over one frame; raises what went wrong with an earlier one."""
        while self._error is None:
            try:
                self._frames.put(frame, timeout=1.0)
            except queue.Full:
                continue
            return
        raise self._error

    def close(self) -> None:
        """End the file; raises what went wrong with it."""
        while self._thread.is_alive():
            try:
                self._frames.put(None, timeout=0.1)
            except queue.Full:
                continue
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            lazy = register_io_source(self._given, schema=self._schema)
            lazy.sink_parquet(self._stream, maintain_order=True, row_group_size=ROWS_PER_GROUP)
        except BaseException as error:  # noqa: BLE001 (raised where frames are handed over)
            self._error = error

    def _given(
        self, with_columns: list[str] | None, predicate: Any, n_rows: int | None, size: int | None
    ) -> Generator[pl.DataFrame]:
        del with_columns, predicate, n_rows, size  # all columns and rows are written
        while (frame := self._frames.get()) is not None:
            yield frame


async def send_file(
    rows: Rows, url: str, form: Format, headers: Mapping[str, str], told: Callable[[int], None]
) -> Done:
    """Write a file and send it whole by HTTP PUT, at most five times; refuses with `not_delivered`.

    The cursor goes with it as `penstock-cursor`.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-export-") as folder:
        part = Path(folder) / f"export.{form}"
        count, size = await _write_whole(rows, part, form, told)
        sent = {"content-type": MEDIA_TYPES[form], "content-length": str(size)}
        sent |= {"penstock-cursor": rows.cursor, "penstock-export": _word(rows)}
        sent |= {name.lower(): value for name, value in headers.items()}
        await _send(part, url, sent)
    shown = httpx.URL(url).copy_with(userinfo=b"", query=None)
    return Done(str(shown), count, size, rows.cursor, rows.is_full)


def _word(rows: Rows) -> str:
    return "full" if rows.is_full else "changes"


async def _send(path: Path, url: str, headers: Mapping[str, str]) -> None:
    pause_s = FIRST_PAUSE_S
    timeout = httpx.Timeout(SEND_TIMEOUT_S)
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=False) as client:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                await _put(client, path, url, headers)
            except Transient as error:
                if attempt == MAX_ATTEMPTS:
                    sentence = f"The file was not taken in {MAX_ATTEMPTS} attempts: {error}."
                    raise Refusal("not_delivered", sentence) from error
            else:
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
            pause_s *= 2


async def _put(client: httpx.AsyncClient, path: Path, url: str, headers: Mapping[str, str]) -> None:
    try:
        answer = await client.put(url, content=_pieces(path), headers=headers)
    except (httpx.TransportError, OSError) as error:
        raise Transient(f"{type(error).__name__}") from error
    except httpx.InvalidURL as error:
        raise Refusal("option_unusable", f"{url[:100]!r} is no address: {error}.") from error
    if answer.status_code in _TRY_AGAIN or answer.status_code >= _SERVER_ERROR:
        raise Transient(f"HTTP {answer.status_code}")
    if not answer.is_success:
        sentence = f"The file was refused with HTTP {answer.status_code}."
        raise Refusal("not_delivered", sentence, status=answer.status_code)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stream:
        while piece := await asyncio.to_thread(stream.read, SEND_BYTES):
            yield piece
