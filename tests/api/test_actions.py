"""What is done to orders over HTTP: cancel, hold, ship, reject, source again."""

from __future__ import annotations

from typing import Any

import httpx
from tests.api.retailer import count, is_replayed, order
from tests.api.test_intake import stock, totals


def available(web: httpx.Client, sku: str) -> int:
    answer = web.get("/v1/availability", params={"channel": "web", "sku": sku}).json()
    return int(answer["items"][0]["available"])


def place(web: httpx.Client, ref: str, *lines: tuple[str, int], **more: Any) -> dict[str, Any]:
    answer = web.post("/v1/orders", json=order(ref, *lines, **more))
    assert answer.status_code == 201, answer.text
    return answer.json()


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_cancelling_once_gives_stock_back_and_twice_is_refused(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 10))
    placed = place(web, "cancel-twice", (sku, 4))
    assert available(web, sku) == 6
    answer = web.post(f"/v1/orders/{placed['id']}/cancel", json={"reason": "changed my mind"})
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    again = web.post(f"/v1/orders/{placed['id']}/cancel")
    assert code_of(again) == (409, "not_allowed_in_status")
    assert again.json()["status"] == 409
    assert again.json()["current_status"] == "cancelled"
    assert available(web, sku) == 10


def test_a_cancellation_sent_again_under_its_key_is_answered_again(
    web: httpx.Client, sku: str
) -> None:
    stock(web, count(sku, "L1", 10))
    path = f"/v1/orders/{place(web, 'cancel-key', (sku, 4))['id']}/cancel"
    headers = {"Idempotency-Key": "cancel-it"}
    first = web.post(path, headers=headers)
    again = web.post(path, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert (is_replayed(first), is_replayed(again)) == (False, True)
    assert available(web, sku) == 10


def test_a_part_of_a_line_can_be_cancelled(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 10))
    path = f"/v1/orders/{place(web, 'cancel-part', (sku, 4))['id']}/cancel"
    answer = web.post(path, json={"lines": [{"ref": "1", "qty": 3}]}).json()
    assert totals(answer) == (1, 0)
    assert available(web, sku) == 9
    too_many = web.post(path, json={"lines": [{"ref": "1", "qty": 2}]})
    assert code_of(too_many) == (409, "not_cancellable")
    unknown = web.post(path, json={"lines": [{"ref": "7"}]})
    assert code_of(unknown) == (422, "unknown_line")


def test_a_hold_keeps_an_order_from_its_location_until_it_is_cleared(
    web: httpx.Client, sku: str
) -> None:
    stock(web, count(sku, "L1", 10))
    placed = place(web, "held", (sku, 1), holds=[{"kind": "fraud", "reason": "new card"}])
    assert placed["status"] == "held"
    assert placed["fulfilments"][0]["status"] == "created"
    wrong = web.post(f"/v1/orders/{placed['id']}/holds/payment/clear")
    assert code_of(wrong) == (404, "no_such_hold")
    cleared = web.post(f"/v1/orders/{placed['id']}/holds/fraud/clear", json={"by": "Ada"}).json()
    assert cleared["status"] == "allocated"
    assert cleared["fulfilments"][0]["status"] == "awaiting_pick"


def test_a_rejected_fulfilment_is_sourced_elsewhere(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 10), count(sku, "L2", 10))
    placed = place(web, "rejected", (sku, 1))
    first = placed["fulfilments"][0]
    after = web.post(f"/v1/fulfilments/{first['id']}/reject", json={"reason": "broken"}).json()
    statuses = {part["location"]: part["status"] for part in after["fulfilments"]}
    assert statuses[first["location"]] == "rejected"
    assert sorted(statuses.values()) == ["awaiting_pick", "rejected"]


def test_a_fulfilment_ships_once(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 10), count(sku, "L2", 0))
    placed = place(web, "ships", (sku, 1), ("WRAP", 1))
    path = f"/v1/fulfilments/{placed['fulfilments'][0]['id']}/ship"
    assert web.post(path).json()["fulfilments"][0]["status"] == "shipped"
    assert web.post(path).status_code == 409
    assert available(web, sku) == 9


def test_what_lacked_stock_is_sourced_when_asked_again(web: httpx.Client, sku: str) -> None:
    placed = place(web, "again", (sku, 2))
    assert placed["status"] == "unsourced"
    stock(web, count(sku, "L1", 10))
    after = web.post(f"/v1/orders/{placed['id']}/retry-sourcing").json()
    assert after["status"] == "allocated"
    assert available(web, sku) == 8
