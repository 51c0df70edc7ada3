"""Reading JSON that clients send: one door for every route, so that all refuse alike.

Owns the refusals `invalid_json` (no JSON) and `invalid_request` (JSON that does not fit; `field`
says where). What the values mean is judged further in.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from penstock.api.exchange import Request
from penstock.errors import Refusal

T = TypeVar("T")
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)
_NAMED_FIELD = re.compile(r"field `([^`]*)`")
_raw_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_json(decoder: msgspec.json.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """Decode what one client sent; refuses with `invalid_json` or `invalid_request`."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise does_not_fit(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("invalid_json", f"The body is no JSON: {error}.") from None


def read_items(body: bytes) -> list[msgspec.Raw]:
    """Split a JSON array into its items, each to be decoded by itself."""
    try:
        return _raw_items(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal("invalid_json", f"The body is no JSON array: {error}.") from None


def is_list(body: bytes) -> bool:
    """Tell whether the body begins like a JSON array."""
    return body.lstrip(b" \t\r\n")[:1] == b"["


def refuse_nul(body: bytes) -> None:
    """Refuse text with the character NUL: PostgreSQL has no place for it."""
    if rb"\u0000" in body and _has_nul(read_json(_anything, body)):
        raise Refusal("invalid_request", "Text must not hold the character NUL.")


_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(one) for key, one in value.items())
    return isinstance(value, list) and any(_has_nul(one) for one in value)


def read_query(request: Request, shape: type[T]) -> T:
    """Read a query as a struct; refuses with `invalid_query`, naming the field."""
    last = {name: values[-1] for name, values in request.query().items()}
    for name, value in last.items():
        if "\0" in value:
            raise Refusal("invalid_query", "Text must not hold the character NUL.", field=name)
    try:
        return msgspec.convert(last, shape, strict=False)
    except msgspec.ValidationError as error:
        refusal = does_not_fit(error)
        raise Refusal("invalid_query", refusal.message, **refusal.data) from None


def does_not_fit(error: msgspec.ValidationError) -> Refusal:
    """Return the refusal `invalid_request` with the path of the field, such as `lines[0].qty`."""
    match = _PLACE.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    named = _NAMED_FIELD.search(what)
    if named:
        path = f"{path}.{named[1]}" if path else named[1]
    return Refusal("invalid_request", f"{what}.".replace("`", "'"), field=path)
