"""A fulfilment in words: origin, destination, demand, lines, status.

Pure. Statuses that rules know: `created` (reserved, not handed over yet), `awaiting_pick` (released
to its location), `shipped` or `collected`, `rejected` (the location will not do it), `cancelled`;
its workflow may have more in between. Until it ends its stock is reserved; rejected and cancelled
ones hold nothing.
"""

from datetime import date, datetime
from typing import Any, ClassVar

import msgspec

# What rules make of a fulfilment; a workflow may have any other statuses before these.
ENDED = frozenset({"shipped", "collected", "rejected", "cancelled"})
ENDED_WITHOUT = frozenset({"rejected", "cancelled"})


class FulfilmentLine(msgspec.Struct, gc=False):
    """A quantity of one order line in one fulfilment."""

    line_id: str
    product_id: int
    qty: int
    qty_picked: int = 0


class Due(msgspec.Struct, frozen=True, gc=False):
    """By when a location has to be done, by whom it goes, and when it is there (UTC).

    Of what is collected, `expected_from` is when it can be. Many fulfilments share one.
    """

    due_at: datetime
    expected_from: datetime | None = None
    expected_until: datetime | None = None
    carrier: str | None = None
    carrier_service: str | None = None


class Fulfilment(msgspec.Struct, gc=False):
    """The work of one location; `destination_id` None is the customer, at the choice's address."""

    id: str
    root_id: str
    choice_id: str | None
    ordinal: int
    service: str
    origin_id: int
    lines: list[FulfilmentLine]
    created_at: datetime
    status: str = "created"
    demand_kind: str = "order"
    destination_id: int | None = None
    next_leg_id: str | None = None
    capacity_day: date | None = None
    cost_minor: int = 0
    distance_m: int = 0
    weight_g: int = 0
    released_at: datetime | None = None
    is_new: bool = True
    workflow_id: int | None = None
    due: Due | None = None
    is_dated_anew: bool = False

    kind: ClassVar[str] = "fulfilment"

    def is_open(self) -> bool:
        """Tell whether the location has it still before it."""
        return self.status not in ENDED

    def view(self) -> dict[str, Any]:
        """Return what expressions may read of the fulfilment (`FulfilmentView`)."""
        return {
            "id": self.id,
            "status": self.status,
            "type": self.service,
            "service": self.service,
            "origin_id": self.origin_id,
            "ordinal": self.ordinal,
            "qty": sum(line.qty for line in self.lines),
            "line_count": len(self.lines),
            "cost_minor": self.cost_minor,
            "distance_m": self.distance_m,
            "weight_g": self.weight_g,
        }


class FulfilmentView(msgspec.Struct):
    """What expressions may read of a fulfilment: weight in g, distance in m, cost in minor units.

    `needed` are the statuses that rules move it to: its workflow has to declare them.
    """

    root: ClassVar[str | None] = "order"
    needed: ClassVar[tuple[str, ...]] = ("created", "awaiting_pick", "rejected", "cancelled")

    id: str
    status: str
    type: str
    service: str
    origin_id: int
    ordinal: int
    qty: int
    line_count: int
    cost_minor: int
    distance_m: int
    weight_g: int
