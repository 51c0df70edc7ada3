"""`send_to`: tell an entity of another kind, known by its ref, through its own inbox.

Owns finding whom an event is for: orders of the same channel, entities with rows of their own, and
those that stand for something kept elsewhere (a product, a location, a position), whose row is made
when they are first told something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from penstock.engine.context import Context
from penstock.engine.document import Expression, Name
from penstock.engine.entities import SQL, Entity, claim_entities
from penstock.engine.inbox import Event
from penstock.engine.rule import Outcomes, Rule
from penstock.errors import Refusal
from penstock.ids import new_id
from penstock.orders.store import SQL as ORDERS
from penstock.passes import Pass
from penstock.rules.flow import Emitted, Payload, evaluated

Key = tuple[int | None, str]  # channel id, ref


class SendTo(Rule, frozen=True):
    """Send an event to an entity of any kind that is known by its ref.

    An order is looked for in the channel of the sender; a product's ref is its SKU, a position's is
    `SKU@location`. The event goes to that entity's inbox and runs in a pass of its own. It carries
    `payload`, and `from` and `from_id` of the sender.
    """

    example: ClassVar[Mapping[str, Any]] = {
        "kind": "product",
        "ref": "has(event.payload.sku) ? event.payload.sku : ''",
        "event": "product.demanded",
        "payload": {"qty": "order.qty"},
    }

    kind: Annotated[Name, msgspec.Meta(description="The kind of entity.")]
    ref: Annotated[Expression, msgspec.Meta(description="A CEL expression that gives its ref.")]
    event: Emitted
    payload: Payload = msgspec.field(default_factory=dict)

    async def apply(self, tx: Pass, contexts: Sequence[Context]) -> None:
        """Post it; refuses with `unknown_entity` if there is none. One look-up for the batch."""
        wanted: list[tuple[Context, Key, dict[str, Any]]] = []
        for context in contexts:
            try:
                key = (context.root.channel_id, str(context.evaluate(self.ref)))
                wanted.append((context, key, evaluated(context, self.payload)))
            except Refusal as refusal:
                context.fail(refusal)
        found = await find_refs(tx, self.kind, {key for _, key, _ in wanted})
        for context, key, payload in wanted:
            if key not in found:
                sentence = f"There is no {self.kind} {key[1]!r} that could be told."
                context.fail(Refusal("unknown_entity", sentence, kind=self.kind, ref=key[1]))
                continue
            sender = {"from": context.entity.kind, "from_id": context.entity.id}
            held = found[key]
            context.send(Event(self.kind, held, self.kind, held, self.event, payload | sender))

    def outcomes(self) -> Outcomes:
        """Return to whom what is sent."""
        return Outcomes(sends=((self.kind, self.event),))


async def find_refs(tx: Pass, kind: str, keys: Iterable[Key]) -> dict[Key, str]:
    """Return the ids of entities by (channel id, ref); those that are not there are left out."""
    asked = sorted(keys, key=lambda key: (key[0] or 0, key[1]))
    if not asked:
        return {}
    if kind == "order":
        of_channel = [key for key in asked if key[0] is not None]
        columns = ([key[0] for key in of_channel], [key[1] for key in of_channel])
        return {(row[0], row[1]): row[2] for row in await tx.fetch(ORDERS.find_refs, columns)}
    if kind in {"product", "location", "position"}:
        return await _stand_ins(tx, kind, [key for key in asked if _is_kept(tx, kind, key)])
    refs = sorted({key[1] for key in asked})
    rows = await tx.fetch(SQL.find_entities, ([kind] * len(refs), refs))
    ids = {row[1]: row[2] for row in rows}
    return {key: ids[key[1]] for key in asked if key[1] in ids}


def _is_kept(tx: Pass, kind: str, key: Key) -> bool:
    """Tell whether the product, location or position is there, as far as this process knows."""
    channel_id, ref = key
    sku, _, location = ref.rpartition("@") if kind == "position" else (ref, "", ref)
    knowledge = tx.knowledge
    try:
        if kind != "location":
            knowledge.product_id(channel_id, sku)
        if kind != "product":
            knowledge.location_id(location)
    except (Refusal, LookupError):  # a sender without a channel has no catalogue
        return False
    return True


async def _stand_ins(tx: Pass, kind: str, keys: Sequence[Key]) -> dict[Key, str]:
    """Return the rows that stand for what is kept elsewhere, made where they are not there."""
    workflow = tx.knowledge.workflow_of(kind, "default", None)
    if workflow is None:
        return {}
    made = {
        ref: Entity(new_id(), kind, ref, "default", workflow.id, workflow.initial, tx.now)
        for _, ref in keys
    }
    holders = await claim_entities(tx, list(made.values()))
    return {key: holders[made[key[1]].id] for key in keys}
