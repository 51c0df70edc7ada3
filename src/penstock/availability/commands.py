"""Availability's verb: set buffers, what a channel has to leave at a location.

A buffer names any of channel, SKU, location, kind of location; the narrowest one counts
(`controls.py`). Bumps revision `control`; who sets buffers waits for who else does. What is there
is compared here and not by a join: every process holds all buffers, and PostgreSQL knows too little
of the list to plan one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.network.model import KINDS
from penstock.quantity import check_qty
from penstock.records import Result, answers, sift

SQL = Queries("penstock.availability", "buffers.sql")
Place = tuple[int | None, int | None, int | None, str | None]  # channel, product, location, kind
NamedIds = Mapping[str, Mapping[str, Sequence[int]]]
_NOTHING = (None,)


class BufferInput(msgspec.Struct, forbid_unknown_fields=True):
    """A buffer by refs; a quantity of 0 is a rule of its own (nothing has to be left)."""

    qty: int
    channel: str | None = None
    sku: str | None = None
    location: str | None = None
    location_kind: str | None = None


async def set_buffers(tx: Tx, buffers: Sequence[BufferInput]) -> list[Result]:
    """Set buffers, in place of those that name the same; a SKU means it in every catalogue.

    Returns `created`, `updated`, `unchanged` or a refusal each: `unknown_ref`, `invalid_buffer`,
    `quantity_out_of_range`, `superseded` (a later record names the same).
    """
    refusals, good, _ = sift(buffers, check_buffer, _names, "invalid_buffer")
    await tx.execute(SQL.lock_controls)
    ids = await _named_ids(tx, good)
    refused = {_names(one): _unknown(one, ids) for one in good}
    named = [one for one in good if refused[_names(one)] is None]
    written = await _write(tx, {_names(one): (_places(one, ids), one.qty) for one in named})
    if written:
        await tx.execute(SQL.bump_control)
    refusals = [r or refused[_names(one)] for r, one in zip(refusals, buffers, strict=True)]
    return answers(buffers, refusals, written, _names)


def check_buffer(buffer: BufferInput) -> None:
    """Refuse a quantity out of range, and a kind of location there is not."""
    check_qty(buffer.qty, least=0, field="qty")
    if buffer.location_kind is not None and buffer.location_kind not in KINDS:
        sentence = f"location_kind: A location is one of {', '.join(KINDS)}."
        raise Refusal("invalid_buffer", sentence, field="location_kind")


async def _write(
    tx: Tx, wanted: Mapping[Hashable, tuple[Sequence[Place], int]]
) -> dict[Hashable, str]:
    """Write the buffers that are not there just so; returns what became of those."""
    there: dict[Place, list[tuple[int, int]]] = {}
    for buffer_id, *place, qty in await tx.fetch(SQL.buffers):
        there.setdefault((place[0], place[1], place[2], place[3]), []).append((buffer_id, qty))
    written: dict[Hashable, str] = {}
    dropped: list[int] = []
    added: list[tuple[int | str | None, ...]] = []
    for names, (places, qty) in wanted.items():
        for place in places:
            old = there.get(place, [])
            if [one[1] for one in old] == [qty]:
                continue
            written[names] = "updated" if old else written.get(names, "created")
            dropped += [one[0] for one in old]
            added.append((*place, qty))
    if added:
        await tx.execute(SQL.drop_buffers, (dropped,))
        await tx.execute(SQL.add_buffers, [list(column) for column in zip(*added, strict=True)])
    return written


def _names(buffer: BufferInput) -> tuple[str | None, ...]:
    return buffer.channel, buffer.sku, buffer.location, buffer.location_kind


async def _named_ids(tx: Tx, buffers: Sequence[BufferInput]) -> NamedIds:
    asked = (
        sorted({one.channel for one in buffers if one.channel is not None}),
        sorted({one.sku for one in buffers if one.sku is not None}),
        sorted({one.location for one in buffers if one.location is not None}),
    )
    ids: dict[str, dict[str, list[int]]] = {"channel": {}, "sku": {}, "location": {}}
    for kind, ref, number in await tx.fetch(SQL.named_ids, asked, prepare=False):
        ids[kind].setdefault(ref, []).append(number)
    return ids


def _unknown(buffer: BufferInput, ids: NamedIds) -> Refusal | None:
    for kind, refs in ids.items():
        ref: str | None = getattr(buffer, kind)
        if ref is not None and ref not in refs:
            sentence = f"There is no {kind} {ref[:100]!r}."
            return Refusal("unknown_ref", sentence, field=kind, kind=kind, ref=ref[:100])
    return None


def _places(buffer: BufferInput, ids: NamedIds) -> list[Place]:
    channels = ids["channel"].get(buffer.channel or "", _NOTHING)
    products = ids["sku"].get(buffer.sku or "", _NOTHING)
    locations = ids["location"].get(buffer.location or "", _NOTHING)
    return [(channels[0], product, locations[0], buffer.location_kind) for product in products]
