"""References to secrets: what a document says in their stead.

A document, a job and a log never hold a secret, only where it is: `env:PENSTOCK_SECRET_NAME` in
the environment of the process that does the job, `setting:name` in the account's settings (in the
database: for what differs between accounts and is no secret). References are resolved for one
attempt at a job and forgotten. Only variables with that prefix can be named, so that no document
reads the address of the database. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from penstock.errors import Refusal

REFERENCE = r"env:PENSTOCK_SECRET_[A-Z0-9_]{1,100}|setting:[a-z][a-z0-9_.]{0,100}"
Reference = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^({REFERENCE})$",
        description="Where a secret is: env:PENSTOCK_SECRET_… or setting:….",
    ),
]
_REFERENCE = re.compile(rf"(?<![\w:])({REFERENCE})(?![\w:])")


def has_reference(text: str) -> bool:
    """Tell whether a text refers to a secret anywhere."""
    return _REFERENCE.search(text) is not None


def resolve(text: str, settings: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return a text with what its references stand for; refuses with `secret_missing`.

    The refusal names the reference, never a value.
    """

    def value(match: re.Match[str]) -> str:
        where, _, name = match[0].partition(":")
        found = environment.get(name) if where == "env" else settings.get(name)
        if found is None or isinstance(found, (dict, list)):
            raise Refusal("secret_missing", f"{match[0]} is not set.", reference=match[0])
        return str(found)

    return _REFERENCE.sub(value, text)
