"""COPY into many tables in one round of the protocol.

A pass ends by writing a dozen tables. As a COPY of its own each costs two round trips and 0.25 ms
of driver and event loop; as one query with one COPY after the other they cost a third of that
(docs/performance.md). PostgreSQL asks for the data of each in turn. Works on psycopg's libpq
connection below its cursors, through `AsyncConnection.wait`, as psycopg's own generators do.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.pq import ExecStatus
from psycopg.waiting import Wait

from penstock.errors import invariant

CHUNK_BYTES = 4_000_000
_Step = Generator[Any, Any, Any]


class Copy(msgspec.Struct):
    """Rows for one table: text COPY lines, fields joined by tabs (`db.copy_text`)."""

    table: str
    columns: str
    lines: list[str]


async def copy_all(connection: psycopg.AsyncConnection[Any], copies: Sequence[Copy]) -> None:
    """Write every row of every copy, in order; raises psycopg's error of the first that fails."""
    if not copies:
        return
    statement = ";".join(f"COPY {c.table} ({c.columns}) FROM STDIN" for c in copies)
    bodies = [("\n".join(c.lines) + "\n").encode() for c in copies]
    async with connection.lock:
        await connection.wait(_write(connection.pgconn, statement.encode(), bodies))


def _write(pgconn: Any, statement: bytes, bodies: Sequence[bytes]) -> _Step:
    pgconn.send_query(statement)
    yield from _flush(pgconn)
    for body in bodies:
        result = yield from _next_result(pgconn)
        if result is None or result.status != ExecStatus.COPY_IN:
            yield from _drain(pgconn)
            _raise(result, pgconn)
        for start in range(0, len(body), CHUNK_BYTES):
            while pgconn.put_copy_data(body[start : start + CHUNK_BYTES]) == 0:
                yield from _flush(pgconn)
        while pgconn.put_copy_end() == 0:
            yield from _flush(pgconn)
        yield from _flush(pgconn)
        result = yield from _next_result(pgconn)
        if result is None or result.status != ExecStatus.COMMAND_OK:
            yield from _drain(pgconn)
            _raise(result, pgconn)
    yield from _drain(pgconn)


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


def _drain(pgconn: Any) -> _Step:
    """Take every result that is left, so that the connection can be used again."""
    while (result := (yield from _next_result(pgconn))) is not None:
        invariant(result.status != ExecStatus.COPY_IN, "a COPY was asked for that has no data")


def _raise(result: Any, pgconn: Any) -> None:
    if result is None:
        raise psycopg.OperationalError("the connection ended during COPY")
    raise psycopg.errors.error_from_result(result, encoding=pgconn._encoding)  # noqa: SLF001
