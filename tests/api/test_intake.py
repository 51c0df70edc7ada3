"""Orders over HTTP: the answer is the decision, and what comes twice has one effect."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
from tests.api.retailer import count, is_replayed, order


def stock(web: httpx.Client, *rows: dict[str, Any]) -> None:
    report = web.post("/v1/stock", json=list(rows)).json()
    assert report["changed"] == len(rows), report


def totals(document: dict[str, Any]) -> tuple[int, int]:
    """Return what of an order is allocated, and what lacks stock."""
    lines = [line for choice in document["choices"] for line in choice["lines"]]
    return sum(n["qty_allocated"] for n in lines), sum(n["qty_unsourced"] for n in lines)


async def post_all(web: httpx.Client, bodies: list[Any], **more: Any) -> list[httpx.Response]:
    """Send every body at once, each over a connection of its own."""
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(base_url=web.base_url, limits=limits, trust_env=False) as client:
        posts = (client.post("/v1/orders", json=body, timeout=30, **more) for body in bodies)
        return await asyncio.gather(*posts)


def test_an_order_is_answered_with_its_decision(
    web: httpx.Client, sku: str, other_sku: str
) -> None:
    stock(web, count(sku, "L1", 5), count(other_sku, "L2", 1))
    answer = web.post("/v1/orders", json=order("decided", (sku, 2), (other_sku, 3)))
    assert answer.status_code == 201
    document = answer.json()
    assert document["status"] == "partly_allocated"
    assert totals(document) == (3, 2)
    assert {part["location"] for part in document["fulfilments"]} == {"L1", "L2"}
    assert {part["status"] for part in document["fulfilments"]} == {"awaiting_pick"}


def test_an_order_can_be_read_with_history_and_sourcing(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 5), count(sku, "L9", 5))
    placed = web.post("/v1/orders", json=order("read", (sku, 2))).json()
    by_id = web.get(f"/v1/orders/{placed['id']}").json()
    by_ref = web.get("/v1/orders", params={"channel": "web", "ref": "read"}).json()
    assert by_id == by_ref
    assert by_id["times"] == []  # nobody has told of any
    assert {name: by_id[name] for name in placed} == placed
    names = [event["event"] for event in by_id["history"]]
    assert names[0] == "order.created"
    assert names[-1] == "order.allocated"
    assert [event["seq"] for event in by_id["history"]] == list(range(1, len(names) + 1))
    explanation = by_id["sourcing"][0]["explanation"]
    assert [one["location"] for one in explanation["chosen"]] == ["L1"]
    assert [one["location"] for one in explanation["outscored"]] == ["L9"]


def test_sourcing_is_explained_in_sentences(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 5), count(sku, "L9", 2))
    placed = web.post("/v1/orders", json=order("explained", (sku, 9))).json()
    read = web.get(f"/v1/orders/{placed['id']}", params={"explain": "text"}).json()
    text = read["sourcing"][0]["explanation"]
    assert re.search(r"12 of 1\d locations may serve it", text)  # other tests may add some
    assert "10 of them have nothing of what is wanted" in text
    assert "L1 sends 5 units over 197 km for 7.00 GBP (carriage" in text
    assert f"2 of {sku} are not sourced: too little stock (7 were seen)." in text


def test_64_clients_on_one_sku_get_exactly_what_is_there(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 60), count(sku, "L2", 40))
    bodies = [order(f"hot-{n}", (sku, 2)) for n in range(64)]
    answers = asyncio.run(post_all(web, bodies))
    assert {answer.status_code for answer in answers} == {201}
    each = [totals(answer.json()) for answer in answers]
    assert sum(allocated for allocated, _ in each) == 100
    assert sum(unsourced for _, unsourced in each) == 28
    left = web.get("/v1/availability", params={"channel": "web", "sku": sku}).json()
    assert left["items"][0]["available"] == 0


def test_the_same_order_sent_by_many_at_once_is_one_order(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 50))
    answers = asyncio.run(post_all(web, [order("once", (sku, 3))] * 8))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    left = web.get("/v1/availability", params={"channel": "web", "sku": sku}).json()
    assert left["items"][0]["available"] == 47


def test_the_same_ref_in_two_channels_is_two_orders(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 50))
    bodies = [order("twin", (sku, 1)), order("twin", (sku, 1), channel="market")]
    first, second = (answer.json() for answer in asyncio.run(post_all(web, bodies)))
    assert first["id"] != second["id"]
    assert {first["channel"], second["channel"]} == {"web", "market"}


def test_a_ref_with_other_contents_is_refused(web: httpx.Client, sku: str) -> None:
    web.post("/v1/orders", json=order("taken", (sku, 1)))
    answer = web.post("/v1/orders", json=order("taken", (sku, 2)))
    assert (answer.status_code, answer.json()["code"]) == (409, "order_ref_taken")


def test_one_unknown_sku_in_a_list_refuses_its_order_only(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 50))
    bodies = [
        order("list-1", (sku, 1)),
        order("list-2", (sku, 1), ("NOWHERE", 1)),
        {"channel": "web", "ref": "list-3", "lines": [{"sku": sku, "qty": "two"}]},
        order("list-4", (sku, 1)),
    ]
    answer = web.post("/v1/orders", json=bodies)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [next(iter(result)) for result in results] == ["order", "problem", "problem", "order"]
    assert results[0]["order"]["ref"] == "list-1"
    assert results[1]["problem"]["code"] == "unknown_sku"
    assert results[2]["problem"]["code"] == "invalid_request"
    assert results[2]["problem"]["field"] == "lines[0].qty"
    assert results[3]["order"]["status"] == "allocated"


def test_a_list_sent_again_under_its_key_has_one_effect(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 50))
    bodies = [order(f"keyed-{n}", (sku, 1)) for n in range(5)]
    headers = {"Idempotency-Key": "list-of-five"}
    first = web.post("/v1/orders", json=bodies, headers=headers)
    again = web.post("/v1/orders", json=bodies, headers=headers)
    assert again.json() == first.json()
    assert (is_replayed(first), is_replayed(again)) == (False, True)
    longer = web.post("/v1/orders", json=[*bodies, order("keyed-5", (sku, 1))], headers=headers)
    assert longer.json()["results"][:5] == first.json()["results"]
    assert not is_replayed(longer)
    left = web.get("/v1/availability", params={"channel": "web", "sku": sku}).json()
    assert left["items"][0]["available"] == 44


def test_a_key_gives_the_first_answer_even_after_a_change(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 5))
    headers = {"Idempotency-Key": "first-answer"}
    first = web.post("/v1/orders", json=order("replayed", (sku, 1)), headers=headers)
    web.post(f"/v1/orders/{first.json()['id']}/cancel")
    again = web.post("/v1/orders", json=order("replayed", (sku, 1)), headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert (is_replayed(first), is_replayed(again)) == (False, True)
    by_ref = web.post("/v1/orders", json=order("replayed", (sku, 1)))
    assert by_ref.json()["status"] == "cancelled"
    assert not is_replayed(by_ref)


def test_a_key_with_another_body_is_refused(web: httpx.Client, sku: str) -> None:
    headers = {"Idempotency-Key": "used"}
    web.post("/v1/orders", json=order("key-1", (sku, 1)), headers=headers)
    answer = web.post("/v1/orders", json=order("key-2", (sku, 1)), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    lookup = web.get("/v1/orders", params={"channel": "web", "ref": "key-2"})
    assert lookup.status_code == 404


def test_a_refused_order_does_not_use_its_key_up(web: httpx.Client, sku: str) -> None:
    headers = {"Idempotency-Key": "not-used-up"}
    refused = web.post("/v1/orders", json=order("unused", ("NOWHERE", 1)), headers=headers)
    assert refused.status_code == 422
    answer = web.post("/v1/orders", json=order("unused", (sku, 1)), headers=headers)
    assert answer.status_code == 201


def test_an_order_that_nobody_waits_for_is_decided_by_a_worker(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 5))
    answer = web.post("/v1/orders", params={"wait": "none"}, json=order("later", (sku, 1)))
    assert answer.status_code == 202
    assert answer.json()["status"] == "created"
    path = f"/v1/orders/{answer.json()['id']}"
    read = web.get(path).json()
    for _ in range(2_000):  # each a round trip; the worker looks at least four times a second
        if read["status"] != "created":
            break
        read = web.get(path).json()
    assert read["status"] == "allocated"
    assert totals(read) == (1, 0)


def test_hundreds_of_orders_fit_in_one_list(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 900))
    bodies = [order(f"bulk-{n}", (sku, 1)) for n in range(1_000)]
    results = web.post("/v1/orders", json=bodies).json()["results"]
    assert sum(totals(result["order"])[0] for result in results) == 900
    assert [result["order"]["ref"] for result in results] == [body["ref"] for body in bodies]
