"""Undoing: withdraw a fulfilment or a lost reservation, cancel an order or lines, ship.

Each gives stock back exactly once: the order's lock guards its reservations, and only what is
really there moves. Counters, fulfilments and counted capacity follow the stock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from penstock.engine.context import Context
from penstock.engine.rule import Outcomes, Rule
from penstock.errors import Refusal
from penstock.fulfilment.model import Fulfilment
from penstock.inventory.limits import recount_lines
from penstock.inventory.model import Ask, Cause, Reservation
from penstock.orders.model import Line, Order, count_kits, stock_lines
from penstock.passes import Pass
from penstock.rules.fulfilments import move_fulfilment, open_fulfilment
from penstock.rules.routing import GivenBack


class Withdraw(Rule, frozen=True):
    """Take back the fulfilment, or the reservation, that the event names, to be sourced again."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order", "fulfilment"})
    # What it takes back, `allocate` or `give_back` asks for in the same pass: not after a decision.
    asks: ClassVar[bool] = True

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Put what is given back into the memo (`allocate` asks for it); lines lack stock again."""
        for context in contexts:
            payload = context.event.payload
            if "reservation_id" in payload:
                _withdraw_reservation(context, payload)
            else:
                _withdraw_fulfilment(context, payload)


def _withdraw_fulfilment(context: Context, payload: dict[str, Any]) -> None:
    order: Order = context.root
    fulfilment = open_fulfilment(context)
    if fulfilment is None:
        return
    back = GivenBack(reservations=[], capacity=[])
    lines = {line.id: line for line in stock_lines(order.lines())}
    for line in fulfilment.lines:
        lines[line.line_id].qty_allocated -= line.qty
        lines[line.line_id].qty_unsourced += line.qty
    count_kits(order.lines())
    back.reservations += _take_out(order, {fulfilment.id})
    _end(context, fulfilment, "rejected", back, {"reason": str(payload.get("reason", ""))})
    context.memo["given_back"] = back


def _withdraw_reservation(context: Context, payload: dict[str, Any]) -> None:
    """Give up a reservation that a shortage took; gone already, or at work: nothing to do."""
    order: Order = context.root
    lost = [r for r in order.reservations if r.id == payload["reservation_id"]]
    if not lost:
        return
    reservation: Reservation = lost[0]
    fulfilment = next((f for f in order.fulfilments if f.id == reservation.fulfilment_id), None)
    if fulfilment is None or not fulfilment.is_open():
        return
    back = GivenBack(reservations=[reservation], capacity=[], cause=Cause.SHED)
    order.reservations.remove(reservation)
    line = next(n for n in stock_lines(order.lines()) if n.id == reservation.demand_id)
    line.qty_allocated -= reservation.qty
    line.qty_unsourced += reservation.qty
    for part in fulfilment.lines:
        if part.line_id == line.id:
            part.qty -= reservation.qty
    if line.per_kit:
        _take_kits_apart(order, line, fulfilment, back)
    count_kits(order.lines())
    payload = {"line_id": line.id, "qty": reservation.qty}
    context.record("fulfilment.stock_lost", "fulfilment", fulfilment.id, payload)
    if not any(part.qty for part in fulfilment.lines):
        _end(context, fulfilment, "cancelled", back)
    context.memo["given_back"] = back


def _take_kits_apart(order: Order, lost: Line, fulfilment: Fulfilment, back: GivenBack) -> None:
    """Give back the other parts of the kits that a lost component leaves incomplete there.

    A kit whose parts may ship apart keeps them.
    """
    kit = next(line for line in order.lines() if line.id == lost.parent_line_id)
    if kit.may_ship_apart:
        return
    there = {part.line_id: part for part in fulfilment.lines}
    whole = min(there[one.id].qty // one.per_kit for one in kit.components)
    for one in kit.components:
        surplus = there[one.id].qty - whole * one.per_kit
        there[one.id].qty -= surplus
        one.qty_allocated -= surplus
        one.qty_unsourced += surplus
        _give_back_part(order, one.id, fulfilment.id, surplus, back)


def _take_out(order: Order, fulfilment_ids: set[str]) -> list[Reservation]:
    """Take the reservations of fulfilments out of the order and return them."""
    taken = [r for r in order.reservations if r.fulfilment_id in fulfilment_ids]
    order.reservations = [r for r in order.reservations if r.fulfilment_id not in fulfilment_ids]
    return taken


def _end(
    context: Context,
    fulfilment: Fulfilment,
    status: str,
    back: GivenBack,
    payload: dict[str, Any] | None = None,
) -> None:
    move_fulfilment(context, fulfilment, status, payload)
    if fulfilment.capacity_day is not None:
        back.capacity.append((fulfilment.origin_id, fulfilment.service, fulfilment.capacity_day))


class Cancel(Rule, frozen=True):
    """Cancel the order, or the quantities of lines that the event names."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})
    asks: ClassVar[bool] = True

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Give back stock and capacity of what is cancelled; refuses what has shipped already."""
        asks: list[Ask] = []
        for context in contexts:
            back = GivenBack(reservations=[], capacity=[])
            for line, qty in _to_cancel(context):
                _cancel_line(context.root, line, qty, back)
            for fulfilment in context.root.fulfilments:
                if fulfilment.is_open() and not any(part.qty for part in fulfilment.lines):
                    _end(context, fulfilment, "cancelled", back)
            asks.append(
                Ask(context.root.id, release=back.reservations, capacity_back=back.capacity)
            )
        await tx.ask(asks)
        if tx.knowledge.limits:
            lines = [line for context in contexts for line in context.root.lines()]
            await recount_lines(tx, [(n.id, n.qty - n.qty_cancelled) for n in lines])


def _to_cancel(context: Context) -> list[tuple[Line, int]]:
    """Return the lines and quantities to cancel; fails the context if some cannot be."""
    order: Order = context.root
    open_qty = {line.ref: _open_qty(line) for line in order.lines()}
    lines = {line.ref: line for line in order.lines()}
    asked = context.event.payload.get("lines")
    parts = [(ref, None) for ref in lines] if asked is None else _asked_parts(asked)
    result: list[tuple[Line, int]] = []
    for ref, part in parts:
        if ref not in lines:
            context.fail(Refusal("unknown_line", f"The order has no line {ref!r}.", line=ref))
            return []
        qty = open_qty[ref] if part is None else part
        if not isinstance(qty, int) or qty < (part is not None):
            message = f"{qty!r} of line {ref!r} cannot be cancelled; it takes 1 or more."
            context.fail(Refusal("quantity_out_of_range", message, line=ref, field="qty"))
            return []
        if qty > open_qty[ref]:
            message = f"Only {open_qty[ref]} of line {ref!r} can still be cancelled."
            context.fail(Refusal("not_cancellable", message, line=ref, qty=open_qty[ref]))
            return []
        if qty:
            result.append((lines[ref], qty))
            open_qty[ref] -= qty
    if not result:
        context.fail(Refusal("not_cancellable", "Nothing is left that could be cancelled."))
    return result


def _open_qty(line: Line) -> int:
    """Return how much can be cancelled; of a kit, so many that no part of has shipped."""
    parts = line.components
    if not parts:
        return line.qty_allocated + line.qty_unsourced
    return min((part.qty_allocated + part.qty_unsourced) // part.per_kit for part in parts)


def _asked_parts(asked: Any) -> list[tuple[Any, Any]]:
    """Return (line ref, quantity; None: all that is open) as the event's payload has them."""
    if not isinstance(asked, list):
        return [(None, None)]
    parts: list[Any] = asked
    return [(p.get("ref"), p.get("qty")) if isinstance(p, dict) else (None, None) for p in parts]


