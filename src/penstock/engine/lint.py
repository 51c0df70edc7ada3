"""What is wrong with a workflow document: every finding, with its place and how to mend it.

Pure. An error keeps a document from being stored; a warning says what may surprise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from penstock.engine.compiled import compile_document
from penstock.engine.document import WorkflowDocument
from penstock.engine.readable import Vocabulary
from penstock.errors import Refusal


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `path` is where in the document: keys and places, from its root."""

    code: str
    severity: Literal["error", "warning"]
    path: tuple[str | int, ...]
    message: str
    remedy: str


def lint(document: WorkflowDocument, vocabulary: Vocabulary) -> list[Finding]:
    """Return everything that is wrong with a document, in its order."""
    try:
        compile_document(document, 0, vocabulary)
    except Refusal as refusal:
        return [Finding(refusal.code, "error", (), refusal.message, "")]
    return []


def refuse_wrong(document: WorkflowDocument, vocabulary: Vocabulary) -> None:
    """Refuse a document with the code of its first error, all of them in `findings`."""
    errors = [one for one in lint(document, vocabulary) if one.severity == "error"]
    if errors:
        first = errors[0]
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise Refusal(
            first.code,
            f"{first.message} {first.remedy}".strip() + more,
            findings=msgspec.to_builtins(errors),
        )
