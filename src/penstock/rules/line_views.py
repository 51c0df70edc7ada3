"""What expressions read of an order's lines and their products, where a workflow reads them at all.

One query for a whole batch, and none for an account whose workflows do not name `order.lines`. A
workflow sees products as they are now, not as they were when the order came.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.catalogue.views import product_facts
from penstock.db import Tx
from penstock.orders.model import Order
from penstock.rules.knowledge import Knowledge


async def add_line_views(tx: Tx, knowledge: Knowledge, orders: Sequence[Order]) -> None:
    """Give orders the views of their lines, with their products' facts, if anybody reads them."""
    if not knowledge.workflows.reads_lines or not orders:
        return
    ids = sorted({line.product_id for order in orders for line in order.lines()})
    facts = await product_facts(tx, ids)
    for order in orders:
        order.line_views = [
            {
                "ref": line.ref,
                "sku": line.sku,
                "qty": line.qty,
                "amount_minor": line.amount_minor,
                "product": facts.get(line.product_id, {}),
            }
            for line in order.lines()
        ]