def _cancel_line(order: Order, line: Line, qty: int, back: GivenBack) -> None:
    """Cancel of a line first what lacks stock, then what is allocated, youngest first."""
    if line.components:
        for part in line.components:
            _cancel_line(order, part, qty * part.per_kit, back)
        count_kits((line,))
        return
    unsourced = min(qty, line.qty_unsourced)
    line.qty_unsourced -= unsourced
    line.qty_cancelled += qty
    rest = qty - unsourced
    line.qty_allocated -= rest
    open_parts = [
        (fulfilment, part)
        for fulfilment in reversed(order.fulfilments)
        if fulfilment.is_open()
        for part in fulfilment.lines
        if part.line_id == line.id
    ]
    for fulfilment, part in open_parts:
        taken = min(rest, part.qty)
        part.qty -= taken
        rest -= taken
        _give_back_part(order, line.id, fulfilment.id, taken, back)


def _give_back_part(
    order: Order, line_id: str, fulfilment_id: str, qty: int, back: GivenBack
) -> None:
    for reservation in list(order.reservations):
        if qty == 0:
            return
        if reservation.demand_id != line_id or reservation.fulfilment_id != fulfilment_id:
            continue
        taken = min(qty, reservation.qty)
        qty -= taken
        back.reservations.append(msgspec.structs.replace(reservation, qty=taken))
        order.reservations.remove(reservation)
        if taken < reservation.qty:
            rest = msgspec.structs.replace(reservation, qty=reservation.qty - taken)
            order.reservations.append(rest)


