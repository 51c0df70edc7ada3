"""Carriers and lanes over HTTP: put many, listed by pages; what happened to fulfilments."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.api.retailer import count
from tests.api.test_actions import code_of, place
from tests.api.test_intake import stock

SERVICE = {"ref": "std", "collects": {"mon": ["16:00"], "tue": ["16:00"]}}


def results(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [
        one["problem"]["code"] if "problem" in one else one["result"]
        for one in answer.json()["results"]
    ]


def carrier(ref: str, **more: Any) -> dict[str, Any]:
    return {"ref": ref, "services": [SERVICE], **more}


def lane(ref: str, destination: str, days: int | None) -> dict[str, Any]:
    return {"carrier": ref, "service": "std", "destination": destination, "days": days}


def test_carriers_and_lanes_are_put_and_listed_by_pages(web: httpx.Client) -> None:
    asked = {
        "carriers": [carrier(f"paged-{n}") for n in range(3)] + [carrier("paged-x", services=[{}])]
    }
    answer = web.post("/v1/carriers", json=asked)
    assert code_of(answer) == (422, "invalid_request")
    asked["carriers"][3] = carrier("paged-x", services=[{**SERVICE, "collects": {}}])
    assert results(web.post("/v1/carriers", json=asked)) == [*["created"] * 3, "invalid_carrier"]
    asked["carriers"][0]["name"] = "Paged"
    again = results(web.post("/v1/carriers", json=asked))
    assert again == ["updated", "unchanged", "unchanged", "invalid_carrier"]
    first = web.get("/v1/carriers", params={"after": "paged-", "limit": 2}).json()
    assert [one["ref"] for one in first["carriers"]] == ["paged-0", "paged-1"]
    assert (first["carriers"][0]["name"], first["next"]) == ("Paged", "paged-1")
    last = web.get("/v1/carriers", params={"after": "paged-1"}).json()
    assert [one["ref"] for one in last["carriers"]] == ["paged-2"]
    assert last["next"] is None

    lanes = {
        "lanes": [lane("paged-0", f"GB:A{n}", n) for n in range(3)] + [lane("nobody", "GB", 1)]
    }
    assert results(web.post("/v1/lanes", json=lanes)) == [*["created"] * 3, "unknown_carrier"]
    seen: list[str] = []
    query: dict[str, Any] = {"carrier": "paged-0", "limit": 2}
    while True:
        page = web.get("/v1/lanes", params=query).json()
        seen += [one["destination"] for one in page["lanes"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert seen == ["GB:A0", "GB:A1", "GB:A2"]
    gone = {"lanes": [lane("paged-0", "GB:A1", None), lane("paged-0", "GB:A2", 2)]}
    assert results(web.post("/v1/lanes", json=gone)) == ["updated", "unchanged"]
    left = web.get("/v1/lanes", params={"carrier": "paged-0"}).json()["lanes"]
    assert [(one["destination"], one["days"]) for one in left] == [("GB:A0", 0), ("GB:A2", 2)]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/carriers", {"limit": "0"}),
        ("/v1/carriers", {"before": "x"}),
        ("/v1/carriers", {"after": "\0"}),
        ("/v1/lanes", {"limit": "1001"}),
        ("/v1/lanes", {"after": "somewhere"}),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    web: httpx.Client, path: str, query: dict[str, str]
) -> None:
    assert code_of(web.get(path, params=query)) == (400, "invalid_query")


def test_what_happened_to_fulfilments_is_kept_once_and_shown(web: httpx.Client, sku: str) -> None:
    stock(web, count(sku, "L1", 9))
    placed = place(web, "times", (sku, 2))
    (fulfilment,) = placed["fulfilments"]
    told = {"fulfilment": fulfilment["id"], "step": "shipped", "at": placed["created_at"]}
    came = {**told, "step": "delivered", "at": "2999-01-01T00:00:00Z"}
    body = {"times": [told, came, {**told, "fulfilment": placed["id"]}]}
    answer = results(web.post("/v1/fulfilment-times", json=body))
    assert answer == ["created", "instant_unusable", "unknown_fulfilment"]
    assert results(web.post("/v1/fulfilment-times", json={"times": [told]})) == ["unchanged"]
    order = web.get(f"/v1/orders/{placed['id']}").json()
    assert [(one["fulfilment_id"], one["step"]) for one in order["times"]] == [
        (fulfilment["id"], "shipped")
    ]
    assert code_of(web.post("/v1/fulfilment-times", json={"times": []})) == (422, "invalid_request")
