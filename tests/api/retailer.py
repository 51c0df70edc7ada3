"""What tests over HTTP share: a small retailer, and a real server process that serves it.

Twelve locations, products `P1` to `P400`, `WRAP` (unstocked), `OFF`, channels `web` and `market`,
the network `south`, the customer `C-1`. Stock is what a test sends; each test has SKUs of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import psycopg

from penstock.access.accounts import create_account, schema_of
from penstock.db import Database
from penstock.network.profiles import put_profile

START_TIMEOUT_S = 40.0
LOCATIONS = 12
BATH = {"latitude": 51.38, "longitude": -2.36, "town": "Bath", "country": "GB"}
SEED = f"""
INSERT INTO product_catalogue (ref) VALUES ('main');
INSERT INTO product (catalogue_id, ref, is_stocked, is_on, weight_g)
SELECT 1, ref, ref <> 'WRAP', ref <> 'OFF', 400
FROM (SELECT 'P' || n FROM generate_series(1, 400) AS n
      UNION ALL VALUES ('WRAP'), ('OFF')) AS u (ref);
INSERT INTO channel (ref, kind, currency, catalogue_id)
VALUES ('web', 'site', 'GBP', 1), ('market', 'marketplace', 'GBP', 1);
INSERT INTO location (ref, kind, latitude, longitude, time_zone)
SELECT 'L' || n, 'store', 50 + n / 4.0, -n / 5.0, 'Europe/London'
FROM generate_series(1, {LOCATIONS}) AS n;
INSERT INTO network (ref) VALUES ('south');
INSERT INTO network_location SELECT 1, id FROM location;
INSERT INTO channel_network SELECT id, 1 FROM channel;
INSERT INTO customer (id, ref, tier) VALUES (gen_random_uuid(), 'C-1', 'gold');
UPDATE revision SET value = value + 1;
"""
PROFILE = {
    "distance_km_upto": [50.0, 500.0],
    "weight_g_upto": [1000, 5000],
    "amount_minor": [[300, 500], [400, 700]],
    "per_extra_kg_minor": [100, 150],
}


def make_retailer(conninfo: str, name: str) -> str:
    """Make an account with the retailer in it; returns its schema."""
    create_account(conninfo, name)
    schema = schema_of(name)
    with psycopg.connect(conninfo) as connection:
        connection.execute(f"SET search_path TO {schema}".encode())
        connection.execute(SEED.encode())
    asyncio.run(_put_profile(conninfo, schema))
    return schema


async def _put_profile(conninfo: str, schema: str) -> None:
    database = Database(conninfo, size=1)
    await database.open()
    await database.run(schema, lambda tx: put_profile(tx, "default", PROFILE))
    await database.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(conninfo: str, account: str, port: int) -> dict[str, str]:
    """Return an environment in which commands serve the account on the port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {
        "PENSTOCK_DATABASE_URL": conninfo,
        "PENSTOCK_ACCOUNT": account,
        "PENSTOCK_PORT": str(port),
        "PENSTOCK_LOG_FORMAT": "json",
        "PENSTOCK_LOG_LEVEL": "warning",
    }


def start(command: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `penstock api`, `worker` or `serve` as its own process."""
    code = f"from penstock.cli.serve import {command}; {command}()"
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=stream, stderr=stream
        )


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=1.0, trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text("utf-8", errors="replace")[-4000:])


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Tell a process to stop and return its exit status."""
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(timeout=30)


@contextlib.contextmanager
def serving(
    command: str, conninfo: str, account: str, log: Path
) -> Generator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Lend a client of a server process, which is stopped afterwards."""
    port = free_port()
    process = start(command, settings(conninfo, account, port), log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process, log)
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
            yield client, process
    finally:
        stop(process)


def order(ref: str, *lines: tuple[str, int], channel: str = "web", **more: Any) -> dict[str, Any]:
    """Return the body of an order for lines of (SKU, quantity)."""
    asked = [{"sku": sku, "qty": qty, "unit_price": "2.50"} for sku, qty in lines]
    return {"channel": channel, "ref": ref, "lines": asked, "destination": BATH, **more}


def is_replayed(answer: httpx.Response) -> bool:
    """Tell whether an answer says that it was given before, under its key."""
    return answer.headers.get("idempotent-replayed") == "true"


def count(sku: str, location: str, on_hand: int, **more: Any) -> dict[str, Any]:
    """Return a row of a count."""
    return {"sku": sku, "location": location, "on_hand": on_hand, **more}
