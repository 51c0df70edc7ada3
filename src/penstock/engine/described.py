"""Rules described: what each does, its parameters, and an example, from the code alone.

Pure. What `penstock rules` prints and docs/reference/rules.md holds. A parameter's words come from
its annotation: the description, the range, and the unit (`msgspec.Meta(extra={"unit": "g"})`).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import yaml

from penstock.engine.document import EventName, Expression, Name, Sentence, StatusName
from penstock.engine.durations import Duration
from penstock.engine.rule import OneRule, Outcomes, Rule, make_rule, rule_name
from penstock.engine.template import Template
from penstock.errors import Refusal

MAX_LINE = 90
_PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dict: "mapping",
    list: "list",
    Any: "anything",
}
# Annotations that documents give a name to, by what their first `Meta` says.
_NAMED = (
    (Expression, "CEL expression"),
    (EventName, "event name"),
    (Name, "name"),
    (StatusName, "status"),
    (Sentence, "sentence"),
    (Duration, "duration"),
    (Template, "text with {{ places }}"),
)
_OF_TYPES = [get_args(known)[1] for known, _ in _NAMED]
_SAMPLES: Mapping[str, Any] = {
    "CEL expression": "order.total_minor > 10000",
    "event name": "order.changed",
    "name": "example",
    "status": "held",
    "sentence": "A sentence.",
    "duration": "30m",
    "text with {{ places }}": "It is {{ order.ref }}.",
    "text": "text",
    "whole number": 1,
    "number": 1.0,
    "true or false": True,
    "mapping": {},
    "list": [],
}
_RANGES = (
    ("ge", "from {}"),
    ("gt", "above {}"),
    ("le", "up to {}"),
    ("lt", "below {}"),
    ("min_length", "at least {} long"),
    ("max_length", "at most {} long"),
)


class Parameter(msgspec.Struct, frozen=True):
    """A parameter as a document writes it. `range` and `unit` are empty where there are none."""

    name: str
    type: str
    description: str
    is_required: bool
    default: Any = None
    unit: str = ""
    range: str = ""


class Description(msgspec.Struct, frozen=True):
    """A rule described. `entities` is empty where it works on every kind; `example` is YAML.

    `outcomes` are those of the example; `package` is the distribution's module that it comes from.
    """

    name: str
    summary: str
    details: str
    effect: str
    package: str
    entities: list[str]
    asks_stock: bool
    is_for_one: bool
    parameters: list[Parameter]
    example: str
    outcomes: Outcomes


def describe(rule: type[Rule]) -> Description:
    """Return what a rule tells of itself."""
    summary, _, details = inspect.cleandoc(rule.__doc__ or "").partition("\n\n")
    work = rule.act if issubclass(rule, OneRule) and rule.act is not OneRule.act else rule.apply
    example = _example(rule)
    return Description(
        name=rule_name(rule),
        summary=" ".join(summary.split()),
        details=details.strip(),
        effect=" ".join(inspect.cleandoc(work.__doc__ or "").split()),
        package=rule.__module__.partition(".")[0],
        entities=sorted(rule.entities or ()),
        asks_stock=rule.asks,
        is_for_one=issubclass(rule, OneRule),
        parameters=[_parameter(field) for field in msgspec.structs.fields(rule)],
        example=_yaml(rule_name(rule), example),
        outcomes=make_rule({rule_name(rule): rule}, rule_name(rule), example).outcomes(),
    )


def describe_all(rules: Mapping[str, type[Rule]]) -> list[Description]:
    """Return every rule's description, by name."""
    return [describe(rules[name]) for name in sorted(rules)]


# ── parameters ────────────────────────────────────────────────────────────────────────────────────


def _parameter(field: Any) -> Parameter:
    metas = list(_metas(field.type))
    said = [meta.description for meta in metas if meta.description]
    units = [meta.extra["unit"] for meta in metas if meta.extra and "unit" in meta.extra]
    return Parameter(
        name=field.encode_name,
        type=type_in_words(field.type),
        description=said[-1] if said else "",
        is_required=field.required,
        default=_default(field),
        unit=units[-1] if units else "",
        range=_range(metas),
    )


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default_factory())
    return None


def _metas(annotation: Any) -> Iterator[msgspec.Meta]:
    """Give what annotates a type itself, or what is left of it without `None`."""
    if _is_union(annotation):
        for part in get_args(annotation):
            yield from _metas(part)
    yield from getattr(annotation, "__metadata__", ())


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in {Union, types.UnionType}


def _range(metas: Sequence[msgspec.Meta]) -> str:
    """Return the bounds that a parameter adds to those its type has."""
    own = [meta for meta in metas if meta not in _OF_TYPES]
    bounds = {
        key: value
        for meta in own
        for key, _ in _RANGES
        if (value := getattr(meta, key)) is not None
    }
    if "ge" in bounds and "le" in bounds:
        return f"{bounds.pop('ge')} to {bounds.pop('le')}"
    return ", ".join(said.format(bounds[key]) for key, said in _RANGES if key in bounds)


