"""`GET /v1/availability/changes`: what changed of a channel's availability since a cursor.

Owns the query, waiting for something to happen (`wait_s`), and which state of the process an answer
is given from. What changed is `availability/changes.py`'s to say.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Annotated, Literal

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import does_not_fit
from penstock.api.served import Served
from penstock.availability.changes import MAX_ITEMS, Asked, Page, changes_since
from penstock.availability.cursor import AsOf, Cursor, Point, read_cursor
from penstock.availability.feeds import Feed
from penstock.availability.views import Sight
from penstock.db import Tx
from penstock.errors import Refusal

MAX_WAIT_S = 15.0  # less than a process takes to stop
LOOK_EVERY_S = 0.5  # at switches and products: they have no pass number
_encode = msgspec.json.Encoder().encode
_NOTHING_CACHED = ((b"cache-control", b"no-store"),)


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked. Without `after` the answer is the cursor of now."""

    channel: str
    service: Literal["deliver", "collect"] = "deliver"
    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_ITEMS)] = 1_000
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_WAIT_S)] = 0.0


async def get_changes(served: Served, request: Request) -> Reply:
    """Answer a page of changes: at once, or when there are some, or when `wait_s` is over.

    Refuses with `invalid_query`, `invalid_request`, `invalid_cursor`, `unknown_channel`,
    `cursor_too_old`.
    """
    last = {name: values[-1] for name, values in request.query().items()}
    try:
        query = msgspec.convert(last, Query, strict=False)
    except msgspec.ValidationError as error:
        raise does_not_fit(error) from None
    page = await _page(served, query)
    return Reply(HTTPStatus.OK, _encode(page), headers=_NOTHING_CACHED)


async def _page(served: Served, query: Query) -> Page:
    if not served.follower.is_ready.is_set():
        raise Refusal("not_ready", "The availability index is being loaded.")
    served.knowledge.channel_id(query.channel)
    feed, now = await _state(served, query)
    if query.after is None:
        return Page(str(Cursor(now)), [])
    after = read_cursor(query.after)
    if after.point.number > now.number:  # told by a process that is further
        await _moved_on(served, after.point.number - 1, query.wait_s or LOOK_EVERY_S)
        feed, now = await _state(served, query)
    ends_at = time.monotonic() + query.wait_s
    while True:
        page = Page(str(after), [])
        if after.until is not None or after.point != now:
            page = await _changes(served, query, after, (feed, now))
        left_s = ends_at - time.monotonic()
        if page.items or page.resync or page.more or left_s <= 0:
            return page
        after = read_cursor(page.cursor)
        await _moved_on(served, now.number, left_s)
        feed, now = await _state(served, query)


async def _moved_on(served: Served, number: int, at_most_s: float) -> None:
    """Wait for a newer pass than this, or so long, or until switches are to be looked at."""
    try:
        async with asyncio.timeout(min(at_most_s, LOOK_EVERY_S)):
            await served.follower.reached(number + 1)
    except TimeoutError:
        return


async def _state(served: Served, query: Query) -> tuple[Feed, Point]:
    """Return the feed of what is asked and the point that this process is at."""
    availability, knowledge = served.availability, served.knowledge
    key = (knowledge.channel_id(query.channel), query.service)
    while not (catalogue := availability.catalogue(*key)).is_built:
        await availability.settle()
    follower = served.follower
    as_of = AsOf(follower.version, follower.revisions, follower.history)
    feed = served.feeds.feed(query.service, catalogue, knowledge.channels, as_of)
    return feed, Point(follower.version, follower.revisions.get("catalogue", 0), feed.epoch)


async def _changes(served: Served, query: Query, after: Cursor, state: tuple[Feed, Point]) -> Page:
    knowledge = served.knowledge
    feed, now = state
    sight = Sight(served.follower, served.availability, knowledge.channels, knowledge.products)

    async def work(tx: Tx) -> Page:
        channel_id, revisions = knowledge.channel_id(query.channel), served.follower.revisions
        levels = await served.feeds.levels(tx, channel_id, knowledge.directory, revisions)
        asked = Asked(query.channel, query.service, after, query.limit, levels)
        return await changes_since(tx, sight, feed, asked, now)

    return await served.database.run(served.schema, work)
