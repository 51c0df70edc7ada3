"""The answer to `GET|POST /v1/availability`, from memory alone.

Owns the request's shape and limits and the answer's JSON. It never touches PostgreSQL: what it says
is as of `version`, the newest pass in the index, checked `age_ms` ago; the database judges at the
moment of allocation.
"""

import itertools
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from penstock.availability.atp import Availability, Guest, VirtualCatalogue
from penstock.availability.explain import Explained, explain
from penstock.availability.follow import Follower
from penstock.availability.kits import kits_by_row
from penstock.availability.nearest import distances_km, places_with_stock
from penstock.availability.neighbours import ChannelTree, ProductBook
from penstock.errors import Refusal

MAX_SKUS = 500
MAX_NEAR = 100

Degrees90 = Annotated[float, msgspec.Meta(ge=-90, le=90)]
Degrees180 = Annotated[float, msgspec.Meta(ge=-180, le=180)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_NEAR)]
Status = Literal["unknown", "off", "unstocked"]


class Near(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A coordinate in degrees, and how many locations with stock are wanted around it."""

    latitude: Degrees90
    longitude: Degrees180
    limit: Limit = 5


class AvailabilityRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked: SKUs of a channel, in total, at each location, or at the nearest ones.

    `tier` and `basket_minor` (in the channel's currency) are the customer's, for ring-fences.
    """

    channel: str
    skus: list[str]
    service: Literal["deliver", "collect"] = "deliver"
    locations: bool = False
    near: Near | None = None
    tier: str = "standard"
    basket_minor: int = 0
    explain: bool = False


class AtLocation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one location may promise."""

    location: str
    available: int
    distance_km: float | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What may be promised of one SKU; `status` when it is no ordinary, stocked product.

    Of a `kit`: whole from one location each, or with parts that may ship `apart`.
    """

    sku: str
    available: int
    locations: list[AtLocation] | None = None
    status: Status | None = None
    kit: Literal["whole", "apart"] | None = None
    explained: Explained | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The whole answer: as of which pass, how fresh, and an item per SKU in the order asked."""

    version: int
    age_ms: int
    items: list[Item]


class Sight(msgspec.Struct):
    """What an answer is given from: what this process knows of the account, at this moment."""

    follower: Follower
    availability: Availability
    channels: ChannelTree
    products: ProductBook


_encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(AvailabilityRequest).decode


def answer(sight: Sight, request: AvailabilityRequest) -> bytes:
    """Answer a request as JSON; refuses with `too_many_skus` or `unknown_channel`."""
    skus = request.skus
    if len(skus) > MAX_SKUS:
        raise Refusal("too_many_skus", f"Ask for at most {MAX_SKUS} SKUs at once.", most=MAX_SKUS)
    channel_id = sight.channels.by_ref.get(request.channel)
    if channel_id is None:
        message = f"There is no channel {request.channel[:60]!r}."
        raise Refusal("unknown_channel", message, channel=request.channel[:60])
    known = sight.products.by_sku(sight.channels.catalogue_id(channel_id))
    items = items_of(sight, request, [known.get(sku, -1) for sku in skus])
    follower = sight.follower
    return _encode(Answer(follower.version, int(follower.age_s * 1000), items))


def items_of(sight: Sight, request: AvailabilityRequest, products: list[int]) -> list[Item]:
    """Return an item per SKU of a request, given their product ids (-1: unknown).

    The request's channel is known.
    """
    skus, channel_id = request.skus, sight.channels.by_ref[request.channel]
    product_ids = np.array(products, dtype=np.intp)
    catalogue = sight.availability.catalogue(channel_id, request.service)
    guest = None
    if request.basket_minor or request.tier != "standard":
        currency = sight.channels.currency(channel_id) or ""
        guest = Guest(channel_id, request.tier, request.basket_minor, currency)
    totals = catalogue.totals_of(product_ids, guest).tolist()
    if request.locations or request.near is not None:
        places = _places(sight.availability, catalogue, request, product_ids, guest)
        items = list(map(Item, skus, totals, places))
    else:
        items = list(map(Item, skus, totals))
    if request.explain:
        _explain(items, sight.availability, catalogue, products, guest)
    _mark(items, sight, (catalogue, request), product_ids)
    return items


def _mark(
    items: list[Item],
    sight: Sight,
    asked: tuple[VirtualCatalogue, AvailabilityRequest],
    product_ids: NDArray[np.intp],
) -> None:
    """Replace the items of what is unknown, switched off, a kit, or not promised from stock."""
    products = sight.products
    is_plain = products.is_plain.take(product_ids, mode="clip") & (product_ids >= 0)
    if b"\0" not in is_plain.tobytes():  # most often so, and a third of the price of `all`
        return
    for place in (~is_plain).nonzero()[0].tolist():
        product_id, sku = int(product_ids[place]), items[place].sku
        if product_id < 0:
            items[place] = Item(sku, 0, None, "unknown")
        elif not products.is_on[product_id]:
            items[place] = Item(sku, 0, None, "off")
        else:
            kit = products.kit(product_id)
            items[place] = (
                Item(sku, 0, None, "unstocked") if kit is None else _of_kit(sku, kit, sight, *asked)
            )


def _of_kit(
    sku: str, kit: Any, sight: Sight, catalogue: VirtualCatalogue, request: AvailabilityRequest
) -> Item:
    """Return the item of a kit, of which every component has to be on; unstocked ones abound."""
    products, locations = sight.products, sight.availability.locations
    parts = products.parts(kit)
    kind: Literal["whole", "apart"] = "apart" if kit.may_ship_apart else "whole"
    if not all(products.is_on[product_id] for product_id, _ in parts):
        return Item(sku, 0, None, "off", kind)
    parts = [part for part in parts if products.is_stocked[part[0]]]
    if not parts:
        return Item(sku, 0, None, "unstocked", kind)
    by_row, apart = kits_by_row(catalogue, parts)
    available = apart if kit.may_ship_apart else int(by_row.sum())
    near = request.near
    if not request.locations and near is None:
        return Item(sku, available, None, None, kind)
    rows: list[int] = by_row.nonzero()[0].tolist()
    if near is None:
        found = [AtLocation(locations.refs[row], int(by_row[row])) for row in rows]
        return Item(sku, available, found, None, kind)
    from_here = distances_km(locations, near.latitude, near.longitude)
    rows = sorted(rows, key=lambda row: (from_here[row], row))[: near.limit]
    found = [
        AtLocation(locations.refs[row], int(by_row[row]), round(float(from_here[row]), 1))
        for row in rows
    ]
    return Item(sku, available, found, None, kind)


def _explain(
    items: list[Item],
    availability: Availability,
    catalogue: VirtualCatalogue,
    products: list[int],
    guest: Guest | None,
) -> None:
    for place, product_id in enumerate(products):
        if product_id >= 0:
            told = explain(availability, catalogue, product_id, guest)
            items[place] = msgspec.structs.replace(items[place], explained=told)


def _places(
    availability: Availability,
    catalogue: VirtualCatalogue,
    request: AvailabilityRequest,
    product_ids: NDArray[np.intp],
    guest: Guest | None,
) -> list[list[AtLocation]]:
    locations, near = availability.locations, request.near
    if near is None:
        places = places_with_stock(catalogue, product_ids, guest=guest)
        distances: list[float | None] = [None] * len(places.rows)
    else:
        from_here = distances_km(locations, near.latitude, near.longitude)
        places = places_with_stock(catalogue, product_ids, from_here, near.limit, guest)
        distances = from_here[places.rows].round(1).tolist()
    refs = locations.refs
    rows: list[int] = places.rows.tolist()
    columns = zip(rows, places.available.tolist(), distances, strict=True)
    flat = [AtLocation(refs[row], available, km) for row, available, km in columns]
    bounds = places.line_start.tolist()
    return [flat[a:b] for a, b in itertools.pairwise(bounds)]
