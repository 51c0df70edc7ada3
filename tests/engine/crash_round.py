"""A round of every shipped workflow: roots whose events wait, and what has become of them.

Each round has SKUs of its own, so that rounds are alike whatever came before. What it comes to does
not depend on which root is run first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from tests.shop import Shop, answered, count, order, stock_of

from penstock.app import Account
from penstock.db import Tx
from penstock.engine.entities import SQL, EntityInput
from penstock.engine.inbox import Event, post
from penstock.engine.workflows import activate
from penstock.ids import new_id
from penstock.orders.intake import HoldInput, OrderInput
from penstock.rules.subjects import About, tell
from penstock.rules.take import NewEntity, NewOrder, RootEvent, Work

ROUNDS = 100
LETTERS = "BCDE"
SHARED = ("P1", "P2", "P3")  # plenty, for every round
PRODUCTS = f"""
INSERT INTO product (id, catalogue_id, ref, weight_g)
    SELECT 1000 + 10 * n + ascii(letter) - 66, 1, 'R' || n || letter, 400
    FROM generate_series(0, {ROUNDS}) AS n, unnest('{{{",".join(LETTERS)}}}'::text[]) AS letter;
"""
OPTIONAL = ("choice", "control", "location", "payment", "position", "product", "return")
ENTITIES = (
    ("payment", "paid"),
    ("payment", "unanswered"),
    ("return", "returned"),
    ("return", "never_arrived"),
)
STAND_INS = (
    ("location", "reopened", "location.switched_off"),
    ("location", "closed", "location.switched_off"),
    ("position", "empty", "inventory.back_in_stock"),
    ("product", "changed", "product.created"),
    ("control", "put", "control.created"),
)


class Round(msgspec.Struct):
    """A round: its number, the shared stock before it, and its roots' documents by name."""

    number: int
    stock: list[tuple[str, str, int, int]]
    made: dict[str, Any] = {}

    def sku(self, sign: str) -> str:
        """Return a SKU of the round's own by its letter, or a shared one by its digit."""
        return f"P{sign}" if sign.isdigit() else f"R{self.number}{sign}"

    def order(self, name: str, *lines: str, **more: Any) -> OrderInput:
        """Return an order of lines such as `B3`: a SKU's sign, and how many."""
        asked = [(self.sku(line[0]), int(line[1:])) for line in lines]
        return order(f"r{self.number}-{name}", *asked, **more)

    def event(self, root_kind: str, name: str, event: str, **payload: Any) -> RootEvent:
        """Return an event for a root by name, or for an order's n-th fulfilment, as `name/n`."""
        name, _, ordinal = name.partition("/")
        root = self.made[name]
        told = RootEvent(root["id"], event, payload, root_kind=root_kind)
        if ordinal:
            told.entity, told.entity_id = "fulfilment", root["fulfilments"][int(ordinal)]["id"]
        return told


async def activate_optional(account: Account) -> None:
    """Have every workflow that comes with Penstock in use."""

    async def work(tx: Any) -> None:
        for name in OPTIONAL:
            await activate(tx, name, 2 if name == "position" else 1)

    await account.database.run(account.schema, work)


async def stage(lent: Shop, account: Account, number: int) -> Round:
    """Make the roots of a round, and leave events of each workflow to a worker."""
    one = Round(number, shared_stock(lent))
    stock = ("B", "L1", 2), ("C", "L1", 1), ("C", "L2", 9), ("D", "L3", 1)
    await count(account, *((one.sku(sign), location, qty) for sign, location, qty in stock))
    await _submit(account, one, _orders(one))
    await _submit(account, one, _entities(one))
    await _tell_stand_ins(account, one)
    await _submit(account, one, _told(one))
    await count(account, (one.sku("B"), "L2", 1), (one.sku("C"), "L1", 0))
    events = _waiting(one)
    now = account.knowledge.clock.now()
    await account.database.run(account.schema, lambda tx: post(tx, events, now))
    return one


async def _submit(account: Account, one: Round, items: Sequence[Work]) -> None:
    for document in map(answered, await account.grouping.submit(items)):
        name = document["ref"].removeprefix(f"r{one.number}-")
        one.made[name] = document


def _entities(one: Round) -> list[Work]:
    parent = one.made["ship"]["id"]
    return [
        NewEntity(
            EntityInput(
                kind=kind, ref=f"r{one.number}-{name}", parent_kind="order", parent_id=parent
            )
        )
        for kind, name in ENTITIES
    ]


async def _tell_stand_ins(account: Account, one: Round) -> None:
    """Tell locations and positions something: they are made when they are first told."""
    things = [
        About(kind, f"r{one.number}-{name}", "default", event, {})
        for kind, name, event in STAND_INS
    ]
    keys = ([thing.kind for thing in things], [thing.ref for thing in things])
    now = account.knowledge.clock.now()

    async def work(tx: Tx) -> list[tuple[Any, ...]]:
        await tell(tx, account.knowledge.workflows, things, now)
        return await tx.fetch(SQL.find_entities, keys)

    for _, ref, entity_id in await account.database.run(account.schema, work):
        one.made[ref.removeprefix(f"r{one.number}-")] = {"id": entity_id}


