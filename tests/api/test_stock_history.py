"""What stock is, was and why, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

BATH = {"latitude": 51.38, "longitude": -2.36, "town": "Bath", "country": "GB"}


def counted(web: httpx.Client, sku: str, on_hand: int, location: str = "L1") -> None:
    reply = web.post("/v1/stock", json=[{"sku": sku, "location": location, "on_hand": on_hand}])
    assert reply.is_success, reply.text


def test_stock_is_told_as_it_is_and_as_it_was(web: httpx.Client, sku: str) -> None:
    counted(web, sku, 9)
    first = web.get("/v1/stock", params={"sku": sku}).json()["stock"]
    assert first == [
        {"sku": sku, "location": "L1", "pool": "default", "on_hand": 9, "reserved": 0}
        | {"available": 9, "version": 1, "since": None}
    ]
    at = web.get("/v1/stock/history", params={"sku": sku, "location": "L1"}).json()
    recorded = at["entries"][0]["recorded_at"]
    counted(web, sku, 4)
    was = web.get("/v1/stock", params={"sku": sku, "at": recorded}).json()
    assert [(one["on_hand"], one["since"]) for one in was["stock"]] == [(9, recorded)]
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert web.get("/v1/stock", params={"sku": sku, "at": long_ago}).json()["stock"] == []
    here = web.get("/v1/stock", params={"sku": sku, "location": "L2"}).json()
    assert here["stock"] == []


def test_the_history_names_orders_sources_and_reasons(web: httpx.Client, sku: str) -> None:
    counted(web, sku, 9)
    order: dict[str, Any] = {
        "channel": "web",
        "ref": f"H-{sku}",
        "lines": [{"sku": sku, "qty": 2}],
        "destination": BATH,
    }
    assert web.post("/v1/orders", json=order).is_success
    change = {"sku": sku, "location": "L1", "delta": -1, "reason": "broken", "key": f"b-{sku}"}
    assert web.post("/v1/stock/adjustments", json=[change]).json()["applied"] == 1
    params = {"sku": sku, "location": "L1", "limit": "2"}
    found = web.get("/v1/stock/history", params=params).json()
    says = [entry["why"]["says"] for entry in found["entries"]]
    assert says == ["adjusted: broken", f"reserved for order H-{sku} of web"]
    assert found["entries"][1]["why"]["order"] == f"H-{sku}"
    assert (found["on_hand"], found["reserved"]) == (8, 2)
    rest = web.get("/v1/stock/history", params=params | {"before": found["next"]}).json()
    assert [entry["why"]["says"] for entry in rest["entries"]] == ["counted by default, by request"]
    assert rest["next"] is None


def test_questions_about_stock_that_make_no_sense_are_refused(web: httpx.Client, sku: str) -> None:
    def code(path: str, **params: Any) -> tuple[int, str]:
        reply = web.get(path, params=params)
        return reply.status_code, reply.json()["code"]

    assert code("/v1/stock") == (400, "invalid_query")
    assert code("/v1/stock", sku=sku, odd="1") == (400, "invalid_query")
    assert code("/v1/stock", sku="NOPE") == (422, "unknown_sku")
    assert code("/v1/stock", sku=sku, location="NOPE") == (422, "unknown_location")
    assert code("/v1/stock", sku=sku, at="2026-01-01T00:00") == (422, "instant_unusable")
    assert code("/v1/stock", sku=sku, at="noon") == (422, "instant_unusable")
    assert code("/v1/stock/history", sku=sku) == (400, "invalid_query")
    assert code("/v1/stock/history", sku=sku, location="L1") == (404, "no_such_position")
    assert code("/v1/stock/history", sku=sku, location="L1", limit="0") == (400, "invalid_query")
    counted(web, sku, 1)
    odd = code("/v1/stock/history", sku=sku, location="L1", before="1")
    assert odd == (400, "invalid_query")
