"""An import in words: what may be asked, what is told while it runs, what is said at the end. Pure.

Rows are counted from 1, a header not among them; in a text without line breaks inside quotes that
is the line's number, less the header's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import msgspec

KINDS = (
    "products",
    "categories",
    "attribute-types",
    "locations",
    "networks",
    "channels",
    "profiles",
    "customers",
    "sources",
    "pools",
    "areas",
    "controls",
    "thresholds",
    "carriers",
    "lanes",
    "transit",
    "handling",
    "limits",
    "fulfilment-times",
    "stock",
    "orders",
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a file does not say itself.

    `channel`: whose SKUs stock rows name, and the channel of orders that name none; `catalogue`:
    where products go; `source` and `pool`: who counted what; `counted_at`: when, for rows that do
    not say; `again`: take in a file that was taken in before. `full`: the file is all that its
    source has; what it does not mention is retired, no more than `retire_at_most` positions.
    """

    channel: str | None = None
    catalogue: str | None = None
    source: str | None = None
    pool: str | None = None
    counted_at: datetime | None = None
    again: bool = False
    full: bool = False
    retire_at_most: int | None = None


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Why a row had no effect."""

    row: int
    field: str
    reason: str
    code: str


class Progress(msgspec.Struct, frozen=True):
    """How far an import is: rows of the file that are done, of about so many, and how fast."""

    rows_done: int
    rows_total: int
    rows_failed: int
    rows_per_s: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import, earlier runs of the same file included.

    `rows_failed` are in the file `errors_file`; `resumed_at` is the row this run went on after;
    `was_finished` says that there was nothing left to do; `ignored` are columns nobody reads.
    `retired` are positions that a full feed did not mention, with so many units on hand.
    """

    kind: str
    file: str
    rows: int
    rows_failed: int
    rows_unchanged: int
    seconds: float
    rows_per_s: float
    errors_file: Path | None = None
    resumed_at: int = 0
    was_finished: bool = False
    ignored: tuple[str, ...] = ()
    retired: int = 0
    units_retired: int = 0


Tell: TypeAlias = Callable[[Progress], None]


def tell_nobody(_: Progress) -> None:
    """Take progress and do nothing with it."""