def _orders(one: Round) -> list[Work]:
    collect = {
        "type": "click_and_collect",
        "service": "collect",
        "pickup_location": "L3",
        "destination": None,
    }
    mixed = {**collect, "type": "multi"}
    decided = [
        one.order("m_ship", "11", type="multi"),
        one.order("m_collect", "11", **mixed),
        one.order("m_reject", "11", type="multi"),
        one.order("m_expire", "11", **mixed),
        one.order("ship", "11"),
        one.order("both", "21", "31"),
        one.order("reject", "11"),
        one.order("cancel", "11"),
        one.order("hold", "11", holds=[HoldInput("fraud")]),
        one.order("short", "B3"),
        one.order("lost", "C1"),
        one.order("c_collect", "11", **collect),
        one.order("c_expire", "11", **collect),
        one.order("c_reject", "11", **collect),
    ]
    waiting = [
        one.order("new", "12"),
        one.order("new_short", "E1"),
        one.order("c_new", "D1", **collect),
        one.order("m_new", "11", type="multi"),
    ]
    return [*map(NewOrder, decided), *(NewOrder(asked, wait=False) for asked in waiting)]


def _told(one: Round) -> list[Work]:
    """Return what is decided at once, for timers to be due later."""
    return [
        one.event("order", "c_expire/0", "fulfilment.readied"),
        one.event("order", "m_expire/0", "fulfilment.readied"),
        one.event("return", "never_arrived", "return.approved"),
        one.event("location", "closed", "location.switched_off"),
        one.event("position", "empty", "inventory.out_of_stock"),
    ]


def _waiting(one: Round) -> list[Event]:
    """Return what waits for a worker, and one event that is refused: nobody has such a thing."""
    told = [
        one.event("order", "ship/0", "fulfilment.shipped"),
        one.event("order", "both/0", "fulfilment.shipped"),
        one.event("order", "both/1", "fulfilment.shipped"),
        one.event("order", "reject/0", "fulfilment.rejected"),
        one.event("order", "cancel", "order.cancellation_requested"),
        one.event("order", "hold", "order.hold_cleared", kind="fraud"),
        one.event("order", "short", "order.sourcing_retried"),
        one.event("order", "c_collect/0", "fulfilment.readied"),
        one.event("order", "c_collect/0", "fulfilment.collected"),
        one.event("order", "c_reject/0", "fulfilment.rejected"),
        one.event("order", "m_ship/0", "fulfilment.shipped"),
        one.event("order", "m_collect/0", "fulfilment.readied"),
        one.event("order", "m_collect/0", "fulfilment.collected"),
        one.event("order", "m_reject/0", "fulfilment.rejected"),
        one.event("payment", "paid", "payment.authorised"),
        one.event("payment", "paid", "payment.captured"),
        one.event("return", "returned", "return.approved"),
        one.event("return", "returned", "return.received"),
        one.event("return", "returned", "return.accepted"),
        one.event("location", "reopened", "location.switched_on"),
        one.event("product", "changed", "product.changed"),
        one.event("control", "put", "control.reviewed"),
        one.event("control", "put", "control.removed"),
    ]
    events = [
        Event(e.root_kind, e.root_id, e.entity or e.root_kind, e.entity_id or e.root_id, e.name)
        for e in told
    ]
    for event, given in zip(events, told, strict=True):
        event.payload = given.payload
    ship = one.made["ship"]
    choice = ship["choices"][0]["id"]
    named = [("choice", choice, "choice.routed"), ("choice", choice, "choice.done")]
    named.append(("fulfilment", new_id(), "fulfilment.shipped"))
    return [*events, *(Event("order", ship["id"], *one) for one in named)]


def shared_stock(lent: Shop) -> list[tuple[str, str, int, int]]:
    """Return (SKU, location, on hand, reserved) of what every round takes from."""
    rows = [
        (sku, location, *pair) for sku in SHARED for location, pair in stock_of(lent, sku).items()
    ]
    return sorted(rows)


