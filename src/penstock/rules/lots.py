"""Lots of a fulfilment: what its picker should take, and what was pegged or picked for it.

Where fulfilments meet lots: a fulfilment's reservations are found by its order, and their lots are
guarded by the positions' locks, so that the order itself need not be locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from penstock.db import Tx, uuid_array
from penstock.errors import Refusal
from penstock.fulfilment.store import SQL as FULFILMENT_SQL
from penstock.inventory.lots import SQL, PegAsk, Want, fix_lots, peg_lots, suggest_lots
from penstock.inventory.shelves import Pick
from penstock.passes import Pass
from penstock.rules.knowledge import Knowledge

Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Units = Annotated[int, msgspec.Meta(ge=1, le=2_000_000_000)]


class LotUnits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """So many units of a lot."""

    lot: Ref
    qty: Units


class SkuLots(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which lots of a SKU: named ones, or as suggested, good for some days at least."""

    sku: Ref
    lots: Sequence[LotUnits] = ()
    min_remaining_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0


class FulfilmentLots(msgspec.Struct, frozen=True):
    """What a fulfilment keeps of a SKU, and which lots that should be or is."""

    sku: str
    qty: int
    lots: Sequence[Pick]


async def suggest_for_fulfilment(
    tx: Tx, knowledge: Knowledge, fulfilment_id: str
) -> list[FulfilmentLots]:
    """Say which lots to pick for a fulfilment, pegged and fixed ones first; a plain read.

    Refuses with `unknown_fulfilment`. One that has shipped keeps nothing.
    """
    rows = await _reserved(tx, fulfilment_id)
    wants = [Want(row[2], row[3], 0, row[0]) for row in rows]
    picks = await suggest_lots(tx, wants, knowledge.clock.now())
    return [
        FulfilmentLots(str(knowledge.products.skus[row[1]]), row[3], found)
        for row, found in zip(rows, picks, strict=True)
    ]


async def keep_for_fulfilment(
    tx: Pass, fulfilment_id: str, asked: Sequence[SkuLots], *, is_fixed: bool
) -> list[FulfilmentLots]:
    """Peg lots for a fulfilment, or (`is_fixed`) say which were picked; all of it or nothing.

    Without `asked`, every SKU gets what is suggested. Refusals: `unknown_fulfilment`,
    `fulfilment_not_open`, `unknown_sku` (not in it), `lot_unavailable`.
    """
    knowledge: Knowledge = tx.knowledge
    rows = await _reserved(tx, fulfilment_id)
    if not rows:
        sentence = "The fulfilment keeps no stock any more."
        raise Refusal("fulfilment_not_open", sentence, fulfilment_id=fulfilment_id)
    skus = [str(knowledge.products.skus[row[1]]) for row in rows]
    asks: list[tuple[str, PegAsk]] = []
    for one in _by_sku(asked) or [SkuLots(sku) for sku in dict.fromkeys(skus)]:
        mine = [row for row, sku in zip(rows, skus, strict=True) if sku == one.sku]
        if not mine:
            sentence = f"Nothing of SKU {one.sku!r} is in this fulfilment."
            raise Refusal("unknown_sku", sentence, sku=one.sku, field="sku")
        asks += [(one.sku, ask) for ask in _shared_out(one, mine)]
    verb = fix_lots if is_fixed else peg_lots
    kept: list[FulfilmentLots] = []
    results = await verb(tx, [ask for _, ask in asks])
    for (sku, _), result in zip(asks, results, strict=True):
        if isinstance(result, Refusal):
            raise result
        kept.append(FulfilmentLots(sku, sum(pick.qty for pick in result), result))
    return kept


def _by_sku(asked: Sequence[SkuLots]) -> list[SkuLots]:
    """Put together what is said of one SKU in several places."""
    found: dict[str, SkuLots] = {}
    for one in asked:
        before = found.get(one.sku, SkuLots(one.sku))
        least = max(before.min_remaining_days, one.min_remaining_days)
        found[one.sku] = SkuLots(one.sku, [*before.lots, *one.lots], least)
    return list(found.values())


def _shared_out(one: SkuLots, rows: Sequence[tuple[str, int, int, int]]) -> list[PegAsk]:
    """Share named lots out to the reservations of a SKU, in order."""
    if not one.lots:
        return [PegAsk(row[0], (), one.min_remaining_days) for row in rows]
    left = {lot.lot: 0 for lot in one.lots}
    for lot in one.lots:
        left[lot.lot] += lot.qty
    asks: list[PegAsk] = []
    for place, row in enumerate(rows):
        room = sum(left.values()) if place == len(rows) - 1 else row[3]
        mine: list[tuple[str, int]] = []
        for ref, qty in left.items():
            taken = min(qty, room)
            left[ref] -= taken
            room -= taken
            if taken:
                mine.append((ref, taken))
        if mine:
            asks.append(PegAsk(row[0], mine))
    return asks


async def _reserved(tx: Tx, fulfilment_id: str) -> list[tuple[str, int, int, int]]:
    """Return reservation, product, position and quantity of each that the fulfilment keeps."""
    found = await tx.fetch(FULFILMENT_SQL.root_of_fulfilments, (uuid_array([fulfilment_id]),))
    if not found:
        sentence = f"There is no fulfilment {fulfilment_id}."
        raise Refusal("unknown_fulfilment", sentence, fulfilment_id=fulfilment_id)
    rows = await tx.fetch(SQL.reservations_of_fulfilment, (found[0][1], fulfilment_id))
    return [(row[0], row[1], row[2], row[3]) for row in rows]
