"""The three kinds of error (docs/STYLE.md): refusal, transient, broken.

Owns the exception types and `invariant`. Knows nothing of HTTP statuses or SQL states: each edge
has one table that translates. Every loop in Penstock ends in one of these or in an answer.
"""

from __future__ import annotations


class PenstockError(Exception):
    """Root of every error Penstock raises on purpose."""


class Refusal(PenstockError):
    """The business says no: a stable `code`, a sentence a person can act on, data in fields."""

    def __init__(self, code: str, message: str, **data: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_document(self) -> dict[str, object]:
        """Return the refusal as a plain mapping: code, message and data."""
        return {"code": self.code, "message": self.message, **self.data}


class Transient(PenstockError):
    """Try the whole transaction again: serialization failure, deadlock, lost connection."""


class Broken(PenstockError):
    """A bug or corrupt data. The edges keep the row for a person."""


class OutcomeUnknown(Broken):
    """Whether a transaction committed cannot be told: only who knows its key may try again."""


def invariant(condition: object, message: str) -> None:
    """Raise `Broken` with the message unless the condition holds. Never stripped."""
    if not condition:
        raise Broken(message)
