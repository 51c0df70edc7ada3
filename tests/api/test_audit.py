"""What the audit finds, over HTTP: found by the worker itself while the server runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests.api.retailer import (
    free_port,
    make_retailer,
    settings,
    start,
    stop,
    wait_until_ready,
)

PATIENCE_S = 40.0


@pytest.fixture
def audited(database: str, tmp_path: Path) -> Iterator[tuple[httpx.Client, str]]:
    """Lend a client of a server whose worker audits every second, and its schema."""
    schema = make_retailer(database, "audit_http")
    port, log = free_port(), tmp_path / "log"
    environment = {**settings(database, "audit_http", port), "PENSTOCK_AUDIT_EVERY_S": "1"}
    process = start("serve", environment, log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process, log)
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
            yield client, schema
    finally:
        stop(process)


def until(client: httpx.Client, condition: Any) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not condition(told := client.get("/v1/audit").json()):
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    return told


def test_the_worker_finds_what_is_wrong_and_sees_when_it_is_not(
    audited: tuple[httpx.Client, str], database: str
) -> None:
    web, schema = audited
    web.post("/v1/stock", json=[{"sku": "P1", "location": "L1", "on_hand": 9}])
    told = until(web, lambda told: told["passes_behind"] == 0 and told["runs"])
    assert told["is_clean"]
    with psycopg.connect(database, options=f"-c search_path={schema}") as connection:
        connection.execute("UPDATE position SET reserved = 4")
    told = until(web, lambda told: len(told["findings"]) == 2)
    assert told["breaches"] == {"journal": 1, "reserved": 1}
    assert {one["is_repairable"] for one in told["findings"]} == {True}
    text = web.get("/metrics").text
    assert 'penstock_audit_breaches{check="reserved"} 1\n' in text
    with psycopg.connect(database, options=f"-c search_path={schema}") as connection:
        connection.execute("UPDATE position SET reserved = 0")
    told = until(web, lambda told: told["is_clean"])
    assert {one["check"] for one in told["resolved"]} == {"journal", "reserved"}


def test_metrics_are_openmetrics_text(web: httpx.Client) -> None:
    reply = web.get("/metrics")
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    lines = reply.text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    samples = [line for line in lines[:-2] if not line.startswith("#")]
    sample = re.compile(r'[a-z_]+(\{check="[a-z]+"\})? -?[0-9.]+')
    assert [line for line in samples if not sample.fullmatch(line)] == []
    names = {line.split(" ")[2] for line in lines if line.startswith("# TYPE")}
    root = Path(__file__).parents[2]
    page = (root / "docs/reference/audit.md").read_text("utf-8")
    assert {name for name in names if name not in page} == set()


def test_an_unknown_field_of_the_query_is_refused(web: httpx.Client) -> None:
    reply = web.get("/v1/audit", params={"odd": "1"})
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_query")
