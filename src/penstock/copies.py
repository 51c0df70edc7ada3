"""What a transaction ends with: the statements and rows it queued, and its COMMIT, in one round.

A pass ends by writing a dozen tables. As a COPY of its own each costs two round trips and 0.25 ms
of driver and event loop; as one query with one COPY after the other they cost a third of that
(docs/performance.md). PostgreSQL asks for the data of each in turn; a few rows go as INSERT, which
asks for nothing. Works on psycopg's libpq connection below its cursors, through
`AsyncConnection.wait`, as psycopg's own generators do. What fails ends the query, COMMIT included.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.pq import ExecStatus
from psycopg.waiting import Wait

from penstock.errors import Broken

CHUNK_BYTES = 4_000_000
MOST_INSERTED = 8  # rows of a table: above, a COPY is cheaper than parsing what an INSERT says
_Step = Generator[Any, Any, Any]
_ENDED = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}
_DIVISION_BY_ZERO = "22012"


class Copy(msgspec.Struct):
    """Rows for one table: text COPY lines, fields joined by tabs (`db.copy_text`)."""

    table: str
    columns: str
    lines: list[str]


class Statement(msgspec.Struct):
    """A statement without parameters; if it divides by zero, `otherwise` says what is broken."""

    text: bytes
    otherwise: str


async def write_all(
    connection: psycopg.AsyncConnection[Any],
    statements: Sequence[Statement],
    copies: Sequence[Copy],
    last: bytes = b"",
) -> None:
    """Run the statements, write every row of every copy, then run `last`, in this order.

    Raises psycopg's error of the first that fails; nothing after it is done.
    """
    texts = [statement.text for statement in statements]
    texts += [_statement_of(copy) for copy in copies]
    if last:
        texts.append(last)
    if not texts:
        return
    bodies = [("\n".join(copy.lines) + "\n").encode() for copy in copies if not _is_inserted(copy)]
    async with connection.lock:
        await connection.wait(_write(connection.pgconn, texts, bodies, statements))


def _is_inserted(copy: Copy) -> bool:
    return len(copy.lines) <= MOST_INSERTED


def _statement_of(copy: Copy) -> bytes:
    """Return the COPY, or for a few rows an INSERT: an escape string reads as COPY's text does."""
    if not _is_inserted(copy):
        return f"COPY {copy.table} ({copy.columns}) FROM STDIN".encode()
    quoted = [line.replace("'", "''").replace("\t", "',E'") for line in copy.lines]
    rows = ",".join(f"(E'{line}')" for line in quoted).replace("E'\\N'", "NULL")
    return f"INSERT INTO {copy.table} ({copy.columns}) VALUES {rows}".encode()  # noqa: S608


def _write(
    pgconn: Any, texts: Sequence[bytes], bodies: Sequence[bytes], checked: Sequence[Statement]
) -> _Step:
    pgconn.send_query(b";".join(texts))
    yield from _flush(pgconn)
    ended, coming = 0, iter(bodies)
    failed: Any = None
    while (result := (yield from _next_result(pgconn))) is not None:
        if result.status == ExecStatus.COPY_IN:
            yield from _give(pgconn, next(coming))
        elif result.status in _ENDED:
            ended += 1
        elif failed is None:
            failed = result
    if failed is not None:
        error = psycopg.errors.error_from_result(failed, encoding=pgconn._encoding)  # noqa: SLF001
        if ended < len(checked) and error.sqlstate == _DIVISION_BY_ZERO:
            raise Broken(checked[ended].otherwise) from error
        raise error
    if not ended:
        raise psycopg.OperationalError("the connection ended before its answer")


def _give(pgconn: Any, body: bytes) -> _Step:
    for start in range(0, len(body), CHUNK_BYTES):
        while pgconn.put_copy_data(body[start : start + CHUNK_BYTES]) == 0:
            yield from _flush(pgconn)
    while pgconn.put_copy_end() == 0:
        yield from _flush(pgconn)
    yield from _flush(pgconn)


def _flush(pgconn: Any) -> _Step:
    """Send what is buffered; reads meanwhile, so that neither side waits for the other."""
    while pgconn.flush():
        ready = yield Wait.RW
        if ready & Wait.R:
            pgconn.consume_input()


def _next_result(pgconn: Any) -> _Step:
    while pgconn.is_busy():
        yield Wait.R
        pgconn.consume_input()
    return pgconn.get_result()
