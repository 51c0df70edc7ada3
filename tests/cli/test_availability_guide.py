"""The guide to availability does what it says: commands as they stand, requests over HTTP."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.api.retailer import serving
from tests.cli.conftest import Command, environment_of
from tests.cli.processes import run_penstock
from tests.cli.test_own_account import commands

from penstock.scenarios.compare import differences

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/availability.md"
BLOCK = re.compile(r"```(sh|http|json)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"@([\w.]+)")
PATIENCE_S = 30.0


def test_every_step_of_the_guide_to_availability(
    penstock: Command, server: str, tmp_path: Path
) -> None:
    for arguments in commands(0)[:7]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    said: dict[str, str] = {}
    with serving("serve", server, "acme", tmp_path / "serve.log") as (client, _):
        answer: Any = None
        for kind, text in BLOCK.findall(GUIDE.read_text("utf-8")):
            if kind == "sh":
                for line in text.splitlines():
                    said[line] = _run_until_true(server, line, tmp_path)
            elif kind == "http":
                answer = _ask(client, text, tmp_path)
            else:
                assert differences(msgspec.json.decode(text), answer) == [], answer
    assert "shelf takes 4" in said["penstock control explain MUG-BLUE --channel web"]
    assert "4 rows" not in said["penstock export stock -o stock.parquet"]
    assert (tmp_path / "web.csv").read_text().startswith("sku,available,status\n")
    bath = msgspec.json.decode((tmp_path / "bath.jsonl").read_text().splitlines()[0])
    assert bath["location"] == "BATH"
    feed = (tmp_path / "feed.csv").read_text()
    assert feed.strip() == "sku,available,status"
    assert "at risk" in said["penstock entity show web/MUG-BLUE --kind virtual_position"]
    assert "webhook" in said["penstock job list"]
    assert "Clean." in said["penstock audit"]


def _ask(client: httpx.Client, text: str, folder: Path) -> Any:
    """Send a request as it stands in the guide, and return its document."""
    head, _, body = text.partition("\n\n")
    method, path = head.split(maxsplit=1)
    path = FILE.sub(lambda match: (folder / match[1]).read_text().strip(), path.strip())
    answer = client.request(method, path, content=body or None)
    assert answer.is_success, (text, answer.text)
    return answer.json()


_LATER: dict[str, Callable[[str], bool]] = {
    "penstock entity show web/MUG-BLUE --kind virtual_position": lambda said: "at risk" in said,
    "penstock job list": lambda said: "webhook" in said,
}


def _run_until_true(server: str, line: str, folder: Path) -> str:
    """Run a line of the guide; what a worker does a moment later is waited for."""
    is_there = _LATER.get(line, bool)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        environment = {**environment_of(server), "PENSTOCK_ACCOUNT": "acme"}
        done = run_penstock(line.split()[1:], environment, folder=folder)
        if done.returncode == 0 and is_there(done.stdout):
            return done.stdout
        assert line in _LATER, (line, done.stdout, done.stderr)
        assert time.monotonic() < deadline, (line, done.stdout, done.stderr)
