"""Inventory's verbs on reservations: reserve, unreserve, ship, reassign. Each takes a list.

They are thin: an ask each, decided together by `decide.py`. Orders ask through the same door by
their rules; these verbs serve cart holds, transfers and integrations that name a position.
Counting and adjusting are in `counts.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from penstock.errors import Refusal
from penstock.inventory.decide import decide
from penstock.inventory.model import Answer, Ask, Reservation, ReservationKind, Terms
from penstock.passes import Pass
from penstock.sourcing.model import Demand, DemandLine, Leg, Part, Plan, Shipment

HOLD_SERVICE = "hold"  # counts on no capacity


class ReserveRequest(msgspec.Struct, gc=False):
    """A quantity of a named position for a demand; `floor` is what has to be left there."""

    root_id: str
    demand_id: str
    position_id: int
    product_id: int
    location_id: int
    channel_id: int
    qty: int
    kind: ReservationKind = ReservationKind.CART_HOLD
    priority: int = 0
    promised_at: datetime | None = None
    expires_at: datetime | None = None


async def reserve(
    tx: Pass, requests: Sequence[ReserveRequest], terms: Terms
) -> list[Reservation | Refusal]:
    """Reserve named positions; each request whole or refused with `out_of_stock`."""
    answers = await decide(tx, [_ask(request) for request in requests], terms)
    return [
        answer.reservations[0] if answer.reservations else out_of_stock(request)
        for request, answer in zip(requests, answers, strict=True)
    ]


async def unreserve(
    tx: Pass, reservations: Sequence[Reservation], terms: Terms
) -> list[Reservation]:
    """Give reservations back; returns those that were still there. The root has to be locked."""
    answers = await decide(tx, [Ask(r.root_id, release=(r,)) for r in reservations], terms)
    return [released for answer in answers for released in answer.released]


async def ship(tx: Pass, reservations: Sequence[Reservation], terms: Terms) -> list[Reservation]:
    """Let reserved stock leave; returns those that were still there. The root has to be locked."""
    answers = await decide(tx, [Ask(r.root_id, ship=(r,)) for r in reservations], terms)
    return [shipped for answer in answers for shipped in answer.shipped]


async def reassign(
    tx: Pass, moves: Sequence[tuple[Reservation, ReserveRequest]], terms: Terms
) -> list[Answer]:
    """Move reservations to other positions: each gives back and takes in one decision.

    Returns an answer per move; one without reservations found nothing to take, and the caller
    has to refuse, which rolls the pass back.
    """
    asks = [msgspec.structs.replace(_ask(request), release=(r,)) for r, request in moves]
    return await decide(tx, asks, terms)


def out_of_stock(request: ReserveRequest) -> Refusal:
    """Return the refusal of a request that found too little."""
    return Refusal(
        "out_of_stock",
        f"Fewer than {request.qty} are left at this location.",
        position_id=request.position_id,
        qty=request.qty,
    )


def _ask(request: ReserveRequest) -> Ask:
    line = DemandLine(request.demand_id, request.product_id, request.qty, 0)
    part = Part(
        line_id=request.demand_id,
        location_id=request.location_id,
        takes=((request.position_id, request.qty),),
        qty=request.qty,
    )
    shipment = Shipment(
        location_id=request.location_id,
        parts=(part,),
        cost_minor=0,
        handling_minor=0,
        carriage_minor=0,
        distance_km=0.0,
        weight_g=0,
        legs=(Leg(request.location_id, None),),
    )
    return Ask(
        root_id=request.root_id,
        demand=Demand(
            id=request.demand_id,
            lines=(line,),
            latitude=0.0,
            longitude=0.0,
            service=HOLD_SERVICE,
            channel_id=request.channel_id,
        ),
        plan=Plan(request.demand_id, (shipment,), (), 0, None),
        may_replan=False,
        kind=request.kind,
        priority=request.priority,
        promised_at=request.promised_at,
        expires_at=request.expires_at,
    )
