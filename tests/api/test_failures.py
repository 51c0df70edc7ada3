"""When something is broken, missing or too much: what clients hear, and that it passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.api.retailer import count, make_retailer, order, serving
from tests.api.test_actions import code_of

from penstock.db import Database
from penstock.embedded import create_database
from penstock.engine.readable import load_vocabulary
from penstock.engine.workflows import put_workflow, shipped_document

ACCOUNT = "failures"
PATIENCE_S = 20.0
LISTS = 40  # of 1,000 orders each: twice what may wait
BUSY = """
CREATE FUNCTION busy() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TRIGGER busy BEFORE INSERT ON pass EXECUTE FUNCTION busy()
"""


class Place:
    """The account's database, to break and mend things in."""

    def __init__(self, conninfo: str, schema: str) -> None:
        self.conninfo = conninfo
        self.schema = schema

    def sql(self, script: str) -> None:
        """Run statements in the account."""
        with self.connected() as connection:
            connection.execute(script.encode())

    @contextmanager
    def connected(self) -> Generator[psycopg.Connection]:
        """Lend a session in the account, whose transaction commits at the end."""
        with psycopg.connect(self.conninfo, options=f"-c search_path={self.schema}") as connection:
            yield connection


@pytest.fixture(scope="module")
def place(database: str) -> Place:
    conninfo = create_database(database, ACCOUNT)
    return Place(conninfo, make_retailer(conninfo, ACCOUNT))


