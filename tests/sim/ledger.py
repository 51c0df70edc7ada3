"""What the simulator believes: an independent account of units, knowing no rule of the house.

Keeps what clients were told (orders taken, units cancelled or adjusted) and holds it against the
tables in the end: nothing is lost, nothing doubled, every unit that came in is on hand or shipped.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from tests.shop import Shop


class Ledger(msgspec.Struct):
    """Units by SKU that came in (`adjusted` ones net), and what became of orders by id."""

    units_in: Counter[str] = msgspec.field(default_factory=Counter)
    placed: dict[str, dict[str, int]] = {}
    refs: dict[str, str] = {}
    cancelled: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    closed: set[str] = set()
    documents: dict[str, Any] = {}
    said: Counter[str] = msgspec.field(default_factory=Counter)

    def take(self, document: Any) -> None:
        """Note an order that a client was told is taken."""
        order_id = document["id"]
        assert self.refs.setdefault(document["ref"], order_id) == order_id, "one ref, two orders"
        lines = [line for choice in document["choices"] for line in choice["lines"]]
        self.placed[order_id] = {line["ref"]: line["qty"] for line in lines}
        self.documents[order_id] = document

    def conserves(self, lent: Shop, counted_skus: set[str]) -> None:
        """Hold the tables against what clients were told."""
        stored = dict(lent.sql("SELECT ref, id::text FROM orders"))
        assert stored == self.refs
        lines: dict[str, dict[str, tuple[int, ...]]] = {}
        rows = lent.sql(
            "SELECT order_id::text, ref, qty, qty_allocated, qty_unsourced, qty_shipped, "
            "qty_cancelled FROM order_line"
        )
        for order_id, ref, *values in rows:
            lines.setdefault(order_id, {})[ref] = tuple(values)
        assert {o: {r: v[0] for r, v in of.items()} for o, of in lines.items()} == self.placed
        for order_id, of_order in lines.items():
            for ref, (_, allocated, unsourced, _, cancelled) in of_order.items():
                if order_id in self.closed:
                    assert allocated == unsourced == 0, f"{order_id} was cancelled, yet is open"
                else:
                    assert cancelled == self.cancelled[order_id, ref], f"{order_id} line {ref}"
        self._units(lent, counted_skus)

    def _units(self, lent: Shop, counted_skus: set[str]) -> None:
        on_hand: Counter[str] = Counter(
            dict(
                lent.sql(
                    "SELECT p.ref, sum(s.on_hand)::int FROM position s "
                    "JOIN product p ON p.id = s.product_id GROUP BY 1"
                )
            )
        )
        by_line = (
            "SELECT sku, sum(qty_shipped)::int, sum(qty_allocated)::int FROM order_line "
            "WHERE is_stocked GROUP BY 1"
        )
        shipped = {row[0]: row[1] for row in lent.sql(by_line)}
        for sku, units in self.units_in.items():
            if sku not in counted_skus:
                assert on_hand[sku] + shipped.get(sku, 0) == units, f"units of {sku} do not add up"
        reserved = dict(
            lent.sql(
                "SELECT p.ref, sum(s.reserved)::int FROM position s "
                "JOIN product p ON p.id = s.product_id GROUP BY 1"
            )
        )
        for sku, _, allocated in lent.sql(by_line):
            assert reserved.get(sku, 0) == allocated, f"{sku} is reserved for nobody, or is not"
        short = "SELECT count(*) FROM position WHERE reserved > greatest(on_hand, 0)"
        assert lent.value(short) == 0
