"""The demo, on a slice: loaded, routed, summed up; nothing twice; killed and continued; audited."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.cli.conftest import Command, environment_of

from penstock.demo.run import MAX_CHUNK, chunks_of, order_inputs
from penstock.demo.sample import load_sample
from penstock.events.sequencer import lock_key

ORDERS = 80


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the summary that a demo printed as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def passes_of(server: str) -> int:
    """Return how many passes have written to the account of the demo."""
    with psycopg.connect(server) as connection:
        row = connection.execute("SELECT count(*) FROM account_demo.pass").fetchone()
    return row[0] if row else 0


def test_the_demo_loads_routes_and_sums_up_and_a_second_run_loads_nothing(
    penstock: Command, server: str
) -> None:
    first = summary_of(penstock("demo", "--no-serve", "--orders", str(ORDERS), "--json"))
    assert first["orders"] == ORDERS
    assert first["orders_of_sample"] == 5_313
    assert first["fulfilments"] > ORDERS
    assert first["fill_rate"] > 0.8
    assert 0 < first["split_rate"] < 1
    assert first["mean_distance_km"] > 0
    assert first["shipping_minor"] > 0
    assert first["oversold_positions"] == 0
    assert first["verdict"]["breaches"] == 0
    passes = passes_of(server)
    second = penstock("demo", "--no-serve", "--orders", str(ORDERS), "--json")
    assert summary_of(second) == first
    assert "routing orders" not in second.stderr
    assert passes_of(server) == passes
    more = summary_of(penstock("demo", "--no-serve", "--orders", str(ORDERS + 10), "--json"))
    assert more["orders"] == ORDERS + 10
    assert penstock("audit", "--account", "demo").returncode == 0


def test_a_demo_that_is_killed_goes_on_where_it_was(penstock: Command, server: str) -> None:
    arguments = ["demo", "--no-serve", "--orders", str(ORDERS)]
    command = [sys.executable, "-m", "penstock.cli.main", *arguments]
    with subprocess.Popen(
        command, env=environment_of(server), stderr=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stderr is not None
        for line in killed.stderr:
            if line.startswith("routing orders: ") and not line.startswith("routing orders: 0"):
                break
        killed.send_signal(signal.SIGKILL)
    with psycopg.connect(server) as connection:
        row = connection.execute("SELECT count(*) FROM account_demo.orders").fetchone()
    assert row is not None
    assert 0 < row[0] < ORDERS
    resumed = penstock(*arguments, "--json")
    assert summary_of(resumed)["orders"] == ORDERS
    assert "counting stock" not in resumed.stderr
    assert penstock("audit", "--account", "demo").returncode == 0


def test_an_account_with_other_data_is_not_touched(penstock: Command, server: str) -> None:
    penstock("account", "create", "demo")
    with psycopg.connect(server) as connection:
        connection.execute("INSERT INTO account_demo.channel (ref, kind) VALUES ('mine', 'site')")
    done = penstock("demo", "--no-serve", "--orders", "1")
    assert done.returncode == 2
    assert "holds something else than the demo" in done.stderr
    assert penstock("demo", "--no-serve", "--reset").returncode == 1  # nobody said yes
    reset = penstock("demo", "--no-serve", "--reset", "--yes", "--orders", "1", "--json")
    assert summary_of(reset)["orders"] == 1


def test_an_account_that_is_served_is_not_dropped(penstock: Command, server: str) -> None:
    penstock("account", "create", "demo")
    with psycopg.connect(server) as connection:  # as a sequencer of any process does
        connection.execute("SELECT pg_advisory_lock(%s)", (lock_key("account_demo"),))
        for command in (["demo", "--no-serve", "--reset"], ["account", "drop", "demo"]):
            done = penstock(*command, "--yes")
            assert done.returncode == 2
            assert "is being served" in done.stderr
    assert penstock("account", "drop", "demo", "--yes").returncode == 0


def test_another_sample_is_not_mixed_in(penstock: Command, tmp_path: Path) -> None:
    assert penstock("demo", "--no-serve", "--orders", "1").returncode == 0
    file = tmp_path / "other.parquet"
    file.write_bytes(b"PAR1")
    done = penstock("demo", "--no-serve", "--full", str(file))
    assert done.returncode == 2
    assert "--reset" in done.stderr
    assert penstock("demo", "--full", str(tmp_path / "none.parquet")).returncode == 2


def test_orders_are_decided_day_by_day_in_the_order_they_were_placed() -> None:
    sample = load_sample()
    chunks = list(chunks_of(sample.orders.head(400)))
    assert [ref for chunk in chunks for ref in chunk["order_ref"]] == [
        *sample.orders["order_ref"].head(400)
    ]
    assert all(len(chunk) <= MAX_CHUNK for chunk in chunks)
    assert all(chunk["day"].n_unique() == 1 for chunk in chunks)


@pytest.mark.parametrize("first", [0, 2_500])
def test_an_order_is_sent_as_a_client_would_send_it(first: int) -> None:
    sample = load_sample()
    orders = sample.orders.slice(first, 3)
    for row, order in zip(orders.iter_rows(named=True), order_inputs(sample, orders), strict=True):
        lines = sample.order_lines.filter(sample.order_lines["order_ref"] == row["order_ref"])
        pence = (lines["qty"] * lines["unit_price_minor"]).sum()
        assert sum(line.qty * line.unit_price for line in order.lines) * 100 == pence
        assert order.placed_at == row["placed_at"]
        assert order.destination is not None
        assert 49 < order.destination.latitude < 61
