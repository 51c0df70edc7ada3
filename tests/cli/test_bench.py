"""Benchmarks run to their end and judge rightly; how fast they were is nobody's business here."""

import asyncio
import time

import msgspec
import numpy as np
import psycopg
from tests.cli.conftest import Command

from penstock.app import open_account
from penstock.bench.judge_short import Short, refused_while_left
from penstock.bench.load import Answers
from penstock.bench.retailer import Shop, judge, throw_away
from penstock.orders.intake import DestinationInput, LineInput, OrderInput
from penstock.rules.take import NewOrder

ALWAYS = {
    "name", "hardware", "postgres", "synchronous_commit", "fsync", "clients",
    "p50_ms", "p95_ms", "p99_ms", "oversold", "stranded", "refused_while_left", "audit_breaches",
}  # fmt: skip


def run(penstock: Command, *arguments: str) -> dict[str, object]:
    done = penstock("bench", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=dict[str, object])
    assert found.keys() >= ALWAYS
    return found


def accounts(server: str) -> list[str]:
    with psycopg.connect(server) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM penstock.account")]


def test_orders_are_measured_over_http_beside_the_raw_limit_and_leave_nothing_behind(
    penstock: Command, server: str
) -> None:
    found = run(penstock, "orders", "--seconds", "1", "--clients", "8", "--orders", "400")
    assert {found[n] for n in ("oversold", "stranded", "refused_while_left")} == {0}
    assert found["audit_breaches"] == found["failed"] == 0
    assert all(found[n] for n in ("orders_per_s", "limit_per_s", "ratio_to_limit"))
    assert accounts(server) == []


def test_the_hot_sku_is_sold_out_to_the_last_unit(penstock: Command) -> None:
    found = run(penstock, "hot-sku", "--seconds", "1", "--processes", "1", "--clients", "8")
    assert {found[n] for n in ("oversold", "stranded", "refused_while_left")} == {0}
    assert found["allocations_per_s"]


def test_plans_of_the_sourcing_benchmark_cost_what_the_best_plan_costs(penstock: Command) -> None:
    assert run(penstock, "sourcing", "--seconds", "0.5")["dearer_than_best"] == 0


def test_an_order_in_a_large_account_is_measured_against_one_in_an_empty_one(
    penstock: Command, server: str
) -> None:
    sizes = ("--positions", "60000", "--orders", "2500")
    found = run(penstock, "scale", *sizes, "--seconds", "0.5", "--clients", "8")
    assert (found["positions"], found["past_orders"]) == (60_000, 2_500)
    assert {found[n] for n in ("oversold", "stranded", "refused_while_left")} == {0}
    assert found["audit_breaches"] == found["failed"] == found["spread_failed"] == 0
    assert all(found[n] for n in ("ratio_cost", "ratio_cost_processor", "ratio_cost_alone"))
    assert accounts(server) == []


def test_a_server_that_does_not_wait_for_the_disk_is_refused(
    penstock: Command, server: str
) -> None:
    address = f"{server}&options=-csynchronous_commit%3Doff"
    done = penstock("bench", "limit", PENSTOCK_DATABASE_URL=address)
    assert done.returncode == 2
    assert "does not wait for the disk" in done.stderr


def test_a_refusal_while_a_unit_is_left_is_found_and_a_rightful_one_is_not(server: str) -> None:
    assert asyncio.run(judged(server)) == (Short(1, 0), Short(1, 1), 0)


async def judged(conninfo: str) -> tuple[Short, Short, object]:
    """Sell S2 out and refuse it; then judge that refusal by S2's history, and by S1's."""
    async with throw_away(conninfo, Shop(products=2, locations=1, on_hand=5)) as bench:
        account = await open_account(conninfo, bench.account)
        bodies: dict[int, bytes] = {}
        sent_at: list[float] = []
        for place, (sku, qty) in enumerate((("S1", 1), ("S2", 5), ("S2", 1))):
            sent_at.append(time.time())
            to = DestinationInput(51.5, -0.1)
            line = LineInput(sku=sku, qty=qty)
            order = OrderInput(channel="web", ref=str(place), lines=[line], destination=to)
            (answer,) = await account.grouping.submit([NewOrder(order)])
            assert isinstance(answer, bytes)
            bodies[place] = answer
        now = np.array([time.time()] * 3)
        status, request = np.full(3, 201), np.arange(3)
        answers = Answers(np.array(sent_at), now - sent_at, status, request, bodies)
        rightful = await refused_while_left(bench, 2, answers, [], is_alone=True)
        wrong = await refused_while_left(bench, 1, answers, [], is_alone=True)
        breaches = (await judge(bench))["audit_breaches"]
        await account.close()
    return rightful, wrong, breaches
