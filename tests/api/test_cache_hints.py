"""Availability tells caches how long it may be kept, and that it has not changed."""

from __future__ import annotations

import time
from typing import Any

import httpx
import psycopg
import pytest
from tests.api.retailer import count, is_replayed, order

from penstock.access.accounts import schema_of


def stock(web: httpx.Client, *rows: dict[str, Any]) -> None:
    assert web.post("/v1/stock", json=list(rows)).status_code == 200


def ask(web: httpx.Client, *skus: str, tag: str | None = None, **more: str) -> httpx.Response:
    query: dict[str, str | list[str]] = {"channel": "web", "sku": list(skus), **more}
    return web.get("/v1/availability", params=query, headers={"if-none-match": tag} if tag else {})


def test_what_has_not_changed_is_not_sent_again(
    web: httpx.Client, sku: str, other_sku: str
) -> None:
    stock(web, count(sku, "L1", 5), count(other_sku, "L1", 5))
    first = ask(web, sku)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert first.headers["cache-control"] == "no-cache"
    stock(web, count(other_sku, "L1", 4))  # another SKU: the version moves on, the answer does not
    again = ask(web, sku, tag=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    assert ask(web, sku, tag=f'"x", {tag}').status_code == 304
    assert ask(web, sku, tag='"x"').status_code == 200
    assert ask(web, other_sku, tag=tag).status_code == 200
    assert ask(web, sku, tag=tag, locations="true").status_code == 200
    answer = web.post("/v1/orders", json=order(f"cache-{sku}", (sku, 1)))
    assert answer.status_code == 201
    assert not is_replayed(answer)
    changed = ask(web, sku, tag=tag)
    assert changed.status_code == 200
    assert changed.json()["items"] == [{"sku": sku, "available": 4}]
    assert changed.headers["etag"] != tag


def test_a_channel_says_how_long_its_answers_may_be_kept(
    web: httpx.Client, database: str, sku: str
) -> None:
    def put(settings: str) -> None:
        options = f"-c search_path={schema_of('over_http')}"
        with psycopg.connect(database, options=options) as connection:
            connection.execute(
                "UPDATE channel SET settings = %s::jsonb WHERE ref = 'web'", (settings,)
            )
            connection.execute("UPDATE revision SET value = value + 1 WHERE name = 'channel'")

    def until_it_is(wanted: str) -> None:
        deadline = time.monotonic() + 10
        while (found := ask(web, sku).headers["cache-control"]) != wanted:
            assert time.monotonic() < deadline, found

    put('{"availability.max_age_s": 30}')
    until_it_is("public, max-age=30")
    put('{"availability.max_age_s": "long"}')
    until_it_is("no-cache")
    put("{}")


@pytest.mark.parametrize("path", ["/v1/availability", "/v1/availability/changes"])
def test_a_refusal_has_no_tag(web: httpx.Client, path: str) -> None:
    answer = web.get(path, params={"channel": "nowhere", "sku": "P1"})
    assert answer.status_code == 422
    assert "etag" not in answer.headers


def test_changes_are_never_kept_and_come_over_http(web: httpx.Client, sku: str) -> None:
    first = web.get("/v1/availability/changes", params={"channel": "web"})
    assert first.headers["cache-control"] == "no-store"
    stock(web, count(sku, "L2", 6))
    query = {"channel": "web", "after": first.json()["cursor"], "wait_s": "15"}
    told = web.get("/v1/availability/changes", params=query)
    assert {"sku": sku, "available": 6, "crossing": "back_in_stock"} in told.json()["items"]
    assert web.post("/v1/availability/changes", json={}).status_code == 405
    wrong = web.get("/v1/availability/changes", params={**query, "after": "yesterday"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")
    thresholds = {"thresholds": [{"ref": "few", "at_risk": 2, "sku": sku}, {"at_risk": -1}]}
    put = web.post("/v1/thresholds", json=thresholds)
    results = put.json()["results"]
    assert results[0] == {"ref": "few", "result": "created"}
    assert results[1]["problem"]["code"] == "quantity_out_of_range"
    (listed,) = web.get("/v1/thresholds").json()["thresholds"]
    assert listed["sku"] == sku
    removed = web.post("/v1/thresholds/remove", json={"refs": ["few", "none"]}).json()["results"]
    assert removed[0]["result"] == "removed"
    assert removed[1]["problem"]["code"] == "unknown_threshold"
