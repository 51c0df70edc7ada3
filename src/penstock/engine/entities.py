"""Entities that have a workflow and no table of their own: payments, returns, a team's own kinds.

Owns table `entity`. Each is a root. Those that stand for something kept elsewhere (a location, a
position, a product) are made when the first event about them is posted; their ref is its ref.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from penstock.db import Queries, Tx, copy_text, uuid_array
from penstock.engine.document import Name

SQL = Queries("penstock.engine", "engine.sql")
_encode = msgspec.json.Encoder().encode


class EntityInput(msgspec.Struct, forbid_unknown_fields=True):
    """An entity to make. `parent` is another root: an order's payment."""

    kind: Name
    ref: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    type: Name = "default"
    channel: str | None = None
    parent_kind: Name | None = None
    parent_id: str | None = None
    attributes: dict[str, Any] = {}


class Entity(msgspec.Struct):
    """One entity: its ref is unique in its kind. `customer` and `channel` are what may be read."""

    id: str
    kind: str
    ref: str
    type: str
    workflow_id: int | None
    status: str
    created_at: datetime
    channel_id: int | None = None
    parent_kind: str | None = None
    parent_id: str | None = None
    seq: int = 0
    version: int = 1
    attributes: dict[str, Any] = {}
    is_new: bool = True
    customer: dict[str, Any] = {}
    channel: dict[str, Any] = {}

    def subjects(self) -> Sequence[Any]:
        """Return the entities inside: none."""
        return ()

    def view(self) -> dict[str, Any]:
        """Return what expressions may read (`readable.EntityView`)."""
        return {
            "id": self.id,
            "ref": self.ref,
            "type": self.type,
            "status": self.status,
            "attributes": self.attributes,
        }


async def load_entities(tx: Tx, ids: Sequence[str], lock: str = "read") -> list[Entity]:
    """Load entities by id; `lock` is `read`, `waiting` or `skipping` (see the queries)."""
    if not ids:
        return []
    query = {
        "read": SQL.read_entities,
        "waiting": SQL.lock_entities_waiting,
        "skipping": SQL.lock_entities_skipping,
    }[lock]
    return [Entity(*row, is_new=False) for row in await tx.fetch(query, (uuid_array(ids),))]


async def claim_entities(tx: Tx, entities: Sequence[Entity]) -> dict[str, str]:
    """Write entities that are not there yet; returns the id that holds each ref, by own id."""
    if not entities:
        return {}
    asked = sorted(entities, key=lambda one: (one.kind, one.ref))
    rows = [_row(one) for one in asked]
    columns = [list(column) for column in zip(*rows, strict=True)]
    made = {row[0] for row in await tx.fetch(SQL.claim_entities, tuple(columns))}
    holders = {one.id: one.id for one in asked if one.id in made}
    lost = [one for one in asked if one.id not in made]
    if lost:
        keys = ([one.kind for one in lost], [one.ref for one in lost])
        found = {(row[0], row[1]): row[2] for row in await tx.fetch(SQL.find_entities, keys)}
        holders |= {one.id: found[one.kind, one.ref] for one in lost}
    return holders


def _row(one: Entity) -> tuple[Any, ...]:
    return (
        one.id,
        one.kind,
        one.ref,
        one.type,
        one.channel_id,
        one.parent_kind,
        one.parent_id,
        one.workflow_id,
        one.status,
        _encode(one.attributes).decode(),
        one.created_at,
    )


async def write_entities(tx: Tx, entities: Sequence[Entity], now: datetime) -> None:
    """Write what a pass changed of entities that it holds locked: status, seq, attributes."""
    if not entities:
        return
    await tx.execute(
        SQL.update_entities,
        (
            now,
            uuid_array(one.id for one in entities),
            [one.status for one in entities],
            [one.seq for one in entities],
            [one.workflow_id for one in entities],
            [_encode(one.attributes).decode() for one in entities],
        ),
    )


async def write_notes(tx: Tx, rows: Sequence[tuple[str, ...]], now: datetime) -> None:
    """Write notes: (id, root id, kind, entity id, by whom, text)."""
    instant = now.isoformat()
    lines = ["\t".join([*(copy_text(part) for part in row), instant]) for row in rows]
    tx.copy_in("note", "id, root_id, entity, entity_id, by, text, noted_at", lines)


async def children_of(tx: Tx, root_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return (kind, id) of the entities whose parent is a root, by that root's id."""
    found: dict[str, list[tuple[str, str]]] = {}
    if root_ids:
        for row in await tx.fetch(SQL.children_of_roots, (uuid_array(root_ids),)):
            found.setdefault(row[0], []).append((row[1], row[2]))
    return found
