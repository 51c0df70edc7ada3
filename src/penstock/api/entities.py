"""Entities of any kind: making and reading them, sending events, and what users may do.

What an event does, the workflow says. Until access control exists a caller says by itself who acts
(`by`) and in which role.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from penstock.api.errors import refused
from penstock.api.exchange import Reply, Request, idempotency_key, replayed
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx
from penstock.engine import inbox
from penstock.engine.document import EventName
from penstock.engine.entities import EntityInput
from penstock.engine.inbox import Event
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.orders.commands import StoredAnswer
from penstock.orders.store import SQL
from penstock.rules.actions import Doing, action_event, possible_actions
from penstock.rules.documents import root_document
from penstock.rules.finding import Found, Named, find_entity, read_root
from penstock.rules.roots import Root
from penstock.rules.take import NewEntity, Result, RootEvent, Work

Who = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_encode = msgspec.json.Encoder().encode


class EventInput(msgspec.Struct, forbid_unknown_fields=True):
    """An event for an entity. With `wait` the answer is the decision; with `due_at` it is later."""

    entity: Named
    name: EventName
    payload: dict[str, Any] = {}
    wait: bool = True
    due_at: datetime | None = None


class ActionInput(msgspec.Struct, forbid_unknown_fields=True):
    """What was filled in, by whom, in which role."""

    fields: dict[str, Any] = {}
    by: Who = "api"
    role: Who | None = None


_entity = msgspec.json.Decoder(EntityInput)
_event = msgspec.json.Decoder(EventInput)
_action = msgspec.json.Decoder(ActionInput)


async def post_entity(served: Served, request: Request) -> Reply:
    """Make an entity; one that is there is answered as it is. Refuses `no_workflow`, …."""
    refuse_nul(request.body)
    item = NewEntity(read_json(_entity, request.body), idempotency_key(request.headers))
    return await _decided(served, item, HTTPStatus.CREATED)


async def get_entity(served: Served, named: Named) -> Reply:
    """Read an entity by id or ref; refuses `unknown_entity`."""
    _, root = await _read(served, named)
    return Reply(HTTPStatus.OK, _encode(root_document(root, served.knowledge)))


async def post_event(served: Served, request: Request) -> Reply:
    """Send an event; the answer is the root's document, or 202 and the event's id."""
    refuse_nul(request.body)
    asked = read_json(_event, request.body)
    key = idempotency_key(request.headers)
    found = await _find(served, asked.entity)
    if asked.wait and asked.due_at is None:
        event = RootEvent(
            found.root_id,
            asked.name,
            asked.payload,
            key,
            found.root_kind,
            found.entity,
            found.entity_id,
        )
        return await _decided(served, event, HTTPStatus.OK)
    if key is not None:
        sentence = "An Idempotency-Key goes with an event that is waited for."
        raise Refusal("invalid_idempotency_key", sentence)
    return await _posted(served, asked, found)


async def _posted(served: Served, asked: EventInput, found: Found) -> Reply:
    event = Event(
        found.root_kind,
        found.root_id,
        found.entity,
        found.entity_id,
        asked.name,
        asked.payload,
        asked.due_at,
        is_timer=asked.due_at is not None,
        id=new_id(),
    )

    async def work(tx: Tx) -> None:
        await read_root(tx, served.knowledge, found)
        await inbox.post(tx, [event], served.knowledge.clock.now())

    await served.database.run(served.schema, work)
    return Reply(HTTPStatus.ACCEPTED, _encode({"id": event.id, "due_at": asked.due_at}))


async def get_actions(served: Served, named: Named, role: str | None) -> Reply:
    """List what may be done now with an entity and what is inside it, with the forms."""
    _, root = await _read(served, named)
    found = possible_actions(root, served.knowledge.workflows.by_id, role)
    return Reply(HTTPStatus.OK, _encode({"actions": found}))


async def do_action(served: Served, named: Named, name: str, request: Request) -> Reply:
    """Do an action; refuses `action_not_possible`, `invalid_form`, and as the workflow does."""
    refuse_nul(request.body)
    asked = read_json(_action, request.body or b"{}")
    key = idempotency_key(request.headers)
    found, root = await _read(served, named)
    is_repeat = key is not None and await _is_known(served, key)
    doing = Doing(name, asked.fields, asked.by, asked.role, key, is_repeat)
    event = action_event(root, served.knowledge.workflows.by_id, found.entity_id, doing)
    return await _decided(served, event, HTTPStatus.OK)


async def _find(served: Served, named: Named) -> Found:
    async def work(tx: Tx) -> Found:
        return await find_entity(tx, served.knowledge, named)

    return await served.database.run(served.schema, work)


async def _read(served: Served, named: Named) -> tuple[Found, Root]:
    async def work(tx: Tx) -> tuple[Found, Root]:
        found = await find_entity(tx, served.knowledge, named)
        return found, await read_root(tx, served.knowledge, found)

    return await served.database.run(served.schema, work)


async def _is_known(served: Served, key: str) -> bool:
    async def work(tx: Tx) -> bool:
        return bool(await tx.fetch(SQL.find_keys, ([key],)))

    return await served.database.run(served.schema, work)


async def _decided(served: Served, item: Work, status: HTTPStatus) -> Reply:
    result: Result = (await served.grouping.submit([item]))[0]
    if isinstance(result, Refusal):
        return refused(result)
    is_replay = isinstance(result, StoredAnswer)
    return Reply(status, result, headers=replayed(is_replay=is_replay))
