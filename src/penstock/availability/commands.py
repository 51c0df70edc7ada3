"""Availability's verb: set buffers, what a channel has to leave at a location.

A buffer names any of channel, SKU, location, kind of location; the narrowest one counts
(`controls.py`). Bumps revision `control`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.quantity import check_qty

SQL = Queries("penstock.availability", "buffers.sql")


class BufferInput(msgspec.Struct, forbid_unknown_fields=True):
    """A buffer by refs; a quantity of 0 is a rule of its own (nothing has to be left)."""

    qty: int
    channel: str | None = None
    sku: str | None = None
    location: str | None = None
    location_kind: str | None = None


async def set_buffers(tx: Tx, buffers: Sequence[BufferInput]) -> None:
    """Set buffers, in place of those with the same names; refuses `unknown_ref` as a whole."""
    for buffer in buffers:
        check_qty(buffer.qty, least=0, field="qty")
    body = msgspec.json.encode(buffers).decode()
    missing = await tx.fetch(SQL.unknown_refs, (body, body, body))
    if missing:
        kind, ref = missing[0]
        raise Refusal("unknown_ref", f"There is no {kind} {ref!r}.", kind=kind, ref=ref)
    await tx.execute(SQL.clear_buffers, (body,))
    await tx.execute(SQL.insert_buffers, (body,))
    await tx.execute(SQL.bump_control)
