"""The workflows of an account: stored versions, what is active, and the compiled ones.

Owns tables `workflow` and `workflow_activation`. A version is immutable. The version activated last
for an entity's type and channel serves new entities; a channel's own beats those above it, and the
account's; a type's own beats `*`. Entities in flight stay with the version they began with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Any

import msgspec
import structlog

from penstock.db import Queries, Tx
from penstock.engine.compiled import Workflow, compile_document
from penstock.engine.document import ANY, WorkflowDocument, read_document
from penstock.engine.lint import refuse_wrong
from penstock.engine.readable import Vocabulary
from penstock.errors import Refusal

SQL = Queries("penstock.engine", "engine.sql")
SHIPPED = "penstock"  # the pack of the documents that come with it
_log = structlog.get_logger(__name__)
_READS_LINES = re.compile(rb"\border\s*\.\s*lines\b")


class Workflows(msgspec.Struct, frozen=True):
    """Compiled workflows: every version by id, the active ones, and those that do not compile.

    `active` is by entity, type and channel id (None: the account's).
    """

    by_id: Mapping[int, Workflow]
    active: Mapping[tuple[str, str, int | None], Workflow]
    broken: Mapping[int, Refusal]
    reads_lines: bool = False  # some version reads `order.lines`, which costs a look at products

    def find(self, entity: str, kind: str, path: Sequence[int]) -> Workflow | None:
        """Return the active workflow of an entity's type in a channel with the ones above it."""
        for channel_id in (*path, None):
            for one in (kind, ANY):
                workflow = self.active.get((entity, one, channel_id))
                if workflow is not None:
                    return workflow
        return None

    def lacking(self, entity: str, kind: str) -> Refusal:
        """Return the refusal of a type without workflow: `unknown_order_type` or `no_workflow`."""
        types = sorted({one[1] for one in self.active if one[0] == entity})
        known = ", ".join(types) or "none"
        return Refusal(
            "unknown_order_type" if entity == "order" else "no_workflow",
            f"No workflow is active for {entity} of type {kind!r}; there are: {known}.",
            entity=entity,
            entity_type=kind,
        )

    def handles(self, entity: str) -> bool:
        """Tell whether any workflow is active for a kind of entity."""
        return any(one[0] == entity for one in self.active)


class Stored(msgspec.Struct):
    """What came of storing a document: its id, and whether it is new or was active already."""

    id: int
    is_new: bool
    was_active: bool


async def load_workflows(tx: Tx, vocabulary: Vocabulary) -> Workflows:
    """Load and compile every version. One that does not compile (a pack is gone) is set apart."""
    by_id: dict[int, Workflow] = {}
    broken: dict[int, Refusal] = {}
    reads_lines = False
    for workflow_id, stored in await tx.fetch(SQL.workflow_documents):
        reads_lines = reads_lines or bool(_READS_LINES.search(msgspec.json.encode(stored)))
        try:
            document = msgspec.convert(stored, WorkflowDocument)
            by_id[workflow_id] = compile_document(document, workflow_id, vocabulary)
        except (Refusal, msgspec.ValidationError) as error:
            refusal = error if isinstance(error, Refusal) else _invalid(error)
            broken[workflow_id] = refusal
            _log.error("workflow does not compile", workflow_id=workflow_id, error=str(error))
    active: dict[tuple[str, str, int | None], Workflow] = {}
    for entity, kind, channel_id, workflow_id in await tx.fetch(SQL.active_workflows):
        if workflow_id in by_id:
            active[entity, kind, channel_id] = by_id[workflow_id]
    return Workflows(by_id, active, broken, reads_lines)


def _invalid(error: Exception) -> Refusal:
    return Refusal("invalid_document", str(error))


async def store_document(
    tx: Tx, text: str, vocabulary: Vocabulary, pack: str | None = None
) -> tuple[WorkflowDocument, Stored]:
    """Check and store a document as an immutable version; storing the same again changes nothing.

    Refuses what `read_document` and lint refuse, `workflow_version_taken` where that version is
    there with other contents, and `unknown_channel`.
    """
    document = read_document(text)
    refuse_wrong(document, vocabulary)
    channel_id = await _channel_id(tx, document)
    encoded = msgspec.json.encode(document).decode()
    values = (document.name, document.version, document.entity, document.type, channel_id)
    row = await tx.fetch_one(SQL.insert_workflow, (*values, encoded, pack))
    if row is not None:
        await tx.execute(SQL.bump_workflow)
        return document, Stored(row[0], is_new=True, was_active=False)
    workflow_id, stored, is_active = await _stored(tx, document.name, document.version)
    if msgspec.convert(stored, WorkflowDocument) != document:
        raise Refusal(
            "workflow_version_taken",
            f"Version {document.version} of {document.name} is there already, with other contents: "
            "give the new one a higher version.",
        )
    return document, Stored(workflow_id, is_new=False, was_active=is_active)


async def _channel_id(tx: Tx, document: WorkflowDocument) -> int | None:
    if document.channel is None:
        return None
    row = await tx.fetch_one(SQL.channel_of_ref, (document.channel,))
    if row is None:
        raise Refusal("unknown_channel", f"There is no channel {document.channel!r}.")
    return int(row[0])


async def _stored(tx: Tx, name: str, version: int) -> tuple[int, Any, bool]:
    row = await tx.fetch_one(SQL.document_of_version, (name, version))
    if row is None:
        raise Refusal(
            "unknown_workflow", f"There is no version {version} of a workflow {name!r}.", name=name
        )
    return row[0], row[1], row[2]


async def activate(tx: Tx, name: str, version: int, reason: str = "") -> bool:
    """Have a stored version serve new entities; False if it does. Refuses `unknown_workflow`.

    The version has to compile with the rules that are installed now: the caller lints it before.
    """
    workflow_id, _, is_active = await _stored(tx, name, version)
    if is_active:
        return False
    await tx.execute(SQL.activate_workflow, (reason, workflow_id))
    await tx.execute(SQL.bump_workflow)
    return True


class Listed(msgspec.Struct):
    """A stored version, of whom it is, and whether it serves new entities."""

    name: str
    version: int
    entity: str
    type: str
    channel: str | None
    pack: str | None
    created_at: datetime
    is_active: bool


async def list_workflows(tx: Tx) -> list[Listed]:
    """Return every stored version, by entity, name and version."""
    return [Listed(*row) for row in await tx.fetch(SQL.listed_workflows)]


async def read_stored(tx: Tx, name: str, version: int | None = None) -> WorkflowDocument:
    """Return a stored document: that version, else the active one, else the newest.

    Refuses `unknown_workflow`.
    """
    if version is None:
        row = await tx.fetch_one(SQL.active_version, (name,))
        row = row or await tx.fetch_one(SQL.newest_version, (name,))
        version = row[0] if row else None
    _, document, _ = await _stored(tx, name, version or 0)
    return msgspec.convert(document, WorkflowDocument)


async def roll_back(tx: Tx, name: str, reason: str = "") -> tuple[int, str, int]:
    """Activate what was active before; returns the version left, and name and version now active.

    Refuses `unknown_workflow`, and `nothing_before` where nothing was active before.
    """
    row = await tx.fetch_one(SQL.active_version, (name,))
    if row is None:
        raise Refusal("unknown_workflow", f"No version of a workflow {name!r} is active.")
    version = int(row[0])
    before = await tx.fetch_one(SQL.activations_before, (name, version))
    if before is None:
        raise Refusal("nothing_before", f"Nothing was active before {name}, version {version}.")
    await tx.execute(SQL.activate_workflow, (reason, before[0]))
    await tx.execute(SQL.bump_workflow)
    return version, before[1], before[2]


async def put_workflow(tx: Tx, text: str, vocabulary: Vocabulary, pack: str | None = None) -> bool:
    """Store and activate a document; False if that version was active already."""
    document, _ = await store_document(tx, text, vocabulary, pack)
    return await activate(tx, document.name, document.version)


async def put_shipped(tx: Tx, vocabulary: Vocabulary) -> None:
    """Store the documents that come with Penstock, and activate those that are not optional.

    Where an account has activated a version of its own, that stays. Documents that were stored
    before are not read again: each process that starts asks.
    """
    digest = _shipped_digest()
    if await tx.fetch_one(SQL.shipped_digest) == (digest,):
        return
    for text in shipped_documents():
        document = read_document(text)
        if await _stored_if_free(tx, text, document, vocabulary):
            rows = await tx.fetch(SQL.pack_of_active, (document.name,))
            if not rows or rows[0][0] == SHIPPED:
                await activate(tx, document.name, document.version, "comes with Penstock")
    for text in shipped_documents("optional"):
        await _stored_if_free(tx, text, read_document(text), vocabulary)
    await tx.execute(SQL.note_shipped, (digest,))


def _shipped_digest() -> bytes:
    texts = [*shipped_documents(), *shipped_documents("optional")]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).digest()


async def _stored_if_free(
    tx: Tx, text: str, document: WorkflowDocument, vocabulary: Vocabulary
) -> bool:
    """Store a shipped document; False if it is there, or its version is taken by the account."""
    try:
        _, stored = await store_document(tx, text, vocabulary, SHIPPED)
    except Refusal as refusal:
        if refusal.code != "workflow_version_taken":
            raise
        _log.warning("a shipped workflow is not stored", name=document.name, why=str(refusal))
        return False
    return stored.is_new


def shipped_document(name: str) -> str:
    """Return the text of a workflow document that comes with Penstock."""
    return resources.files("penstock.workflows").joinpath(f"{name}.yaml").read_text("utf-8")


def shipped_documents(folder: str = "") -> list[str]:
    """Return the texts of the workflow documents that come with Penstock, by name.

    Those in folder `optional` are activated by whoever wants them.
    """
    where = resources.files("penstock.workflows").joinpath(folder)
    names = sorted(one.name for one in where.iterdir() if one.name.endswith(".yaml"))
    return [where.joinpath(name).read_text("utf-8") for name in names]
