"""What expressions may read: variables and their fields, by kind of entity.

A kind of entity declares its fields as a struct (`OrderView`), found by the entry point group
`penstock.entities`; a kind that nobody declared has those of `EntityView`. So an expression that
names a wrong field is refused when its document is uploaded, not when an order meets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import invalidate_caches
from importlib.metadata import entry_points
from typing import Any, ClassVar

import msgspec

from penstock.engine.rule import Rule, load_rules

ENTRY_POINTS = "penstock.entities"


class EntityView(msgspec.Struct):
    """What may be read of an entity whose kind declares nothing else.

    `root` is the kind of the entity that it lives inside, if it is no root itself.
    """

    root: ClassVar[str | None] = None

    id: str
    ref: str
    type: str
    status: str
    attributes: dict[str, Any]


class EventView(msgspec.Struct):
    """What may be read of the event."""

    name: str
    payload: dict[str, Any]


class CustomerView(msgspec.Struct):
    """What may be read of the customer; without one all is empty, and `tier` is standard."""

    ref: str
    tier: str
    name: str
    email: str
    attributes: dict[str, Any]


class ChannelView(msgspec.Struct):
    """What may be read of the channel; settings are its own or inherited."""

    ref: str
    settings: dict[str, Any]


class Vocabulary(msgspec.Struct, frozen=True):
    """What documents may name: rules by name, and what is declared of kinds of entities."""

    rules: Mapping[str, type[Rule]]
    entities: Mapping[str, type[msgspec.Struct]]

    def variables(self, kind: str) -> dict[str, type[msgspec.Struct]]:
        """Return the variables that an expression about an entity of a kind may read."""
        own = self.entities.get(kind, EntityView)
        found: dict[str, type[msgspec.Struct]] = {
            kind: own,
            "event": EventView,
            "customer": CustomerView,
            "channel": ChannelView,
        }
        root = getattr(own, "root", None)
        if root is not None:
            found[root] = self.entities[root]
        return found


def load_vocabulary() -> Vocabulary:
    """Load the rules and kinds of entities of every package that is installed by now."""
    invalidate_caches()
    entities = {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINTS)}
    return Vocabulary(load_rules(), entities)
