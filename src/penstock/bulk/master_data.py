"""Master data from a file, through the verbs that make or change it: products to profiles.

Owns the table of kinds, and the chunks: one pass writes the records and how far the file is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from penstock.access.attribute_types import AttributeTypeInput, upsert_attribute_types
from penstock.access.channels import ChannelInput, check_channel, upsert_channels
from penstock.availability.control_input import ControlInput
from penstock.availability.threshold_input import ThresholdInput
from penstock.availability.thresholds import put_thresholds
from penstock.bulk.isolation import by_halves
from penstock.bulk.jobs import Job
from penstock.bulk.reading import read_ahead
from penstock.bulk.records import Chunk, Shape, fault_of_refusal, record_chunks
from penstock.bulk.run import Run
from penstock.catalogue.commands import upsert_categories, upsert_products
from penstock.catalogue.model import CategoryInput, ProductInput
from penstock.customers.commands import upsert_customers
from penstock.customers.model import CustomerInput
from penstock.errors import Refusal
from penstock.inventory.areas import AreaInput, upsert_areas
from penstock.inventory.limit_rules import LimitInput, set_limits
from penstock.inventory.sources import PoolInput, SourceInput, upsert_pools, upsert_sources
from penstock.network.carriers import (
    HandlingInput,
    TransitInput,
    record_handling,
    record_transit,
    upsert_carriers,
    upsert_lanes,
)
from penstock.network.commands import (
    known_networks,
    set_channel_networks,
    upsert_locations,
    upsert_networks,
)
from penstock.network.lanes import CarrierInput, LaneInput
from penstock.network.model import (
    ChannelNetworksInput,
    LocationInput,
    NetworkInput,
    check_channel_networks,
)
from penstock.network.profiles import ProfileInput, upsert_profiles
from penstock.passes import Pass
from penstock.records import Result
from penstock.rules.controls import put_controls
from penstock.rules.learning import TimeInput, record_times
from penstock.rules.subjects import tell_changes

RECORDS_PER_PASS = 2_000
T = TypeVar("T")
Upsert = Callable[[Pass, Sequence[T]], Awaitable[Sequence[Result]]]


class ChannelRecord(ChannelInput, forbid_unknown_fields=True):
    """A channel of a file, with the networks that may serve it; None leaves them as they are."""

    networks: list[str] | None = None


class Kind(NamedTuple, Generic[T]):
    """What the records of a kind are, and the verb that takes them."""

    shape: Shape[T]
    upsert: Upsert[T]


PRODUCTS = Shape(ProductInput, {"sku": "ref"}, ("ref",))
LOCATIONS = Shape(LocationInput, {}, ("ref", "kind", "latitude", "longitude"))


async def import_products(run: Run, catalogue: str) -> None:
    """Make or change every product that is not done yet.

    Refuses with `missing_column`, `unknown_column` and what reading refuses.
    """

    async def upsert(tx: Pass, products: Sequence[ProductInput]) -> list[Result]:
        outcomes = await upsert_products(tx, catalogue, products)
        results: list[Result] = [outcome.refusal or outcome.status for outcome in outcomes]
        refs = [one.ref for one in products]
        changes = list(zip(refs, results, strict=True))
        await tell_changes(tx, tx.knowledge.workflows, "product", changes, tx.now)
        return results

    await _import(run, Kind(PRODUCTS, upsert))


async def _put_controls(tx: Pass, controls: Sequence[ControlInput]) -> list[Result]:
    return await put_controls(tx, tx.knowledge.workflows, controls, tx.now)


async def _record_times(tx: Pass, times: Sequence[TimeInput]) -> list[Result]:
    return await record_times(tx, tx.knowledge, times, tx.now)


async def import_categories(run: Run, catalogue: str) -> None:
    """Make or change every category that is not done yet, as `import_products`."""

    async def upsert(tx: Pass, categories: Sequence[CategoryInput]) -> list[Result]:
        return await upsert_categories(tx, catalogue, categories)

    await _import(run, Kind(Shape(CategoryInput, {"parent_ref": "parent"}, ("ref",)), upsert))


async def import_records(run: Run, kind: str) -> None:
    """Make or change every record of one of `KINDS` that is not done yet, as `import_products`."""
    await _import(run, KINDS[kind])


async def put_channels(tx: Pass, records: Sequence[ChannelRecord]) -> list[Result]:
    """Make or change channels, and set the networks of those that name some.

    Refusals: those of `upsert_channels`, and `unknown_network`: then the channel is as it was.
    """
    asked = {ref for record in records for ref in record.networks or ()}
    known = await known_networks(tx, asked)
    refusals = [_unusable(record, known) for record in records]
    good = [one for one, refusal in zip(records, refusals, strict=True) if refusal is None]
    results = list(await upsert_channels(tx, good))
    named = [
        ChannelNetworksInput(one.ref, one.networks)
        for one, result in zip(good, results, strict=True)
        if one.networks is not None and isinstance(result, str)
    ]
    set_to = await set_channel_networks(tx, named)
    moved = {one.channel for one, to in zip(named, set_to, strict=True) if to == "updated"}
    taken = iter(
        "updated" if result == "unchanged" and one.ref in moved else result
        for one, result in zip(good, results, strict=True)
    )
    return [refusal or next(taken) for refusal in refusals]


def _unusable(record: ChannelRecord, known: set[str]) -> Refusal | None:
    """Return why a channel's networks cannot be set; what else is wrong, its verb says."""
    networks = record.networks or []
    try:
        check_channel(record)
        check_channel_networks(ChannelNetworksInput(record.ref, networks))
    except Refusal as refusal:
        return refusal
    for ref in networks:
        if ref not in known:
            sentence = f"There is no network {ref[:100]!r}."
            return Refusal("unknown_network", sentence, field="networks", network=ref[:100])
    return None


