"""An export says what the API says, whole or since a cursor, in every format."""

from __future__ import annotations

import asyncio
import random
import stat
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from tests.shop import Shop, count, opened, order, place, shop
from tests.stories.test_changes import current

from penstock.app import Account
from penstock.availability.cursor import read_cursor
from penstock.availability.views import AvailabilityRequest, Sight, answer
from penstock.bulk import export_files
from penstock.bulk.export_files import Done, Format, send_file, write_file
from penstock.bulk.export_rows import Wanted, open_rows
from penstock.catalogue.commands import upsert_products
from penstock.catalogue.model import ComponentInput, ProductInput
from penstock.errors import Refusal

SKUS = [*(f"P{n}" for n in range(1, 61)), "WRAP", "PAIR", "OFF"]
READERS: dict[Format, Callable[[Path], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "jsonl": pl.read_ndjson,
    "parquet": pl.read_parquet,
}


@pytest.fixture
def lent(database: str) -> Iterator[Shop]:
    with shop(database, "exports") as one:
        one.sql(
            "UPDATE product SET category_ref = 'mugs' WHERE ref IN ('P1', 'P2', 'PAIR');"
            "INSERT INTO category (catalogue_id, ref, within) VALUES (1, 'mugs', '{mugs}')"
        )
        yield one


async def stock_up(account: Account, chance: random.Random) -> None:
    async def put(tx: Any) -> None:
        kit = ProductInput("PAIR", kind="group", components=[ComponentInput("P1", 2)])
        for outcome in await upsert_products(tx, "main", [kit, ProductInput("OFF", is_on=False)]):
            assert outcome.refusal is None

    await account.knowledge.run_pass("products", put)
    rows = [
        (f"P{n}", f"L{place}", chance.choice((0, 4, 9)))
        for n in range(1, 55)
        for place in chance.sample(range(1, 9), 3)
    ]
    await count(account, *rows)
    await place(account, order("a", ("P1", 1), ("P2", 1)))


def asked(account: Account, **more: Any) -> list[dict[str, Any]]:
    knowledge = account.knowledge
    sight = Sight(account.follower, account.availability, knowledge.channels, knowledge.products)
    return msgspec.json.decode(answer(sight, AvailabilityRequest("web", SKUS, **more)))["items"]


async def written(
    account: Account, path: Path, wanted: Wanted, form: Format = "parquet"
) -> tuple[pl.DataFrame, Done]:
    rows = await open_rows(account, wanted)
    told: list[int] = []
    done = await write_file(rows, path, form, told.append)
    frame = READERS[form](path) if done.rows else pl.DataFrame(schema=rows.columns)
    assert done.rows == len(frame)
    assert path.with_name(f"{path.name}.cursor").read_text() == f"{done.cursor}\n"
    return frame, done


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_export_of_totals_says_what_the_api_says(
    lent: Shop, tmp_path: Path, form: Format
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await stock_up(account, random.Random(4))  # noqa: S311 (not for secrets)
            await current(lent, account)
            wanted = Wanted("availability", "web")
            frame, done = await written(account, tmp_path / f"all.{form}", wanted, form)
            found = {row["sku"]: (row["available"], row["status"]) for row in frame.to_dicts()}
            said = {one["sku"]: (one["available"], one.get("status")) for one in asked(account)}
            assert found == said
            assert done.full
            assert len(frame) == len(SKUS)

    asyncio.run(story())
    names = [one.name for one in tmp_path.iterdir()]
    assert sorted(names) == [f"all.{form}", f"all.{form}.cursor"]
    assert stat.S_IMODE((tmp_path / f"all.{form}").stat().st_mode) == 0o644


def test_an_export_by_location_says_what_the_api_says(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await stock_up(account, random.Random(5))  # noqa: S311 (not for secrets)
            await current(lent, account)
            wanted = Wanted("availability", "web", by_location=True, only_available=True)
            frame, _ = await written(account, tmp_path / "all.parquet", wanted)
            found = {(r["sku"], r["location"]): r["available"] for r in frame.to_dicts()}
            said = {
                (one["sku"], at["location"]): at["available"]
                for one in asked(account, locations=True)
                for at in one.get("locations") or ()
            }
            assert found == said
            wanted = Wanted("availability", "web", locations=("L1", "L2"), categories=("mugs",))
            some, _ = await written(account, tmp_path / "some.parquet", wanted)
            assert {(r["sku"], r["location"]): r["available"] for r in some.to_dicts()} == {
                key: there
                for key, there in [*said.items(), *_zeros(account, said)]
                if key[0] in {"P1", "P2", "PAIR"} and key[1] in {"L1", "L2"}
            }

    asyncio.run(story())


def _zeros(account: Account, said: dict[tuple[str, str], int]) -> list[tuple[tuple[str, str], int]]:
    """Return the positions, of products that are no kits, at which there is nothing."""
    knowledge, index = account.knowledge, account.knowledge.index
    found = []
    for one in range(1, index.size):
        sku = knowledge.products.skus[int(index.product[one])] or ""
        key = (sku, knowledge.location_ref(int(index.location[one])))
        if key not in said:
            found.append((key, 0))
    return found


def test_an_export_of_stock_has_every_position_or_those_that_moved(
    lent: Shop, tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            await stock_up(account, random.Random(6))  # noqa: S311 (not for secrets)
            await current(lent, account)
            frame, done = await written(account, tmp_path / "a.parquet", Wanted("stock"))
            stored = lent.sql(
                "SELECT p.ref, l.ref, 'default', o.on_hand, o.reserved, "
                "greatest(o.on_hand - o.reserved, 0), o.counted_at FROM position o "
                "JOIN product p ON p.id = o.product_id JOIN location l ON l.id = o.location_id"
            )
            assert sorted(frame.rows()) == sorted(stored)
            await count(account, ("P9", "L1", 77), ("P60", "L8", 3))
            await current(lent, account)
            since = read_cursor(done.cursor)
            moved, after = await written(
                account, tmp_path / "b.parquet", Wanted("stock", "web", since=since)
            )
            assert sorted(row[:4] for row in moved.rows()) == [
                ("P60", "L8", "default", 3),
                ("P9", "L1", "default", 77),
            ]
            assert not after.full
            none, _ = await written(
                account, tmp_path / "c.parquet", Wanted("stock", since=read_cursor(after.cursor))
            )
            assert len(none) == 0
            some, _ = await written(
                account,
                tmp_path / "d.parquet",
                Wanted("stock", locations=("L1",), only_available=True),
            )
            assert set(some["location"]) == {"L1"}
            assert (some["available"] > 0).all()

    asyncio.run(story())


def test_changes_since_an_export_bring_it_up_to_date(lent: Shop, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)  # noqa: S311 (not for secrets)

    async def story() -> None:
        async with opened(lent) as account:
            await stock_up(account, chance)
            await current(lent, account)
            known: dict[str, int] = {}
            wanted = Wanted("availability", "web")
            for turn in range(6):
                frame, done = await written(account, tmp_path / "now.csv", wanted, "csv")
                known |= {row["sku"]: row["available"] for row in frame.to_dicts()}
                said = {one["sku"]: one["available"] for one in asked(account)}
                assert known == said, f"seed {seed}"
                assert done.full == (turn == 0)
                rows = [
                    (f"P{n}", "L3", chance.randint(0, 9)) for n in chance.sample(range(1, 61), 9)
                ]
                await count(account, *rows)
                await current(lent, account)
                wanted = Wanted("availability", "web", since=read_cursor(done.cursor))

    asyncio.run(story())


class Peer:
    """Another system that takes files; it fails as often as it is told to."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.taken: list[tuple[dict[str, str], bytes]] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = peer.statuses.pop(0) if peer.statuses else 201
                peer.taken.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/stock.csv?key=secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("statuses", "attempts", "is_taken"),
    [((503, 429), 3, True), ((403,), 1, False), ((500,) * 5, 5, False)],
)
def test_an_address_gets_the_file_and_is_tried_again_a_bounded_number_of_times(
    lent: Shop,
    monkeypatch: pytest.MonkeyPatch,
    statuses: tuple[int, ...],
    attempts: int,
    *,
    is_taken: bool,
) -> None:
    monkeypatch.setattr(export_files, "FIRST_PAUSE_S", 0.001)
    peer = Peer(*statuses)

    async def story() -> None:
        async with opened(lent) as account:
            await count(account, ("P1", "L1", 5))
            rows = await open_rows(account, Wanted("availability", "web"))
            if not is_taken:
                with pytest.raises(Refusal) as refused:
                    await send_file(rows, peer.url, "csv", {}, lambda _: None)
                assert refused.value.code == "not_delivered"
                return
            done = await send_file(rows, peer.url, "csv", {"X-Shop": "web"}, lambda _: None)
            headers, body = peer.taken[-1]
            assert headers["x-shop"] == "web"
            assert headers["penstock-cursor"] == done.cursor
            assert headers["content-type"].startswith("text/csv")
            assert body.startswith(b"sku,available,status\n")
            assert body.count(b"\n") == done.rows + 1
            assert "secret" not in done.target

    try:
        asyncio.run(story())
    finally:
        peer.close()
    assert len(peer.taken) == attempts


def test_what_cannot_be_exported_is_refused_and_leaves_no_file(lent: Shop, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(lent) as account:
            wrong = {
                "unknown_channel": Wanted("availability", "nowhere"),
                "unknown_location": Wanted("stock", locations=("nowhere",)),
                "unknown_category": Wanted("stock", categories=("nothing",)),
            }
            for code, wanted in wrong.items():
                with pytest.raises(Refusal) as refused:
                    await written(account, tmp_path / "x.csv", wanted, "csv")
                assert refused.value.code == code
            rows = await open_rows(account, Wanted("stock"))
            with pytest.raises(Refusal) as refused:
                await write_file(rows, tmp_path / "none" / "x.csv", "csv", lambda _: None)
            assert refused.value.code == "file_unwritable"

    asyncio.run(story())
    assert list(tmp_path.iterdir()) == []
