"""`/v1/products`, `/v1/categories`, `/v1/attribute-types`: put lists, search, look at one.

Owns the shapes; what a record means is the catalogue's. A record that cannot be taken refuses
itself only, and is told by its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Literal, TypeVar

import msgspec

from penstock.access.attribute_types import (
    AttributeTypeInput,
    load_attribute_types,
    upsert_attribute_types,
)
from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, read_query
from penstock.api.served import Served
from penstock.api.stock_rows import Problem, problem_of
from penstock.bulk.jobs import catalogue_of_products
from penstock.bulk.model import Options
from penstock.catalogue.categories import categories_of
from penstock.catalogue.commands import upsert_categories, upsert_products
from penstock.catalogue.model import CategoryInput, ProductInput, price_at
from penstock.catalogue.views import Search, find_products, search_products
from penstock.db import Tx
from penstock.errors import Refusal
from penstock.passes import Pass
from penstock.records import Result

MAX_RECORDS = 5_000
T = TypeVar("T")
Upsert = Callable[[Pass, Sequence[T]], Awaitable[Sequence[Result]]]
_encode = msgspec.json.Encoder().encode


class Records(msgspec.Struct, forbid_unknown_fields=True):
    """Records to put, and the catalogue they are of; it may be left out while there is one."""

    items: list[msgspec.Raw]
    catalogue: str | None = None


class Report(msgspec.Struct):
    """What became of the records: how many of each outcome, and what was wrong with which."""

    rows: int
    created: int
    updated: int
    unchanged: int
    refused: int
    problems: list[Problem]


class PriceQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which catalogue, and which price counts: of a currency, type and quantity, now."""

    catalogue: str | None = None
    currency: str | None = None
    price_type: str = "list"
    qty: int = 1


class SearchQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A search as a query has it (`catalogue.views.Search`)."""

    catalogue: str | None = None
    q: str | None = None
    category: str | None = None
    kind: Literal["standard", "variant", "group"] | None = None
    parent: str | None = None
    is_on: bool | None = None
    after: str = ""
    limit: int = 50


_records = msgspec.json.Decoder(Records)
_product = msgspec.json.Decoder(ProductInput)
_category = msgspec.json.Decoder(CategoryInput)
_attribute_type = msgspec.json.Decoder(AttributeTypeInput)


async def put_products(served: Served, request: Request) -> Reply:
    """Make or change products; 200 with a report.

    Refusals of the whole: `too_many_rows`, `catalogue_needed`, `invalid_catalogue`.
    """
    asked = read_json(_records, request.body)

    async def upsert(tx: Pass, records: Sequence[ProductInput]) -> list[Result]:
        catalogue = await _catalogue(tx, asked.catalogue)
        outcomes = await upsert_products(tx, catalogue, records)
        return [outcome.refusal or outcome.status for outcome in outcomes]

    return await _put(served, asked, _product, upsert)


async def put_categories(served: Served, request: Request) -> Reply:
    """Make or change categories; as `put_products`."""
    asked = read_json(_records, request.body)

    async def upsert(tx: Pass, records: Sequence[CategoryInput]) -> list[Result]:
        return await upsert_categories(tx, await _catalogue(tx, asked.catalogue), records)

    return await _put(served, asked, _category, upsert)


async def put_attribute_types(served: Served, request: Request) -> Reply:
    """Declare attributes, or change what they may be; as `put_products`."""
    asked = read_json(_records, request.body)
    return await _put(served, asked, _attribute_type, upsert_attribute_types)


async def _put(
    served: Served, asked: Records, decoder: msgspec.json.Decoder[T], upsert: Upsert[T]
) -> Reply:
    if len(asked.items) > MAX_RECORDS:
        sentence = f"Send at most {MAX_RECORDS} records at once."
        raise Refusal("too_many_rows", sentence, most=MAX_RECORDS)
    records: dict[int, T] = {}
    problems: list[Problem] = []
    for place, item in enumerate(asked.items):
        try:
            records[place] = read_json(decoder, item)
        except Refusal as refusal:
            problems.append(problem_of(place, refusal))
    results: Sequence[Result] = ()
    if records:
        values = list(records.values())
        results = await served.knowledge.run_pass("import", lambda tx: upsert(tx, values))
    done = {"created": 0, "updated": 0, "unchanged": 0}
    for place, result in zip(records, results, strict=True):
        if isinstance(result, Refusal):
            problems.append(problem_of(place, result))
        else:
            done[result] += 1
    problems.sort(key=lambda problem: problem.row)
    report = Report(len(asked.items), **done, refused=len(problems), problems=problems)
    return Reply(HTTPStatus.OK, _encode(report))


async def list_products(served: Served, request: Request) -> Reply:
    """Answer a page of products in order of SKU; `next` is the `after` of the next page.

    Refuses with `invalid_query`, `catalogue_needed`.
    """
    asked = read_query(request, SearchQuery)

    async def read(tx: Tx) -> Any:
        catalogue = await _catalogue(tx, asked.catalogue)
        fields: dict[str, Any] = {**msgspec.structs.asdict(asked), "catalogue": catalogue}
        return await search_products(tx, Search(**fields))

    return Reply(HTTPStatus.OK, _encode(await served.database.run(served.schema, read)))


async def get_product(served: Served, sku: str, request: Request) -> Reply:
    """Answer one product; with `currency`, also the price that counts now for `qty` of it.

    Refuses with `unknown_product`, `catalogue_needed`, `invalid_query`.
    """
    asked = read_query(request, PriceQuery)

    async def read(tx: Tx) -> Any:
        return await find_products(tx, await _catalogue(tx, asked.catalogue), [sku])

    found = await served.database.run(served.schema, read)
    if not found:
        raise Refusal("unknown_product", f"There is no product {sku[:100]!r}.", sku=sku[:100])
    document = msgspec.structs.asdict(found[0])
    if asked.currency is not None:
        now = served.knowledge.clock.now()
        terms = (asked.price_type, asked.currency, asked.qty, now)
        document["price"] = price_at(found[0].prices, *terms)
    return Reply(HTTPStatus.OK, _encode(document))


async def list_categories(served: Served, request: Request) -> Reply:
    """Answer the category tree of a catalogue: each category with those it is within."""
    asked = read_query(request, PriceQuery)

    async def read(tx: Tx) -> Any:
        return await categories_of(tx, await _catalogue(tx, asked.catalogue))

    found = await served.database.run(served.schema, read)
    return Reply(HTTPStatus.OK, _encode({"categories": found}))


async def list_attribute_types(served: Served, request: Request) -> Reply:
    """Answer what is declared of attributes, of one kind of `entity` or of all."""
    entity = request.query().get("entity", [None])[-1]
    found = await served.database.run(served.schema, lambda tx: load_attribute_types(tx, entity))
    types = [one for of_entity in found.values() for one in of_entity.values()]
    return Reply(HTTPStatus.OK, _encode({"attribute_types": types}))


async def _catalogue(tx: Tx, ref: str | None) -> str:
    return await catalogue_of_products(tx, Options(catalogue=ref))
