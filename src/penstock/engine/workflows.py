"""The workflows of an account: stored versions, and the compiled ones a process holds.

Owns table `workflow`. A version is immutable; the newest activated one of an entity's type serves
new entities, and entities in flight stay with the version they began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import msgspec

from penstock.db import Queries, Tx
from penstock.engine.document import Workflow, WorkflowDocument, compile_document, read_document
from penstock.engine.rule import Rule
from penstock.errors import Refusal

SQL = Queries("penstock.engine", "engine.sql")
SHIPPED = ("home_delivery",)


class Workflows(msgspec.Struct, frozen=True):
    """Compiled workflows: every version by id, and the active one by entity and type."""

    by_id: Mapping[int, Workflow]
    active: Mapping[tuple[str, str], Workflow]

    def for_order(self, channel_id: int, order_type: str) -> Workflow:
        """Return the active workflow of an order type; refuses with `unknown_order_type`."""
        workflow = self.active.get(("order", order_type))
        if workflow is None:
            known = ", ".join(sorted(kind for entity, kind in self.active if entity == "order"))
            raise Refusal(
                "unknown_order_type",
                f"No workflow is active for orders of type {order_type!r}; there are: {known}.",
                channel_id=channel_id,
            )
        return workflow


async def load_workflows(tx: Tx, rules: Mapping[str, type[Rule]]) -> Workflows:
    """Load and compile every version; the last activated one of each type is active."""
    by_id: dict[int, Workflow] = {}
    active: dict[tuple[str, str], Workflow] = {}
    for row in await tx.fetch(SQL.active_workflows):
        document = msgspec.convert(row[6], WorkflowDocument)
        by_id[row[0]] = workflow = compile_document(document, row[0], rules)
        if row[7] is not None:
            active[(workflow.entity, workflow.type)] = workflow
    return Workflows(by_id, active)


async def put_workflow(tx: Tx, text: str, rules: Mapping[str, type[Rule]]) -> bool:
    """Check, store and activate a document; False if that version was there already.

    Refuses `workflow_version_taken` if it was there with other contents: versions are immutable.
    """
    document = read_document(text)
    compile_document(document, 0, rules)
    row = await tx.fetch_one(
        SQL.insert_workflow,
        (
            document.name,
            document.version,
            document.entity,
            document.type,
            msgspec.json.encode(document).decode(),
        ),
    )
    if row is not None:
        await tx.execute(SQL.bump_workflow)
        return True
    stored = await tx.fetch(SQL.document_of_version, (document.name, document.version))
    if stored and msgspec.convert(stored[0][0], WorkflowDocument) != document:
        raise Refusal(
            "workflow_version_taken",
            f"Version {document.version} of {document.name} is there already, with other contents: "
            "give the new one a higher version.",
        )
    return False


def shipped_documents() -> list[str]:
    """Return the texts of the workflow documents that come with Penstock."""
    folder = resources.files("penstock.workflows")
    return [folder.joinpath(f"{name}.yaml").read_text("utf-8") for name in SHIPPED]