class GiveBack(Rule, frozen=True):
    """Give the stock back that `withdraw` took, where nothing is allocated in its place."""

    entities: ClassVar[frozenset[str] | None] = frozenset({"order", "fulfilment"})
    asks: ClassVar[bool] = True

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Unreserve it."""
        asks: list[Ask] = []
        for context in contexts:
            back: GivenBack = context.memo.pop("given_back", None) or GivenBack()
            asks.append(
                Ask(
                    context.root.id,
                    release=back.reservations,
                    release_cause=back.cause,
                    capacity_back=back.capacity,
                )
            )
        await tx.ask(asks)


class SettleUnstocked(Rule, frozen=True):
    """Count lines that need no stock as shipped, once no line that needs some is open.

    Of an order with an open hold nothing ships: its workflow settles it once the hold is cleared.
    """

    entities: ClassVar[frozenset[str] | None] = frozenset({"order"})

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Move their counters from allocated to shipped."""
        for context in contexts:
            lines = context.root.lines()
            if context.root.open_holds():
                continue
            if any(n.qty_allocated + n.qty_unsourced for n in lines if n.is_stocked):
                continue
            for line in lines:
                line.qty_shipped += line.qty_allocated
                line.qty_allocated = 0


class Ship(Rule, frozen=True):
    """Let the stock of the fulfilment leave; it is `to` then: shipped, or collected."""

    to: Annotated[Literal["shipped", "collected"], msgspec.Meta(description="What it is then.")] = (
        "shipped"
    )
    asks: ClassVar[bool] = True
    entities: ClassVar[frozenset[str] | None] = frozenset({"fulfilment"})

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Ship it whole: stock leaves, the lines' counters follow, `fulfilment.shipped`."""
        asks: list[Ask] = []
        for context in contexts:
            order: Order = context.root
            fulfilment = open_fulfilment(context)
            if fulfilment is None:
                asks.append(Ask(order.id))
                continue
            lines = {line.id: line for line in stock_lines(order.lines())}
            for part in fulfilment.lines:
                lines[part.line_id].qty_allocated -= part.qty
                lines[part.line_id].qty_shipped += part.qty
            count_kits(order.lines())
            asks.append(Ask(order.id, ship=_take_out(order, {fulfilment.id})))
            move_fulfilment(context, fulfilment, self.to)
        await tx.ask(asks)

    def outcomes(self) -> Outcomes:
        """Return the status."""
        return Outcomes(status=self.to)
