"""Kits of orders: exploded into lines of their components at intake, and wanted from sourcing.

A kit that may not ship apart is wanted as one item, so that it comes from one location whole; the
components of one that may are wanted like lines of their own. What a kit gives back, it gives back
whole, so that what it lacks is whole kits again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.orders.model import Line
from penstock.quantity import check_qty
from penstock.sourcing.model import DemandLine, KitParts

Ints = Sequence[int] | NDArray[np.int32]

if TYPE_CHECKING:
    from penstock.catalogue.products import Kit, Products


def explode(products: Products, line: Line, kit: Kit) -> None:
    """Give a kit's line a line for each of its components that is kept in stock.

    Refuses with `sku_off` while a component is switched off.
    """
    parts: list[Line] = []
    for (sku, _), (product_id, per_kit) in zip(kit.components, products.parts(kit), strict=True):
        if not products.is_on[product_id]:
            sentence = f"SKU {line.sku!r} is a kit, and its component {sku!r} is switched off."
            raise Refusal("sku_off", sentence, sku=sku)
        if products.is_stocked[product_id]:
            parts.append(_component(line, sku, product_id, per_kit))
    line.components = tuple(parts)
    line.may_ship_apart = kit.may_ship_apart
    line.is_stocked = bool(parts)


def _component(line: Line, sku: str, product_id: int, per_kit: int) -> Line:
    qty = line.qty * per_kit
    check_qty(qty, least=1, field="qty")
    return Line(
        id=new_id(),
        choice_id=line.choice_id,
        ordinal=line.ordinal,
        ref=line.ref,
        product_id=product_id,
        sku=sku,
        qty=qty,
        is_stocked=True,
        amount_minor=0,
        charges=b"{}",
        parent_line_id=line.id,
        per_kit=per_kit,
    )


def lines_with_kits(lines: Sequence[Line], weight_g: Ints) -> tuple[DemandLine, ...]:
    """Return what lines want: a kit whole, or its components where they may ship apart."""
    wanted: list[DemandLine] = []
    for line in lines:
        parts = line.components if line.may_ship_apart and line.components else (line,)
        for part in parts:
            weights = sum(int(weight_g[one.product_id]) * one.per_kit for one in part.components)
            weight = weights if part.components else int(weight_g[part.product_id])
            if part.qty_unsourced:
                wanted.append(DemandLine(part.id, part.product_id, part.qty_unsourced, weight))
    return tuple(wanted)


def kits_of(lines: Sequence[Line], weight_g: Ints) -> tuple[KitParts, ...]:
    """Return the kits among lines that have to be placed whole."""
    return tuple(
        KitParts(
            line.id,
            tuple((part.id, part.product_id, part.per_kit) for part in line.components),
            tuple(int(weight_g[part.product_id]) for part in line.components),
        )
        for line in lines
        if line.components and not line.may_ship_apart
    )