@pytest.fixture(scope="module")
def web(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Lend a client of one API process with an account of its own, to be broken."""
    log: Path = tmp_path_factory.mktemp("failures") / "api.log"
    with serving("api", place.conninfo, ACCOUNT, log) as (client, _):
        client.post("/v1/stock", json=[count("P1", "L1", 1_000)])
        yield client


def until_ready(web: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not web.get("/readyz").is_success:
        assert time.monotonic() < deadline, web.get("/readyz").text


def test_a_bug_or_broken_data_is_an_internal_error_until_it_is_mended(
    web: httpx.Client, place: Place
) -> None:
    place.sql("ALTER TABLE order_line RENAME TO lost")
    answer = web.post("/v1/orders", json=order("broken", ("P1", 1)))
    place.sql("ALTER TABLE lost RENAME TO order_line")
    assert code_of(answer) == (500, "internal_error")
    assert answer.json()["id"] in answer.json()["detail"]
    assert "order_line" not in answer.text
    again = web.post("/v1/orders", json=order("broken", ("P1", 1)))
    assert (again.status_code, again.json()["status"]) == (201, "allocated")


def test_what_the_database_is_too_busy_for_may_be_tried_again(
    web: httpx.Client, place: Place
) -> None:
    place.sql(BUSY)
    answer = web.post("/v1/orders", json=order("busy", ("P1", 1)))
    place.sql("DROP TRIGGER busy ON pass; DROP FUNCTION busy")
    assert code_of(answer) == (503, "try_again")
    assert answer.headers["retry-after"] == "1"
    lookup = web.get("/v1/orders", params={"channel": "web", "ref": "busy"})
    assert code_of(lookup) == (404, "unknown_order")
    assert web.post("/v1/orders", json=order("busy", ("P1", 1))).status_code == 201


def test_more_than_may_wait_is_refused_as_overload_and_the_rest_is_decided(
    web: httpx.Client, place: Place
) -> None:
    async def story() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=LISTS)
        async with httpx.AsyncClient(
            base_url=web.base_url, limits=limits, timeout=60, trust_env=False
        ) as client:
            body = [{"channel": "web", "ref": "without lines"}] * 1_000
            with place.connected() as connection:
                connection.execute("LOCK TABLE pass IN EXCLUSIVE MODE")
                posts = [
                    asyncio.create_task(client.post("/v1/orders", json=body)) for _ in range(LISTS)
                ]
                await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
            return await asyncio.gather(*posts)

    answers = asyncio.run(story())
    taken = [answer for answer in answers if answer.is_success]
    refused = [answer for answer in answers if not answer.is_success]
    assert taken
    assert {code_of(answer) for answer in refused} == {(503, "overloaded")}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    results = [result for answer in taken for result in answer.json()["results"]]
    assert {result["problem"]["code"] for result in results} == {"invalid_order"}
    assert web.post("/v1/orders", json=order("after", ("P1", 1))).status_code == 201


def test_a_process_is_not_ready_while_the_database_is_gone(
    web: httpx.Client, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {ACCOUNT} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            (ACCOUNT,),
        )
        answer = web.get("/readyz")
        alive = web.get("/healthz")
        connection.execute(f"ALTER DATABASE {ACCOUNT} ALLOW_CONNECTIONS true".encode())
    assert code_of(answer) == (503, "not_ready")
    assert answer.headers["retry-after"] == "1"
    assert alive.is_success
    until_ready(web)
    assert web.post("/v1/orders", json=order("back", ("P1", 1))).json()["status"] == "allocated"


def test_an_order_needs_a_currency_of_its_own_or_of_its_channel(
    web: httpx.Client, place: Place
) -> None:
    place.sql(
        "INSERT INTO channel (ref, kind, catalogue_id) VALUES ('bare', 'site', 1); "
        "UPDATE revision SET value = value + 1"
    )
    bare = order("bare", ("P1", 1), channel="bare")
    assert code_of(web.post("/v1/orders", json=bare)) == (422, "no_currency")
    named = web.post("/v1/orders", json=bare | {"currency": "EUR"})
    assert (named.status_code, named.json()["currency"]) == (201, "EUR")


def test_a_channel_without_a_sourcing_profile_says_how_to_store_one(
    web: httpx.Client, place: Place
) -> None:
    place.sql(
        "ALTER TABLE sourcing_profile RENAME TO kept; CREATE TABLE sourcing_profile (LIKE kept); "
        "UPDATE revision SET value = value + 1"
    )
    answer = web.post("/v1/orders", json=order("no-profile", ("P1", 1)))
    place.sql(
        "DROP TABLE sourcing_profile; ALTER TABLE kept RENAME TO sourcing_profile; "
        "UPDATE revision SET value = value + 1"
    )
    assert code_of(answer) == (422, "no_sourcing_profile")
    assert "penstock import profiles" in answer.json()["detail"]
    assert web.post("/v1/orders", json=order("no-profile", ("P1", 1))).status_code == 201


def test_rows_of_several_catalogues_need_their_channel(web: httpx.Client, place: Place) -> None:
    place.sql(
        "INSERT INTO product_catalogue (ref) VALUES ('other'); INSERT INTO channel "
        "(ref, kind, currency, catalogue_id) VALUES ('other', 'site', 'GBP', 2); "
        "UPDATE revision SET value = value + 1"
    )
    web.post("/v1/orders", json=order("hears-of-it", ("P1", 1)))
    rows = [count("P1", "L1", 900)]
    assert code_of(web.post("/v1/stock", json=rows)) == (422, "channel_needed")
    named = web.post("/v1/stock", json={"channel": "web", "items": rows})
    assert named.json()["changed"] == 1


@pytest.mark.parametrize("price", ["1e20", "NaN", "-1e16", "1000000000000000.01"])
def test_a_price_beyond_money_is_refused(web: httpx.Client, price: str) -> None:
    asked = order("dear", ("P1", 1))
    asked["lines"][0]["unit_price"] = price
    assert web.post("/v1/orders", json=asked).json()["code"] == "amount_out_of_range"


def test_a_workflow_that_goes_round_in_circles_is_stopped(web: httpx.Client, place: Place) -> None:
    again = "transition: {to: unsourced}"
    text = shipped_document("home_delivery").replace("home_delivery", "circles")
    assert again in text
    text = text.replace(again, f"{again}\n      - emit: {{event: order.routed}}")
    asyncio.run(push_workflow(place, text))
    answer = web.post("/v1/orders", json=order("circles", ("P2", 1), type="circles"))
    assert code_of(answer) == (422, "too_many_events")
    lookup = web.get("/v1/orders", params={"channel": "web", "ref": "circles"})
    assert lookup.status_code == 404


async def push_workflow(place: Place, text: str) -> None:
    rules = load_vocabulary()
    pool = Database(place.conninfo, size=1)
    await pool.open()
    try:
        await pool.run(place.schema, lambda tx: put_workflow(tx, text, rules))
    finally:
        await pool.close()
