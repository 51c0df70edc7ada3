"""Expressions: CEL over what is readable of an entity and the event, compiled once per version.

Owns checking an expression against what may be read, and evaluating it. An expression reads only
the fields that its text names (`order.qty_unsourced`). A condition remembers its verdicts on values
it has seen: turning a whole view into CEL values costs 20 µs, a remembered verdict 0.3 µs, and a
batch of orders mostly asks the same question.

Bounds: the text is at most `MAX_EXPRESSION` long, the parser refuses depth over 96, and of macros
(`all`, `exists`, `map`, `filter`) at most `MAX_MACROS` stand in one expression, over lists that an
order bounds; CEL has no other loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import cel
import msgspec

from penstock.errors import Refusal

MAX_EXPRESSION = 2_000
MAX_VERDICTS = 1_000
MAX_MACROS = 3
_STRING = re.compile(r"""r?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_CHAIN = re.compile(r"(?<![\w.])([A-Za-z_]\w*)((?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?")
_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_HAS = re.compile(r"\bhas\s*\(\s*([\w.\s]+?)\s*\)")
_INDEX = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.\w+)*)\s*\[\s*['\"]")
_NOTHING: Mapping[str, Any] = {}
_ERRORS = (ValueError, TypeError, RuntimeError, LookupError, OverflowError)


Groups = Sequence[tuple[str, tuple[str, ...]]]  # the fields that are read, by variable


class Views(Protocol):
    """What an expression reads: fields by variable."""

    def __contains__(self, name: object, /) -> bool:
        """Tell whether a variable can be read."""
        ...

    def __getitem__(self, name: str, /) -> Mapping[str, Any]:
        """Return the fields of a variable."""
        ...


class Path(NamedTuple):
    """A dotted path of an expression: variable, fields, and whether only `has` asks for it."""

    variable: str
    fields: tuple[str, ...]
    is_guard: bool


def compile_expression(text: str) -> Any:
    """Compile an expression; refuses with `invalid_condition`."""
    if len(text) > MAX_EXPRESSION:
        raise Refusal("invalid_condition", f"The expression is over {MAX_EXPRESSION} long.")
    if len(_MACRO.findall(_STRING.sub("''", text))) > MAX_MACROS:
        raise Refusal("invalid_condition", f"{text!r} has more than {MAX_MACROS} macros.")
    try:
        return cel.compile(text)
    except ValueError as error:
        reason = str(error).splitlines()[0].rpartition("ERROR: ")[2]
        raise Refusal("invalid_condition", f"{text!r}: {reason}") from None


@lru_cache(maxsize=4_000)
def paths_of(text: str) -> tuple[Path, ...]:
    """Return the dotted paths that an expression names, without functions and macro variables."""
    bare = _STRING.sub("''", text)
    bound = set(_MACRO.findall(bare))
    guards = {re.sub(r"\s", "", one) for one in _HAS.findall(bare)}
    found: dict[Path, None] = {}
    for match in _CHAIN.finditer(bare):
        head, rest, is_call = match.groups()
        fields = tuple(part for part in re.sub(r"\s", "", rest).split(".") if part)
        if is_call:
            if not fields:
                continue
            fields = fields[:-1]
        if head in bound or head in {"true", "false", "null", "in"}:
            continue
        before = bare[: match.start()].rstrip()
        is_guard = ".".join((head, *fields)) in guards and bool(re.search(r"\bhas\s*\($", before))
        found[Path(head, fields, is_guard)] = None
    return tuple(found)


def check_expression(
    text: str, variables: Mapping[str, type[msgspec.Struct]], guard: str | None = None
) -> None:
    """Refuse an expression that names what cannot be read, or asks for keys without a guard.

    `guard` is an expression that held before this one is read: a ruleset's condition.
    Refuses with `invalid_condition` or `unknown_field`, saying what was probably meant.
    """
    compile_expression(text)
    bare = _STRING.sub(lambda found: found[0][0] * 2, text)
    for indexed in _INDEX.findall(bare):
        raise Refusal(
            "invalid_condition", f"{text!r}: write {indexed}.name, not {indexed}['name']."
        )
    paths = paths_of(text)
    before = paths_of(guard) if guard is not None else ()
    guarded = {(path.variable, path.fields) for path in (*paths, *before) if path.is_guard}
    for path in paths:
        if path.variable not in variables:
            raise _unknown(text, path.variable, list(variables), "nothing is called")
        if not path.fields:
            raise Refusal(
                "invalid_condition", f"{text!r}: name a field, such as {path.variable}.status."
            )
        __check_fields(text, path, variables[path.variable], guarded)


def __check_fields(
    text: str, path: Path, view: type[msgspec.Struct], guarded: set[tuple[str, tuple[str, ...]]]
) -> None:
    types = {field.name: field.type for field in msgspec.structs.fields(view)}
    name = path.fields[0]
    if name not in types:
        raise _unknown(text, name, list(types), f"{path.variable} has no field")
    if len(path.fields) == 1:
        return
    dotted = ".".join((path.variable, *path.fields))
    if "dict" not in str(types[name]):
        raise Refusal("unknown_field", f"{text!r}: {path.variable}.{name} has no fields.")
    if not path.is_guard and (path.variable, path.fields) not in guarded:
        raise Refusal(
            "unguarded_field",
            f"{text!r}: not every {path.variable} has {dotted}; "
            f"write has({dotted}) && … before it is compared.",
            field=dotted,
        )


def _unknown(text: str, name: str, known: list[str], sentence: str) -> Refusal:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}."
    return Refusal("unknown_field", f"{text!r}: {sentence} {name}; {hint}", field=name)


class Expression:
    """One compiled expression, which reads only the fields that its text names."""

    def __init__(self, text: str) -> None:
        self._program = compile_expression(text)
        self.text = text
        paths = paths_of(text)
        self.fields = sorted({(path.variable, path.fields[0]) for path in paths if path.fields})
        self.variables = tuple(sorted({path.variable for path in paths}))

    def value(self, views: Views) -> Any:
        """Return the expression's value; refuses with `condition_failed` where it has none."""
        variables: dict[str, dict[str, Any]] = {
            name: {} for name in self.variables if name in views
        }
        for name, field in self.fields:
            if name in views and field in views[name]:
                variables[name][field] = views[name][field]
        try:
            return self._program.execute(variables)
        except _ERRORS as error:
            raise Refusal("condition_failed", f"{self.text!r}: {str(error)[:300]}") from None


class Condition(Expression):
    """An expression that gives true or false, and the verdicts it has given."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.groups = grouped(self.fields)
        self._verdicts: dict[Any, bool] = {}

    def holds(self, views: Views) -> bool:
        """Tell whether the condition holds; refuses with `condition_failed` what has no verdict."""
        key = values_of(views, self.groups)
        try:
            known = self._verdicts.get(key)
        except TypeError:  # a list or mapping among the values: judged afresh
            return self._judge(views)
        if known is None:
            known = self._judge(views)
            if len(self._verdicts) < MAX_VERDICTS:
                self._verdicts[key] = known
        return known

    def _judge(self, views: Views) -> bool:
        verdict = self.value(views)
        if not isinstance(verdict, bool):
            raise Refusal("condition_failed", f"{self.text!r} gives no true or false.")
        return verdict


def grouped(fields: Iterable[tuple[str, str]]) -> Groups:
    """Put the fields of each variable together, so that its view is asked for once."""
    groups: dict[str, list[str]] = {}
    for name, field in sorted(fields):
        groups.setdefault(name, []).append(field)
    return [(name, tuple(of_name)) for name, of_name in groups.items()]


def values_of(views: Views, groups: Groups) -> tuple[Any, ...]:
    """Return the values of the fields and their types: 1 and true are equal, but not the same."""
    values: list[Any] = []
    for name, fields in groups:
        values += map(views[name].get if name in views else _NOTHING.get, fields)
    return (*values, *map(type, values))


@lru_cache(maxsize=4_000)
def expression(text: str) -> Expression:
    """Return the compiled expression; those in use are remembered."""
    return Expression(text)
