"""One order's rules go wrong: it alone fails, for a person to see, and the others are decided."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.processes import workers
from tests.shop import (
    Shop,
    answered,
    assert_clean,
    count,
    locations_of,
    opened,
    order,
    place,
    shop,
    stock_of,
    tell,
    until,
    work,
)

from penstock.app import Account
from penstock.engine.document import read_document
from penstock.engine.inbox import Event, post
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import put_workflow, shipped_document
from penstock.errors import Refusal
from penstock.orders.intake import OrderInput
from penstock.rules.take import NewOrder
from penstock.rules.work import MAX_NOTES

RULES = Path(__file__).parent / "poison_rules"
ORDERS = 200
BAD = 77


@pytest.fixture
def lent(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.syspath_prepend(str(RULES))
    with shop(database, "poison") as one:
        asyncio.run(_put_workflow(one))
        yield one


async def _put_workflow(lent: Shop) -> None:
    """Store the shipped workflow with a rule that goes wrong before and after stock is asked."""
    document: Any = msgspec.to_builtins(read_document(shipped_document("home_delivery")))
    document |= {"name": "poisoned", "type": "poisoned"}
    rulesets: list[Any] = document["rulesets"]
    route = next(ruleset for ruleset in rulesets if ruleset["name"] == "route")
    route["rules"].insert(1, "poison")
    later = {"name": "later", "event": "order.routed", "statuses": ["created"]}
    rulesets.insert(0, later | {"rules": [{"poison": {"on": "later"}}]})
    tasted = {"name": "tasted", "event": "order.tasted", "statuses": ["allocated"]}
    rulesets.append(tasted | {"rules": [{"poison": {"on": "taste"}}]})
    text = msgspec.json.encode(document).decode()
    vocabulary = load_vocabulary()
    async with opened(lent) as account:
        assert await account.database.run(
            lent.schema, lambda tx: put_workflow(tx, text, vocabulary)
        )


def orders(**bad: str) -> list[OrderInput]:
    """Return orders of which one has the attributes of a bad one."""
    return [
        order(f"o{n}", ("P1", 1), type="poisoned", attributes=bad if n == BAD else {})
        for n in range(ORDERS)
    ]


async def _assert_all_but_one_decided(lent: Shop, account: Account) -> None:
    statuses = "SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1"
    assert lent.sql(statuses) == [("allocated", ORDERS - 1), ("created", 1)]
    buried = "SELECT o.ref, d.name FROM dead_letter d JOIN orders o ON o.id = d.root_id"
    assert lent.sql(buried) == [(f"o{BAD}", "order.created")]
    for table in ("inbox", "work_note"):
        assert lent.value(f"SELECT count(*) FROM {table}") == 0
    assert stock_of(lent, "P1") == {"L1": (1_000, ORDERS - 1)}
    await assert_clean(lent, account)


@pytest.mark.parametrize("where", ["poison", "later"])
def test_a_rule_that_raises_for_one_order_is_isolated_by_halving(lent: Shop, where: str) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 1_000))
            await place(account, *orders(**{where: "raise"}), wait=False)
            await work(account)
            await _assert_all_but_one_decided(lent, account)
            error, lines = lent.sql("SELECT error, traceback FROM dead_letter")[0]
            assert error == f"ValueError('order o{BAD} is poisonous')"
            assert "poison_rules.py" in lines

    asyncio.run(story())


@pytest.mark.parametrize("where", ["poison", "later"])
def test_a_rule_that_refuses_one_order_fails_that_one_only(lent: Shop, where: str) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 1_000))
            await place(account, *orders(**{where: "refuse"}), wait=False)
            await work(account)
            await _assert_all_but_one_decided(lent, account)
            error = lent.value("SELECT error FROM dead_letter")
            assert error == f"poisoned: Order o{BAD} is refused."

    asyncio.run(story())


@pytest.mark.parametrize("where", ["poison", "later"])
def test_an_order_refused_while_its_client_waits_leaves_nothing(lent: Shop, where: str) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 1_000))
            items = [NewOrder(one, key=one.ref) for one in orders(**{where: "refuse"})]
            twice = [*items, items[BAD]]
            results = await account.grouping.submit(twice)
            refused = [n for n, result in enumerate(results) if isinstance(result, Refusal)]
            assert refused == [BAD, ORDERS]
            assert lent.value("SELECT count(*) FROM orders") == ORDERS - 1
            assert lent.value("SELECT count(*) FROM order_ref") == ORDERS - 1
            assert lent.value("SELECT count(*) FROM idempotency") == ORDERS - 1
            assert stock_of(lent, "P1") == {"L1": (1_000, ORDERS - 1)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_a_client_whose_order_breaks_a_rule_does_not_break_the_others(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 1_000))
            submits = [account.grouping.submit([NewOrder(o)]) for o in orders(poison="raise")]
            results = await asyncio.gather(*submits, return_exceptions=True)
            broken = [n for n, r in enumerate(results) if isinstance(r, BaseException)]
            assert broken == [BAD]
            good = [answered(r[0]) for r in results if isinstance(r, list)]
            assert {document["status"] for document in good} == {"allocated"}
            assert stock_of(lent, "P1") == {"L1": (1_000, ORDERS - 1)}
            await assert_clean(lent, account)

    asyncio.run(story())


async def _post(account: Account, order_id: str, *names: str) -> None:
    events = [Event("order", order_id, "order", order_id, name) for name in names]
    now = account.knowledge.clock.now()
    await account.database.run(account.schema, lambda tx: post(tx, events, now))


@pytest.mark.parametrize("how", ["raise", "refuse"])
def test_the_event_that_went_wrong_is_buried_and_not_those_around_it(lent: Shop, how: str) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9))
            asked = order("a", ("P1", 2), type="poisoned", attributes={"taste": how})
            (taken,) = await place(account, asked, wait=False)
            await _post(account, taken["id"], "order.tasted", "order.cancellation_requested")
            await work(account)
            assert lent.sql("SELECT name FROM dead_letter") == [("order.tasted",)]
            assert lent.value("SELECT status FROM orders") == "cancelled"
            assert lent.value("SELECT count(*) FROM inbox") == 0
            assert stock_of(lent, "P1") == {"L1": (9, 0)}
            await assert_clean(lent, account)

    asyncio.run(story())


def test_an_event_refused_while_it_waited_does_not_refuse_the_client_behind_it(lent: Shop) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 9), ("P1", "L2", 9))
            asked = order("a", ("P1", 2), type="poisoned", attributes={"taste": "refuse"})
            (placed,) = await place(account, asked)
            await _post(account, placed["id"], "order.tasted")
            fulfilment_id = placed["fulfilments"][0]["id"]
            done = await tell(
                account, placed["id"], "fulfilment.rejected", fulfilment_id=fulfilment_id
            )
            assert locations_of(done, "awaiting_pick") == ["L2"]
            assert lent.sql("SELECT name, error FROM dead_letter") == [
                ("order.tasted", "poisoned: Order a is refused.")
            ]
            assert lent.value("SELECT count(*) FROM inbox") == 0
            await assert_clean(lent, account)

    asyncio.run(story())


@pytest.mark.slow
def test_a_rule_that_kills_its_process_does_not_kill_every_worker(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 1_000))
            await place(account, *orders(poison="kill"), wait=False)
            died = 0
            with workers(lent, tmp_path / "worker.log", 1, str(RULES)) as running:

                def is_done() -> bool:
                    nonlocal died
                    died += running.replace_dead()
                    return lent.value("SELECT count(*) FROM inbox") == 0

                await until(is_done, "events are left over", 60.0)
            assert died == MAX_NOTES
            await _assert_all_but_one_decided(lent, account)
            error = lent.value("SELECT error FROM dead_letter")
            assert error == f"{MAX_NOTES} workers died while they ran this event"

    asyncio.run(story())
