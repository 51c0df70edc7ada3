"""Carts and limits over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
from tests.api.retailer import BATH, count, is_replayed
from tests.api.test_actions import available, code_of, place
from tests.api.test_intake import stock


def hold(web: httpx.Client, ref: str, *lines: tuple[str, int], **more: Any) -> httpx.Response:
    asked = [{"sku": sku, "qty": qty} for sku, qty in lines]
    headers = {"Idempotency-Key": more.pop("key")} if "key" in more else {}
    body = {"channel": "web", "ref": ref, "lines": asked, "destination": BATH, **more}
    return web.post("/v1/carts", json=body, headers=headers)


def test_a_cart_is_held_shown_extended_listed_and_released(
    web: httpx.Client, sku: str, other_sku: str
) -> None:
    stock(web, count(sku, "L1", 5), count(other_sku, "L2", 1))
    answer = hold(web, "c 1", (sku, 3), (other_sku, 2), all_or_nothing=False, key="c1")
    assert answer.status_code == 201, answer.text
    cart = answer.json()
    assert [(one["location"], one["qty"]) for one in cart["held"]] == [("L1", 3), ("L2", 1)]
    assert [one["qty"] for one in cart["lacks"]] == [1]
    assert available(web, sku) == 2
    again = hold(web, "c 1", (sku, 3), (other_sku, 2), all_or_nothing=False, key="c1")
    assert is_replayed(again)
    assert web.get("/v1/carts/web/c%201").json() == cart
    longer = web.post("/v1/carts/web/c%201/extend", json={"minutes": 60})
    assert longer.json()["expires_at"] > cart["expires_at"]
    for number in range(2):
        assert hold(web, f"c-more-{number}", (sku, 1)).status_code == 201
    page = web.get("/v1/carts", params={"channel": "web", "status": "held", "limit": 2}).json()
    assert [one["ref"] for one in page["carts"]] == ["c-more-1", "c-more-0"]
    rest = {"channel": "web", "status": "held", "limit": 2, "after": page["next"]}
    assert "c 1" in [one["ref"] for one in web.get("/v1/carts", params=rest).json()["carts"]]
    for ref in ("c%201", "c-more-0", "c-more-1"):
        assert web.post(f"/v1/carts/web/{ref}/release").json()["status"] == "released"
    assert available(web, sku) == 5


def test_an_order_that_names_its_cart_gets_what_that_held(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L3", 2))
    hold(web, "cart-to-order", (sku, 2))
    assert place(web, "without-cart", (sku, 1))["status"] == "unsourced"
    placed = place(web, "with-cart", (sku, 2), cart="cart-to-order")
    assert placed["status"] == "allocated"
    assert placed["cart"] == {"ref": "cart-to-order", "status": "ordered"}
    text = web.get(f"/v1/orders/{placed['id']}", params={"explain": "text"}).json()["sourcing"]
    assert "2 units were held at L3 by the cart." in text[0]["explanation"]
    data = web.get(f"/v1/orders/{placed['id']}").json()
    assert data["sourcing"][0]["explanation"]["held"] == [{"location": "L3", "units": 2}]
    assert "order.cart_taken" in [one["event"] for one in data["history"]]
    cart = web.get("/v1/carts/web/cart-to-order").json()
    assert (cart["status"], cart["order_id"]) == ("ordered", placed["id"])
    answer = web.post("/v1/carts/web/cart-to-order/release")
    assert code_of(answer) == (409, "cart_ordered")
    late = place(web, "late", (sku, 1), cart="cart-to-order")
    assert late["cart"] == {"ref": "cart-to-order", "status": "ordered"}


def test_what_cannot_be_held_is_refused(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 1))
    answer = hold(web, "too-many", (sku, 2))
    assert code_of(answer) == (409, "out_of_stock")
    assert answer.json()["lacks"] == [{"line": "1", "sku": sku, "qty": 1}]
    assert code_of(web.get("/v1/carts/web/too-many")) == (404, "unknown_cart")
    assert code_of(web.post("/v1/carts/web/too-many/extend")) == (404, "unknown_cart")
    for wrong in ({"minutes": 0}, {"minutes": 61}, {"lines": []}, {"service": "collect"}):
        assert code_of(hold(web, "wrong", (sku, 1), **wrong)) == (422, "invalid_cart"), wrong
    assert code_of(hold(web, "wrong", ("X", 1))) == (422, "unknown_sku")
    assert code_of(hold(web, "wrong", ("WRAP", 1))) == (422, "invalid_cart")
    assert code_of(hold(web, "wrong", (sku, 1), customer="X")) == (422, "unknown_customer")
    assert code_of(hold(web, "wrong", (sku, 1), colour="red")) == (422, "invalid_request")
    for query in ({}, {"channel": "web", "status": "x"}, {"channel": "web", "after": "x"}):
        assert code_of(web.get("/v1/carts", params=query)) == (400, "invalid_query")
    hold(web, "let-go", (sku, 1))
    web.post("/v1/carts/web/let-go/release")
    assert code_of(web.post("/v1/carts/web/let-go/extend")) == (409, "cart_not_held")


def test_a_limit_holds_until_it_is_taken_away(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 9))
    answer = web.post("/v1/limits", json={"ref": "one-each", "sku": sku, "qty": 1})
    assert answer.json() == {"ref": "one-each", "result": "created"}
    assert "one-each" in [one["ref"] for one in web.get("/v1/limits").json()["limits"]]
    assert hold(web, "limited", (sku, 1), session="s").status_code == 201
    answer = hold(web, "limited-2", (sku, 1), session="s")
    assert code_of(answer) == (409, "limit_reached")
    assert (answer.json()["left"], answer.json()["most"]) == (0, 1)
    assert code_of(hold(web, "nobody", (sku, 1))) == (422, "identity_needed")
    wrong = [{"ref": "both", "sku": sku, "qty": 1, "held_percent": 5}, {"ref": "x", "sku": sku}]
    results = web.post("/v1/limits", json=wrong).json()["results"]
    assert [one["problem"]["code"] for one in results] == ["invalid_limit"] * 2
    quota = {"ref": "one-each", "sku": sku, "held_percent": 20}
    assert web.post("/v1/limits", json=quota).json()["result"] == "updated"
    assert code_of(hold(web, "over", (sku, 2))) == (409, "hold_quota_reached")
    assert web.delete("/v1/limits/one-each").json()["result"] == "dropped"
    assert code_of(web.delete("/v1/limits/one-each")) == (404, "unknown_limit")
    assert hold(web, "free", (sku, 5)).status_code == 201