_ROOTS = """
WITH root AS (
    SELECT id, 'order' AS kind, substr(ref, {cut}) AS name FROM orders WHERE ref LIKE '{prefix}%'
    UNION ALL
    SELECT id, kind, substr(ref, {cut}) FROM entity WHERE ref LIKE '{prefix}%'
    UNION ALL
    SELECT id, kind, ltrim(ref, 'R{number}') FROM entity
    WHERE kind = 'position' AND ref ~ '^R{number}[B-E]@'
)
"""
_OUTCOMES = {
    "orders": """
        SELECT r.name, o.status, o.seq FROM orders o JOIN root r USING (id)""",
    "lines": """
        SELECT r.name, right(l.sku, 1), l.status, qty, qty_allocated, qty_unsourced, qty_shipped,
            qty_cancelled
        FROM order_line l JOIN root r ON r.id = l.order_id""",
    "choices": """
        SELECT r.name, c.status, coalesce(c.state, '-')
        FROM choice c JOIN root r ON r.id = c.order_id""",
    "holds": """
        SELECT r.name, h.kind, h.cleared_at IS NULL
        FROM order_hold h JOIN root r ON r.id = h.order_id""",
    "fulfilments": """
        SELECT r.name, l.ref, f.status,
            (SELECT sum(n.qty) FROM fulfilment_line n WHERE n.fulfilment_id = f.id)::int
        FROM fulfilment f JOIN root r ON r.id = f.root_id JOIN location l ON l.id = f.origin_id""",
    "reservations": """
        SELECT r.name, v.kind, v.qty FROM reservation v JOIN root r ON r.id = v.root_id""",
    "stock": """
        SELECT right(o.ref, 1), l.ref, p.on_hand, p.reserved
        FROM position p JOIN product o ON o.id = p.product_id JOIN location l
            ON l.id = p.location_id
        WHERE o.ref ~ '^R{number}[B-E]$'""",
    "entities": """
        SELECT r.kind, r.name, e.status, e.seq, e.attributes
        FROM entity e JOIN root r USING (id)""",
    "stream": """
        SELECT r.kind, r.name, e.seq, e.entity, e.name
        FROM event e JOIN root r ON r.id = e.root_id""",
    "traces": """
        SELECT r.kind, r.name, one->>'event', one->>'from', one->>'to', count(*)
        FROM trace t JOIN root r ON r.id = t.root_id, json_array_elements(t.detail) AS one
        GROUP BY 1, 2, 3, 4, 5""",
    "waiting": """
        SELECT r.kind, r.name, i.name, coalesce(i.timer, '-')
        FROM inbox i JOIN root r ON r.id = i.root_id""",
    "dead letters": """
        SELECT r.kind, r.name, d.name, split_part(d.error, ':', 1)
        FROM dead_letter d JOIN root r ON r.id = d.root_id""",
    "unhandled": """
        SELECT r.kind, r.name, u.name FROM unhandled_event u JOIN root r ON r.id = u.root_id""",
    "decisions": """
        SELECT r.name, count(*) FROM sourcing_decision s JOIN root r ON r.id = s.order_id
        GROUP BY 1""",
    "notes": "SELECT count(*) FROM work_note",
}


# How each root of a round ends.
ENDS = {
    "m_ship": "complete",
    "m_collect": "complete",
    "m_reject": "allocated",
    "m_expire": "cancelled",
    "m_new": "allocated",
    "changed": "changed",
    "put": "removed",
    "both": "shipped",
    "c_collect": "collected",
    "c_expire": "cancelled",
    "c_new": "allocated",
    "c_reject": "unsourced",
    "cancel": "cancelled",
    "hold": "allocated",
    "lost": "allocated",
    "new": "allocated",
    "new_short": "unsourced",
    "reject": "allocated",
    "ship": "shipped",
    "short": "allocated",
    "paid": "captured",
    "unanswered": "failed",
    "returned": "closed",
    "never_arrived": "refused",
    "reopened": "open",
    "closed": "overdue",
    "empty": "neglected",
    "C@L1": "out_of_stock",  # short; who runs out is told by the watcher (test_crossings.py)
}


def ends_of(lent: Shop, one: Round) -> dict[str, str]:
    """Return the status of each root of a round, by name."""
    prefix = f"r{one.number}-"
    roots = _ROOTS.format(cut=len(prefix) + 1, prefix=prefix, number=one.number)
    statuses = "SELECT id, status FROM orders UNION ALL SELECT id, status FROM entity"
    return dict(
        lent.sql(f"{roots} SELECT r.name, s.status FROM ({statuses}) s JOIN root r USING (id)")
    )


def outcome(lent: Shop, one: Round) -> dict[str, list[str]]:
    """Return all that has come of a round, by name, without what differs from round to round."""
    prefix = f"r{one.number}-"
    roots = _ROOTS.format(cut=len(prefix) + 1, prefix=prefix, number=one.number)
    found: dict[str, list[str]] = {}
    with psycopg.connect(lent.conninfo, options=f"-c search_path={lent.schema}") as connection:
        for name, query in _OUTCOMES.items():
            text = roots + query.replace("{number}", str(one.number))
            found[name] = sorted(map(str, connection.execute(text.encode()).fetchall()))
    now = shared_stock(lent)
    found["shared stock"] = [
        str((*was[:2], now[2] - was[2], now[3] - was[3]))
        for was, now in zip(one.stock, now, strict=True)
    ]
    return found
