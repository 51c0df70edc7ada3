"""Fulfilment's statements: load by root, write new ones by COPY, update those that were there.

Every function takes many. The root (an order) is locked by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.db import Queries, Tx, copy_instant, copy_text, uuid_array
from penstock.fulfilment.model import Due, Fulfilment, FulfilmentLine

SQL = Queries("penstock.fulfilment", "fulfilment.sql")
_NULL = "\\N"
_NO_CARRIER = "\\N\t\\N"
_NO_DATES = f"\\N\t\\N\t\\N\t{_NO_CARRIER}"
_COLUMNS = (
    "id, root_id, demand_kind, choice_id, ordinal, status, service, origin_id, destination_id, "
    "next_leg_id, capacity_day, cost_minor, distance_m, weight_g, released_at, created_at, "
    "workflow_id, due_at, expected_from, expected_until, carrier, carrier_service"
)
_LINE_COLUMNS = "fulfilment_id, root_id, line_id, product_id, qty, qty_picked"


async def write_fulfilments(tx: Tx, fulfilments: Sequence[Fulfilment]) -> None:
    """Write fulfilments with their lines: new ones by COPY, those that were there by UPDATE."""
    new = [f for f in fulfilments if f.is_new]
    tx.copy_in("fulfilment", _COLUMNS, [_row(f) for f in new])
    tx.copy_in("fulfilment_line", _LINE_COLUMNS, [_line_row(f, n) for f in new for n in f.lines])
    old = [f for f in fulfilments if not f.is_new]
    if not old:
        return
    ids = uuid_array(f.id for f in old)
    statuses = [f.status for f in old]
    released = [f.released_at for f in old]
    versions = [f.workflow_id for f in old]
    await tx.execute(SQL.update_fulfilments, (ids, statuses, released, versions))
    late = [f for f in old if f.is_dated_anew]
    if late:
        await tx.execute(SQL.update_dates, _date_columns(late))
    await _write_lines(tx, [(f, n) for f in old for n in f.lines])


async def _write_lines(tx: Tx, lines: Sequence[tuple[Fulfilment, FulfilmentLine]]) -> None:
    kept = [(f, n) for f, n in lines if n.qty > 0]
    gone = [(f, n) for f, n in lines if n.qty == 0]
    if kept:
        keys = (uuid_array(f.id for f, _ in kept), uuid_array(n.line_id for _, n in kept))
        await tx.execute(SQL.update_lines, (*keys, [n.qty for _, n in kept]))
    if gone:
        keys = (uuid_array(f.id for f, _ in gone), uuid_array(n.line_id for _, n in gone))
        await tx.execute(SQL.delete_lines, keys)


def _date_columns(fulfilments: Sequence[Fulfilment]) -> tuple[Any, ...]:
    dues = [(f.id, f.due) for f in fulfilments]
    return (
        uuid_array(one for one, _ in dues),
        [None if due is None else due.due_at for _, due in dues],
        [None if due is None else due.expected_from for _, due in dues],
        [None if due is None else due.expected_until for _, due in dues],
        [None if due is None else due.carrier for _, due in dues],
        [None if due is None else due.carrier_service for _, due in dues],
    )


def _row(f: Fulfilment) -> str:
    return (
        f"{f.id}\t{f.root_id}\t{f.demand_kind}\t{f.choice_id or _NULL}\t{f.ordinal}\t{f.status}\t"
        f"{f.service}\t{f.origin_id}\t{f.destination_id or _NULL}\t{f.next_leg_id or _NULL}\t"
        f"{f.capacity_day or _NULL}\t{f.cost_minor}\t{f.distance_m}\t{f.weight_g}\t"
        f"{copy_instant(f.released_at)}\t{copy_instant(f.created_at)}\t"
        f"{f.workflow_id or _NULL}\t{_NO_DATES if f.due is None else _dates(f.due)}"
    )


def _dates(due: Due) -> str:
    carrier = _NO_CARRIER
    if due.carrier is not None:
        carrier = f"{copy_text(due.carrier)}\t{copy_text(due.carrier_service or '')}"
    return (
        f"{copy_instant(due.due_at)}\t{copy_instant(due.expected_from)}\t"
        f"{copy_instant(due.expected_until)}\t{carrier}"
    )


def _line_row(f: Fulfilment, line: FulfilmentLine) -> str:
    return f"{f.id}\t{f.root_id}\t{line.line_id}\t{line.product_id}\t{line.qty}\t{line.qty_picked}"


async def load_fulfilments(tx: Tx, root_ids: Sequence[str]) -> list[Fulfilment]:
    """Load the fulfilments of roots with their lines, ordered by root and ordinal."""
    if not root_ids:
        return []
    rows = await tx.fetch(SQL.fulfilments_of_roots, (uuid_array(root_ids),))
    found = {row[0]: _fulfilment(row) for row in rows}
    for row in await tx.fetch(SQL.lines_of_fulfilments, (uuid_array(found),)):
        found[row[0]].lines.append(FulfilmentLine(*row[1:]))
    return list(found.values())


def _fulfilment(row: tuple[Any, ...]) -> Fulfilment:
    return Fulfilment(
        id=row[0],
        root_id=row[1],
        choice_id=row[2],
        ordinal=row[3],
        service=row[4],
        origin_id=row[5],
        lines=[],
        created_at=row[6],
        status=row[7],
        demand_kind=row[8],
        destination_id=row[9],
        next_leg_id=row[10],
        capacity_day=row[11],
        cost_minor=row[12],
        distance_m=row[13],
        weight_g=row[14],
        released_at=row[15],
        workflow_id=row[16],
        due=None if row[17] is None else Due(*row[17:22]),
        is_new=False,
    )
