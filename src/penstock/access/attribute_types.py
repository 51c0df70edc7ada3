"""Declared attributes: what an attribute of a kind of entity may be, checked where it is written.

Owns table `attribute_type`. An attribute that nobody declared may be anything; one that is declared
is refused where its value is of another type, no option, or lacking though required. What was
written before a type was declared stays as it is until it is written again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal, TypeVar

import msgspec

from penstock.db import Queries, Tx
from penstock.errors import Refusal
from penstock.records import Result, answers, sift

SQL = Queries("penstock.access", "access.sql")
MAX_OPTIONS = 500
MAX_UNIT = 20
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
T = TypeVar("T")

TypeName = Literal["text", "integer", "decimal", "boolean", "date", "instant", "option", "options"]


class AttributeTypeInput(msgspec.Struct, forbid_unknown_fields=True):
    """An attribute to declare: of which kind of entity, its name, and what it may be.

    `options` are the values of an `option` or `options` attribute; `unit` is told to people.
    """

    entity: str
    name: str
    type: TypeName
    label: str = ""
    unit: str | None = None
    options: list[str] = []
    is_required: bool = False


AttributeTypes = Mapping[str, Mapping[str, AttributeTypeInput]]  # by kind of entity, by name
_NOTHING: Mapping[str, AttributeTypeInput] = {}


async def load_attribute_types(tx: Tx, entity: str | None = None) -> AttributeTypes:
    """Load what is declared, of one kind of entity or of all."""
    found: dict[str, dict[str, AttributeTypeInput]] = {}
    for row in await tx.fetch(SQL.attribute_types, (entity, entity)):
        found.setdefault(row[0], {})[row[1]] = AttributeTypeInput(*row)
    return found


async def upsert_attribute_types(tx: Tx, types: Sequence[AttributeTypeInput]) -> list[Result]:
    """Declare attributes or change what they may be; returns a result each.

    Refusals: `invalid_attribute_type`, `superseded` (a later record declares the same). Bumps
    revision `attribute` when something changed.
    """
    refusals, good, body = sift(types, check_attribute_type, _key, "invalid_attribute_type")
    written: dict[Hashable, str] = {}
    if good:
        await tx.execute(SQL.lock_attribute_types)
        rows = await tx.fetch(SQL.upsert_attribute_types, (body,))
        written = {(row[0], row[1]): "created" if row[2] else "updated" for row in rows}
        if written:
            await tx.execute(SQL.bump_attribute)
    return answers(types, refusals, written, _key)


def _key(one: AttributeTypeInput) -> tuple[str, str]:
    return one.entity, one.name


def check_attribute_type(declared: AttributeTypeInput) -> None:
    """Refuse what cannot be declared with `invalid_attribute_type`, naming the field."""
    for field in ("entity", "name"):
        if not _NAME.fullmatch(getattr(declared, field)):
            raise _invalid_type(field, "It has small letters, digits and _, and begins with one.")
    has_options = declared.type in {"option", "options"}
    if has_options != bool(declared.options):
        raise _invalid_type("options", "`option` and `options` need some, other types have none.")
    if len(set(declared.options)) != len(declared.options) or len(declared.options) > MAX_OPTIONS:
        raise _invalid_type("options", f"There are at most {MAX_OPTIONS}, each once.")
    if declared.unit is not None and not 1 <= len(declared.unit) <= MAX_UNIT:
        raise _invalid_type("unit", f"A unit has 1 to {MAX_UNIT} characters.")


def _invalid_type(field: str, sentence: str) -> Refusal:
    return Refusal("invalid_attribute_type", f"{field}: {sentence}", field=field)


def checking(types: AttributeTypes, entity: str, check: Callable[[T], None]) -> Callable[[T], None]:
    """Return a check that looks at a record's `attributes` too, if some are declared."""
    declared = types.get(entity, _NOTHING)
    if not declared:
        return check

    def whole(record: T) -> None:
        check(record)
        check_attributes(declared, getattr(record, "attributes"))  # noqa: B009 (any record)

    return whole


def check_attributes(
    declared: Mapping[str, AttributeTypeInput], attributes: Mapping[str, Any]
) -> None:
    """Refuse with `invalid_attribute`, naming `attributes.<name>`, what is not as declared."""
    for name, one in declared.items():
        value = attributes.get(name)
        if value is None:
            if one.is_required:
                raise _invalid(name, "It is needed.")
        elif not _CHECKS[one.type](one, value):
            raise _invalid(name, _wanted(one))


def _invalid(name: str, sentence: str) -> Refusal:
    return Refusal(
        "invalid_attribute", f"attributes.{name}: {sentence}", field=f"attributes.{name}"
    )


def _wanted(one: AttributeTypeInput) -> str:
    words = {
        "text": "It is a text",
        "integer": "It is a whole number",
        "decimal": "It is a number, or a text such as '12.50'",
        "boolean": "It is true or false",
        "date": "It is a date such as 2026-12-24",
        "instant": "It is an instant with a time zone, such as 2026-12-24T18:00:00Z",
        "option": f"It is one of {', '.join(one.options)}",
        "options": f"It is a list of some of {', '.join(one.options)}",
    }
    return f"{words[one.type]}{f', in {one.unit}' if one.unit else ''}."


def _is_text(_: AttributeTypeInput, value: Any) -> bool:
    return isinstance(value, str)


def _is_integer(_: AttributeTypeInput, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_decimal(_: AttributeTypeInput, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number or (isinstance(value, str) and bool(_DECIMAL.fullmatch(value)))


def _is_boolean(_: AttributeTypeInput, value: Any) -> bool:
    return isinstance(value, bool)


def _is_date(_: AttributeTypeInput, value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _is_instant(_: AttributeTypeInput, value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_option(one: AttributeTypeInput, value: Any) -> bool:
    return isinstance(value, str) and value in one.options


def _is_options(one: AttributeTypeInput, value: Any) -> bool:
    return isinstance(value, list) and all(_is_option(one, part) for part in value)


_CHECKS: Mapping[str, Callable[[AttributeTypeInput, Any], bool]] = {
    "text": _is_text,
    "integer": _is_integer,
    "decimal": _is_decimal,
    "boolean": _is_boolean,
    "date": _is_date,
    "instant": _is_instant,
    "option": _is_option,
    "options": _is_options,
}
