"""Traces and the stuck desk over HTTP: what happened, what is stuck, and the remedies."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from penstock.api.exchange import Reply, Request
from penstock.api.reading import read_json, refuse_nul
from penstock.api.served import Served
from penstock.db import Tx
from penstock.engine.document import MAX_DOCUMENT_BYTES
from penstock.engine.durations import parse_duration
from penstock.engine.jobs import Decision
from penstock.errors import Refusal
from penstock.ids import parse_id
from penstock.passes import Pass
from penstock.rules import desk
from penstock.rules.finding import Named, find_entity, read_root
from penstock.rules.run_once import Run, run_once
from penstock.rules.timeline import Entry, timeline

MAX_IDS = 1_000
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_encode = msgspec.json.Encoder().encode


class RemedyInput(msgspec.Struct, forbid_unknown_fields=True):
    """Which ones, who decides, and why."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_IDS)]
    by: Text
    reason: Text


class MoveInput(msgspec.Struct, forbid_unknown_fields=True):
    """Which entity, to which status, by whom, and why."""

    entity: Named
    to: Text
    by: Text
    reason: Text


class RunInput(msgspec.Struct, forbid_unknown_fields=True):
    """Which document (YAML or JSON, as text) to run once, for whom, by whom, and why."""

    document: Annotated[str, msgspec.Meta(max_length=MAX_DOCUMENT_BYTES)]
    entity: Named
    event: Text
    by: Text
    reason: Text
    payload: dict[str, Any] = {}
    dry_run: bool = False


_remedy = msgspec.json.Decoder(RemedyInput)
_run = msgspec.json.Decoder(RunInput)
_move = msgspec.json.Decoder(MoveInput)


async def get_trace(served: Served, named: Named) -> Reply:
    """Answer what happened to a root; refuses `unknown_order`, `unknown_entity`."""

    async def work(tx: Tx) -> list[Entry]:
        found = await find_entity(tx, served.knowledge, named)
        await read_root(tx, served.knowledge, found)
        return await timeline(tx, found.root_id)

    entries = await served.database.run(served.schema, work)
    return Reply(HTTPStatus.OK, _encode({"entries": entries}))


async def get_stuck(served: Served, request: Request) -> Reply:
    """Answer what is stuck; refuses `invalid_duration`, `invalid_query`."""
    query = request.query()
    limits = desk.Limits(
        older_than=_age(query, "older_than", desk.Limits().older_than),
        waiting_for=_age(query, "waiting_for", desk.WAITING),
        most=_limit(query),
    )

    async def work(tx: Tx) -> list[desk.Stuck]:
        return await desk.find_stuck(tx, served.knowledge, served.knowledge.clock.now(), limits)

    found = await served.database.run(served.schema, work)
    return Reply(HTTPStatus.OK, _encode({"stuck": found}))


def _age(query: dict[str, list[str]], name: str, otherwise: timedelta) -> timedelta:
    return parse_duration(query[name][0]) if name in query else otherwise


def _limit(query: dict[str, list[str]]) -> int:
    text = query.get("limit", ["50"])[0]
    if not text.isdecimal() or not 1 <= int(text) <= MAX_IDS:
        raise Refusal("invalid_query", f"limit is a number from 1 to {MAX_IDS}.", field="limit")
    return int(text)


async def post_remedy(served: Served, action: str, request: Request) -> Reply:
    """Retry or skip; answers with the ids that were open. Others are left alone."""
    refuse_nul(request.body)
    asked = read_json(_remedy, request.body)
    ids = [parse_id(one) for one in asked.ids]
    decision = Decision(asked.by, asked.reason, served.knowledge.clock.now())
    verb = desk.retry if action == "retry" else desk.skip

    async def work(tx: Tx) -> list[str]:
        return await verb(tx, ids, decision)

    done = await served.database.run(served.schema, work)
    return Reply(HTTPStatus.OK, _encode({"ids": done}))


async def post_move(served: Served, request: Request) -> Reply:
    """Move an entity to a status, past its workflow; refuses `undeclared_status`."""
    refuse_nul(request.body)
    asked = read_json(_move, request.body)
    knowledge = served.knowledge
    decision = Decision(asked.by, asked.reason, knowledge.clock.now())

    async def work(tx: Pass) -> None:
        found = await find_entity(tx, knowledge, asked.entity)
        await desk.move(tx, found, asked.to, decision)

    await knowledge.run_pass("desk", work)
    return Reply(HTTPStatus.OK, _encode({"moved": True}))


async def post_run(served: Served, request: Request) -> Reply:
    """Run a document once; answers with what it did. Refuses as `rules.run_once.run_once`."""
    refuse_nul(request.body)
    asked = read_json(_run, request.body)
    decision = Decision(asked.by, asked.reason, served.knowledge.clock.now())
    run = Run(asked.document, asked.entity, asked.event, decision, asked.payload, asked.dry_run)
    return Reply(HTTPStatus.OK, _encode(await run_once(served.knowledge, run)))
