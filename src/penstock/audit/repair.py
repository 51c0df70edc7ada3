"""Repairs: what could be written to end a breach, written by a person's word, and undone by one.

Only where the truth is mechanical: what a position has reserved is what its live reservations keep,
what it has on hand is what its journal adds up to; capacities and counted controls are what is
counted on them. A position is repaired by journal entries of cause 20 that go on from its last good
one, so that chain and sums hold again. An entry that does not follow the one before cannot be
mended: the repair has the kept journal of that position begin after it (a baseline), and says so.

Each is a pass of its own under the locks that writers take; values are read again there. What was
there before is kept; undoing writes the opposite difference, whatever has moved since.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import numpy as np

from penstock.audit.findings import Finding, read_finding
from penstock.audit.fold import States
from penstock.audit.forward import CHECKPOINT, checkpoint, states_now
from penstock.db import Database, Queries, Tx
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.passes import Pass, run_pass

SQL = Queries("penstock.audit", "repair.sql")
MAX_VERSIONS = 1_000  # by which a row may be ahead of its journal
_CAPACITY = re.compile(r"Location (\d+), (.+) on (\d{4}-\d\d-\d\d)$")
_CONTROL = re.compile(r"Control (\d+) .*, product (\d+)(?: at location (\d+))?$")
_encode = msgspec.json.Encoder().encode

_COLUMNS = ("on_hand", "reserved", "version", "journal_id")

Values = dict[str, Any]


class Proposal(msgspec.Struct, frozen=True):
    """What a repair of a finding would find and leave; `says` is that in a sentence."""

    finding_id: int
    check: str
    subject: str
    says: str
    before: Values
    after: Values


class Repair(msgspec.Struct, frozen=True):
    """A repair that was made, and whether it was undone."""

    id: int
    finding_id: int
    key: str
    before: Values
    after: Values
    done_by: str
    done_at: datetime
    undone_by: str | None = None
    undone_at: datetime | None = None


class Work(msgspec.Struct, frozen=True):
    """One kind of repair: its key, how it is weighed under locks, written, and undone.

    `weigh` returns before and after; `write` writes `after`; `undo` writes the opposite.
    """

    key: str
    weigh: Callable[[Tx], Awaitable[tuple[Values, Values]]]
    write: Callable[[Pass, Values, str], Awaitable[None]]


def is_repairable(finding: Finding) -> bool:
    """Tell whether a repair can be proposed for a finding."""
    return _work_for(finding) is not None


class _Weighed(Exception):
    """Rolls back what was only looked at, and says what was seen."""

    def __init__(self, key: str, before: Values, after: Values) -> None:
        super().__init__()
        self.key = key
        self.before = before
        self.after = after


async def propose(database: Database, schema: str, finding: Finding) -> Proposal | None:
    """Return what a repair of a finding would write; None where there is nothing to write.

    Looks under the locks that a repair takes, and rolls back.
    """
    work = _work_for(finding)
    if work is None:
        return None

    async def look(tx: Tx) -> None:
        mine = await _fitting(tx, work)
        raise _Weighed(mine.key, *await mine.weigh(tx))

    try:
        await database.run(schema, look)
    except Refusal:
        return None
    except _Weighed as weighed:
        key, before, after = weighed.key, weighed.before, weighed.after
    else:
        return None
    if before == after:
        return None
    says = _says(key, before, after)
    return Proposal(finding.id, finding.check, finding.subject, says, before, after)


async def repair(database: Database, schema: str, finding_id: int, by: str) -> Repair:
    """Write the repair of a finding, in a pass of its own.

    Refusals: `unknown_finding`, `not_repairable`, `nothing_to_repair`.
    """

    async def work(tx: Pass) -> Repair:
        finding = await read_finding(tx, finding_id)
        mine = _work_for(finding)
        if mine is None:
            sentence = f"{finding.subject}: no repair follows from what is known; a person decides."
            raise Refusal("not_repairable", sentence, id=finding_id)
        mine = await _fitting(tx, mine)
        before, after = await mine.weigh(tx)
        if before == after:
            sentence = f"{finding.subject} is as it should be: let the audit look again."
            raise Refusal("nothing_to_repair", sentence, id=finding_id)
        cause_id = new_id()
        row = (finding_id, mine.key, cause_id, _json(before), _json(after), by, tx.now)
        written: Any = await tx.fetch_one(SQL.write_repair, row)
        await tx.execute(SQL.note_repair_cause, (cause_id, f"repair {written[0]}"))
        await mine.write(tx, after, cause_id)
        if mine.key.startswith("chain:"):
            await tx.execute(SQL.resolve_key, (mine.key,))
        return Repair(written[0], finding_id, mine.key, before, after, by, tx.now)

    return await run_pass(database, schema, "repair", _now, work)


async def undo(database: Database, schema: str, repair_id: int, by: str) -> Repair:
    """Undo a repair: write the opposite difference, in a pass of its own.

    Refusals: `unknown_repair`, `repair_undone`, `cannot_undo`.
    """

    async def work(tx: Pass) -> Repair:
        row = await tx.fetch_one(SQL.lock_repair, (repair_id,))
        if row is None:
            raise Refusal("unknown_repair", f"There is no repair {repair_id}.", id=repair_id)
        done = _repair(row)
        if done.undone_at is not None:
            sentence = f"Repair {repair_id} was undone at {done.undone_at:%Y-%m-%d %H:%M}."
            raise Refusal("repair_undone", sentence, id=repair_id)
        mine = _work_of(done.key)
        now_is, _ = await mine.weigh(tx)
        cause_id = new_id()
        await tx.execute(SQL.note_repair_cause, (cause_id, f"repair {repair_id} undone"))
        await mine.write(tx, _opposite(now_is, done), cause_id)
        await tx.execute(SQL.undo_repair, (by, tx.now, repair_id))
        if mine.key.startswith("chain:"):
            await tx.execute(SQL.reopen_finding, (done.finding_id,))
        return msgspec.structs.replace(done, undone_by=by, undone_at=tx.now)

    return await run_pass(database, schema, "repair", _now, work)


async def list_repairs(tx: Tx, limit: int) -> list[Repair]:
    """Return repairs that were made, the last first."""
    return [_repair(row) for row in await tx.fetch(SQL.list_repairs, (limit,))]


def _repair(row: tuple[Any, ...]) -> Repair:
    before, after = (msgspec.json.decode(text) for text in row[3:5])
    return Repair(row[0], row[1], row[2], before, after, *row[5:])


def _now() -> datetime:
    return datetime.now(UTC)


def _json(values: Values) -> str:
    return _encode(values).decode()


def _says(key: str, before: Values, after: Values) -> str:
    if key.startswith("chain:"):
        return f"its kept journal begins after version {after['floor'][0]}"
    parts = [
        f"{name.replace('_', ' ')} {before[name]} becomes {after[name]}"
        for name in after
        if before[name] != after[name]
    ]
    return ", ".join(parts)


def _opposite(now_is: Values, done: Repair) -> Values:
    """Return what undoing leaves: quantities less the difference that the repair made."""
    if "floor" in now_is:
        return done.before
    quantities = [name for name in ("on_hand", "reserved", "used") if name in done.after]
    left = {name: now_is[name] + done.before[name] - done.after[name] for name in quantities}
    if min(left.get("reserved", 0), left.get("used", 0)) < 0:
        sentence = f"Repair {done.id}: less than it added is left by now."
        raise Refusal("cannot_undo", sentence, id=done.id)
    return {**now_is, **left}


async def _fitting(tx: Tx, work: Work) -> Work:
    """Return the work that fits: where a position's row differs from its journal, that goes first.

    Who reads the whole journal cannot tell which of the two is wrong.
    """
    if not work.key.startswith("chain:"):
        return work
    position = _work_of(work.key.replace("chain:", "position:"))
    before, after = await position.weigh(tx)
    return work if before == after else position


def _work_for(finding: Finding) -> Work | None:
    if finding.key.startswith("chain:"):
        return _work_of(finding.key)
    if finding.key.startswith("position:") and finding.check in {"reserved", "journal"}:
        return _work_of(finding.key)
    capacity = _CAPACITY.match(finding.subject) if finding.check == "capacity" else None
    if capacity:
        return _work_of(f"capacity:{capacity[1]}:{capacity[3]}:{capacity[2]}")
    control = _CONTROL.match(finding.subject) if finding.check == "controls" else None
    if control:
        return _work_of(f"control:{control[1]}:{control[2]}:{control[3] or 0}")
    return None


def _work_of(key: str) -> Work:
    kind, _, rest = key.partition(":")
    if kind == "position":
        return _position(key, int(rest))
    if kind == "chain":
        return _chain(key, int(rest))
    if kind == "capacity":
        location, day, service = rest.split(":", 2)
        return _capacity(key, (int(location), service, date.fromisoformat(day)))
    control, product, location = map(int, rest.split(":"))
    return _use(key, (control, product, location))


# ── positions ────────────────────────────────────────────────────────────────────────────────────


def _position(key: str, position_id: int) -> Work:
    async def weigh(tx: Tx) -> tuple[Values, Values]:
        row = await _locked(tx, position_id)
        states = await _state(tx, position_id)
        kept: Any = await tx.fetch_one(SQL.kept_of_position, (position_id,))
        before: Values = dict(zip(_COLUMNS, row[3:7], strict=True))
        if tuple(row[3:7]) == _values(states) and row[4] == kept[0]:
            return before, before
        version = max(int(states.versions[0]), row[5]) + 1
        on_hand, reserved = int(states.on_hands[0]), int(kept[0])
        return before, {"on_hand": on_hand, "reserved": reserved, "version": version}

    async def write(tx: Pass, after: Values, cause_id: str) -> None:
        row = await _locked(tx, position_id)
        await _write_position(tx, (position_id, *row), after, cause_id)

    return Work(key, weigh, write)


async def _locked(tx: Tx, position_id: int) -> tuple[Any, ...]:
    row = await tx.fetch_one(SQL.lock_position, (position_id,))
    if row is None:
        sentence = f"Position {position_id} does not exist."
        raise Refusal("not_repairable", sentence, id=position_id)
    return row


async def _state(tx: Tx, position_id: int) -> States:
    number, _ = await checkpoint(tx)
    return await states_now(tx, number, np.array([position_id], dtype=np.int32))


def _values(states: States) -> tuple[int, ...]:
    columns = (states.on_hands, states.reserveds, states.versions, states.journal_ids)
    return tuple(int(column[0]) for column in columns)


async def _write_position(tx: Pass, row: tuple[Any, ...], after: Values, cause_id: str) -> None:
    """Write entries that lead from the journal's end, past the row's version, to `after`."""
    position_id, product_id, location_id, pool_id = row[:4]
    on_hand, reserved, version, journal_id = _values(await _state(tx, position_id))
    last = max(version, row[6]) + 1
    count = last - version
    if count > MAX_VERSIONS:
        sentence = f"Position {position_id} is {count} versions ahead of its journal."
        raise Refusal("not_repairable", sentence, id=position_id)
    rest = [0] * (count - 1)
    previous = [journal_id] + [tx.journal_base] * (count - 1)
    params = (
        *(tx.journal_base, tx.id, tx.now, position_id, product_id, location_id, pool_id, cause_id),
        *([after["on_hand"] - on_hand, *rest], [after["reserved"] - reserved, *rest]),
        *([after["on_hand"]] * count, [after["reserved"]] * count),
        *(list(range(version + 1, last + 1)), previous, row[8], count),
    )
    await tx.execute(SQL.write_repair_journal, params)
    values = (after["on_hand"], after["reserved"], last, tx.journal_base, position_id)
    await tx.execute(SQL.write_position, values)


# ── where the kept journal begins ────────────────────────────────────────────────────────────────


def _chain(key: str, position_id: int) -> Work:
    async def weigh(tx: Tx) -> tuple[Values, Values]:
        floor = await tx.fetch_one(SQL.read_floor, (1, position_id))
        at = await tx.fetch_one(SQL.read_floor, (CHECKPOINT, position_id))
        if at is None:
            sentence = f"The audit knows no entry of position {position_id}."
            raise Refusal("not_repairable", sentence, id=position_id)
        before: Values = {"floor": None if floor is None else list(floor)}
        return before, {"floor": list(at)}

    async def write(tx: Pass, after: Values, cause_id: str) -> None:
        del cause_id  # nothing moves
        if after["floor"] is None:
            await tx.execute(SQL.drop_floor, (position_id,))
        else:
            await tx.execute(SQL.write_floor, (position_id, *after["floor"]))

    return Work(key, weigh, write)


# ── what is counted ──────────────────────────────────────────────────────────────────────────────


def _capacity(key: str, at: tuple[int, str, date]) -> Work:
    async def weigh(tx: Tx) -> tuple[Values, Values]:
        used: Any = await tx.fetch_one(SQL.lock_capacity, at)
        counted: Any = await tx.fetch_one(SQL.count_capacity, at)
        return {"used": used[0]}, {"used": counted[0]}

    async def write(tx: Pass, after: Values, cause_id: str) -> None:
        del cause_id  # it has no journal: the repair is kept
        await tx.execute(SQL.write_capacity, (after["used"], *at))

    return Work(key, weigh, write)


def _use(key: str, at: tuple[int, int, int]) -> Work:
    async def weigh(tx: Tx) -> tuple[Values, Values]:
        reserved: Any = await tx.fetch_one(SQL.lock_use, at)
        names = dict(zip(("control_id", "product_id", "location_id"), at, strict=True))
        kept: Any = await tx.fetch_one(SQL.count_use, names)  # pyright: ignore[reportArgumentType] (a mapping is as good)
        return {"reserved": reserved[0]}, {"reserved": kept[0]}

    async def write(tx: Pass, after: Values, cause_id: str) -> None:
        del cause_id  # it has no journal: the repair is kept
        await tx.execute(SQL.write_use, (after["reserved"], *at))

    return Work(key, weigh, write)
