"""Running a supplied document once, for one entity and one event (F-109).

For what no version foresees: an order that has to be mended by the rules, with their checks and
their trace, and by no workflow that others would meet. The document's rulesets stand before those
of the entity's own version, for this pass alone; nothing is stored as a version, and the entity
stays pinned to the one it has. The document is kept with who ran it and why.

A dry run does everything and takes it back.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from penstock.db import Tx, uuid_array
from penstock.engine import inbox
from penstock.engine.compiled import Workflow, compile_document
from penstock.engine.context import RefusedAt
from penstock.engine.document import WorkflowDocument, read_document
from penstock.engine.inbox import Event
from penstock.engine.jobs import Decision
from penstock.engine.lint import refuse_wrong_part
from penstock.errors import Refusal, Transient
from penstock.ids import new_id
from penstock.passes import Pass
from penstock.rules.documents import root_document
from penstock.rules.execute import RefusedInPassError, run_and_write
from penstock.rules.finding import Found, Named, find_entity
from penstock.rules.knowledge import Knowledge
from penstock.rules.roots import Root, context_of, load_roots
from penstock.rules.timeline import SQL, Entry, timeline

MAX_RERUNS = 20
_encode = msgspec.json.Encoder().encode


class Run(msgspec.Struct):
    """What to run: a document, for which entity, by which event, and who wants it and why."""

    document: str
    entity: Named
    event: str
    decision: Decision
    payload: dict[str, Any] = {}
    is_dry: bool = False


class Ran(msgspec.Struct):
    """What came of it: the id of the run, the root's document, and what happened, rule by rule."""

    id: str
    document: dict[str, Any]
    events: list[dict[str, Any]]
    is_dry: bool


class _TakenBackError(Exception):
    """A dry run has come to its end: the pass is rolled back."""

    def __init__(self, ran: Ran) -> None:
        super().__init__("a dry run")
        self.ran = ran


async def run_once(knowledge: Knowledge, run: Run) -> Ran:
    """Run a document once; nothing stays of a dry run, nor of one that is refused.

    Refuses what reading a document refuses, what of it cannot run or would run for ever,
    `wrong_entity` where it is of another kind, `undeclared_status` where it names a status that the
    entity's own version has not, `no_workflow`, `not_allowed_in_status` where nothing handles the
    event, and what rules refuse.
    """
    document = read_document(run.document)
    run_id = new_id()
    known: dict[RefusedAt, Refusal] = {}

    async def work(tx: Pass) -> Ran:
        return await _run(tx, run, document, run_id, known)

    for _ in range(MAX_RERUNS):
        try:
            return await knowledge.run_pass("run_once", work)
        except _TakenBackError as taken:
            return taken.ran
        except RefusedInPassError as refused:
            if refused.refusals:
                raise next(iter(refused.refusals.values())) from None
            known |= refused.known
    raise Refusal("too_many_events", "Its refusals lead to ever new ones: a loop?")


async def _run(
    tx: Pass,
    run: Run,
    document: WorkflowDocument,
    run_id: str,
    known: dict[RefusedAt, Refusal],
) -> Ran:
    knowledge: Knowledge = tx.knowledge
    found = await find_entity(tx, knowledge, run.entity)
    root = await _locked(tx, found)
    workflow = _beside(knowledge, _subject(root, found), document, run_id)
    place = (found.root_kind, found.root_id, found.entity, found.entity_id)
    context = context_of(tx, root, [Event(*place, run.event, dict(run.payload))], known)
    context.workflows = {**context.workflows, workflow.id: workflow}
    await run_and_write(tx, [context])
    if context.unhandled or context.passed_over:
        _refuse_unhandled(context.entity, run.event)
    at = run.decision.at
    why = (run.decision.by, run.decision.reason)
    stored = _encode(document).decode()
    kept = (run_id, found.root_id, found.entity, found.entity_id, run.event, stored, *why, at)
    await tx.execute(SQL.write_run, kept)
    await _keep(tx, run, found, run_id)
    await tx.write_queued()
    ran = Ran(run_id, root_document(root, knowledge), [], run.is_dry)
    ran.events = await _what_ran(tx, found.root_id)
    if run.is_dry:
        raise _TakenBackError(ran)
    return ran


async def _locked(tx: Pass, found: Found) -> Root:
    """Lock the root; what is due for it has to be decided first, by a worker."""
    roots = await load_roots(tx, tx.knowledge, {found.root_kind: [found.root_id]}, "waiting")
    if found.root_id not in roots:
        which = "order" if found.root_kind == "order" else "entity"
        sentence = f"There is no {found.root_kind} {found.root_id}."
        raise Refusal(f"unknown_{which}", sentence)
    if await inbox.due_events_of_roots(tx, [found.root_id], tx.now):
        raise Transient("events that were there before wait to be decided; try again")
    return roots[found.root_id]


def _subject(root: Root, found: Found) -> Any:
    for subject in (root, *root.subjects()):
        if subject.id == found.entity_id:
            return subject
    raise Refusal("unknown_entity", f"There is no {found.entity} {found.entity_id}.")


def _beside(
    knowledge: Knowledge, subject: Any, document: WorkflowDocument, run_id: str
) -> Workflow:
    """Return the entity's own version with the document's rulesets before its own."""
    own = knowledge.workflows.by_id.get(subject.workflow_id or 0)
    if own is None:
        sentence = f"This {subject.kind} has no workflow that something could stand beside."
        raise Refusal("no_workflow", sentence)
    if document.entity != own.entity:
        sentence = f"The document is of {document.entity}, and this is a {own.entity}."
        raise Refusal("wrong_entity", sentence)
    missing = [one.name for one in document.statuses if one.name not in own.categories]
    if missing:
        sentence = f"{own.name}, version {own.version}, has no status {', '.join(missing)}."
        raise Refusal("undeclared_status", sentence, status=missing[0])
    refuse_wrong_part(document, knowledge.vocabulary)
    supplied = compile_document(document, own.id, knowledge.vocabulary)
    rulesets = dict(own.rulesets)
    for event, those in supplied.rulesets.items():
        numbered = [msgspec.structs.replace(one, number=-one.number - 1) for one in those]
        rulesets[event] = [*numbered, *own.rulesets.get(event, ())]
    return msgspec.structs.replace(own, rulesets=rulesets, run=run_id)


def _refuse_unhandled(entity: Any, event: str) -> NoReturn:
    sentence = f"Nothing handles {event} while the {entity.kind} is {entity.status}."
    raise Refusal("not_allowed_in_status", sentence, status=entity.status)


async def _keep(tx: Tx, run: Run, found: Found, run_id: str) -> None:
    told = ("run once", run.decision.by, run.decision.reason, run.decision.at)
    subject = _encode({"run": run_id, "entity": found.entity, "event": run.event}).decode()
    ids = (uuid_array([run_id]), uuid_array([found.root_id]), [subject])
    await tx.execute(SQL.write_interventions, (*told, *ids))


async def _what_ran(tx: Pass, root_id: str) -> list[dict[str, Any]]:
    """Return what this pass has traced of the root."""
    entries: list[Entry] = await timeline(tx, root_id)
    mine = [one for one in entries if one.what == "ran" and one.detail["pass_id"] == tx.id]
    return [event for one in mine for event in one.detail["events"]]
