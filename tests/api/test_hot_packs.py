"""A pack, its rule included, comes into processes that run already; and a document is run once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.retailer import count, free_port, make_retailer, order, serving, settings
from tests.api.test_actions import code_of
from tests.api.test_intake import stock
from tests.engine.test_custom_rule import install
from tests.engine.test_run_once import MEND
from tests.shop import until_true

EXAMPLE = Path(__file__).parents[2] / "examples" / "gift_cards"
ACCOUNT = "hot_packs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that the processes import from; nothing is in it when they start."""
    return tmp_path_factory.mktemp("later")


@pytest.fixture(scope="module")
def running(database: str, folder: Path) -> Iterator[httpx.Client]:
    """Lend a client of one API and one worker process."""
    make_retailer(database, ACCOUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with serving("serve", database, ACCOUNT, folder / "serve.log") as (client, _):
            yield client


def penstock(database: str, folder: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=settings(database, ACCOUNT, free_port()) | {"PYTHONPATH": str(folder)},
        timeout=120,
    )
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_processes_that_run_take_up_a_pack_with_its_rule(
    running: httpx.Client, database: str, folder: Path
) -> None:
    card = {"kind": "gift_card", "ref": "G-1", "attributes": {"balance_minor": 300}}
    assert code_of(running.post("/v1/entities", json=card)) == (422, "no_workflow")
    install(EXAMPLE, folder)
    penstock(database, folder, "pack", "install", "gift_cards")
    until_true(
        lambda: running.post("/v1/entities", json=card).status_code == 201,
        "the API takes no gift card",
    )
    spend = {"entity": {"kind": "gift_card", "ref": "G-1"}, "name": "gift_card.presented"}
    later = {**spend, "payload": {"amount_minor": 300}, "wait": False}
    assert running.post("/v1/events", json=later).status_code == 202  # a worker's
    card_id = running.post("/v1/entities", json=card).json()["id"]
    where = f"/v1/entities/gift_card/{card_id}"
    until_true(lambda: running.get(where).json()["status"] == "spent", "the rule does not run")


def test_a_document_is_run_once_over_http_and_by_command(
    running: httpx.Client, database: str, folder: Path, tmp_path: Path
) -> None:
    stock(running, count("P50", "L1", 9))
    placed = running.post("/v1/orders", json=order("W-1", ("P50", 1))).json()
    assert placed["status"] == "allocated"
    asked: dict[str, Any] = {
        "document": MEND,
        "entity": {"kind": "order", "id": placed["id"]},
        "event": "order.mended",
        "by": "desk",
        "reason": "the carrier lost it",
        "dry_run": True,
    }
    dry = running.post("/v1/runs", json=asked)
    assert (dry.status_code, dry.json()["document"]["status"]) == (200, "held")
    assert running.get(f"/v1/orders/{placed['id']}").json()["status"] == "allocated"
    endless = MEND.replace("transition: {to: held}", "emit: {event: order.mended}")
    refused = running.post("/v1/runs", json={**asked, "document": endless})
    assert code_of(refused) == (422, "loop")
    file = tmp_path / "mend.yaml"
    file.write_text(MEND, "utf-8")
    named = [str(file), "W-1", "--channel", "web", "--event", "order.mended", "--reason", "lost"]
    told = penstock(database, folder, "workflow", "run", *named, "--dry-run")
    assert "Nothing was changed; it would be held." in told
    done = json.loads(penstock(database, folder, "workflow", "run", *named, "--json"))
    assert done["document"]["status"] == "held"
    again = penstock(database, folder, "workflow", "run", *named, status=2)
    assert "Nothing handles order.mended while the order is held." in again
    assert "mend" in penstock(database, folder, "trace", "W-1", "--channel", "web")