def type_in_words(annotation: Any) -> str:
    """Return a parameter's type as people say it."""
    metas = getattr(annotation, "__metadata__", ())
    for known, words in _NAMED:
        if get_args(known)[1] in metas:
            return words
    arguments = get_args(annotation)
    if metas:
        return type_in_words(arguments[0])
    if _is_union(annotation):
        parts = [part for part in arguments if part is not type(None)]
        return " or ".join(type_in_words(part) for part in parts)
    return _plain_type(annotation, get_origin(annotation), arguments)


def _plain_type(annotation: Any, origin: Any, arguments: Sequence[Any]) -> str:
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin is list:
        return f"list of {_plural(type_in_words(arguments[0]))}"
    if origin is dict:
        return f"mapping of {_plural(type_in_words(arguments[1]))}"
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return "mapping of " + ", ".join(
            one.encode_name for one in msgspec.structs.fields(annotation)
        )
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _plural(words: str) -> str:
    if words.startswith("mapping"):
        return words.replace("mapping", "mappings", 1)
    return words if words in {"anything", "true or false"} else f"{words.removesuffix('s')}s"


# ── examples ──────────────────────────────────────────────────────────────────────────────────────


def _example(rule: type[Rule]) -> dict[str, Any]:
    """Return the parameters that a rule shows of itself, or samples for those it needs."""
    if rule.example is not None:
        return dict(rule.example)
    needed = [field for field in msgspec.structs.fields(rule) if field.required]
    return {field.encode_name: _sample(field.type) for field in needed}


def _sample(annotation: Any) -> Any:
    words = type_in_words(annotation)
    if words.startswith("`"):
        return words.split("`")[1]
    return _SAMPLES.get(words, _SAMPLES.get(words.partition(" ")[0], "example"))


class _Dumper(yaml.SafeDumper):
    """Writes a text with quotes in it within double quotes: CEL's own are single ones."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if "'" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(name: str, parameters: Mapping[str, Any]) -> str:
    if not parameters:
        return f"- {name}"
    step = {name: dict(parameters)}
    line = _written(step, flow=True, width=1_000)
    if len(line) <= MAX_LINE:
        return f"- {line[1:-1]}"
    return _written([step], flow=None, width=MAX_LINE)


def _written(value: Any, *, flow: bool | None, width: int) -> str:
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=flow, sort_keys=False, width=width)
    return text.strip()


# ── the page ──────────────────────────────────────────────────────────────────────────────────────

_HEAD = """# Rules

What the steps of a ruleset may be. Written from the code by `penstock rules docs`; a rule's own
words are in its docstring. `penstock rules list` also shows the rules of other packages, and
[examples/custom_rule](../../examples/custom_rule) is one to begin from.

A step is a rule's name, or its name with parameters. A CEL expression reads what the
entity's kind has (`order.total_minor`), `event.payload`, `customer` and `channel`; a text in it
stands in quotes of its own: `"'gold'"`. Every rule of a pass works on all entities that met the
same event in the same status; a rule that refuses does so for one of them.
"""


def page(rules: Mapping[str, type[Rule]]) -> str:
    """Return the reference page of rules, in Markdown."""
    described = describe_all(rules)
    rows = [f"| [`{one.name}`](#{one.name}) | {one.summary} |" for one in described]
    table = "\n".join(["| rule | what it does |", "|---|---|", *rows])
    sections = "\n".join(_section(one) for one in described)
    return f"{_HEAD}\n{table}\n\n{sections}"


def _section(one: Description) -> str:
    parts = [f"## {one.name}", one.summary]
    if one.details:
        parts.append(one.details)
    parts.append(" ".join(_facts(one)))
    if one.parameters:
        head = "| parameter | type | default | |\n|---|---|---|---|\n"
        parts.append(head + "\n".join(_row(parameter) for parameter in one.parameters))
    parts.append(f"```yaml\n{one.example}\n```")
    return "\n\n".join(parts) + "\n"


def _facts(one: Description) -> list[str]:
    works = f"Works on: {', '.join(one.entities) or 'every kind of entity'}."
    return [works, *(["Asks stock."] if one.asks_stock else []), one.effect]


def _row(parameter: Parameter) -> str:
    default = "required" if parameter.is_required else f"`{shown(parameter.default)}`"
    cells = (f"`{parameter.name}`", parameter.type, default, explained(parameter))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def shown(value: Any) -> str:
    """Return a default as a document would write it; nothing at all is `none`."""
    return "none" if value is None else msgspec.json.encode(value).decode()


def explained(parameter: Parameter) -> str:
    """Return a parameter's description with unit and range."""
    more = [part for part in (parameter.unit and f"in {parameter.unit}", parameter.range) if part]
    return f"{parameter.description} ({', '.join(more)})".strip() if more else parameter.description


def rule_of(rules: Mapping[str, type[Rule]], name: str) -> type[Rule]:
    """Return a rule by name; refuses with `unknown_rule`, naming those there are."""
    if name not in rules:
        known = ", ".join(sorted(rules))
        raise Refusal("unknown_rule", f"There is no rule {name!r}; there are {known}.", rule=name)
    return rules[name]
