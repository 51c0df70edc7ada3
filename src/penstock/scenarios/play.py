"""Playing a scenario: each step happens as it would for a client, then what it came to is read.

Owns the order of a step: what happens, the work that is due because of it, what is expected. No
outside call is ever made: a step says what the peer answers, and the engine judges it as it would
a real answer. Nothing but the clock is made up.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from penstock.connectors.model import Answer, Failure
from penstock.connectors.run import LEASE, judge
from penstock.db import Queries, Tx
from penstock.engine.durations import parse_duration
from penstock.engine.entities import EntityInput
from penstock.engine.jobs import claim_job, end_attempts
from penstock.errors import Refusal, invariant
from penstock.inventory.decide import expire_holds
from penstock.network.directory import Directory
from penstock.orders.intake import OrderInput
from penstock.rules.actions import Doing, action_event
from penstock.rules.crossings import Watcher
from penstock.rules.documents import root_document
from penstock.rules.finding import Found, Named, find_entity, read_root
from penstock.rules.roots import Root
from penstock.rules.take import NewEntity, NewOrder, RootEvent, Work
from penstock.rules.timeline import Entry, timeline
from penstock.rules.work import run_due
from penstock.scenarios.compare import Difference, differences, is_part, missing_in_order
from penstock.scenarios.document import (
    ActionStep,
    AnswerStep,
    EventStep,
    Expected,
    FailureStep,
    Of,
    Read,
    Scenario,
    Step,
    instant_of,
)
from penstock.scenarios.world import World, count, world

T = TypeVar("T")
SQL = Queries("penstock.scenarios", "scenarios.sql")
MAX_ROUNDS = 10_000
HOLDS_AT_ONCE = 5_000


class Played(msgspec.Struct):
    """What came of a scenario. A failure has its step (from 1), its line, and what differed.

    `ran` is what happened to the entity of that step, newest last, for people to look at.
    """

    name: str
    file: str
    seconds: float = 0.0
    step: int = 0
    line: int = 0
    differences: list[Difference] = []
    ran: list[Entry] = []

    @property
    def is_good(self) -> bool:
        """Tell whether everything was as expected."""
        return not self.differences


async def play(conninfo: str, read: Read, number: int) -> Played:
    """Play one scenario of a file on an account of its own; stops at the first step that fails."""
    scenario: Scenario = read.file.scenarios[number]
    played = Played(scenario.name, str(read.path))
    started = time.perf_counter()
    async with world(conninfo, read, scenario) as one:
        player = _Player(one)
        for place, step in enumerate(scenario.steps):
            played.differences = await player.take(step)
            if played.differences:
                played.step = place + 1
                played.line = read.line(("scenarios", number, "steps", place))
                played.ran = await player.what_ran()
                break
        if played.is_good:
            report = await one.audit()
            examples = [text for check in report.checks for text in check.examples]
            played.differences = [Difference("audit", "nothing", text) for text in examples]
            played.line = read.line(("scenarios", number))
    played.seconds = time.perf_counter() - started
    return played


class _Player:
    """A scenario on its way: the thing that the last step was about, and what was seen so far."""

    def __init__(self, one: World) -> None:
        self._world = one
        account = one.account
        self._knowledge = account.knowledge
        self._watcher = Watcher(account.knowledge, account.availability, account.follower)
        self._last: Of | None = None
        self._seen_jobs = 0
        self._dead_letters = 0
        self._unhandled = 0

    async def take(self, step: Step) -> list[Difference]:
        """Let a step happen and return what is not as expected."""
        await self._watcher.step()  # what there is at the beginning has crossed nothing
        since = await self._value(SQL.newest_pass)
        refused: Refusal | None = None
        try:
            await self._happen(step)
        except Refusal as refusal:
            refused = refusal
        await self._settle()
        found = _refusal(step.expect.refused, refused)
        return found or await self._look(step.expect, str(since))

    async def what_ran(self) -> list[Entry]:
        """Return what happened to the thing that the last step was about."""
        if self._last is None:
            return []
        try:
            found = await self._find(self._last)
        except Refusal:
            return []
        return await self._read(lambda tx: timeline(tx, found.root_id))

    # ── what happens ──────────────────────────────────────────────────────────────────────────

    async def _happen(self, step: Step) -> None:
        if step.order is not None:
            await self._order(step.order)
        if step.entity is not None:
            await self._entity(step.entity)
        if step.event is not None:
            await self._event(step.event)
        if step.action is not None:
            await self._action(step.action)
        if step.stock is not None:
            await count(self._world.account, step.stock)
        if step.wait is not None:
            await self._wait(self._world.clock.now() + parse_duration(step.wait))
        if step.at is not None:
            await self._wait(instant_of(step.at))
        if step.answer is not None:
            await self._answer(step.answer)
        if step.failure is not None:
            await self._answer(step.failure)

    async def _order(self, written: dict[str, Any]) -> None:
        knowledge = self._knowledge
        fields = {"channel": min(knowledge.channels.by_ref), "ref": "A-1"} | written
        if "choices" not in fields and fields.get("service", "deliver") == "deliver":
            fields.setdefault("destination", _first_place(knowledge.directory))
        asked = _converted(fields, OrderInput, "order")
        self._last = {"order": asked.ref, "channel": asked.channel}
        await self._submit(NewOrder(asked))

    async def _entity(self, written: dict[str, Any]) -> None:
        fields = dict(written)
        parent: Of | None = fields.pop("parent", None)
        if parent is not None:
            found = await self._find(parent)
            fields |= {"parent_kind": found.root_kind, "parent_id": found.root_id}
        asked = _converted({"ref": "1"} | fields, EntityInput, "entity")
        self._last = {asked.kind: asked.ref}
        await self._submit(NewEntity(asked))

    async def _event(self, step: EventStep) -> None:
        found = await self._find(self._meant(step.of))
        place = (found.root_kind, found.entity, found.entity_id)
        await self._submit(RootEvent(found.root_id, step.name, dict(step.payload), None, *place))

    async def _action(self, step: ActionStep) -> None:
        found = await self._find(self._meant(step.of))
        root = await self._root(found)
        doing = Doing(step.name, step.fields, "scenario", step.role)
        workflows = self._knowledge.workflows.by_id
        await self._submit(action_event(root, workflows, found.entity_id, doing))

    async def _submit(self, item: Work) -> None:
        (result,) = await self._world.account.grouping.submit([item])
        if isinstance(result, Refusal):
            raise result

    async def _answer(self, step: AnswerStep | FailureStep) -> None:
        job_id = await self._call_meant(step.call)
        now = self._world.clock.now()
        if isinstance(step, AnswerStep):
            result: Answer | Failure = Answer(step.status, step.body)
        else:
            result = Failure(step.error, step.status, step.final)

        async def work(tx: Tx) -> None:
            job = await claim_job(tx, job_id, now + LEASE)
            if job is not None:
                await end_attempts(tx, [judge(job, result, now)], now)

        await self._read(work)

    async def _call_meant(self, call: dict[str, Any]) -> str:
        waiting = [one for one in await self._calls() if one["status"] == "due"]
        for one in waiting:
            if is_part(call, one):
                return str(one["id"])
        asked = ", ".join(str(one.get("url", one["kind"])) for one in waiting) or "none"
        raise Refusal("no_such_call", f"No outside call like that waits; there are: {asked}.")

    async def _wait(self, until: datetime) -> None:
        """Move the clock, stopping at each instant at which something is due."""
        for _ in range(MAX_ROUNDS):
            due_at = await self._value(SQL.next_due, (until,))
            if due_at is None:
                break
            self._world.clock.advance_to(due_at)
            await self._settle()
        self._world.clock.advance_to(until)

    async def _settle(self) -> None:
        """Do what is due, until nothing is: events, crossings, and the end of holds."""
        knowledge = self._knowledge
        for _ in range(MAX_ROUNDS):
            if not await run_due(knowledge, self._world.pid) and not await self._watcher.step():
                break
        await knowledge.run_pass("expiry", lambda tx: expire_holds(tx, HOLDS_AT_ONCE))

    # ── what it came to ───────────────────────────────────────────────────────────────────────

    async def _look(self, expected: Expected, since: str) -> list[Difference]:
        found: list[Difference] = []
        if expected.status is not None or expected.document is not None:
            found += await self._look_at(self._meant(None), expected.status, expected.document)
        for one in expected.entities:
            found += await self._look_at(one.of, one.status, one.document)
        if expected.events is not None:
            names = [row[0] for row in await self._rows(SQL.events_since, (since,))]
            if missing_in_order(expected.events, names) is not None:
                found.append(Difference("events", expected.events, names))
        if expected.timers is not None:
            now = self._world.clock.now()
            names = [row[0] for row in await self._rows(SQL.timers, (now,))]
            found += differences(expected.timers, names, "timers")
        return found + await self._look_around(expected)

    async def _look_at(
        self, of: Of, status: str | None, document: dict[str, Any] | None
    ) -> list[Difference]:
        name = ", ".join(f"{key} {value}" for key, value in of.items() if key != "channel")
        try:
            found = await self._find(of)
        except Refusal as refusal:
            return [Difference(name, "there is one", refusal.message)]
        root = await self._root(found)
        whole = msgspec.to_builtins(root_document(root, self._knowledge))
        subject = whole
        if found.entity != found.root_kind:
            parts = whole["fulfilments" if found.entity == "fulfilment" else "choices"]
            subject = next(part for part in parts if part["id"] == found.entity_id)
        wanted = (document or {}) | ({} if status is None else {"status": status})
        return [
            msgspec.structs.replace(one, where=f"{name}: {one.where}")
            for one in differences(wanted, subject)
        ]

    async def _look_around(self, expected: Expected) -> list[Difference]:
        found: list[Difference] = []
        calls = await self._calls()
        new, self._seen_jobs = calls[self._seen_jobs :], len(calls)
        if expected.calls is not None:
            found += differences(expected.calls, new, "calls")
        for one in expected.stock:
            rows = await self._rows(SQL.position, (one.sku, one.location))
            on_hand, reserved = rows[0] if rows else (0, 0)
            was = {"on_hand": on_hand, "reserved": reserved}
            was["available"] = max(on_hand - reserved, 0)
            wanted = {name: value for name in was if (value := getattr(one, name)) is not None}
            found += differences(wanted, was, f"stock of {one.sku} at {one.location}")
        letters = [f"{name}: {error}" for name, error in await self._rows(SQL.dead_letters)]
        new_letters, self._dead_letters = letters[self._dead_letters :], len(letters)
        if len(new_letters) != expected.dead_letters:
            found.append(Difference("dead letters", expected.dead_letters, new_letters))
        names = [row[0] for row in await self._rows(SQL.unhandled)]
        new_names, self._unhandled = names[self._unhandled :], len(names)
        return found + differences(expected.unhandled, new_names, "unhandled")

    async def _calls(self) -> list[dict[str, Any]]:
        rows = await self._rows(SQL.jobs)
        return [
            {"id": key, "kind": kind, "status": status, "attempts": attempts, **request}
            for key, kind, status, request, attempts in rows
        ]

    # ── finding and reading ───────────────────────────────────────────────────────────────────

    def _meant(self, of: Of | None) -> Of:
        if of is not None:
            self._last = of
        if self._last is None:
            raise Refusal("entity_needed", "Say with `of` which entity is meant.", field="of")
        return self._last

    async def _find(self, of: Of) -> Found:
        if "order" not in of:
            kind, ref = next(iter(of.items()))
            return await self._read(
                lambda tx: find_entity(tx, self._knowledge, Named(kind, ref=str(ref)))
            )
        channel = str(of.get("channel", min(self._knowledge.channels.by_ref)))
        named = Named("order", ref=str(of["order"]), channel=channel)
        found = await self._read(lambda tx: find_entity(tx, self._knowledge, named))
        inside = next((kind for kind in ("fulfilment", "choice") if kind in of), None)
        if inside is None:
            return found
        return self._inside(await self._root(found), found, inside, of[inside])

    def _inside(self, root: Root, found: Found, kind: str, which: str | int) -> Found:
        """Return a fulfilment by its location (the newest there) or place; a choice by place."""
        document = msgspec.to_builtins(root_document(root, self._knowledge))
        parts = document["fulfilments" if kind == "fulfilment" else "choices"]
        if isinstance(which, int):
            chosen = parts[which - 1 : which]
        else:
            chosen = [part for part in parts if part.get("location") == which][-1:]
        if not chosen:
            raise Refusal("unknown_entity", f"The order has no {kind} {which!r}.")
        return Found(found.root_kind, found.root_id, kind, chosen[0]["id"])

    async def _root(self, found: Found) -> Root:
        return await self._read(lambda tx: read_root(tx, self._knowledge, found))

    async def _read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        return await self._world.account.database.run(self._world.account.schema, work)

    async def _rows(self, query: bytes, values: tuple[Any, ...] = ()) -> list[Any]:
        return await self._read(lambda tx: tx.fetch(query, values))

    async def _value(self, query: bytes, values: tuple[Any, ...] = ()) -> Any:
        rows = await self._rows(query, values)
        invariant(len(rows) == 1, "an aggregate has one row")
        return rows[0][0]


S = TypeVar("S", bound=msgspec.Struct)


def _converted(fields: dict[str, Any], kind: type[S], what: str) -> S:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_scenario", f"The {what} of a step: {error}.") from None


def _refusal(expected: str | None, refused: Refusal | None) -> list[Difference]:
    if refused is None:
        return [] if expected is None else [Difference("refused", expected, "it was not")]
    if expected == refused.code:
        return []
    was = f"{refused.code}: {refused.message}"
    return [Difference("refused", expected or "it is not", was)]


def _first_place(directory: Directory) -> dict[str, float]:
    """Return where an order goes that does not say: to the door of the first location."""
    if not len(directory.latitudes):
        raise Refusal("invalid_scenario", "An order needs a destination where no location is.")
    return {
        "latitude": float(directory.latitudes[0]),
        "longitude": float(directory.longitudes[0]),
    }
