"""An order in words: the tree order → choice → line, its counters, and how progress rolls up.

Pure. Counters on a line are current and count the customer's leg only:
`qty = allocated + unsourced + shipped + cancelled` at every instant. An order is the root: it
guards its tree, and gives the `seq` of its events.

A kit's line is what the customer bought; stock is reserved for the lines of its components, which
stand below it. Its counters follow theirs (`count_kits`): a kit is allocated or shipped when all of
its parts are.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec


class Line(msgspec.Struct, gc=False):
    """One order line. An unstocked line counts as allocated: it needs money, no stock.

    A kit has `components`, lines of their own with `per_kit` units in each kit.
    """

    id: str
    choice_id: str
    ordinal: int
    ref: str
    product_id: int
    sku: str
    qty: int
    is_stocked: bool
    amount_minor: int
    charges: bytes
    parent_line_id: str | None = None
    pinned_location_id: int | None = None
    qty_allocated: int = 0
    qty_unsourced: int = 0
    qty_shipped: int = 0
    qty_cancelled: int = 0
    components: Sequence["Line"] = ()
    per_kit: int = 0
    may_ship_apart: bool = False

    @property
    def status(self) -> str:
        """Return the line's status, rolled up from its counters."""
        return rolled_up(
            self.qty, self.qty_allocated, self.qty_unsourced, self.qty_shipped, self.qty_cancelled
        )


class Destination(msgspec.Struct, frozen=True, gc=False):
    """Where a choice goes: an address with coordinates (degrees)."""

    latitude: float
    longitude: float
    name: str = ""
    address_lines: list[str] = []
    town: str = ""
    postcode: str = ""
    country: str = ""


class Wish(msgspec.Struct, frozen=True, gc=False):
    """How the dates of a choice are wanted: by which services (all), how sure, by whose clock.

    A service is `carrier/service`; the time zone is the destination's, None for the origin's.
    """

    carriers: tuple[str, ...] = ()
    chance: float = 0.9
    time_zone: str | None = None


USUAL = Wish()


class Choice(msgspec.Struct, gc=False):
    """How a group of lines is wanted: the unit of sourcing.

    `promised_from` until `promised_at` is what was promised first, `expected_*` what is expected
    now; None where nobody knows. `slot_at` is the pick-up slot that is wanted; `slot_held` where
    and when it is counted, as of the last pass.
    """

    id: str
    ordinal: int
    service: str
    destination: Destination
    lines: list[Line]
    pickup_location_id: int | None = None
    ship_complete: bool = False
    max_parcels: int | None = None
    promised_at: datetime | None = None
    workflow_id: int | None = None
    status: str = ""
    is_new: bool = True
    promised_from: datetime | None = None
    expected_from: datetime | None = None
    expected_until: datetime | None = None
    wish: Wish | None = None
    slot_at: datetime | None = None
    slot_held: tuple[int, datetime] | None = None

    kind: ClassVar[str] = "choice"

    @property
    def progress(self) -> str:
        """Return how far its lines are, rolled up; `status` is that of a workflow of its own."""
        return rolled_up(*totals(self.lines))

    def view(self) -> dict[str, Any]:
        """Return what expressions may read of the choice (`ChoiceView`)."""
        qty, allocated, unsourced, shipped, cancelled = totals(self.lines)
        return {
            "id": self.id,
            "status": self.status,
            "progress": self.progress,
            "type": self.service,
            "service": self.service,
            "ship_complete": self.ship_complete,
            "qty": qty,
            "qty_allocated": allocated,
            "qty_unsourced": unsourced,
            "qty_shipped": shipped,
            "qty_cancelled": cancelled,
        }


class ChoiceView(msgspec.Struct):
    """What expressions may read of a fulfilment choice."""

    root: ClassVar[str | None] = "order"

    id: str
    status: str
    progress: str
    type: str
    service: str
    ship_complete: bool
    qty: int
    qty_allocated: int
    qty_unsourced: int
    qty_shipped: int
    qty_cancelled: int


class Hold(msgspec.Struct, gc=False):
    """One of a set of holds on an order, a choice or a line; guards release."""

    id: str
    scope_id: str
    kind: str
    reason: str
    placed_by: str
    placed_at: datetime
    until_at: datetime | None = None
    cleared_at: datetime | None = None
    cleared_by: str | None = None
    is_new: bool = True


