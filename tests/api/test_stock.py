"""Stock over HTTP: counts with what is wrong in them, changes with their keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.api.retailer import count, is_replayed
from tests.api.test_actions import available, place
from tests.api.test_intake import stock, totals


def test_each_row_refuses_itself_only(web: httpx.Client, sku: str) -> None:
    rows = [
        count(sku, "L1", 10),
        count("NOWHERE", "L1", 1),
        count(sku, "L77", 1),
        count(sku, "L2", 10**12),
        {"sku": sku, "location": "L3"},
        {**count(sku, "L4", 1), "onhand": 2},
        count(sku, "L5", 1, pool="wholesale"),
        count(sku, "L6", 1, counted_at="2999-01-01T00:00:00Z"),
        count(sku, "L7", 1, counted_at="2026-01-01T00:00:00"),
        count(sku, "L8", -3),
    ]
    report = web.post("/v1/stock", json=rows).json()
    codes = {problem["row"]: problem["code"] for problem in report["problems"]}
    assert codes == {
        1: "unknown_sku",
        2: "unknown_location",
        3: "quantity_out_of_range",
        4: "invalid_request",
        5: "invalid_request",
        6: "unknown_pool",
        7: "instant_unusable",
        8: "instant_unusable",
    }
    assert (report["changed"], report["refused"]) == (2, 8)
    assert available(web, sku) == 10


def test_of_two_counts_of_a_position_the_newer_holds(web: httpx.Client, sku: str) -> None:
    now = datetime.now(UTC)
    earlier = (now - timedelta(hours=1)).isoformat()
    rows = [
        count(sku, "L1", 7, counted_at=now.isoformat()),
        count(sku, "L1", 9, counted_at=earlier),
    ]
    report = web.post("/v1/stock", json=rows).json()
    assert (report["changed"], report["superseded"]) == (1, 1)
    assert report["problems"] == [
        {
            "row": 1,
            "code": "count_superseded",
            "detail": "Another row of this list counts the same position.",
        }
    ]
    older = web.post("/v1/stock", json={"counted_at": earlier, "items": [count(sku, "L1", 3)]})
    assert older.json()["older"] == 1
    assert older.json()["problems"][0]["code"] == "count_older"
    assert available(web, sku) == 7


def test_the_same_count_again_changes_nothing(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 7))
    assert web.post("/v1/stock", json=[count(sku, "L1", 7)]).json()["unchanged"] == 1


def test_a_count_below_what_is_reserved_is_taken_and_sourced_elsewhere(
    web: httpx.Client, sku: str
) -> None:
    stock(web, count(sku, "L1", 5))
    placed = place(web, "shed", (sku, 5))
    stock(web, count(sku, "L1", 2), count(sku, "L2", 10))
    path = f"/v1/orders/{placed['id']}"
    read = web.get(path).json()
    for _ in range(2_000):
        where = {part["location"] for part in read["fulfilments"] if part["status"] != "cancelled"}
        if "L2" in where and totals(read) == (5, 0):
            break
        read = web.get(path).json()
    assert totals(read) == (5, 0)
    assert available(web, sku) >= 7


def test_a_count_sent_again_under_its_key_is_answered_again(web: httpx.Client, sku: str) -> None:
    rows = [count(sku, "L1", 7), count(sku, "L77", 1)]
    headers = {"Idempotency-Key": "counted-once"}
    first = web.post("/v1/stock", json=rows, headers=headers)
    stock(web, count(sku, "L1", 3))
    again = web.post("/v1/stock", json=rows, headers=headers)
    assert again.json() == first.json()
    assert (is_replayed(first), is_replayed(again)) == (False, True)
    assert available(web, sku) == 3
    other = web.post("/v1/stock", json=rows[:1], headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


def test_a_long_list_is_taken_in_several_passes(web: httpx.Client, sku: str) -> None:
    rows = [count(sku, f"L{n % 12 + 1}", n) for n in range(2_400)] + [count("NOWHERE", "L1", 1)]
    report = web.post("/v1/stock", json=rows).json()
    assert report["rows"] == 2_401
    assert report["problems"][-1]["row"] == 2_400
    assert report["changed"] + report["superseded"] + report["unchanged"] == 2_400
    assert available(web, sku) == sum(range(2_388, 2_400))


def test_a_change_is_made_once_by_its_key(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 10))
    rows: list[dict[str, Any]] = [
        {"sku": sku, "location": "L1", "delta": -3, "key": f"broken-{sku}", "reason": "broken"},
        {"sku": sku, "location": "L1", "delta": 2},
        {"sku": sku, "location": "L1", "delta": 2, "key": f"broken-{sku}"},
    ]
    report = web.post("/v1/stock/adjustments", json=rows).json()
    assert (report["applied"], report["refused"]) == (1, 2)
    codes = [(problem["row"], problem["code"]) for problem in report["problems"]]
    assert codes == [(1, "key_needed"), (2, "idempotency_key_reused")]
    again = web.post("/v1/stock/adjustments", json=rows[:1]).json()
    assert (again["applied"], again["replayed"]) == (0, 1)
    assert available(web, sku) == 7


def test_changes_take_the_key_of_their_request(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 10))
    rows = [{"sku": sku, "location": "L1", "delta": -1}] * 3
    headers = {"Idempotency-Key": f"found-{sku}"}
    first = web.post("/v1/stock/adjustments", json=rows, headers=headers)
    assert (first.json()["applied"], is_replayed(first)) == (3, False)
    again = web.post("/v1/stock/adjustments", json=rows, headers=headers)
    assert (again.json()["replayed"], is_replayed(again)) == (3, True)
    assert available(web, sku) == 7


def test_availability_lists_locations_and_the_nearest(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 4), count(sku, "L2", 5), count(sku, "L3", 6))
    place(web, "some", (sku, 1))
    asked = {"channel": "web", "skus": [sku, "WRAP", "OFF", "NOWHERE"], "locations": True}
    answer = web.post("/v1/availability", json=asked).json()
    first, *others = answer["items"]
    assert first["available"] == 14
    assert len(first["locations"]) == 3
    assert [item["status"] for item in others] == ["unstocked", "off", "unknown"]
    near = {"latitude": "50.3", "longitude": "-0.2", "limit": "1"}
    query = {"channel": "web", "sku": sku, **near}
    nearest = web.get("/v1/availability", params=query).json()["items"][0]["locations"]
    assert [place["location"] for place in nearest] == ["L1"]
