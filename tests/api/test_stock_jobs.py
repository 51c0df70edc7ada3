"""Feeds of many batches over HTTP: sent twice, looked at row by row, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from tests.api.retailer import count, is_replayed

from penstock.access.accounts import schema_of


@pytest.fixture
def source(database: str, web: httpx.Client, sku: str) -> str:
    """Make a stock source that no other test has."""
    del web
    ref = f"till-{sku}"
    with psycopg.connect(database) as connection:
        connection.execute(f"SET search_path TO {schema_of('over_http')}".encode())
        connection.execute("INSERT INTO stock_source (ref) VALUES (%s)", (ref,))
    return ref


def opened(web: httpx.Client, source: str, **more: Any) -> str:
    """Open a job and return its path."""
    asked = {"ref": f"feed of {source}", "source": source, **more}
    answer = web.post("/v1/stock-jobs", json=asked)
    assert answer.status_code == 201, answer.text
    return f"/v1/stock-jobs/{answer.json()['id']}"


def sent(web: httpx.Client, job: str, ref: str, *rows: dict[str, Any]) -> httpx.Response:
    return web.put(f"{job}/batches/{ref}", json=rows)


def settled(web: httpx.Client, job: str, status: str = "running") -> Any:
    """Wait until no batch waits and the job is of a status; returns its document."""
    read: Any = None
    for _ in range(3_000):
        read = web.get(job).json()
        if read["job"]["batches_waiting"] == 0 and read["job"]["status"] == status:
            return read
    raise AssertionError(read)


def counted(document: dict[str, Any]) -> tuple[int, ...]:
    return tuple(document[name] for name in ("rows", "rows_done", "changed", "unchanged", "failed"))


def shows(web: httpx.Client, sku: str, units: int) -> bool:
    """Tell whether availability comes to show so many units: it follows what a worker commits."""
    for _ in range(1_000):
        answer = web.get("/v1/availability", params={"channel": "web", "sku": sku}).json()
        if answer["items"][0]["available"] == units:
            return True
    return False


def test_a_job_takes_any_number_of_batches_and_tells_of_every_row(
    web: httpx.Client, source: str, sku: str
) -> None:
    job = opened(web, source)
    halves = count(sku, "L4", 2) | {"on_hand": 2.5}
    bad = [count("NOWHERE", "L1", 1), {"sku": sku, "location": "L3"}, halves]
    first = sent(web, job, "one", count(sku, "L1", 5), *bad, count(sku, "L2", 6))
    assert first.status_code == 202, first.text
    assert sent(web, job, "two", count(sku, "L1", 5), count(sku, "L3", 1)).status_code == 202
    read = settled(web, job)
    assert [batch["ref"] for batch in read["batches"]] == ["one", "two"]
    assert [counted(batch) for batch in read["batches"]] == [(5, 5, 2, 0, 3), (2, 2, 1, 1, 0)]
    assert counted(read["job"]) == (7, 7, 3, 1, 3)
    rows = web.get(f"{job}/batches/one").json()["results"]
    assert [row["result"] for row in rows] == ["changed", *["failed"] * 3, "changed"]
    assert [row.get("code", "") for row in rows[1:4]] == [
        "unknown_sku",
        "invalid_record",
        "invalid_record",
    ]
    assert shows(web, sku, 12)
    finished = web.post(f"{job}/finish", json={})
    assert (finished.status_code, finished.json()["status"]) == (200, "finished")
    late = sent(web, job, "three", count(sku, "L1", 9))
    assert (late.status_code, late.json()["code"]) == (409, "stock_job_ended")
    assert sent(web, job, "two", count(sku, "L1", 5), count(sku, "L3", 1)).status_code == 200


def test_a_page_of_results_goes_on_where_the_last_one_ended(
    web: httpx.Client, source: str, sku: str
) -> None:
    job = opened(web, source)
    rows = [count(sku, f"L{n}", n) if n % 3 else count(sku, "NOWHERE", n) for n in range(1, 13)]
    sent(web, job, "pages", *rows)
    settled(web, job)
    places: list[int] = []
    query: dict[str, Any] = {"limit": 5}
    while True:
        page = web.get(f"{job}/batches/pages", params=query).json()
        places += [row["row"] for row in page["results"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert places == list(range(12))
    failed = web.get(f"{job}/batches/pages", params={"result": "failed"}).json()["results"]
    assert [(row["row"], row["code"]) for row in failed] == [
        (place, "unknown_location") for place in (2, 5, 8, 11)
    ]


def test_a_batch_sent_twice_has_one_effect_and_with_other_rows_is_refused(
    web: httpx.Client, source: str, sku: str
) -> None:
    job = opened(web, source)
    assert sent(web, job, "a", count(sku, "L1", 5)).status_code == 202
    settled(web, job)
    web.post("/v1/stock", json=[count(sku, "L1", 9)])
    again = sent(web, job, "a", count(sku, "L1", 5))
    assert (again.status_code, is_replayed(again)) == (200, True)
    assert counted(settled(web, job)["job"]) == (1, 1, 1, 0, 0)
    assert shows(web, sku, 9)
    other = sent(web, job, "a", count(sku, "L1", 6))
    assert (other.status_code, other.json()["code"]) == (409, "batch_ref_taken")


def test_a_job_is_opened_once_by_its_ref(web: httpx.Client, source: str) -> None:
    asked = {"ref": f"nightly {source}", "source": source, "mode": "full"}
    first = web.post("/v1/stock-jobs", json=asked)
    again = web.post("/v1/stock-jobs", json=asked)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = web.post("/v1/stock-jobs", json={**asked, "mode": "partial"})
    assert (other.status_code, other.json()["code"]) == (409, "stock_job_ref_taken")
    listed = web.get("/v1/stock-jobs", params={"status": "running"}).json()["jobs"]
    assert first.json()["id"] in [job["id"] for job in listed]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"source": "nobody"}, "unknown_source"),
        ({"pool": "none"}, "unknown_pool"),
        ({"counted_at": "2999-01-01T00:00:00Z"}, "instant_unusable"),
        ({"counted_at": "2020-01-01T00:00:00"}, "instant_unusable"),
        ({"mode": "whole"}, "invalid_request"),
    ],
)
def test_a_job_that_cannot_be_opened_is_refused(
    web: httpx.Client, asked: dict[str, str], code: str
) -> None:
    answer = web.post("/v1/stock-jobs", json={"ref": f"bad {code}", **asked})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_what_is_not_there_is_not_found(web: httpx.Client, source: str) -> None:
    nowhere = "/v1/stock-jobs/01900000-0000-7000-8000-000000000000"
    assert web.get(nowhere).json()["code"] == "unknown_stock_job"
    assert sent(web, nowhere, "a").json()["code"] == "unknown_stock_job"
    assert web.get(f"{opened(web, source)}/batches/none").json()["code"] == "unknown_batch"
    assert web.get("/v1/stock-jobs/nothing").json()["code"] == "invalid_id"


def test_a_full_job_retires_what_no_batch_mentioned_and_the_dry_run_says_so(
    web: httpx.Client, source: str, sku: str, other_sku: str
) -> None:
    counted_at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = [count(sku, f"L{n}", 10 + n) for n in range(1, 6)] + [count(other_sku, "L1", 3)]
    web.post("/v1/stock", json={"source": source, "counted_at": before, "items": rows})
    web.post("/v1/stock", json={"counted_at": before, "items": [count(sku, "L9", 50)]})
    job = opened(web, source, mode="full", counted_at=counted_at)
    sent(web, job, "all", count(sku, "L1", 1), {"sku": sku, "location": "L2", "on_hand": "?"})
    sent(web, job, "more", count(sku, "L3", 10 + 3), count(sku, "L4", 3_000_000_000))
    settled(web, job)
    foreseen = web.post(f"{job}/finish", json={"dry_run": True}).json()
    assert (foreseen["positions"], foreseen["units"]) == (2, 15 + 3)
    assert foreseen["examples"][0] == {
        "sku": sku,
        "location": "L5",
        "pool": "default",
        "on_hand": 15,
    }
    assert web.post(f"{job}/finish", json={}).json()["code"] == "retire_at_most_needed"
    refused = web.post(f"{job}/finish", json={"retire_at_most": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_to_retire")
    assert shows(web, other_sku, 3)
    told = web.post(f"{job}/finish", json={"retire_at_most": 2})
    assert told.status_code == 202
    done = settled(web, job, "finished")["job"]
    assert (done["retired"], done["units_retired"]) == (2, 18)
    assert shows(web, other_sku, 0)
    assert shows(web, sku, 1 + 12 + 13 + 14 + 50)


def test_a_job_that_is_given_up_has_failed(web: httpx.Client, source: str, sku: str) -> None:
    job = opened(web, source, mode="full")
    sent(web, job, "a", count(sku, "L1", 5))
    settled(web, job)
    given_up = web.post(f"{job}/abandon", json={"reason": "the till broke"}).json()
    assert (given_up["status"], given_up["error"]) == ("failed", "the till broke")
    assert web.post(f"{job}/finish", json={"retire_at_most": 9}).status_code == 409
    assert sent(web, job, "b", count(sku, "L1", 6)).json()["code"] == "stock_job_ended"
    assert shows(web, sku, 5)
