"""PostgreSQL: the pool, transactions inside one account's schema, named queries, retry.

Owns how Penstock talks to PostgreSQL and nothing of what it says. A transaction (`Tx`) starts by
setting its account's schema; `Transient` errors retry the whole transaction, a bounded number of
times, here and nowhere else. Rows go in by text COPY, numeric arrays as binary, both ways numpy.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import numpy as np
import psycopg
import structlog
from psycopg import errors as pg_errors
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg_pool import AsyncConnectionPool

from penstock.copies import Copy, Statement, write_all
from penstock.errors import Broken, Refusal, Transient

Row: TypeAlias = tuple[Any, ...]
Connection: TypeAlias = psycopg.AsyncConnection[Row]
T = TypeVar("T")

MAX_ATTEMPTS = 6
FIRST_PAUSE_S = 0.01
POOL_TIMEOUT_S = 5.0
LOCK_TIMEOUT = "5s"
IDLE_TIMEOUT = "30s"
MANY_ROWS = 250

_log = structlog.get_logger(__name__)
_TRANSIENT = (
    pg_errors.SerializationFailure,
    pg_errors.DeadlockDetected,
    pg_errors.LockNotAvailable,
    pg_errors.AdminShutdown,
    pg_errors.CrashShutdown,
    pg_errors.CannotConnectNow,
    pg_errors.IdleInTransactionSessionTimeout,
)
_EMPTY_ARRAY_BYTES = 12
_ARRAY_OIDS = {"i2": (1005, 21), "i4": (1007, 23), "i8": (1016, 20)}


class Queries:
    """The named queries of one `.sql` file, read at first use.

    A query begins with `-- name: the_name` and runs to the next one; other comment lines stay.
    """

    def __init__(self, package: str, file_name: str) -> None:
        self._package = package
        self._file_name = file_name
        self._texts: dict[str, bytes] | None = None

    def texts(self) -> dict[str, bytes]:
        """Return every query of the file by name."""
        if self._texts is None:
            text = resources.files(self._package).joinpath(self._file_name).read_text("utf-8")
            parts = re.split(r"^-- name: (\w+)\s*$", text, flags=re.MULTILINE)
            pairs = zip(parts[1::2], parts[2::2], strict=True)
            self._texts = {name: body.strip().encode() for name, body in pairs}
        return self._texts

    def __getattr__(self, name: str) -> bytes:
        try:
            return self.texts()[name]
        except KeyError:
            raise Broken(f"{self._file_name} has no query named {name}") from None


class Tx:
    """One open transaction in one account's schema: the first argument of every verb."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self.connection = connection
        self.schema = schema
        self._statements: list[Statement] = []
        self._copies: list[Copy] = []
        self._started: list[asyncio.Task[None]] = []

    async def fetch(self, query: bytes, params: Sequence[object] = (), **kw: Any) -> list[Row]:
        """Run a query and return all its rows (binary results unless `binary=False`)."""
        cursor = self.connection.cursor(binary=kw.get("binary", True))
        await cursor.execute(query, params, prepare=kw.get("prepare"))
        return await cursor.fetchall()

    async def fetch_one(self, query: bytes, params: Sequence[object] = ()) -> Row | None:
        """Run a query and return its first row, if it has one."""
        rows = await self.fetch(query, params)
        return rows[0] if rows else None

    async def execute(self, query: bytes, params: Sequence[object] = ()) -> int:
        """Run a statement and return the number of rows it touched."""
        cursor = self.connection.cursor()
        await cursor.execute(query, params)
        return cursor.rowcount

    async def script(self, text: str) -> None:
        """Run statements without parameters, separated by semicolons, in one round trip."""
        await self.connection.execute(text.encode())

    async def fetch_after(self, script: bytes, query: bytes, params: Sequence[object]) -> list[Row]:
        """Run a script and a query in one round trip, the parameters (few) as literals."""
        text = script + b";" + query % tuple(map(literal, params))
        cursor = await self.connection.execute(text)
        while cursor.nextset():
            pass
        return await cursor.fetchall()

    def queue(self, query: bytes, params: Sequence[object], otherwise: str = "") -> None:
        """Queue a statement, its parameters (few) as literals, for the end of the transaction.

        A statement that divides by zero raises `Broken` with what `otherwise` says.
        """
        text = query % tuple(map(literal, params))
        self._statements.append(Statement(text, otherwise))

    def copy_in(self, table: str, columns: str, lines: list[str]) -> None:
        """Queue text rows (fields joined by tabs, see `copy_text`) for a table.

        They are written at the end of the transaction, in order, after what `queue` was given:
        a statement before that does not see them.
        """
        if lines:
            self._copies.append(Copy(table, columns, lines))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin work on the connection that needs no answer before the transaction ends."""
        self._started.append(asyncio.ensure_future(work))

    async def write_ahead(self) -> None:
        """Begin to write the rows queued so far, if they are many: PostgreSQL need not wait."""
        if sum(len(copy.lines) for copy in self._copies) >= MANY_ROWS:
            copies, self._copies = self._copies, []
            self.start(write_all(self.connection, [], copies))
            await asyncio.sleep(0)

    async def abandon(self) -> None:
        """Let what was started come to its end, whatever that is, before a rollback."""
        await asyncio.gather(*self._started, return_exceptions=True)

    async def write_queued(self, last: bytes = b"") -> None:
        """Write what is queued, and then run `last` (COMMIT), all in one round."""
        for started in self._started:
            await started
        statements, self._statements = self._statements, []
        copies, self._copies = self._copies, []
        await write_all(self.connection, statements, copies, last)


class Database:
    """The pool of one PostgreSQL server, and the transactions on it."""

    def __init__(self, conninfo: str, *, size: int = 8) -> None:
        self.conninfo = conninfo
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=size,
            timeout=POOL_TIMEOUT_S,
            open=False,
            configure=_configure,
            kwargs={"autocommit": True, "options": session_options()},
        )

    async def open(self) -> None:
        """Open the pool; refuses with `database_unreachable` when no server answers."""
        try:
            await self._pool.open(wait=True, timeout=20)
        except psycopg.Error as error:
            raise Refusal(
                "database_unreachable", f"PostgreSQL does not answer: {error}".strip()
            ) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def connection(self) -> Any:
        """Lend a bare autocommit connection (async context manager) for reads in chunks."""
        return self._pool.connection()

    async def run(self, schema: str, work: Callable[[Tx], Awaitable[T]]) -> T:
        """Run `work` in one READ COMMITTED transaction of the account, retried while transient."""

        async def once() -> T:
            async with self._pool.connection() as connection:
                await begin(connection, schema)
                return await _finish(Tx(connection, schema), work)

        return await retry(once)


async def begin(connection: Connection, schema: str, more: str = "") -> psycopg.AsyncCursor[Row]:
    """Begin a transaction in the schema; `more` is SQL that travels in the same round trip."""
    return await connection.execute(f"BEGIN; SET LOCAL search_path TO {schema};{more}".encode())


async def _finish(tx: Tx, work: Callable[[Tx], Awaitable[T]]) -> T:
    try:
        result = await work(tx)
        await tx.write_queued(b"COMMIT")
    except BaseException:
        await tx.abandon()
        await roll_back(tx.connection)
        raise
    return result


async def roll_back(connection: Connection) -> None:
    """Roll back what is open; a connection already lost has nothing to roll back."""
    try:
        await connection.execute(b"ROLLBACK")
    except psycopg.OperationalError:
        await connection.close()


async def retry(once: Callable[[], Awaitable[T]]) -> T:
    """Call until it neither fails transiently nor `MAX_ATTEMPTS` times; then raise `Transient`."""
    pause_s = FIRST_PAUSE_S
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            return await once()
        except (psycopg.Error, Transient) as error:
            if not is_transient(error):
                raise
            if attempt == MAX_ATTEMPTS:
                raise Transient(f"gave up after {attempt} attempts: {error}") from error
            _log.info("transaction retried", attempt=attempt, error=type(error).__name__)
        await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 (jitter)
        pause_s *= 3
    raise Broken("unreachable: retry ends in a return or a raise")


def is_transient(error: BaseException) -> bool:
    """Tell whether trying the whole transaction again may succeed."""
    if isinstance(error, (Transient, *_TRANSIENT)):
        return True
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def session_options() -> str:
    """Return the session settings every connection of ours starts with."""
    return (
        f"-c lock_timeout={LOCK_TIMEOUT} -c idle_in_transaction_session_timeout={IDLE_TIMEOUT} "
        "-c jit=off -c plan_cache_mode=force_generic_plan -c timezone=UTC"
    )


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_text(text: str) -> str:
    """Escape free text for a field of a text COPY; most text needs nothing."""
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text


@lru_cache(maxsize=4_096)
def copy_instant(at: datetime | None) -> str:
    """Write an instant, or null, as a field of a text COPY; a batch has the same ones often."""
    return "\\N" if at is None else at.isoformat()


def uuid_array(ids: Iterable[str]) -> str:
    """Write ids as a PostgreSQL array literal; use with a `::uuid[]` cast."""
    return "{" + ",".join(ids) + "}"


def literal(value: object) -> bytes:
    """Write a value as a literal that PostgreSQL reads as the type it stands for."""
    if value is None:
        return b"NULL"
    if isinstance(value, np.ndarray):
        return b"'{" + ",".join(map(str, value.tolist())).encode() + b"}'"
    if isinstance(value, (bool, int)):
        return str(value).encode()
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    doubled = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{doubled}'".encode()


def text_array(texts: Sequence[str]) -> str:
    """Write texts as a PostgreSQL array literal; use with a `::text[]` cast."""
    quoted = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    return f'{{"{quoted}"}}' if texts else "{}"


def bytes_array(values: Iterable[bytes]) -> str:
    """Write bytes as a PostgreSQL array literal; use with a `::bytea[]` cast."""
    return text_array([f"\\x{value.hex()}" for value in values])


async def _configure(connection: Connection) -> None:
    connection.prepare_threshold = 1
    register(connection)


def register(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Register Penstock's adapters: numpy integer arrays both ways, uuid as text."""
    adapters = connection.adapters
    adapters.register_dumper(np.ndarray, _ArrayDumper)
    for oid, _ in _ARRAY_OIDS.values():
        adapters.register_loader(oid, _ArrayLoader)
    adapters.register_loader("uuid", _UuidTextLoader)
    adapters.register_loader("uuid", _UuidBinaryLoader)


