"""The guide to products does what it says, command by command."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.cli.conftest import Command, environment_of
from tests.cli.processes import run_penstock
from tests.cli.test_own_account import commands

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/products.md"
SH = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def test_every_step_of_the_guide_to_products(
    penstock: Command, server: str, tmp_path: Path
) -> None:
    for arguments in commands(0)[:7]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    shutil.copytree(ROOT / "examples/products", tmp_path / "examples/products")
    said: dict[str, str] = {}
    for block in SH.findall(GUIDE.read_text("utf-8")):
        for line in block.splitlines():
            said[line] = _run(server, line, tmp_path)
    refused = (tmp_path / "examples/products/products.jsonl.errors.csv").read_text("utf-8")
    assert "attributes.colour" in refused
    assert "invalid_attribute" in refused
    shown = said["penstock product list --category table"]
    assert [sku in shown for sku in ("MUG-GREY", "TEA-FOR-TWO", "TEAPOT")] == [True, True, False]
    assert "6.90 GBP from 6" in said["penstock product show MUG-GREY"]
    assert "TEAPOT" in said["penstock product list --off"]
    order = said["penstock order show K-1 --channel web"]
    assert "Order K-1 of web: allocated" in order
    assert "awaiting pick at BATH: 2 lines" in order
    assert "Clean." in said["penstock audit"]


def _run(server: str, line: str, folder: Path) -> str:
    """Run one line of the guide in the folder, and return what it said."""
    command = line.split(" || ", maxsplit=1)[0].split()
    environment = {**environment_of(server), "PENSTOCK_ACCOUNT": "acme"}
    done = run_penstock(command[1:], environment, folder=folder)
    assert done.returncode == (1 if "||" in line else 0), (line, done.stdout, done.stderr)
    return done.stdout