class Order(msgspec.Struct):
    """An order with all of its tree; `fulfilments` and `reservations` of other rooms kept along.

    `cart` is what became of the cart it named, while the order is being decided.
    """

    id: str
    channel_id: int
    ref: str
    type: str
    workflow_id: int
    status: str
    currency: str
    placed_at: datetime
    created_at: datetime
    choices: list[Choice]
    total_minor: int
    customer_id: str | None = None
    attributes: dict[str, Any] = {}
    seq: int = 0
    version: int = 1
    priority: int = 5
    holds: list[Hold] = []
    fulfilments: list[Any] = []
    reservations: list[Any] = []
    is_new: bool = True
    customer: dict[str, Any] = {}
    channel: dict[str, Any] = {}
    asks_hold: bool = False
    line_views: list[dict[str, Any]] = []
    cart: dict[str, str] | None = None
    parent_kind: str | None = None
    parent_id: str | None = None

    kind: ClassVar[str] = "order"

    def subjects(self) -> list[Any]:
        """Return the entities inside the order that may have a workflow."""
        return [*self.choices, *self.fulfilments]

    def lines(self) -> list[Line]:
        """Return every line of every choice."""
        if len(self.choices) == 1:
            return self.choices[0].lines
        return [line for choice in self.choices for line in choice.lines]

    def open_holds(self) -> list[Hold]:
        """Return the holds that are not cleared."""
        return [hold for hold in self.holds if hold.cleared_at is None]

    def view(self) -> dict[str, Any]:
        """Return what expressions may read of the order (`OrderView`)."""
        lines = self.lines()
        qty, allocated, unsourced, shipped, cancelled = totals(lines)
        holds = tuple(hold.kind for hold in self.open_holds()) if self.holds else ()
        return {
            "id": self.id,
            "status": self.status,
            "type": self.type,
            "ref": self.ref,
            "currency": self.currency,
            "total_minor": self.total_minor,
            "line_count": len(lines),
            "qty": qty,
            "qty_allocated": allocated,
            "qty_unsourced": unsourced,
            "qty_shipped": shipped,
            "qty_cancelled": cancelled,
            "qty_stocked_open": stocked_open(lines),
            "fulfilment_count": len(self.fulfilments),
            "holds": holds,
            "hold_count": len(holds),
            "asks_hold": self.asks_hold,
            "attributes": self.attributes,
            "lines": self.line_views,
        }


class OrderView(msgspec.Struct):
    """What expressions may read of an order. Amounts are in minor units of its currency.

    `lines` have `ref`, `sku`, `qty`, `amount_minor` and `product`: its `kind`, `category`,
    `categories` (with those above it), `tax_class`, `weight_g` and `attributes`.
    """

    id: str
    status: str
    type: str
    ref: str
    currency: str
    total_minor: int
    line_count: int
    qty: int
    qty_allocated: int
    qty_unsourced: int
    qty_shipped: int
    qty_cancelled: int
    qty_stocked_open: int
    fulfilment_count: int
    holds: list[str]
    hold_count: int
    asks_hold: bool
    attributes: dict[str, Any]
    lines: list[dict[str, Any]]


def stock_lines(lines: list[Line]) -> list[Line]:
    """Return the lines that stock is reserved for: of a kit those of its components."""
    for line in lines:
        if line.components:
            return [part for line in lines for part in (line.components or (line,))]
    return lines


def every_line(lines: list[Line]) -> list[Line]:
    """Return the lines with those of components after their kit."""
    for line in lines:
        if line.components:
            return [part for line in lines for part in (line, *line.components)]
    return lines


def count_kits(lines: Iterable[Line]) -> None:
    """Let the counters of kits follow those of their components: parts of a kit count for none."""
    for kit in lines:
        if kit.components:
            parts = kit.components
            kit.qty_shipped = min(part.qty_shipped // part.per_kit for part in parts)
            kit.qty_cancelled = min(part.qty_cancelled // part.per_kit for part in parts)
            there = min((part.qty_allocated + part.qty_shipped) // part.per_kit for part in parts)
            kit.qty_allocated = there - kit.qty_shipped
            kit.qty_unsourced = kit.qty - kit.qty_cancelled - there


def stocked_open(lines: list[Line]) -> int:
    """Return the quantity of stocked lines that is neither shipped nor cancelled."""
    return sum(n.qty_allocated + n.qty_unsourced for n in lines if n.is_stocked)


def totals(lines: list[Line]) -> tuple[int, int, int, int, int]:
    """Return qty, allocated, unsourced, shipped and cancelled, summed over lines in one loop."""
    qty = allocated = unsourced = shipped = cancelled = 0
    for line in lines:
        qty += line.qty
        allocated += line.qty_allocated
        unsourced += line.qty_unsourced
        shipped += line.qty_shipped
        cancelled += line.qty_cancelled
    return qty, allocated, unsourced, shipped, cancelled


def rolled_up(qty: int, allocated: int, unsourced: int, shipped: int, cancelled: int) -> str:
    """Return the status that counters add up to."""
    open_qty = qty - cancelled
    if open_qty == 0:
        return "cancelled"
    if shipped == open_qty:
        return "shipped"
    if shipped:
        return "partly_shipped"
    if unsourced == open_qty:
        return "unsourced"
    if unsourced:
        return "partly_allocated"
    return "allocated" if allocated == open_qty else "created"
