"""Controls over HTTP: put, listed, explained, obeyed by orders, removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api.retailer import count
from tests.api.test_actions import code_of, place
from tests.api.test_intake import order, stock


@pytest.fixture
def controls(web: httpx.Client) -> Iterator[list[str]]:
    """Lend a list of refs that are removed when the test ends."""
    refs: list[str] = []
    yield refs
    web.post("/v1/controls/remove", json={"refs": refs})


def put(web: httpx.Client, refs: list[str], *asked: dict[str, Any]) -> list[Any]:
    answer = web.post("/v1/controls", json={"controls": list(asked)})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    refs += [one["ref"] for one in results if "result" in one]
    return results


def ask(web: httpx.Client, sku: str, **more: Any) -> Any:
    body = {"channel": "web", "skus": [sku], **more}
    return web.post("/v1/availability", json=body).json()["items"][0]


def wait_for(web: httpx.Client, sku: str, wanted: int, **more: Any) -> Any:
    """Ask until the process has heard of a control: it looks every tenth of a second."""
    for _ in range(2_000):
        item = ask(web, sku, **more)
        if item["available"] == wanted:
            return item
    raise AssertionError(f"{ask(web, sku, **more)}, not {wanted}")


def test_a_control_lowers_its_channel_alone_and_is_explained(
    web: httpx.Client, sku: str, controls: list[str]
) -> None:
    stock(web, count(sku, "L1", 9), count(sku, "L2", 4))
    results = put(
        web,
        controls,
        {"ref": f"{sku} keep", "channel": "web", "sku": sku, "qty": 2},
        {"ref": f"{sku} L2", "channel": "web", "sku": sku, "location": "L2", "kind": "exclusion"},
        {"kind": "wall"},
    )
    assert [one.get("result") for one in results] == ["created", "created", None]
    assert results[2]["problem"]["code"] == "invalid_control"
    item = wait_for(web, sku, 7, explain=True)
    assert item["explained"]["free"] == 13
    lowered = {one["control"]: one["by"] for one in item["explained"]["lowered"]}
    assert lowered == {f"{sku} keep": 2, f"{sku} L2": 4}
    query = f"/v1/availability?channel=web&sku={sku}&explain=true"
    assert web.get(query).json()["items"][0]["explained"] == item["explained"]
    assert ask(web, sku, channel="market")["available"] == 13
    listed = web.get("/v1/controls", params={"channel": "web"}).json()["controls"]
    assert {one["ref"] for one in listed} >= {f"{sku} keep", f"{sku} L2"}
    assert place(web, f"{sku}-8", (sku, 8))["status"] == "partly_allocated"


def test_what_is_kept_for_gold_is_gold_s_in_answers_and_orders(
    web: httpx.Client, sku: str, controls: list[str]
) -> None:
    stock(web, count(sku, "L1", 5))
    fence = {"ref": sku, "kind": "ring_fence", "sku": sku, "qty": 4, "kept_tiers": ["gold"]}
    put(web, controls, fence)
    item = wait_for(web, sku, 1, explain=True)
    assert item["explained"]["lowered"] == [{"control": sku, "by": 4}]
    assert ask(web, sku, tier="gold")["available"] == 5
    standard = web.post("/v1/orders", json=order(f"{sku}-s", (sku, 2))).json()
    gold = web.post("/v1/orders", json={**order(f"{sku}-g", (sku, 4)), "customer": "C-1"}).json()
    assert gold["status"] == "allocated"
    assert standard["status"] != "allocated"
    used = [one for one in web.get("/v1/controls").json()["controls"] if one["ref"] == sku]
    assert used[0]["reserved"] == 4


def test_what_cannot_be_asked_of_controls_is_refused(web: httpx.Client) -> None:
    assert code_of(web.get("/v1/controls?chanel=web")) == (400, "invalid_query")
    assert code_of(web.get("/v1/controls?limit=0")) == (400, "invalid_query")
    assert code_of(web.post("/v1/controls", json={"controls": []})) == (422, "invalid_request")
    removed = web.post("/v1/controls/remove", json={"refs": ["nobody's"]}).json()
    assert removed["results"][0]["problem"]["code"] == "unknown_control"
