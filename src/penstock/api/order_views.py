"""Reading an order: its document, its history, and why it was sourced the way it was.

`GET /v1/orders/{id}` and `GET /v1/orders?channel=&ref=`. Everything of one answer is read in one
snapshot.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.explained import with_refs
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.ids import parse_id
from penstock.orders.model import every_line
from penstock.orders.store import SQL
from penstock.rules.documents import order_document
from penstock.rules.learning import times_of
from penstock.rules.roots import load_trees
from penstock.rules.take import unknown_order
from penstock.sourcing.explain import explain
from penstock.sourcing.model import Explanation

_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_encode = msgspec.json.Encoder().encode


async def get_order(served: Served, order_id: str, request: Request) -> Reply:
    """Answer with one order; refuses with `invalid_id` or `unknown_order`."""
    return await _order(served, parse_id(order_id), explained=_wants_text(request))


async def get_orders(served: Served, request: Request) -> Reply:
    """Answer with the order of a channel and a ref; refuses with `unknown_order`."""
    query = request.query()
    channel, ref = query.get("channel"), query.get("ref")
    if not channel or not ref:
        raise Refusal("invalid_query", "Give `channel` and `ref`.", field="ref")
    channel_id = served.knowledge.channel_id(channel[-1])
    key = ([channel_id], [ref[-1]])

    async def find(tx: Tx) -> list[tuple[Any, ...]]:
        return await tx.fetch(SQL.find_refs, key)

    rows = [] if "\0" in ref[-1] else await served.database.run(served.schema, find)
    if not rows:
        sentence = f"There is no order {ref[-1][:100]!r} in this channel."
        raise Refusal("unknown_order", sentence, channel=channel[-1], ref=ref[-1][:100])
    return await _order(served, rows[0][2], explained=_wants_text(request))


def _wants_text(request: Request) -> bool:
    wanted = request.query().get("explain", ["data"])[-1]
    if wanted not in {"data", "text"}:
        raise Refusal("invalid_query", "`explain` is `data` or `text`.", field="explain")
    return wanted == "text"


async def _order(served: Served, order_id: str, *, explained: bool) -> Reply:
    async def read(tx: Tx) -> dict[str, Any] | None:
        await tx.script(_ONE_SNAPSHOT)
        trees = await load_trees(tx, [order_id], "read")
        if not trees:
            return None
        document = order_document(trees[0], served.knowledge)
        document["times"] = await times_of(tx, [one.id for one in trees[0].fulfilments])
        document["history"] = [_event(row) for row in await tx.fetch(SQL.history_of_order, key)]
        skus = {line.product_id: line.sku for line in every_line(trees[0].lines())}
        currency = trees[0].currency if explained else None
        document["sourcing"] = [
            _decision(row, _explanation(served, row[1], skus, currency))
            for row in await tx.fetch(SQL.explanations_of_order, key)
        ]
        return document

    key = (order_id,)
    document = await served.database.run(served.schema, read)
    if document is None:
        raise unknown_order(order_id)
    return Reply(HTTPStatus.OK, _encode(document))


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    seq, name, entity, entity_id, payload, occurred_at = row
    return {
        "seq": seq,
        "event": name,
        "entity": entity,
        "entity_id": entity_id,
        "occurred_at": occurred_at,
        "payload": payload,
    }


def _decision(row: tuple[Any, ...], explanation: Any) -> dict[str, Any]:
    choice_id, _, decided_at = row
    return {"choice_id": choice_id, "decided_at": decided_at, "explanation": explanation}


def _explanation(
    served: Served, stored: dict[str, Any], skus: dict[int, str], currency: str | None
) -> Any:
    """Return a stored explanation as data with refs; as text if amounts have a currency."""
    location_ref = served.knowledge.location_ref
    if currency is None:
        return with_refs(stored, location_ref, skus)
    explanation = msgspec.convert(stored, Explanation)
    return " ".join(explain(explanation, currency, location_ref, skus))
