"""Services switched off and on over HTTP."""

from __future__ import annotations

import httpx
from tests.api.retailer import count
from tests.api.test_actions import available, code_of, place
from tests.api.test_intake import stock


def wait_for_available(web: httpx.Client, sku: str, wanted: int) -> None:
    """Ask until the process has heard of a switch: it looks every tenth of a second."""
    for _ in range(2_000):
        if available(web, sku) == wanted:
            return
    raise AssertionError(f"{available(web, sku)} available, not {wanted}")


def test_a_location_that_is_off_gets_no_new_orders_and_promises_nothing(
    web: httpx.Client, sku: str
) -> None:
    stock(web, count(sku, "L12", 5))
    before = place(web, "before-off", (sku, 1))
    path = "/v1/locations/L12/services/deliver"
    answer = web.post(path, json={"on": False, "reason": "flooded"})
    assert (answer.status_code, answer.json()["on"]) == (200, False)
    assert place(web, "while-off", (sku, 1))["status"] == "unsourced"
    wait_for_available(web, sku, 0)
    assert web.get(f"/v1/orders/{before['id']}").json()["status"] == "allocated"
    assert web.post(path, json={"on": True}).json()["on"] is True
    assert place(web, "after-off", (sku, 1))["status"] == "allocated"
    wait_for_available(web, sku, 3)


def test_a_network_that_is_off_takes_all_its_locations_out(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 5))
    path = "/v1/networks/south/services/deliver"
    web.post(path, json={"on": False, "reason": "strike"})
    try:
        assert place(web, "network-off", (sku, 1))["status"] == "unsourced"
        wait_for_available(web, sku, 0)
    finally:
        web.post(path, json={"on": True})
    wait_for_available(web, sku, 5)


def test_what_cannot_be_switched_is_refused(web: httpx.Client) -> None:
    unknown = web.post("/v1/locations/L99/services/deliver", json={"on": False})
    assert code_of(unknown) == (422, "unknown_location")
    unknown = web.post("/v1/networks/north/services/deliver", json={"on": False})
    assert code_of(unknown) == (422, "unknown_network")
    answer = web.post("/v1/locations/L1/services/deliver", json={"off": True})
    assert code_of(answer) == (422, "invalid_request")
    naive = {"on": False, "until": "2030-01-01T00:00:00"}
    answer = web.post("/v1/locations/L1/services/deliver", json=naive)
    assert code_of(answer) == (422, "instant_unusable")
    answer = web.post("/v1/locations/L1/services/teleport", json={"on": False})
    assert answer.status_code == 422
