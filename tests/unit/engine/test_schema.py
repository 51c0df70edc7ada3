"""The JSON Schema of documents: equal to its file, and of one mind with reading and compiling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.engine.compiled import compile_document
from penstock.engine.document import read_document
from penstock.engine.json_schema import json_schema, written
from penstock.engine.readable import load_vocabulary
from penstock.engine.rule import Rule, load_rules
from penstock.engine.workflows import shipped_documents
from penstock.errors import Refusal

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "workflow.schema.json"
SMALL = """
name: sample
entity: order
type: sample
statuses:
  - {name: created, phase: intake, category: open, meaning: "Begun."}
rulesets:
  - name: finish
    event: order.created
    statuses: [created]
    rules:
      - transition: {to: created}
      - source
timers:
  - {name: late, event: order.late, statuses: [created], after: 7d}
"""
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}
CHECKED = {
    "$ref", "anyOf", "oneOf", "const", "enum", "type", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "exclusiveMinimum", "items", "minItems", "maxItems", "properties",
    "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties",
}  # fmt: skip
TOLD = {"$schema", "$defs", "title", "description", "default", "examples"}


@pytest.fixture(scope="module")
def rules() -> dict[str, type[Rule]]:
    found = load_rules()
    return {name: rule for name, rule in found.items() if rule.__module__.startswith("penstock.")}


@pytest.fixture(scope="module")
def schema(rules: Mapping[str, type[Rule]]) -> dict[str, Any]:
    return json_schema(rules)


class Checker:
    """Checks a value by the part of JSON Schema that ours uses."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.defs = schema["$defs"]

    def wrong(self, value: Any, part: dict[str, Any]) -> bool:
        assert not set(part) - CHECKED - TOLD, f"not checked: {set(part) - CHECKED - TOLD}"
        named = part["$ref"].rpartition("/")[2] if "$ref" in part else ""
        some, one_of = part.get("anyOf"), part.get("oneOf")
        return (
            (bool(named) and self.wrong(value, self.defs[named]))
            or (some is not None and all(self.wrong(value, one) for one in some))
            or (one_of is not None and sum(not self.wrong(value, one) for one in one_of) != 1)
            or value != part.get("const", value)
            or value not in part.get("enum", [value])
            or ("type" in part and not self._is(value, part["type"]))
            or self._inside_wrong(value, part)
        )

    def _is(self, value: Any, kind: str) -> bool:
        is_flag = isinstance(value, bool)
        return isinstance(value, TYPES[kind]) and is_flag == (kind == "boolean")

    def _inside_wrong(self, value: Any, part: dict[str, Any]) -> bool:
        if isinstance(value, str):
            least, most = part.get("minLength", 0), part.get("maxLength", len(value))
            is_like = re.search(part.get("pattern", ""), value) is not None
            return not (least <= len(value) <= most and is_like)
        if isinstance(value, list):
            least, most = part.get("minItems", 0), part.get("maxItems", len(value))
            return not least <= len(value) <= most or any(
                self.wrong(one, part.get("items", {})) for one in value
            )
        if isinstance(value, dict):
            return self._mapping_wrong(value, part)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return not (
                part.get("minimum", value) <= value <= part.get("maximum", value)
                and value > part.get("exclusiveMinimum", value - 1)
            )
        return False

    def _mapping_wrong(self, value: dict[str, Any], part: dict[str, Any]) -> bool:
        known, more = part.get("properties", {}), part.get("additionalProperties", {})
        least, most = part.get("minProperties", 0), part.get("maxProperties", len(value))
        if not least <= len(value) <= most or set(part.get("required", ())) - set(value):
            return True
        for name, one in value.items():
            if "propertyNames" in part and self.wrong(name, part["propertyNames"]):
                return True
            if name not in known and more is False:
                return True
            if self.wrong(one, known.get(name, more or {})):
                return True
        return False


def test_the_reference_file_is_what_the_code_says(schema: dict[str, Any]) -> None:
    told = "run `penstock workflow schema --to docs/reference/workflow.schema.json`"
    assert PAGE.read_text("utf-8") == written(schema), told


@pytest.mark.parametrize("text", [*shipped_documents(), *shipped_documents("optional"), SMALL])
def test_every_shipped_document_follows_the_schema(text: str, schema: dict[str, Any]) -> None:
    assert not Checker(schema).wrong(yaml.safe_load(text), schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: sample", "name: Sample"),
        ("name: sample\n", ""),
        ("category: open", "category: opened"),
        ("phase: intake", "fase: intake"),
        ("event: order.created", "event: created"),
        ("statuses: [created]", "statuses: []"),
        ("{to: created}", "{}"),
        ("{to: created}", "{to: created, too: much}"),
        ("{to: created}", "{to: 3}"),
        ("transition:", "teleport:"),
        ("- source", "- transition"),
        ("- source", "- {source: {}, release: {}}"),
        ("after: 7d", "after: a week"),
    ],
)
def test_what_the_schema_forbids_is_refused_when_read(
    old: str, new: str, schema: dict[str, Any]
) -> None:
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    assert Checker(schema).wrong(yaml.safe_load(text), schema)
    with pytest.raises(Refusal):
        compile_document(read_document(text), 1, load_vocabulary())


@pytest.mark.parametrize("step", ["source:", "source: {}", "source"])
def test_a_rule_without_parameters_may_be_written_in_every_way(
    step: str, schema: dict[str, Any]
) -> None:
    text = SMALL.replace("- source", f"- {step}")
    assert not Checker(schema).wrong(yaml.safe_load(text), schema)
    compile_document(read_document(text), 1, load_vocabulary())


def test_every_rule_and_parameter_is_in_the_schema(
    schema: dict[str, Any], rules: Mapping[str, type[Rule]]
) -> None:
    parameters = schema["$defs"]["Step"]["anyOf"][1]["properties"]
    assert set(parameters) == set(rules)
