"""Causes in words: what a feed, a request or an adjustment was, kept beside the journal.

The journal keeps a kind and an id per entry. Where the id is not an order's, this room writes down
what it stands for, in the same pass, so that `history.py` can say why stock is what it is. Nothing
here moves stock.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.db import Queries, Tx, copy_text
from penstock.inventory.counts import microseconds
from penstock.inventory.model import Adjustment
from penstock.passes import Pass

SQL = Queries("penstock.inventory", "history.sql")
_COLUMNS = "pass_id, product_id, location_id, pool_id, occurred_us, delta, reason"


async def note_cause(tx: Tx, cause_id: str, kind: str, source: str, reference: str = "") -> None:
    """Keep what a cause id stands for: a `feed` (reference: its file) or a `request` of a source.

    Noting an id again changes nothing.
    """
    await tx.execute(SQL.note_cause, (cause_id, kind, source, reference or None))


def note_reasons(tx: Pass, adjustments: Sequence[Adjustment]) -> None:
    """Keep the reasons of adjustments that this pass makes; those without one leave nothing."""
    lines = [
        f"{tx.id}\t{a.product_id}\t{a.location_id}\t{a.pool_id}\t{microseconds(a.occurred_at)}\t"
        f"{a.delta}\t{copy_text(a.reason)}"
        for a in adjustments
        if a.reason
    ]
    tx.copy_in("adjustment_note", _COLUMNS, lines)
