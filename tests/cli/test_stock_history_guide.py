"""The guide to what stock was does what it says, command by command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
from tests.cli.conftest import Command
from tests.cli.test_own_account import commands

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/stock-history.md"
SH = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def test_every_step_of_the_guide_to_what_stock_was(penstock: Command) -> None:
    for arguments in commands(0)[:8]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    said: dict[str, str] = {}
    for block in SH.findall(GUIDE.read_text("utf-8")):
        for line in block.splitlines():
            done = penstock(*shlex.split(line)[1:], PENSTOCK_ACCOUNT="acme", COLUMNS="160")
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            said[line] = done.stdout
    told = said["penstock stock history MUG-BLUE BATH"]
    assert "reserved for order W-1001 of web" in told
    assert "counted by default, by feed (stock.csv)" in told
    assert "There was no stock of it yet." in said["penstock stock show MUG-BLUE --at 2020-01-01"]
    now = said["penstock stock show MUG-BLUE TEAPOT --location BATH --at 2099-12-31T18:00"]
    assert "TEAPOT" in now
    assert "WAREHOUSE" not in now
    found = penstock(
        *("stock", "history", "MUG-BLUE", "BATH", "--limit", "1", "--json"), PENSTOCK_ACCOUNT="acme"
    )
    page = msgspec.json.decode(found.stdout)
    assert page["entries"][0]["why"]["order"] == "W-1003"
    assert page["next"] is not None
    refused = penstock("stock", "show", "NOPE", PENSTOCK_ACCOUNT="acme")
    assert refused.returncode == 2
    assert "There is no SKU 'NOPE'." in refused.stderr