# Each kind's verb; those of products and categories are told the catalogue.
KINDS: dict[str, Kind[Any]] = {
    "locations": Kind(LOCATIONS, upsert_locations),
    "networks": Kind(Shape(NetworkInput, {}, ("ref",)), upsert_networks),
    "channels": Kind(Shape(ChannelRecord, {}, ("ref",)), put_channels),
    "attribute-types": Kind(
        Shape(AttributeTypeInput, {}, ("entity", "name", "type")), upsert_attribute_types
    ),
    "customers": Kind(Shape(CustomerInput, {}, ("ref",)), upsert_customers),
    "areas": Kind(Shape(AreaInput, {}, ("location", "ref")), upsert_areas),
    "sources": Kind(Shape(SourceInput, {}, ("ref",)), upsert_sources),
    "pools": Kind(Shape(PoolInput, {}, ("ref",)), upsert_pools),
    "carriers": Kind(Shape(CarrierInput, {}, ("ref", "services")), upsert_carriers),
    "lanes": Kind(Shape(LaneInput, {}, ("carrier", "service", "days")), upsert_lanes),
    "transit": Kind(
        Shape(TransitInput, {}, ("carrier", "service", "location", "shipped_at", "delivered_at")),
        record_transit,
    ),
    "handling": Kind(
        Shape(HandlingInput, {}, ("location", "taken_at", "ready_at")), record_handling
    ),
    "fulfilment-times": Kind(Shape(TimeInput, {}, ("fulfilment", "step", "at")), _record_times),
    "controls": Kind(Shape(ControlInput, {}, ()), _put_controls),
    "limits": Kind(Shape(LimitInput, {}, ("ref",)), set_limits),
    "thresholds": Kind(Shape(ThresholdInput, {}, ("at_risk",)), put_thresholds),
    "profiles": Kind(
        Shape(
            ProfileInput,
            {},
            ("ref", "distance_km_upto", "weight_g_upto", "amount_minor", "per_extra_kg_minor"),
        ),
        upsert_profiles,
    ),
}


async def _import(run: Run, kind: Kind[T]) -> None:
    chunks = record_chunks(run.source, kind.shape, run.job.rows_done, RECORDS_PER_PASS)
    await read_ahead(chunks, lambda chunk: by_halves(chunk, partial(_write, run, kind.upsert)))


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
