"""A fulfilment in words: origin, destination, demand, lines, status.

Pure. Statuses: `created` (reserved, not handed over yet), `awaiting_pick` (released to its
location), `shipped`, `rejected` (the location will not do it), `cancelled`. Until it is shipped
its stock is reserved; rejected and cancelled ones hold nothing.
"""

from datetime import date, datetime

import msgspec

OPEN = frozenset({"created", "awaiting_pick"})
ENDED_WITHOUT = frozenset({"rejected", "cancelled"})


class FulfilmentLine(msgspec.Struct, gc=False):
    """A quantity of one order line in one fulfilment."""

    line_id: str
    product_id: int
    qty: int
    qty_picked: int = 0


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

    def is_open(self) -> bool:
        """Tell whether the location has it still before it."""
        return self.status in OPEN
