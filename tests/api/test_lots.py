"""Lots over HTTP: tracked, counted, changed once under a key, picked, listed, refused by row."""

from __future__ import annotations

from typing import Any

import httpx
from tests.api.test_actions import code_of, place

KEY = "Idempotency-Key"


def post(web: httpx.Client, what: str, items: Any, key: str | None = None) -> Any:
    headers = {} if key is None else {KEY: key}
    answer = web.post(f"/v1/lots/{what}", json={"items": items}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def begin(web: httpx.Client, sku: str, *lots: dict[str, Any]) -> None:
    answer = web.post("/v1/lots/track", json={"skus": [sku]})
    assert answer.json() == {"tracked": [sku]}
    items = [{"sku": sku, "location": "L1"} | lot for lot in lots]
    assert post(web, "counts", items) == {"rows": len(lots), "positions": 1}


def listed(web: httpx.Client, sku: str) -> list[tuple[Any, ...]]:
    found = web.get("/v1/lots", params={"sku": sku, "location": "L1"}).json()["lots"]
    return [(one["lot"], one["area"], one["qty"], one["is_blocked"]) for one in found]


def test_lots_are_counted_picked_and_traced_over_http(web: httpx.Client, sku: str) -> None:
    begin(
        web,
        sku,
        {"lot": "B", "qty": 6, "expires_on": "2099-06-01"},
        {"lot": "A", "qty": 3, "expires_on": "2099-01-01"},
        {"qty": 1},
    )
    assert listed(web, sku) == [("A", "", 3, False), ("B", "", 6, False)]
    wanted = [{"sku": sku, "location": "L1", "qty": 5}]
    (picks,) = post(web, "suggestions", wanted)["suggestions"]
    assert [(one["lot"], one["qty"]) for one in picks] == [("A", 3), ("B", 2)]
    placed = place(web, f"{sku}-lots", (sku, 4))
    path = f"/v1/fulfilments/{placed['fulfilments'][0]['id']}/lots"
    (told,) = web.get(path).json()["lots"]
    assert [(one["lot"], one["qty"]) for one in told["lots"]] == [("A", 3), ("B", 1)]
    too_many = {"lots": [{"sku": sku, "lots": [{"lot": "A", "qty": 4}]}]}
    assert code_of(web.post(path, json=too_many)) == (409, "lot_unavailable")
    other = {"lots": [{"sku": "NOT-IN-IT"}]}
    assert code_of(web.post(path, json=other)) == (422, "unknown_sku")
    fixed = {"lots": [{"sku": sku, "lots": [{"lot": "B", "qty": 4}]}]}
    assert web.post(path, json=fixed).status_code == 200
    assert web.post(path.replace("/lots", "/ship")).status_code == 200
    assert listed(web, sku) == [("A", "", 3, False), ("B", "", 2, False)]
    history = web.get("/v1/lots/history", params={"sku": sku, "lot": "B"}).json()["history"]
    assert [(one["qty"], one["cause"], one["order"]) for one in history] == [
        (-4, "shipment", f"{sku}-lots"),
        (6, "count", None),
    ]
    assert code_of(web.post(path)) == (409, "fulfilment_not_open")


def test_a_change_or_a_move_has_one_effect_under_its_key(web: httpx.Client, sku: str) -> None:
    begin(web, sku, {"lot": "A", "qty": 6})
    area = {"location": "L1", "ref": f"{sku}-q", "kind": "quarantine"}
    (made,) = web.post("/v1/areas", json={"areas": [area]}).json()["results"]
    assert made["result"] == "created"
    (fixed,) = web.post("/v1/areas", json={"areas": [area | {"kind": "pick"}]}).json()["results"]
    assert fixed["problem"]["code"] == "area_kind_fixed"
    where = {"sku": sku, "location": "L1", "lot": "A"}
    assert code_of(web.post("/v1/lots/moves", json=[where | {"qty": 1}])) == (422, "key_needed")
    for _ in range(2):
        post(web, "changes", [where | {"delta": 4}], f"{sku}-change")
        post(web, "moves", [where | {"qty": 7, "to": f"{sku}-q"}], f"{sku}-move")
    assert sorted(listed(web, sku)) == [("A", "", 3, False), ("A", f"{sku}-q", 7, True)]
    areas = web.get("/v1/areas", params={"location": "L1"}).json()["areas"]
    assert [one["qty"] for one in areas if one["ref"] == f"{sku}-q"] == [7]
    placed = place(web, f"{sku}-few", (sku, 5))
    assert placed["choices"][0]["lines"][0]["qty_allocated"] == 3


def test_a_list_with_a_row_that_cannot_be_taken_does_nothing(
    web: httpx.Client, sku: str, other_sku: str
) -> None:
    begin(web, sku, {"lot": "A", "qty": 6})
    where = {"sku": sku, "location": "L1", "lot": "A", "qty": 1}
    rows = [
        where,
        where | {"area": "nowhere"},
        where | {"sku": other_sku},
        where | {"qty": -1},
        where | {"expires_on": "soon"},
        where | {"location": "L77"},
    ]
    report = post(web, "counts", rows, f"{sku}-count")
    assert [(one["row"], one["code"]) for one in report["problems"]] == [
        (1, "unknown_area"),
        (2, "lots_not_tracked"),
        (3, "quantity_out_of_range"),
        (4, "invalid_request"),
        (5, "unknown_location"),
    ]
    assert listed(web, sku) == [("A", "", 6, False)]
    post(web, "counts", [where], f"{sku}-count")
    assert listed(web, sku) == [("A", "", 1, False)]
    nowhere = where | {"location": "L2", "to": None}
    report = post(web, "moves", [nowhere], f"{sku}-move")
    assert [one["code"] for one in report["problems"]] == ["lot_unavailable"]
    wanted = {name: nowhere[name] for name in ("sku", "location", "qty")}
    assert post(web, "suggestions", [wanted]) == {"suggestions": [[]]}
    many = [where | {"qty": 2_000_000_000}, where | {"lot": "B", "qty": 2_000_000_000}]
    answer = web.post("/v1/lots/counts", json=many)
    assert code_of(answer) == (422, "quantity_out_of_range")
    query = {"sku": sku, "colour": "red"}
    assert code_of(web.get("/v1/lots", params=query)) == (400, "invalid_query")
    assert code_of(web.get("/v1/lots/history", params={"sku": sku})) == (400, "invalid_query")
    assert code_of(web.get("/v1/lots", params={"limit": "x"})) == (400, "invalid_query")
