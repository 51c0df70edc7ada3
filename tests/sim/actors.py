"""Who acts in the simulation: clients, stock takers, and somebody who breaks things.

Every choice comes from a seeded generator; how the actors interleave does not.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import psycopg
from tests.shop import Shop, count, event_for, order
from tests.sim.ledger import Ledger

from penstock.app import Account
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.inventory.counts import adjust_stock
from penstock.inventory.model import Adjustment
from penstock.network.commands import switch_locations
from penstock.network.model import SwitchInput
from penstock.orders.intake import HoldInput, OrderInput
from penstock.rules.take import NewOrder, Work

ADJUSTED = [f"P{n}" for n in range(1, 13)]
COUNTED = [f"P{n}" for n in range(13, 21)]
LOCATIONS = [f"L{n}" for n in range(1, 7)]
EXPECTED = {
    "not_allowed_in_status",
    "not_cancellable",
    "fulfilment_not_open",
    "unknown_fulfilment",
    "no_such_hold",
}


class Client:
    """One client of one process: places orders, and acts on anybody's."""

    def __init__(self, account: Account, ledger: Ledger, seed: str) -> None:
        self.account = account
        self.ledger = ledger
        self.name = seed
        self.chance = random.Random(seed)  # noqa: S311 (seeded)
        self.done = 0

    async def act(self) -> None:
        """Do one thing."""
        self.done += 1
        acts: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (10, self.place),
            (3, self.cancel_part),
            (2, self.cancel_all),
            (3, self.reject),
            (5, self.ship),
            (2, self.retry_sourcing),
            (2, self.clear_hold),
        ]
        if not self.ledger.documents:
            await self.place()
            return
        (chosen,) = self.chance.choices([a for _, a in acts], [w for w, _ in acts])
        await chosen()

    def _order(self) -> OrderInput:
        chance = self.chance
        skus = chance.sample([*ADJUSTED, *COUNTED], chance.choice((1, 1, 2, 3)))
        lines = [(sku, chance.randint(1, 3)) for sku in skus]
        if chance.random() < 0.15:
            lines.append(("WRAP", 1))
        more: dict[str, Any] = {"channel": chance.choice(("web", "market"))}
        if chance.random() < 0.1:
            more["holds"] = [HoldInput("fraud")]
        if chance.random() < 0.1:
            more["ship_complete"] = True
        if chance.random() < 0.1:
            more["max_parcels"] = chance.randint(1, 2)
        return order(f"{self.name}-{self.done}", *lines, **more)

    async def _send(self, item: Work) -> Any:
        """Send, sometimes twice at once under the same key; returns the document or None."""
        item.key = f"{self.name}-{self.done}"
        items = [item, item] if self.chance.random() < 0.2 else [item]
        results = await self.account.grouping.submit(items)
        codes = {result.code for result in results if isinstance(result, Refusal)}
        if codes:
            assert codes <= EXPECTED, codes
            assert len(codes) == 1, "the same request was both done and refused"
            self.ledger.said.update(codes)
            return None
        documents = [msgspec.json.decode(r) for r in results if isinstance(r, bytes)]
        assert all(document == documents[0] for document in documents)
        return documents[0]

    async def place(self) -> None:
        wait = self.chance.random() < 0.8
        document = await self._send(NewOrder(self._order(), wait=wait))
        self.ledger.take(document)

    async def _tell(self, order_id: str, name: str, **payload: Any) -> Any:
        document = await self._send(event_for(order_id, name, payload))
        if document is not None:
            self.ledger.documents[order_id] = document
            self.ledger.said[name] += 1
        return document

    def _somebody(self) -> Any:
        return self.ledger.documents[self.chance.choice(list(self.ledger.documents))]

    async def cancel_part(self) -> None:
        document = self._somebody()
        order_id = document["id"]
        ref = self.chance.choice(list(self.ledger.placed[order_id]))
        lines = [{"ref": ref, "qty": 1}]
        if await self._tell(order_id, "order.cancellation_requested", lines=lines):
            self.ledger.cancelled[order_id, ref] += 1

    async def cancel_all(self) -> None:
        order_id = self._somebody()["id"]
        if await self._tell(order_id, "order.cancellation_requested"):
            self.ledger.closed.add(order_id)

    async def _at_fulfilment(self, name: str) -> None:
        document = self._somebody()
        if document["fulfilments"]:
            fulfilment_id = self.chance.choice(document["fulfilments"])["id"]
            await self._tell(document["id"], name, fulfilment_id=fulfilment_id)

    async def reject(self) -> None:
        await self._at_fulfilment("fulfilment.rejected")

    async def ship(self) -> None:
        await self._at_fulfilment("fulfilment.shipped")

    async def retry_sourcing(self) -> None:
        await self._tell(self._somebody()["id"], "order.sourcing_retried")

    async def clear_hold(self) -> None:
        await self._tell(self._somebody()["id"], "order.hold_cleared", kind="fraud", by="sim")


class StockTaker:
    """Adjusts some products, counts others, and switches locations off and on."""

    def __init__(self, account: Account, ledger: Ledger, seed: str) -> None:
        self.account = account
        self.ledger = ledger
        self.chance = random.Random(seed)  # noqa: S311 (seeded)

    async def act(self) -> None:
        """Do one thing."""
        (chosen,) = self.chance.choices([self.adjust, self.count, self.switch], [5, 4, 1])
        await chosen()

    async def adjust(self) -> None:
        sku, location = self.chance.choice(ADJUSTED), self.chance.choice(LOCATIONS)
        delta = self.chance.randint(-3, 5)
        knowledge = self.account.knowledge
        place = (knowledge.product_id(1, sku), knowledge.location_id(location))
        change = Adjustment(*place, delta, knowledge.clock.now())
        cause = new_id()
        await knowledge.run_pass("adjust", lambda tx: adjust_stock(tx, [change], cause))
        self.ledger.units_in[sku] += delta

    async def count(self) -> None:
        skus = self.chance.sample(COUNTED, 3)
        location = self.chance.choice(LOCATIONS)
        await count(self.account, *((sku, location, self.chance.randint(0, 12)) for sku in skus))

    async def switch(self) -> None:
        location = self.chance.choice(LOCATIONS)
        asked = [SwitchInput(location, "deliver", self.chance.random() < 0.6)]
        now = self.account.knowledge.clock.now()
        await self.account.database.run(
            self.account.schema, lambda tx: switch_locations(tx, asked, now)
        )


class Breaker:
    """Ends connections of the account's processes, whatever they are doing."""

    def __init__(self, lent: Shop, seed: str) -> None:
        self.lent = lent
        self.chance = random.Random(seed)  # noqa: S311 (seeded)

    async def act(self) -> None:
        """End one connection; the others of the server are left alone."""
        mine = f"datname = current_database() AND query LIKE '%{self.lent.schema}%'"
        query = f"SELECT pid FROM pg_stat_activity WHERE {mine} AND pid <> pg_backend_pid()"
        async with await psycopg.AsyncConnection.connect(self.lent.conninfo) as connection:
            rows = await (await connection.execute(query.encode())).fetchall()
            if rows:
                pid = self.chance.choice(rows)[0]
                await connection.execute(b"SELECT pg_terminate_backend(%s)", (pid,))
