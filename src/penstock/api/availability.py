"""`GET|POST /v1/availability`: translate the query, answer from memory.

Hot: answered straight, nothing is awaited. Shapes and limits are `availability/views.py`'s.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import does_not_fit, read_json
from penstock.api.served import Served
from penstock.availability.views import AvailabilityRequest, Sight, answer
from penstock.errors import Refusal

_PLAIN = ("channel", "service", "locations", "tier", "basket_minor", "explain")
_FIELDS = frozenset({*_PLAIN, "sku", "latitude", "longitude", "limit"})
_decoder = msgspec.json.Decoder(AvailabilityRequest)


async def post_availability(served: Served, request: Request) -> Reply:
    """Answer what the body asks; refuses with `unknown_channel`, `too_many_skus`."""
    return _answer(served, read_json(_decoder, request.body))


async def get_availability(served: Served, request: Request) -> Reply:
    """Answer what the query asks: `channel`, `sku` (again and again), `service`, ….

    Refuses with `invalid_query` and as `post_availability`.
    """
    query = request.query()
    unknown = sorted(query.keys() - _FIELDS)
    if unknown:
        raise Refusal("invalid_query", f"There is no field {unknown[0][:60]!r}.", field=unknown[0])
    last = {name: values[-1] for name, values in query.items()}
    asked: dict[str, object] = {"skus": query.get("sku", [])}
    asked |= {name: last[name] for name in _PLAIN if name in last}
    near = {name: last[name] for name in ("latitude", "longitude", "limit") if name in last}
    if near:
        asked["near"] = near
    try:
        return _answer(served, msgspec.convert(asked, AvailabilityRequest, strict=False))
    except msgspec.ValidationError as error:
        raise does_not_fit(error) from None


def _answer(served: Served, asked: AvailabilityRequest) -> Reply:
    if not served.follower.is_ready.is_set():
        raise Refusal("not_ready", "The availability index is being loaded.")
    knowledge = served.knowledge
    sight = Sight(served.follower, served.availability, knowledge.channels, knowledge.products)
    return Reply(HTTPStatus.OK, answer(sight, asked))
