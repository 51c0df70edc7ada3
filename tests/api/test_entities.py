"""Entities, events and user actions over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest
from tests.api.retailer import count, is_replayed
from tests.api.test_actions import code_of, place
from tests.api.test_intake import stock
from tests.shop import until_true

from penstock.access.accounts import schema_of

ACTIVATE = """
INSERT INTO workflow_activation (entity, entity_type, channel_id, workflow_id)
SELECT entity, entity_type, channel_id, id FROM workflow WHERE name = 'payment';
UPDATE revision SET value = value + 1 WHERE name = 'workflow'
"""


@pytest.fixture(scope="module")
def payments(web: httpx.Client, database: str) -> httpx.Client:
    """Lend the server once payments have a workflow."""
    schema = schema_of("over_http")
    with psycopg.connect(database, options=f"-c search_path={schema}") as connection:
        connection.execute(ACTIVATE)
    until_true(lambda: make(web, "is it there").status_code == 201, "payments are taken")
    return web


def make(web: httpx.Client, ref: str, **more: Any) -> httpx.Response:
    return web.post("/v1/entities", json={"kind": "payment", "ref": ref, **more})


def actions_of(web: httpx.Client, kind: str, entity_id: str, role: str | None = None) -> list[str]:
    asked = {} if role is None else {"role": role}
    answer = web.get(f"/v1/entities/{kind}/{entity_id}/actions", params=asked)
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["actions"]]


def test_an_entity_is_made_once_and_found_by_its_id(payments: httpx.Client) -> None:
    made = make(payments, "pay-1", attributes={"psp": "x"})
    assert (made.status_code, made.json()["status"]) == (201, "pending")
    assert make(payments, "pay-1").json()["id"] == made.json()["id"]
    read = payments.get(f"/v1/entities/payment/{made.json()['id']}")
    assert read.json() == made.json()
    nobody = payments.get("/v1/entities/payment/00000000-0000-7000-8000-000000000009")
    assert code_of(nobody) == (404, "unknown_entity")


def test_an_entity_needs_a_workflow_and_a_kind_of_its_own(payments: httpx.Client) -> None:
    for kind, code in (
        ("order", "wrong_kind"),
        ("parcel", "no_workflow"),
        ("Bad!", "invalid_request"),
    ):
        answer = payments.post("/v1/entities", json={"kind": kind, "ref": "x"})
        assert code_of(answer) == (422, code)


def test_an_event_is_decided_at_once_or_posted_for_later(payments: httpx.Client) -> None:
    payment = make(payments, "pay-2").json()
    event = {"entity": {"kind": "payment", "ref": "pay-2"}, "name": "payment.authorised"}
    answer = payments.post("/v1/events", json=event, headers={"Idempotency-Key": "auth-2"})
    assert (answer.status_code, answer.json()["status"]) == (200, "authorised")
    again = payments.post("/v1/events", json=event, headers={"Idempotency-Key": "auth-2"})
    assert again.json() == answer.json()
    assert is_replayed(again)
    assert code_of(payments.post("/v1/events", json=event)) == (409, "not_allowed_in_status")
    later = {**event, "name": "payment.captured", "wait": False}
    posted = payments.post("/v1/events", json=later)
    assert posted.status_code == 202
    assert posted.json()["id"]
    where = f"/v1/entities/payment/{payment['id']}"
    until_true(lambda: payments.get(where).json()["status"] == "captured", "it was captured")
    nowhere = {**event, "entity": {"kind": "payment", "ref": "none"}}
    assert code_of(payments.post("/v1/events", json=nowhere)) == (404, "unknown_entity")
    unnamed = {**event, "entity": {"kind": "payment"}}
    assert code_of(payments.post("/v1/events", json=unnamed)) == (422, "entity_needed")


def test_actions_are_listed_by_status_and_role_and_done_by_their_form(
    web: httpx.Client, sku: str
) -> None:
    stock(web, count(sku, "L1", 9))
    placed = place(web, "actions", (sku, 2))
    order_id, fulfilment_id = placed["id"], placed["fulfilments"][0]["id"]
    assert actions_of(web, "order", order_id) == ["cancel", "ship", "reject"]
    assert actions_of(web, "order", order_id, "store") == ["ship", "reject"]
    where = f"/v1/entities/fulfilment/{fulfilment_id}/actions"
    wrong = web.post(f"{where}/reject", json={"fields": {"why": "broken"}})
    assert code_of(wrong) == (422, "invalid_form")
    assert wrong.json()["field"] == "why"
    long = web.post(f"{where}/reject", json={"fields": {"reason": "x" * 501}})
    assert (code_of(long), long.json()["field"]) == ((422, "invalid_form"), "reason")
    planner = web.post(f"{where}/ship", json={"role": "planner"})
    assert code_of(planner) == (409, "action_not_possible")
    done = web.post(f"{where}/ship", json={"by": "store 1"}, headers={"Idempotency-Key": sku})
    assert (done.status_code, done.json()["status"]) == (200, "shipped")
    again = web.post(f"{where}/ship", json={"by": "store 1"}, headers={"Idempotency-Key": sku})
    assert again.json() == done.json()
    assert is_replayed(again)
    assert code_of(web.post(f"{where}/ship")) == (409, "action_not_possible")
    assert actions_of(web, "order", order_id) == []


def test_a_hold_is_placed_by_its_form_and_cleared(web: httpx.Client, sku: str) -> None:
    placed = place(web, "hold-form", (sku, 2))
    where = f"/v1/entities/order/{placed['id']}/actions"
    lacking = web.post(f"{where}/place_hold", json={"fields": {}})
    assert (code_of(lacking), lacking.json()["field"]) == ((422, "invalid_form"), "kind")
    held = web.post(f"{where}/place_hold", json={"fields": {"kind": "fraud"}, "by": "anna"})
    assert [hold["kind"] for hold in held.json()["holds"]] == ["fraud"]
    assert "clear_hold" in actions_of(web, "order", placed["id"], "customer_service")
    cleared = web.post(f"{where}/clear_hold", json={"fields": {"kind": "fraud"}})
    assert cleared.json()["holds"] == []


def test_a_trace_and_the_stuck_desk_answer_over_http(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 9))
    placed = place(web, "traced", (sku, 2))
    trace = web.get(f"/v1/orders/{placed['id']}/trace").json()["entries"]
    assert [event["event"] for event in trace[0]["detail"]["events"]] == [
        "order.created",
        "order.routed",
    ]
    same = web.get(f"/v1/entities/order/{placed['id']}/trace").json()["entries"]
    assert same == trace
    nobody = "00000000-0000-7000-8000-000000000009"
    assert code_of(web.get(f"/v1/orders/{nobody}/trace")) == (404, "unknown_order")
    event = {"entity": {"kind": "order", "id": placed["id"]}, "name": "order.sung_about"}
    assert web.post("/v1/events", json={**event, "wait": False}).status_code == 202

    def mine() -> list[dict[str, Any]]:
        found = web.get("/v1/stuck", params={"limit": 1000}).json()["stuck"]
        return [one for one in found if one["root_id"] == placed["id"]]

    until_true(lambda: bool(mine()), "it shows up")
    (stuck,) = mine()
    assert stuck["cause"] == "unhandled"
    told = {"ids": [stuck["id"]], "by": "anna", "reason": "a joke"}
    assert web.post("/v1/stuck/skip", json=told).json() == {"ids": [stuck["id"]]}
    assert web.post("/v1/stuck/skip", json=told).json() == {"ids": []}
    assert mine() == []
    moved = {"entity": event["entity"], "to": "held", "by": "anna", "reason": "to look at it"}
    assert web.post("/v1/stuck/move", json=moved).status_code == 200
    assert web.get(f"/v1/orders/{placed['id']}").json()["status"] == "held"
    wrong = web.post("/v1/stuck/move", json={**moved, "to": "nowhere"})
    assert code_of(wrong) == (422, "undeclared_status")
    assert code_of(web.get("/v1/stuck", params={"older_than": "soon"})) == (422, "invalid_duration")
    assert code_of(web.get("/v1/stuck", params={"limit": "0"})) == (400, "invalid_query")
