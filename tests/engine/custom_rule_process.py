"""A process that has a rule of another package: `custom_rule_process.py CONNINFO ACCOUNT WORKFLOW`.

Stores the workflow, places four orders of different totals and customers, clears one hold, and
prints as JSON where each order is then. The rule's package is on the process's path, and nowhere
else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from tests.shop import answered, count, event_for, order

from penstock.app import open_account
from penstock.engine.workflows import put_workflow
from penstock.orders.intake import LineInput
from penstock.rules.take import NewOrder

ASKED = {
    "small": (499, None),
    "large": (501, None),
    "trusted": (900, "loyal"),
    "cleared": (600, None),
}


async def main(conninfo: str, name: str, text: str) -> dict[str, Any]:
    """Run the story; returns status and holds of each order by ref."""
    account = await open_account(conninfo, name)
    vocabulary = account.knowledge.vocabulary
    await account.database.run(account.schema, lambda tx: put_workflow(tx, text, vocabulary))
    await count(account, ("P1", "L1", 50))
    orders = [
        order(ref, type="loyal_delivery", customer=customer, lines=[line(pounds)])
        for ref, (pounds, customer) in ASKED.items()
    ]
    results = await account.grouping.submit([NewOrder(one) for one in orders])
    placed = {one["ref"]: one for one in map(answered, results)}
    event = event_for(placed["cleared"]["id"], "order.hold_cleared", {"kind": "fraud"})
    (cleared,) = await account.grouping.submit([event])
    placed["cleared"] = answered(cleared)
    await account.close()
    return {ref: [one["status"], [h["kind"] for h in one["holds"]]] for ref, one in placed.items()}


def line(pounds: int) -> LineInput:
    return LineInput(sku="P1", qty=1, unit_price=Decimal(pounds))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    workflow = Path(sys.argv[3]).read_text("utf-8")
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], workflow))))
