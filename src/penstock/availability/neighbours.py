"""What availability reads of the rooms around it: locations, channels, products.

Protocols only, so that this room is built and tested on plain columns. A location's *row* is its
place in the directory's columns; rows change when the directory is loaded again, ids never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from penstock.availability.product_map import Ints
from penstock.db import Tx

Bools = NDArray[np.bool_]


class Locations(Protocol):
    """All locations as columns by row; `row_of` by location id, -1 where there is none."""

    @property
    def location_ids(self) -> Ints: ...  # noqa: D102 (columns speak for themselves)
    @property
    def row_of(self) -> Ints: ...  # noqa: D102
    @property
    def kinds(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def refs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def unit_xyz(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def time_zones(self) -> Sequence[str]: ...  # noqa: D102

    def in_network(self, network_id: int) -> Bools:
        """Tell by row which locations are in a network."""
        ...

    def serving(self, channel_id: int, service: str, at: datetime) -> Bools:
        """Tell by row which locations serve a channel with a service at an instant."""
        ...


class ChannelTree(Protocol):
    """How channels nest, and whose catalogue they sell."""

    @property
    def by_ref(self) -> Mapping[str, int]: ...  # noqa: D102

    def path(self, channel_id: int) -> Sequence[int]:
        """Return the channel and those above it, itself first."""
        ...

    def catalogue_id(self, channel_id: int) -> int:
        """Return the product catalogue a channel sells, its own or inherited."""
        ...

    def currency(self, channel_id: int) -> str | None:
        """Return the currency of a channel, its own or inherited."""
        ...


class Buyer(Protocol):
    """Who asks: what ring-fences look at."""

    @property
    def channel_id(self) -> int: ...  # noqa: D102
    @property
    def tier(self) -> str: ...  # noqa: D102
    @property
    def basket_minor(self) -> int: ...  # noqa: D102
    @property
    def currency(self) -> str: ...  # noqa: D102


class ProductBook(Protocol):
    """Products by SKU, and columns by product id; `is_plain`: on, stocked and no kit."""

    @property
    def is_stocked(self) -> Any: ...  # noqa: D102
    @property
    def is_on(self) -> Any: ...  # noqa: D102
    @property
    def is_plain(self) -> Any: ...  # noqa: D102

    def kit(self, product_id: int) -> Any:
        """Return what a kit is made of, with `may_ship_apart`; None for what is no kit."""
        ...

    def parts(self, kit: Any) -> list[tuple[int, int]]:
        """Return the parts of a kit as (product id, quantity in each kit)."""
        ...

    def kits_with(self, product_ids: Iterable[int]) -> list[int]:
        """Return the kits that have one of the products among their components."""
        ...

    def by_sku(self, catalogue_id: int) -> Mapping[str, int]:
        """Return product ids by SKU in a product catalogue."""
        ...

    async def resolve(self, tx: Tx, catalogue_id: int, skus: Sequence[str]) -> list[int]:
        """Return the ids of SKUs, -1 for those that are not there; asks once for unknown ones."""
        ...


def rows_of(row_of: Ints, location_ids: Ints) -> NDArray[np.int64]:
    """Give each location its row, -1 also for one newer than the directory."""
    rows = row_of.take(location_ids, mode="clip").astype(np.int64)
    rows[location_ids >= len(row_of)] = -1
    return rows
