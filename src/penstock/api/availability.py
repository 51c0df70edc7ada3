"""`GET|POST /v1/availability`: translate the query, answer from memory.

Hot: answered straight, nothing is awaited. Shapes and limits are `availability/views.py`'s.

Owns the cache hints of `GET`: a weak `ETag` made of what is said of the SKUs (not of version and
age, which every commit anywhere moves), so that it is the same in every process and `304` is
answered for as long as nothing asked for has changed; and `Cache-Control`, as the channel's setting
`availability.max_age_s` says. Both together cost about a microsecond.
"""

from __future__ import annotations

from http import HTTPStatus
from zlib import crc32

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import does_not_fit, read_json
from penstock.api.served import Served
from penstock.availability.views import AvailabilityRequest, Sight, answer
from penstock.errors import Refusal
from penstock.rules.knowledge import Knowledge

_PLAIN = ("channel", "service", "locations", "tier", "basket_minor", "explain")
_FIELDS = frozenset({*_PLAIN, "sku", "latitude", "longitude", "limit"})
MAX_AGE_SETTING = "availability.max_age_s"
MOST_AGE_S = 86_400
_ITEMS = b'"items":'
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
        wanted = msgspec.convert(asked, AvailabilityRequest, strict=False)
    except msgspec.ValidationError as error:
        raise does_not_fit(error) from None
    reply = _answer(served, wanted)
    _hint(served.knowledge, wanted.channel, request, reply)
    return reply


def _hint(knowledge: Knowledge, channel: str, request: Request, reply: Reply) -> None:
    """Add `ETag` and `Cache-Control` to a reply; make it a 304 where the client has it."""
    body = reply.body
    items = body[body.index(_ITEMS) :]
    tag = f'W/"{len(items):x}-{crc32(items):08x}"'
    settings = knowledge.channel_view(knowledge.channels.by_ref[channel])["settings"]
    reply.ready = (
        ("content-type", "application/json"),
        ("etag", tag),
        ("cache-control", _cache_control(settings.get(MAX_AGE_SETTING))),
    )
    known = request.headers.get("if-none-match")
    if known is not None and (tag in known or known == "*"):
        reply.status, reply.body = HTTPStatus.NOT_MODIFIED, b""
        reply.ready = reply.ready[1:]


def _cache_control(max_age_s: object) -> str:
    """Return the header for a setting; without one that can be used, caches ask every time."""
    if type(max_age_s) is int and 0 < max_age_s <= MOST_AGE_S:
        return f"public, max-age={max_age_s}"
    return "no-cache"


def _answer(served: Served, asked: AvailabilityRequest) -> Reply:
    if not served.follower.is_ready.is_set():
        raise Refusal("not_ready", "The availability index is being loaded.")
    knowledge = served.knowledge
    sight = Sight(served.follower, served.availability, knowledge.channels, knowledge.products)
    return Reply(HTTPStatus.OK, answer(sight, asked))
