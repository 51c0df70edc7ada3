"""Stock in words: causes of movement, reservations, what may be asked of stock and its answers.

Pure: no database, no clock. The arithmetic of admission is in `ledger.py`; the locking and writing
in `decide.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.sourcing.model import Demand, Plan

if TYPE_CHECKING:
    from penstock.inventory.ledger import Ledger

RETAIL_POOL_ID = 1
DEFAULT_SOURCE_ID = 1


class Cause(IntEnum):
    """Why a position moved; stored in journal entries."""

    COUNT = 1
    ADJUSTMENT = 2
    ALLOCATION = 3
    CART_HOLD = 4
    UNRESERVE = 5
    SHIPMENT = 6
    REASSIGN = 7
    EXPIRY = 8
    BASELINE = 9
    SHED = 10
    PICK = 11  # of stock that leaves when it is picked
    PUT_BACK = 12  # picked, and not shipped after all
    BLOCK = 15  # expired, or in a blocked area: see shelves.py
    REPAIR = 20  # written by the audit, when a person says so


class ReservationKind(IntEnum):
    """What a reservation is for; a cart hold becomes an allocation by updating its row.

    What is expired or lies in a blocked area is kept from everybody by one `BLOCKED` a position.
    """

    CART_HOLD = 1
    ALLOCATION = 2
    BLOCKED = 3


class Reservation(msgspec.Struct, gc=False):
    """A quantity of one position kept for one demand; one row of table `reservation`."""

    position_id: int
    qty: int
    kind: int
    root_id: str
    demand_id: str
    fulfilment_id: str | None = None
    priority: int = 0
    promised_at: datetime | None = None
    expires_at: datetime | None = None
    id: str = msgspec.field(default_factory=new_id)
    counted_by: Sequence[int] = ()  # controls that count it; negative: at its location


class LimitClaim(msgspec.Struct, frozen=True, gc=False):
    """A line of an ask that counts for somebody under a limit of `most` units since an instant."""

    limit_id: int
    identity: str
    demand_id: str
    qty: int
    most: int
    limit: str
    sku: str
    since: datetime | None = None


class QuotaClaim(msgspec.Struct, frozen=True, gc=False):
    """Units more of a product to be held in carts, of which these may hold `percent` together."""

    limit_id: int
    product_id: int
    qty: int
    percent: int
    limit: str
    sku: str


class Ask(msgspec.Struct, gc=False):
    """What one root asks of stock in a pass: give back, ship, and allocate, decided together.

    A reservation in `release` or `ship` with less than its `qty` is shrunk by that. Carts in
    `counts_for` count no more under `limits` once the ask is admitted: it takes their place.

    `plan` proposes where the demand is met; it may be late. Without `may_replan` it is taken as
    it stands or not at all. With `all_or_nothing` a short plan takes nothing, and what the demand
    held stays. `release_cause` says why reservations are given back.
    """

    root_id: str
    release: Sequence[Reservation] = ()
    release_cause: Cause = Cause.UNRESERVE
    ship: Sequence[Reservation] = ()
    demand: Demand | None = None
    plan: Plan | None = None
    may_replan: bool = True
    kind: ReservationKind = ReservationKind.ALLOCATION
    priority: int = 0
    promised_at: datetime | None = None
    expires_at: datetime | None = None
    capacity_back: Sequence[tuple[int, str, date]] = ()
    limits: Sequence[LimitClaim] = ()
    quotas: Sequence[QuotaClaim] = ()
    counts_for: Sequence[str] = ()
    all_or_nothing: bool = False


class Answer(msgspec.Struct, gc=False):
    """What stock answered: the admitted plan, the reservations made, those really given back.

    `fulfilment_ids` has one id per shipment of the plan; `capacity_days` the working day on which
    each shipment was counted, None where the location counts none. With a `refusal` (a limit was
    reached) nothing was taken, nor where all was wanted and some is `lacking`, by line.
    """

    plan: Plan | None = None
    refusal: Refusal | None = None
    lacking: Sequence[tuple[str, int]] = ()
    reservations: Sequence[Reservation] = ()
    fulfilment_ids: Sequence[str] = ()
    capacity_days: Sequence[date | None] = ()
    released: Sequence[Reservation] = ()
    shipped: Sequence[Reservation] = ()


class Counted(msgspec.Struct, frozen=True, gc=False):
    """A cap or ring-fence that concerns a demand's product: N units, counted in `control_use`.

    A cap, and a ring-fence whose units are for this demand (`is_entitled`), count what is taken; a
    ring-fence for others bounds it. `location_ids` are where it holds, None: everywhere;
    `per_location`: N at each of them.
    """

    control_id: int
    ref: str
    qty: int
    is_fence: bool = False
    is_entitled: bool = False
    per_location: bool = False
    location_ids: frozenset[int] | None = None

    def holds_at(self, location_id: int) -> bool:
        """Tell whether it is about a location."""
        return self.location_ids is None or location_id in self.location_ids

    def left(self, used: int, there: int) -> int:
        """Return what it lets a demand take, given what is used of it and what is `there`."""
        rest = max(self.qty - used, 0)
        return max(there - rest, 0) if self.is_fence else rest

    def key(self, product_id: int, location_id: int) -> "UseKey":
        """Return the row it counts a product at a location on."""
        return (self.control_id, product_id, location_id if self.per_location else 0)


UseKey = tuple[int, int, int]  # control, product, location (0: over all of them together)


def _sold(pool_id: int) -> bool:
    """Sell every pool."""
    return pool_id > 0


def _untold(used: Mapping[UseKey, int]) -> None:
    """Tell nobody what is used."""
    del used


class Terms(msgspec.Struct, frozen=True):
    """What deciding has to know of the rooms around: floors, capacities, and how to plan again.

    `floor(channel_id, product_id, location_id, on_hand)` is what the demand must leave;
    `capacity_limit(location_id, service)` is orders a working day, -1 for no limit;
    `working_day(location_id, service)` the day on which work taken now counts;
    `replan(demands, ledger)` plans with the locked values; `counted(used)` is told what is counted
    on capacities once a decision is written. `counting(demand, product_id)` are the counted
    controls it meets (None: the account has none), `sells(pool_id)` whether a pool's stock is sold,
    and `used` is told what is used of them after COMMIT.
    """

    floor: Callable[[int, int, int, int], int]
    capacity_limit: Callable[[int, str], int]
    working_day: Callable[[int, str], date]
    replan: Callable[[Sequence[Demand], "Ledger"], list[Plan]]
    counted: Callable[[Mapping[tuple[int, str, date], int]], None]
    counting: Callable[[Demand, int], Sequence[Counted]] | None = None
    sells: Callable[[int], bool] = _sold
    used: Callable[[Mapping[UseKey, int]], None] = _untold


class Adjustment(msgspec.Struct, gc=False):
    """A relative change of one position, with the instant at which it happened."""

    product_id: int
    location_id: int
    delta: int
    occurred_at: datetime
    pool_id: int = RETAIL_POOL_ID
    reason: str = ""
