"""Processes: a clean stop under load, a process that dies, a port that is taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from tests.api.retailer import (
    count,
    free_port,
    make_retailer,
    order,
    serving,
    settings,
    start,
    stop,
    wait_until_ready,
)

from penstock.audit.run import audit
from penstock.cli.processes import refuse_busy_port
from penstock.config import Config
from penstock.db import Database
from penstock.errors import Refusal

CLIENTS = 16
ORDERS = 400
PATIENCE_S = 20.0


async def _post(client: httpx.AsyncClient, waiting: list[str], doubtful: list[str]) -> None:
    """Send orders until there are none, or the server is gone; note those without an answer."""
    while waiting:
        ref = waiting.pop()
        wait = "none" if ref.endswith("7") else "decision"
        try:
            body = order(ref, ("P1", 1), ("P2", 2))
            answer = await client.post("/v1/orders", params={"wait": wait}, json=body)
        except httpx.HTTPError:
            doubtful.append(ref)
            return
        assert answer.status_code in {201, 202}, answer.text


async def _load(url: str, process: Any) -> list[str]:
    """Send orders from many clients; half-way the server is told to stop. Returns what is left."""
    waiting, doubtful = [f"load-{n}" for n in range(ORDERS)], []
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=30, trust_env=False
    ) as client:
        posting = [asyncio.create_task(_post(client, waiting, doubtful)) for _ in range(CLIENTS)]
        while len(waiting) > ORDERS // 2:  # noqa: ASYNC110 (lets the posting go on)
            await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*posting)
    return [*doubtful, *waiting]


def statuses(conninfo: str, schema: str) -> dict[str, int]:
    with psycopg.connect(conninfo) as connection:
        query = f"SELECT status, count(*) FROM {schema}.orders GROUP BY status".encode()
        return dict(connection.execute(query).fetchall())


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


async def _breaches(conninfo: str, schema: str) -> int:
    database = Database(conninfo, size=2)
    await database.open()
    try:
        return (await audit(database, schema)).breaches
    finally:
        await database.close()


def test_a_stop_under_load_loses_and_doubles_nothing(database: str, tmp_path: Path) -> None:
    schema = make_retailer(database, "stopped")
    log = tmp_path / "serve.log"
    with serving("serve", database, "stopped", log) as (client, process):
        client.post("/v1/stock", json=[count("P1", "L1", 10_000), count("P2", "L1", 10_000)])
        left = asyncio.run(_load(str(client.base_url), process))
        assert process.wait(timeout=30) == 0, log.read_text()
    assert left, "the server stopped only after everything was sent"
    with serving("serve", database, "stopped", log) as (client, _):
        answers = [client.post("/v1/orders", json=order(r, ("P1", 1), ("P2", 2))) for r in left]
        assert {answer.status_code for answer in answers} == {201}
        wait_for(
            lambda: statuses(database, schema) == {"allocated": ORDERS},
            f"not every order ended allocated, once: {statuses(database, schema)}",
        )
        query = {"channel": "web", "sku": ["P1", "P2"]}
        items = client.get("/v1/availability", params=query).json()["items"]
        assert [item["available"] for item in items] == [10_000 - ORDERS, 10_000 - 2 * ORDERS]
    assert asyncio.run(_breaches(database, schema)) == 0


def _below(process: Any, word: str) -> set[int]:
    """Return the ids of the children of a process whose command line has a word."""
    found: set[int] = set()
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if word in child.cmdline():
                found.add(child.pid)
    return found


def _kill_and_wait_for_another(process: Any, word: str) -> None:
    (old,) = _below(process, word)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: _below(process, word) - {old}, f"no new {word} process")


def test_a_process_that_dies_is_started_again(database: str, tmp_path: Path) -> None:
    make_retailer(database, "killed")
    with serving("serve", database, "killed", tmp_path / "serve.log") as (client, process):
        client.post("/v1/stock", json=[count("P1", "L1", 100)])
        _kill_and_wait_for_another(process, "worker")
        placed = client.post("/v1/orders", params={"wait": "none"}, json=order("w", ("P1", 1)))
        path = f"/v1/orders/{placed.json()['id']}"
        wait_for(lambda: client.get(path).json()["status"] == "allocated", "nobody decided")
        _kill_and_wait_for_another(process, "api")
        wait_for(lambda: _answers(client), "nobody answers")
        assert client.get(path).json()["status"] == "allocated"
        log = (tmp_path / "serve.log").read_text()
        assert log.count('"event": "process died"') == 2, log


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.HTTPError:
        return False


def test_children_end_when_the_supervisor_is_killed(database: str, tmp_path: Path) -> None:
    make_retailer(database, "orphaned")
    log = tmp_path / "serve.log"
    with serving("serve", database, "orphaned", log) as (_, process):
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 3
        process.kill()
        _, alive = psutil.wait_procs(below, timeout=PATIENCE_S)
        assert not alive


def test_several_api_processes_share_the_port(database: str, tmp_path: Path) -> None:
    make_retailer(database, "shared")
    port = free_port()
    environment = settings(database, "shared", port) | {
        "PENSTOCK_API_PROCESSES": "2",
        "PENSTOCK_WORKER_PROCESSES": "0",
    }
    log = tmp_path / "serve.log"
    process = start("serve", environment, log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process, log)
        httpx.post(f"{url}/v1/stock", json=[count("P1", "L1", 50)], trust_env=False)
        answers = asyncio.run(_place_over_many_connections(url))
        assert sum(answer.json()["status"] == "allocated" for answer in answers) == 50
        assert sum(answer.json()["status"] == "unsourced" for answer in answers) == 14
    finally:
        assert stop(process, signal.SIGINT) == 0


async def _place_over_many_connections(url: str) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        bodies = (order(f"shared-{n}", ("P1", 1)) for n in range(64))
        return await asyncio.gather(*(client.post("/v1/orders", json=body) for body in bodies))


def test_a_taken_port_is_named_with_its_holder_and_a_way_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(Refusal, match=f"Port {port} is taken") as refused:
            refuse_busy_port(Config(port=port))
    assert refused.value.code == "port_taken"
    assert str(os.getpid()) in refused.value.message
    assert "--port " in refused.value.message


def test_an_account_that_is_not_there_is_refused_before_anything_starts(
    database: str, tmp_path: Path
) -> None:
    log = tmp_path / "serve.log"
    process = start("serve", settings(database, "nobody", free_port()), log)
    assert process.wait(timeout=30) == 1
    assert "penstock account create nobody" in log.read_text()
