"""`GET /v1/stock` and `GET /v1/stock/history`: what stock is, was at an instant, and why.

Owns reading the query; what is answered is `inventory/history.py`'s, from the database and not
from the index: this is for looking into, not for selling by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.served import Served
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.inventory.history import (
    MAX_PAGE,
    MAX_SKUS,
    History,
    Stock,
    StockQuery,
    history,
    stock_as_of,
    stock_now,
)

MAX_TEXT = 100
PAGE = 50
_encode = msgspec.json.Encoder().encode
_Query = Mapping[str, Sequence[str]]


async def get_stock(served: Served, request: Request) -> Reply:
    """Answer with positions of `sku`s, at `location`s, in `pool`, as they are or were `at`.

    Refusals: `invalid_query`, `instant_unusable`, and those of `stock_as_of`.
    """
    query = _fields(request, {"sku", "location", "pool", "catalogue", "at"})
    wanted = _wanted(query)
    text = _one(query, "at")
    at = None if text is None else _instant(text)

    async def work(tx: Tx) -> list[Stock]:
        return await (stock_now(tx, wanted) if at is None else stock_as_of(tx, wanted, at))

    stock = await served.database.run(served.schema, work)
    told = (served.knowledge.clock.now() if at is None else at).astimezone(UTC)
    return Reply(HTTPStatus.OK, _encode({"at": told, "stock": stock}))


async def get_history(served: Served, request: Request) -> Reply:
    """Answer with a page of a position's movements, newest first, and what caused each.

    Refusals: `invalid_query`, and those of `history`.
    """
    query = _fields(request, {"sku", "location", "pool", "catalogue", "before", "limit"})
    wanted, limit = _wanted(query), _limit(_one(query, "limit"))
    if len(wanted.skus) != 1 or len(wanted.locations or ()) != 1:
        sentence = "The history is that of one `sku` at one `location`."
        raise Refusal("invalid_query", sentence, field="location")

    async def work(tx: Tx) -> History:
        return await history(tx, wanted, _one(query, "before"), limit)

    return Reply(HTTPStatus.OK, _encode(await served.database.run(served.schema, work)))


def _fields(request: Request, known: Collection[str]) -> _Query:
    query = request.query()
    for name, values in query.items():
        if name not in known:
            raise Refusal("invalid_query", f"There is no field {name[:60]!r}.", field=name[:60])
        if any("\0" in value or len(value) > MAX_TEXT for value in values):
            sentence = f"{name} has at most {MAX_TEXT} characters, none of them NUL."
            raise Refusal("invalid_query", sentence, field=name)
    return query


def _wanted(query: _Query) -> StockQuery:
    skus = [sku for sku in query.get("sku", ()) if sku]
    if not 1 <= len(skus) <= MAX_SKUS:
        raise Refusal("invalid_query", f"Give 1 to {MAX_SKUS} `sku`.", field="sku")
    return StockQuery(skus, query.get("location"), _one(query, "pool"), _one(query, "catalogue"))


def _one(query: _Query, name: str) -> str | None:
    values = query.get(name)
    return values[-1] if values else None


def _instant(text: str) -> datetime:
    """Read an instant with a time zone; a `+` that arrived as a space is one."""
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        sentence = "at is an instant with a time zone, such as 2026-12-24T18:00:00Z."
        raise Refusal("instant_unusable", sentence, field="at")
    return at


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise Refusal("invalid_query", f"limit is a number from 1 to {MAX_PAGE}.", field="limit")
    return int(text)
