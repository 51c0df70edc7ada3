"""Orders' statements: claiming refs and keys, loading and locking trees, writing them.

New trees go in by COPY once, after the decision, with the values they end with; trees that were
there are updated by one statement per table (docs/adr/0002). A fixed number of statements for any
number of orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.db import Queries, Tx, copy_instant, copy_text, uuid_array
from penstock.orders.model import Choice, Destination, Hold, Line, Order, Wish, every_line

SQL = Queries("penstock.orders", "orders.sql")
_encode = msgspec.json.Encoder().encode
_NULL = "\\N"
_NO_WISH = "\\N\t\\N\t\\N\t\\N"

_ORDER_COLUMNS = (
    "id, channel_id, ref, type, workflow_id, status, currency, customer_id, placed_at, "
    "created_at, seq, version, total_minor, priority, attributes"
)
_CHOICE_COLUMNS = (
    "id, order_id, ordinal, status, service, destination, pickup_location_id, ship_complete, "
    "max_parcels, promised_at, workflow_id, state, promised_from, expected_from, expected_until, "
    "wish, slot_at, slot_location_id, slot_held_at"
)
_LINE_COLUMNS = (
    "id, order_id, choice_id, ordinal, ref, parent_line_id, product_id, sku, status, qty, "
    "qty_allocated, qty_unsourced, qty_shipped, qty_cancelled, is_stocked, pinned_location_id, "
    "amount_minor, charges, per_kit, may_ship_apart"
)
_HOLD_COLUMNS = (
    "id, order_id, scope_id, kind, reason, placed_by, placed_at, until_at, cleared_at, cleared_by"
)


def _json(value: Any) -> str:
    return copy_text(_encode(value).decode())


def _order_row(order: Order) -> str:
    return (
        f"{order.id}\t{order.channel_id}\t{copy_text(order.ref)}\t{copy_text(order.type)}\t"
        f"{order.workflow_id}\t{order.status}\t{order.currency}\t{order.customer_id or _NULL}\t"
        f"{copy_instant(order.placed_at)}\t{copy_instant(order.created_at)}\t{order.seq}\t"
        f"{order.version}\t{order.total_minor}\t{order.priority}\t"
        f"{_json(order.attributes) if order.attributes else '{}'}"
    )


def _choice_row(order: Order, choice: Choice) -> str:
    return (
        f"{choice.id}\t{order.id}\t{choice.ordinal}\t{choice.progress}\t{choice.service}\t"
        f"{_json(choice.destination)}\t{choice.pickup_location_id or _NULL}\t"
        f"{choice.ship_complete:d}\t{choice.max_parcels or _NULL}\t"
        f"{copy_instant(choice.promised_at)}\t"
        f"{choice.workflow_id or _NULL}\t{choice.status or _NULL}\t"
        f"{copy_instant(choice.promised_from)}\t{copy_instant(choice.expected_from)}\t"
        f"{copy_instant(choice.expected_until)}\t{_wish(choice)}"
    )


def _wish(choice: Choice) -> str:
    """Return what is seldom there: the wish, and the slot that is wanted and held."""
    if choice.wish is None and choice.slot_at is None:
        return _NO_WISH
    wish = _NULL if choice.wish is None else _json(choice.wish)
    held_by, held_at = choice.slot_held or (_NULL, None)
    return f"{wish}\t{copy_instant(choice.slot_at)}\t{held_by}\t{copy_instant(held_at)}"


def _line_row(order: Order, line: Line) -> str:
    return (
        f"{line.id}\t{order.id}\t{line.choice_id}\t{line.ordinal}\t{copy_text(line.ref)}\t"
        f"{line.parent_line_id or _NULL}\t{line.product_id}\t{copy_text(line.sku)}\t"
        f"{line.status}\t{line.qty}\t{line.qty_allocated}\t{line.qty_unsourced}\t"
        f"{line.qty_shipped}\t{line.qty_cancelled}\t{line.is_stocked:d}\t"
        f"{line.pinned_location_id or _NULL}\t{line.amount_minor}\t"
        f"{copy_text(line.charges.decode())}\t{_per_kit(line)}\t{line.may_ship_apart:d}"
    )


def _per_kit(line: Line) -> int | str:
    """Return how a line is kept: 0 a kit, else so many in each kit, null neither."""
    return 0 if line.components else line.per_kit or _NULL


def _hold_row(order: Order, hold: Hold) -> str:
    until_at = hold.until_at.isoformat() if hold.until_at else _NULL
    return (
        f"{hold.id}\t{order.id}\t{hold.scope_id}\t{copy_text(hold.kind)}\t"
        f"{copy_text(hold.reason)}\t{copy_text(hold.placed_by)}\t{hold.placed_at.isoformat()}\t"
        f"{until_at}\t{hold.cleared_at.isoformat() if hold.cleared_at else _NULL}\t"
        f"{copy_text(hold.cleared_by) if hold.cleared_by else _NULL}"
    )


async def write_orders(tx: Tx, orders: Sequence[Order], now: datetime) -> None:
    """Write orders with all of their tree: new ones by COPY, those that were there by UPDATE."""
    new = [order for order in orders if order.is_new]
    tx.copy_in("orders", _ORDER_COLUMNS, [_order_row(order) for order in new])
    tx.copy_in("choice", _CHOICE_COLUMNS, [_choice_row(o, c) for o in new for c in o.choices])
    tx.copy_in(
        "order_line", _LINE_COLUMNS, [_line_row(o, n) for o in new for n in every_line(o.lines())]
    )
    await _update(tx, [order for order in orders if not order.is_new], now)
    holds = [(o, h) for o in orders for h in o.holds]
    new_holds = [_hold_row(o, h) for o, h in holds if h.is_new]
    tx.copy_in("order_hold", _HOLD_COLUMNS, new_holds)
    cleared = [h for _, h in holds if h.cleared_at is not None and not h.is_new]
    if cleared:
        ids = uuid_array(h.id for h in cleared)
        instants = [h.cleared_at for h in cleared]
        await tx.execute(SQL.clear_holds, (ids, instants, [h.cleared_by for h in cleared]))


async def _update(tx: Tx, orders: Sequence[Order], now: datetime) -> None:
    if not orders:
        return
    ids = uuid_array(order.id for order in orders)
    await tx.execute(
        SQL.update_orders,
        (
            now,
            ids,
            [order.status for order in orders],
            [order.seq for order in orders],
            [order.workflow_id for order in orders],
            [_encode(order.attributes).decode() for order in orders],
        ),
    )
    choices = [choice for order in orders for choice in order.choices]
    choice_ids = uuid_array(choice.id for choice in choices)
    progress = [choice.progress for choice in choices]
    states = [choice.status or None for choice in choices]
    versions = [choice.workflow_id for choice in choices]
    await tx.execute(
        SQL.update_choices,
        (
            *(choice_ids, progress, states, versions),
            [choice.promised_from for choice in choices],
            [choice.promised_at for choice in choices],
            [choice.expected_from for choice in choices],
            [choice.expected_until for choice in choices],
            [choice.slot_at for choice in choices],
            [choice.slot_held and choice.slot_held[0] for choice in choices],
            [choice.slot_held and choice.slot_held[1] for choice in choices],
        ),
    )
    lines = [line for order in orders for line in every_line(order.lines())]
    await tx.execute(
        SQL.update_lines,
        (
            uuid_array(line.id for line in lines),
            [line.status for line in lines],
            [line.qty_allocated for line in lines],
            [line.qty_unsourced for line in lines],
            [line.qty_shipped for line in lines],
            [line.qty_cancelled for line in lines],
        ),
    )


async def load_orders(tx: Tx, ids: Sequence[str], lock: str = "read") -> list[Order]:
    """Load trees by order id; `lock` is `read`, `waiting` or `skipping` (see the queries)."""
    if not ids:
        return []
    query = {
        "read": SQL.read_orders,
        "waiting": SQL.lock_orders_waiting,
        "skipping": SQL.lock_orders_skipping,
    }[lock]
    orders = {row[0]: _order(row) for row in await tx.fetch(query, (uuid_array(ids),))}
    found = (uuid_array(orders),)
    choices: dict[str, Choice] = {}
    for row in await tx.fetch(SQL.choices_of_orders, found):
        choices[row[1]] = choice = _choice(row)
        orders[row[0]].choices.append(choice)
    for row in await tx.fetch(SQL.lines_of_orders, found):
        line, before = _line(row), choices[row[0]].lines
        if line.per_kit:
            before[-1].components = (*before[-1].components, line)
        else:
            before.append(line)
    for row in await tx.fetch(SQL.holds_of_orders, found):
        orders[row[0]].holds.append(Hold(*row[1:], is_new=False))
    return [orders[order_id] for order_id in sorted(orders)]


def _order(row: tuple[Any, ...]) -> Order:
    return Order(
        id=row[0],
        channel_id=row[1],
        ref=row[2],
        type=row[3],
        workflow_id=row[4],
        status=row[5],
        currency=row[6],
        customer_id=row[7],
        placed_at=row[8],
        created_at=row[9],
        seq=row[10],
        version=row[11],
        total_minor=row[12],
        attributes=row[13],
        priority=row[14],
        choices=[],
        holds=[],
        fulfilments=[],
        reservations=[],
        is_new=False,
    )


def _choice(row: tuple[Any, ...]) -> Choice:
    return Choice(
        id=row[1],
        ordinal=row[2],
        service=row[3],
        destination=msgspec.convert(row[4], Destination),
        lines=[],
        pickup_location_id=row[5],
        ship_complete=row[6],
        max_parcels=row[7],
        promised_at=row[8],
        workflow_id=row[9],
        status=row[10] or "",
        is_new=False,
        promised_from=row[11],
        expected_from=row[12],
        expected_until=row[13],
        wish=None if row[14] is None else msgspec.convert(row[14], Wish),
        slot_at=row[15],
        slot_held=None if row[16] is None else (row[16], row[17]),
    )


def _line(row: tuple[Any, ...]) -> Line:
    return Line(
        choice_id=row[0],
        id=row[1],
        ordinal=row[2],
        ref=row[3],
        product_id=row[4],
        sku=row[5],
        qty=row[6],
        is_stocked=row[7],
        amount_minor=row[8],
        charges=row[9].encode(),
        parent_line_id=row[10],
        pinned_location_id=row[11],
        qty_allocated=row[12],
        qty_unsourced=row[13],
        qty_shipped=row[14],
        qty_cancelled=row[15],
        per_kit=row[16],
        may_ship_apart=row[17],
    )
