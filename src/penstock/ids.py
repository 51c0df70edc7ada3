"""Ids: UUIDv7 as canonical text for entities, small integers mapped into UUIDs for roots.

Owns how an id is made. Ids are `str` inside Penstock (36 characters) and `uuid` in PostgreSQL.
UUIDv7 sorts by time, so that indexes on it grow at one end.
"""

from __future__ import annotations

from uuid import UUID

import uuid_utils

from penstock.errors import Refusal

NIL = "00000000-0000-0000-0000-000000000000"


def new_id() -> str:
    """Make a UUIDv7, unique without asking anyone."""
    return str(uuid_utils.uuid7())


def from_int(number: int) -> str:
    """Map a small integer id (location, position) to the UUID that names it as a root."""
    digits = f"{number:012x}"
    return f"00000000-0000-0000-0000-{digits}"


def to_int(root_id: str) -> int:
    """Give back the integer that `from_int` mapped."""
    return int(root_id[-12:], 16)


def parse_id(text: str) -> str:
    """Read an id given by a client; refuses with `invalid_id` what is no UUID."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Refusal("invalid_id", f"{text[:60]!r} is not a UUID.", value=text[:60]) from None
