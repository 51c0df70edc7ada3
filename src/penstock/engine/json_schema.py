"""The JSON Schema (2020-12) of workflow documents: editors complete and check with it.

Pure. Made from the structs that read documents and from every rule's parameters, so that it cannot
say otherwise than they do. What only compiling knows (statuses that are declared, expressions that
are right) it does not tell: that is lint's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.engine.document import WorkflowDocument
from penstock.engine.rule import Rule

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/{name}"


def json_schema(rules: Mapping[str, type[Rule]]) -> dict[str, Any]:
    """Return the schema of documents that are made of these rules, by name."""
    names = sorted(rules)
    made = [WorkflowDocument, *(rules[name] for name in names)]
    (document, *steps), parts = msgspec.json.schema_components(made, ref_template=_REF)
    parts = {name: _tidy(part) for name, part in parts.items()}
    parts["RulesetDocument"]["properties"]["rules"]["items"] = {"$ref": "#/$defs/Step"}
    parts["Step"] = _step(dict(zip(names, steps, strict=True)), parts)
    return {
        "$schema": DIALECT,
        "title": "Penstock workflow document",
        **document,
        "$defs": dict(sorted(parts.items())),
    }


def _step(steps: Mapping[str, dict[str, Any]], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a step: a rule's name, or one rule with its parameters."""
    told = {name: parts[_part_of(step)] for name, step in steps.items()}
    bare = [name for name, part in told.items() if not part["required"]]
    return {
        "title": "Step",
        "description": "A rule's name, or its name with parameters.",
        "anyOf": [
            {
                "oneOf": [
                    {"const": name, "description": told[name].get("description", "")}
                    for name in bare
                ]
            },
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {
                    name: {"anyOf": [step, {"type": "null"}]} if name in bare else step
                    for name, step in steps.items()
                },
            },
        ],
    }


def _part_of(step: Mapping[str, Any]) -> str:
    return str(step["$ref"]).rpartition("/")[2]


def _tidy(part: Any) -> Any:
    """Return a part with its descriptions as they read, without a docstring's indentation."""
    if isinstance(part, dict):
        tidy = {key: _tidy(value) for key, value in part.items()}
        if isinstance(tidy.get("description"), str):
            tidy["description"] = inspect.cleandoc(tidy["description"])
        return tidy
    return [_tidy(one) for one in part] if isinstance(part, list) else part


def written(schema: Mapping[str, Any]) -> str:
    """Return the schema as the text of its file."""
    text = msgspec.json.format(msgspec.json.encode(schema, order="deterministic"), indent=2)
    return text.decode() + "\n"