class _ArrayDumper(Dumper):
    """A one-dimensional integer numpy array as a PostgreSQL binary array."""

    format = Format.BINARY
    _oids: ClassVar[dict[str, int]] = {"int16": 1005, "int32": 1007, "int64": 1016}

    def get_key(self, obj: Any, format: Any) -> Any:  # noqa: A002, ARG002 (psycopg's)
        return (self.cls, obj.dtype.name)

    def upgrade(self, obj: Any, format: Any) -> Dumper:  # noqa: A002, ARG002 (psycopg's)
        dumper = type(self)(self.cls, self.connection)
        dumper.oid = self._oids[obj.dtype.name]
        return dumper

    def dump(self, obj: Any) -> Buffer:
        kind = f"i{obj.dtype.itemsize}"
        element_oid = _ARRAY_OIDS[kind][1]
        if len(obj) == 0:
            return np.array([0, 0, element_oid], ">i4").tobytes()
        header = np.array([1, 0, element_oid, len(obj), 1], ">i4").tobytes()
        body = np.empty(len(obj), dtype=[("length", ">i4"), ("value", f">{kind}")])
        body["length"] = obj.dtype.itemsize
        body["value"] = obj
        return header + body.tobytes()


class _ArrayLoader(Loader):
    """A PostgreSQL binary integer array (no nulls) as a numpy array in native byte order."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        raw = bytes(data)
        element_oid = int.from_bytes(raw[8:12], "big")
        kind = {21: "i2", 23: "i4", 20: "i8"}[element_oid]
        if len(raw) <= _EMPTY_ARRAY_BYTES:
            return np.empty(0, dtype=kind)
        body = np.frombuffer(raw, [("length", ">i4"), ("value", f">{kind}")], offset=20)
        return cast("Any", body["value"].astype(kind))


class _UuidTextLoader(Loader):
    format = Format.TEXT

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


class _UuidBinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        digits = bytes(data).hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
