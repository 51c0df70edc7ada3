"""Products, categories and declared attributes over HTTP; kits sold, and what is off is hidden."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from tests.api.retailer import count
from tests.api.test_actions import code_of, place
from tests.api.test_intake import stock
from tests.api.test_switches import wait_for_available

CLIENTS = 64


def put(web: httpx.Client, what: str, *items: dict[str, Any]) -> dict[str, Any]:
    answer = web.put(f"/v1/{what}", json={"catalogue": "main", "items": list(items)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_records_are_put_one_by_one_and_found_again(web: httpx.Client) -> None:
    assert put(web, "categories", {"ref": "rugs", "name": "Rugs"})["created"] == 1
    price = {"currency": "GBP", "unit_price": "12.50"}
    many = {**price, "unit_price": "11.00", "qty_from": 10}
    report = put(
        web,
        "products",
        {"ref": "RUG-1", "name": "Rug", "category_ref": "rugs", "prices": [price, many]},
        {"ref": "RUG-1-R", "kind": "variant", "parent_ref": "RUG-1"},
        {"ref": "RUG-2", "gtin": "4006381333932"},
        {"ref": "RUG-3", "colour": "red"},
    )
    assert (report["created"], report["refused"]) == (2, 2)
    told = [(one["row"], one["code"], one["field"]) for one in report["problems"]]
    assert told == [(2, "invalid_product", "gtin"), (3, "invalid_request", "colour")]
    page = web.get("/v1/products", params={"q": "RUG-", "limit": 1}).json()
    assert ([one["ref"] for one in page["products"]], page["next"]) == (["RUG-1"], "RUG-1")
    page = web.get("/v1/products", params={"category": "rugs"}).json()
    assert [one["ref"] for one in page["products"]] == ["RUG-1"]
    asked = {"currency": "GBP", "qty": 12}
    product = web.get("/v1/products/RUG-1", params=asked).json()
    assert (product["name"], product["price"]["unit_price"]) == ("Rug", "11.00")
    (rugs,) = [
        one for one in web.get("/v1/categories").json()["categories"] if one["ref"] == "rugs"
    ]
    assert rugs["within"] == ["rugs"]
    assert code_of(web.get("/v1/products/NOWHERE")) == (404, "unknown_product")
    assert code_of(web.get("/v1/products?colour=red")) == (400, "invalid_query")
    assert code_of(web.get("/v1/products?limit=0")) == (400, "invalid_query")


def test_an_attribute_is_checked_on_products_and_orders(web: httpx.Client, sku: str) -> None:
    declared = {"entity": "order", "name": "gift", "type": "boolean"}
    assert put(web, "attribute-types", declared)["created"] == 1
    listed = web.get("/v1/attribute-types?entity=order").json()["attribute_types"]
    assert [one["name"] for one in listed] == ["gift"]
    order = {
        "channel": "web",
        "ref": "gift-1",
        "destination": {"latitude": 51.0, "longitude": -1.0},
        "lines": [{"sku": sku, "qty": 1}],
    }
    bad = web.post("/v1/orders", json={**order, "attributes": {"gift": "yes"}})
    assert code_of(bad) == (422, "invalid_attribute")
    assert bad.json()["field"] == "attributes.gift"
    good = web.post("/v1/orders", json={**order, "attributes": {"gift": True, "other": 1}})
    assert good.status_code == 201, good.text


def test_sixty_four_clients_buy_the_last_kits_and_no_more(
    web: httpx.Client, sku: str, other_sku: str
) -> None:
    stock(web, count(sku, "L1", 11), count(other_sku, "L1", 9))
    parts = [{"sku": sku, "qty": 2}, {"sku": other_sku, "qty": 1}]
    kit = f"KIT-{sku}"
    report = put(web, "products", {"ref": kit, "kind": "group", "components": parts})
    assert report["created"] == 1
    wait_for_available(web, kit, 5)
    with ThreadPoolExecutor(CLIENTS) as pool:
        orders = list(pool.map(lambda n: place(web, f"{kit}-{n}", (kit, 1)), range(CLIENTS)))
    assert sum(one["status"] == "allocated" for one in orders) == 5
    wait_for_available(web, kit, 0)
    wait_for_available(web, sku, 1)
    wait_for_available(web, other_sku, 4)


def test_a_product_that_is_off_promises_nothing_and_takes_no_orders(
    web: httpx.Client, sku: str
) -> None:
    stock(web, count(sku, "L1", 5))
    wait_for_available(web, sku, 5)
    before = web.get(f"/v1/products/{sku}").json()
    del before["id"]
    put(web, "products", {**before, "is_on": False})
    wait_for_available(web, sku, 0)
    asked = {"channel": "web", "skus": [sku]}
    assert web.post("/v1/availability", json=asked).json()["items"][0]["status"] == "off"
    order = {
        "channel": "web",
        "ref": "off-1",
        "destination": {"latitude": 51.0, "longitude": -1.0},
        "lines": [{"sku": sku, "qty": 1}],
    }
    assert code_of(web.post("/v1/orders", json=order)) == (422, "sku_off")
    put(web, "products", before)
    wait_for_available(web, sku, 5)
    assert web.post("/v1/orders", json=order).json()["status"] == "allocated"
