"""Workflow documents: what is read, compiled and refused."""

import pytest

from penstock.engine.compiled import Workflow, compile_document
from penstock.engine.condition import Condition
from penstock.engine.document import read_document
from penstock.engine.readable import load_vocabulary
from penstock.engine.rule import load_rules, rule_name
from penstock.engine.workflows import Workflows, shipped_documents
from penstock.errors import Refusal

DOCUMENT = """
name: sample
entity: order
type: sample
statuses:
  - {name: created, phase: intake, category: open, meaning: "Begun."}
  - {name: done, phase: done, category: done, meaning: "Over."}
rulesets:
  - name: finish
    event: order.created
    statuses: [created]
    if: order.qty > 1
    rules:
      - transition: {to: done}
"""


def refused(text: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        compile_document(read_document(text), 1, load_vocabulary())
    return caught.value


def test_a_document_compiles_into_rulesets_by_event() -> None:
    workflow = compile_document(read_document(DOCUMENT), 7, load_vocabulary())
    assert workflow.id == 7
    assert workflow.initial == "created"
    (ruleset,) = workflow.rulesets["order.created"]
    assert ruleset.name == "finish"
    assert not ruleset.asks


def test_every_shipped_document_compiles() -> None:
    vocabulary = load_vocabulary()
    for text in shipped_documents():
        workflow = compile_document(read_document(text), 1, vocabulary)
        assert workflow.rulesets


def test_an_undeclared_status_is_refused_by_name() -> None:
    refusal = refused(DOCUMENT.replace("statuses: [created]", "statuses: [nowhere]"))
    assert refusal.code == "undeclared_status"
    assert "nowhere" in refusal.message


def test_an_unknown_rule_is_refused_with_those_there_are() -> None:
    refusal = refused(DOCUMENT.replace("transition:", "teleport:"))
    assert refusal.code == "unknown_rule"
    assert "transition" in refusal.message


@pytest.mark.parametrize("parameters", ["{}", "{to: 3}", "{to: done, too: much}"])
def test_a_wrong_parameter_is_refused(parameters: str) -> None:
    refusal = refused(DOCUMENT.replace("{to: done}", parameters))
    assert refusal.code == "wrong_parameter"


def test_a_condition_that_is_no_expression_is_refused() -> None:
    assert refused(DOCUMENT.replace("order.qty > 1", "order.qty >")).code == "invalid_condition"


def test_a_misspelt_field_of_a_document_is_refused() -> None:
    assert refused(DOCUMENT.replace("phase: intake", "fase: intake")).code == "invalid_document"


def test_text_that_is_no_yaml_is_refused() -> None:
    assert refused("a: [").code == "invalid_document"


def test_rules_are_named_after_their_classes() -> None:
    for name, rule in load_rules().items():
        assert name == rule_name(rule)


def test_a_condition_remembers_verdicts_by_the_fields_it_names() -> None:
    condition = Condition("order.qty > 1 && order.status == 'created'")
    assert condition.holds({"order": {"qty": 2, "status": "created", "other": [1]}})
    assert not condition.holds({"order": {"qty": 1, "status": "created", "other": [1]}})
    assert condition.holds({"order": {"qty": 2, "status": "created", "other": [2]}})


def test_a_condition_reads_nested_attributes() -> None:
    condition = Condition("order.attributes.gift == true")
    assert condition.holds({"order": {"attributes": {"gift": True}}})
    assert not condition.holds({"order": {"attributes": {"gift": False}}})


def test_a_condition_on_a_missing_field_is_refused_not_guessed() -> None:
    with pytest.raises(Refusal) as caught:
        Condition("order.nothing > 1").holds({"order": {"qty": 2}})
    assert caught.value.code == "condition_failed"


def test_a_condition_has_to_give_true_or_false() -> None:
    with pytest.raises(Refusal) as caught:
        Condition("order.qty + 1").holds({"order": {"qty": 2}})
    assert caught.value.code == "condition_failed"


def test_a_channels_own_workflow_beats_those_above_and_a_types_own_beats_any() -> None:
    def compiled(number: int, kind: str) -> Workflow:
        text = DOCUMENT.replace("type: sample", f"type: '{kind}'")
        return compile_document(read_document(text), number, load_vocabulary())

    account, any_type, brand, site = (
        compiled(1, "sample"),
        compiled(2, "*"),
        compiled(3, "sample"),
        compiled(4, "*"),
    )
    active: dict[tuple[str, str, int | None], Workflow] = {
        ("order", "sample", None): account,
        ("order", "*", None): any_type,
        ("order", "sample", 7): brand,
        ("order", "*", 9): site,
    }
    workflows = Workflows({}, active, {})
    assert workflows.find("order", "sample", ()) is account
    assert workflows.find("order", "other", (8,)) is any_type
    assert workflows.find("order", "sample", (8, 7)) is brand
    assert workflows.find("order", "sample", (9, 7)) is site
    assert workflows.find("payment", "sample", (9,)) is None
    assert workflows.lacking("order", "x").code == "unknown_order_type"
    assert workflows.lacking("payment", "x").code == "no_workflow"
