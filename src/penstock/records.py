"""Lists of records that verbs take: each is judged by itself, and a bad one refuses itself only.

Owns what is the same for every kind of record: what cannot be stored (text with NUL, a record that
is too large), of two with one key the later good one stands, and the JSON in which a whole list
goes to PostgreSQL as one parameter. What a record means is its room's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from penstock.errors import Refusal

Result: TypeAlias = str | Refusal  # "created", "updated", "unchanged", or why not
R = TypeVar("R", bound=msgspec.Struct)
MAX_RECORD_BYTES = 1_000_000
MAX_REF = 100
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_encode = msgspec.json.Encoder().encode


class Sifted(NamedTuple, Generic[R]):
    """A list judged: per record its refusal or None, and the good ones with their JSON array."""

    refusals: list[Refusal | None]
    good: list[R]
    body: str


def sift(
    records: Sequence[R], check: Callable[[R], None], key: Callable[[R], Hashable], code: str
) -> Sifted[R]:
    """Judge each record: `check` refuses it, or it cannot be stored (`code`), or `superseded`."""
    refusals: list[Refusal | None] = [None] * len(records)
    bodies: list[bytes] = []
    good: list[R] = []
    seen: set[Hashable] = set()
    for place in range(len(records) - 1, -1, -1):
        record = records[place]
        try:
            check(record)
            body = _storable(record, code)
            _refuse_repeated(key(record), seen)
        except Refusal as refusal:
            refusals[place] = refusal
            continue
        good.append(record)
        bodies.append(body)
    good.reverse()
    bodies.reverse()
    return Sifted(refusals, good, (b"[" + b",".join(bodies) + b"]").decode())


def answers(
    records: Sequence[R],
    refusals: Sequence[Refusal | None],
    written: Mapping[Hashable, str],
    key: Callable[[R], Hashable],
) -> list[Result]:
    """Return each record's result, in their order: what was not written is `unchanged`."""
    return [
        refusal or written.get(key(record), "unchanged")
        for record, refusal in zip(records, refusals, strict=True)
    ]


def insist(results: Sequence[Result]) -> None:
    """Raise the first refusal, for a caller who wants the whole list or nothing of it."""
    for result in results:
        if isinstance(result, Refusal):
            raise result


def check_ref(ref: str, code: str) -> None:
    """Refuse with `code` what cannot be a business ref."""
    if not 1 <= len(ref) <= MAX_REF:
        raise Refusal(code, f"ref: A ref has 1 to {MAX_REF} characters.", field="ref")


def _refuse_repeated(key: Hashable, seen: set[Hashable]) -> None:
    if key in seen:
        sentence = "A later record of this list is about the same."
        raise Refusal("superseded", sentence, field="ref")
    seen.add(key)


def _storable(record: msgspec.Struct, code: str) -> bytes:
    try:
        body = _encode(record)
    except (UnicodeEncodeError, OverflowError, RecursionError):
        sentence = "The record holds text that is no Unicode, or too many levels."
        raise Refusal(code, sentence, field=_unstorable(record)) from None
    if len(body) > MAX_RECORD_BYTES:
        raise Refusal(code, f"A record has at most {MAX_RECORD_BYTES:,} bytes.", field="")
    if b"\\u0000" in body and _NUL.search(body):
        raise Refusal(code, "Text holds the character NUL.", field=_unstorable(record))
    return body


def _unstorable(record: msgspec.Struct) -> str:
    for name in record.__struct_fields__:
        try:
            if _NUL.search(_encode(getattr(record, name))):
                return name
        except (UnicodeEncodeError, OverflowError, RecursionError):
            return name
    return ""
