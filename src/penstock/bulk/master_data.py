"""Products and locations from a file, through the verbs that make or change them.

Owns the chunks: one pass writes the records and how far the file is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from penstock.bulk.isolation import by_halves
from penstock.bulk.jobs import Job
from penstock.bulk.reading import read_ahead
from penstock.bulk.records import Chunk, Shape, fault_of_refusal, record_chunks
from penstock.bulk.run import Run
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ProductInput
from penstock.errors import Refusal
from penstock.network.commands import upsert_locations
from penstock.network.model import LocationInput
from penstock.passes import Pass

RECORDS_PER_PASS = 2_000
T = TypeVar("T")
Upsert = Callable[[Pass, Sequence[T]], Awaitable[Sequence[str | Refusal]]]
PRODUCTS = Shape(ProductInput, {"sku": "ref"}, ("ref",))
LOCATIONS = Shape(LocationInput, {}, ("ref", "kind", "latitude", "longitude"))


async def import_products(run: Run, catalogue: str) -> None:
    """Make or change every product that is not done yet.

    Refuses with `missing_column`, `unknown_column` and what reading refuses.
    """

    async def upsert(tx: Pass, products: Sequence[ProductInput]) -> list[str | Refusal]:
        outcomes = await upsert_products(tx, catalogue, products)
        return [outcome.refusal or outcome.status for outcome in outcomes]

    await _import(run, PRODUCTS, upsert)


async def import_locations(run: Run) -> None:
    """Make or change every location that is not done yet; refuses as `import_products`."""

    async def upsert(tx: Pass, locations: Sequence[LocationInput]) -> list[str | Refusal]:
        return list(await upsert_locations(tx, locations))

    await _import(run, LOCATIONS, upsert)


async def _import(run: Run, shape: Shape[T], upsert: Upsert[T]) -> None:
    chunks = record_chunks(run.source, shape, run.job.rows_done, RECORDS_PER_PASS)
    await read_ahead(chunks, lambda chunk: by_halves(chunk, partial(_write, run, upsert)))


async def _write(run: Run, upsert: Upsert[T], chunk: Chunk[T]) -> None:
    async def work(tx: Pass) -> Job:
        results = await upsert(tx, chunk.values) if chunk.values else ()
        faults = [
            fault_of_refusal(row, result)
            for row, result in zip(chunk.rows, results, strict=True)
            if isinstance(result, Refusal)
        ]
        unchanged = sum(result == "unchanged" for result in results)
        return await run.advance(tx, chunk.rows_done, [*chunk.faults, *faults], unchanged)

    run.committed(await run.knowledge.run_pass("import", work))
