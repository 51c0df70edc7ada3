"""The pass: one transaction that decides for many (DESIGN section 5).

Owns the pass row (written first, looked up after a connection lost during COMMIT), the business
instant of the pass, the block of journal ids it may use, and the order stamp it takes after its
last lock. What a pass does is its caller's; the order of locks is documented in DESIGN section 5
and kept by the callers. Numbering committed passes is the sequencer's (`events/sequencer.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from penstock.db import Connection, Database, Tx, begin, retry, roll_back
from penstock.errors import OutcomeUnknown, Transient, invariant
from penstock.ids import new_id

T = TypeVar("T")
# Stamped after every lock was taken: who waited for us gets a higher stamp.
_STAMP_AND_COMMIT = b"UPDATE pass SET stamp = nextval('pass_stamp') WHERE id = '%s'; COMMIT"
_REVISIONS = "(SELECT json_object_agg(name, value) FROM revision)"


class Pass(Tx):
    """An open pass: a transaction with its id, its instant and its journal rows to come."""

    def __init__(self, connection: Connection, schema: str, pass_id: str, now: datetime) -> None:
        super().__init__(connection, schema)
        self.id = pass_id
        self.now = now
        self.journal_base = 0
        self.revisions: dict[str, int] = {}
        self.event_count = 0
        self.entries: list[Any] = []  # journal entries written, for the process's own index
        self.ask: Any = None  # set by the engine: asks stock, decided once in the pass
        self.knowledge: Any = None  # what this process knows of the account (rules/knowledge.py)
        self.on_commit: list[Callable[[], None]] = []

    def next_event_ordinal(self) -> int:
        """Count up: the place of the next event in this pass."""
        self.event_count += 1
        return self.event_count


async def run_pass(
    database: Database,
    schema: str,
    kind: str,
    now: Callable[[], datetime],
    work: Callable[[Pass], Awaitable[T]],
) -> T:
    """Run `work` as one pass of the account and return its result once it is durable.

    Transient errors run the whole pass again, bounded; a pass whose COMMIT got no answer is looked
    up by its id first, so that nothing is done twice. `on_commit` callbacks run after COMMIT.
    """

    async def once() -> T:
        pass_id = new_id()
        async with database.connection() as connection:
            tx = Pass(connection, schema, pass_id, now())
            try:
                await _open(tx, kind)
                result = await work(tx)
            except BaseException:
                await tx.abandon()
                await roll_back(connection)
                raise
            await _commit(database, tx)
        for callback in tx.on_commit:
            callback()
        return result

    return await retry(once)


async def _commit(database: Database, tx: Pass) -> None:
    connection = tx.connection
    try:
        await tx.write_queued(_STAMP_AND_COMMIT % tx.id.encode())
    except BaseException as error:
        await tx.abandon()
        has_answer = connection.pgconn.transaction_status == TransactionStatus.INERROR
        if has_answer or not isinstance(error, psycopg.OperationalError):
            await roll_back(connection)
            raise
        await connection.close()
        if not await was_committed(database, tx.schema, tx.id):
            raise Transient(f"connection lost during COMMIT: {error}") from error


async def _open(tx: Pass, kind: str) -> None:
    invariant(kind.isidentifier(), f"pass kind {kind!r} is not a name")
    insert = (
        f"INSERT INTO pass (id, kind) VALUES ('{tx.id}', '{kind}') "  # noqa: S608 (ours, checked)
        f"RETURNING journal_base, {_REVISIONS}"
    )
    cursor = await begin(tx.connection, tx.schema, insert)
    while cursor.nextset():
        pass
    row: Any = await cursor.fetchone()
    invariant(row is not None, "a pass row was not written")
    tx.journal_base, tx.revisions = row


async def was_committed(database: Database, schema: str, pass_id: str) -> bool:
    """Tell whether the pass is there: it is, if and only if its transaction committed.

    Asks by inserting its row anew, which waits for a transaction that is still committing. Raises
    `OutcomeUnknown` when nobody answers: trying again might do everything twice.
    """

    async def once() -> bool:
        query = b"INSERT INTO pass (id, kind) VALUES (%s, 'lookup') ON CONFLICT (id) DO NOTHING"
        async with database.connection() as connection:
            try:
                await begin(connection, schema)
                cursor = await connection.execute(query, (pass_id,))
                return bool(cursor.rowcount == 0)
            finally:
                await roll_back(connection)

    try:
        return await retry(once)
    except Transient as error:
        raise OutcomeUnknown(f"nobody can tell whether pass {pass_id} counts") from error
