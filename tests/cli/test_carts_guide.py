"""The guide to carts and limits does what it says, command by command."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.cli.conftest import Command, environment_of
from tests.cli.processes import run_penstock
from tests.cli.test_own_account import commands

GUIDE = Path(__file__).parents[2] / "docs/guides/carts.md"
BLOCK = re.compile(r"```sh( refused)?\n(.*?)```", re.DOTALL)


def test_every_step_of_the_guide_to_carts(penstock: Command, server: str, tmp_path: Path) -> None:
    for arguments in commands(0)[:7]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    said: dict[str, str] = {}
    for refused, block in BLOCK.findall(GUIDE.read_text("utf-8")):
        for line in block.splitlines():
            done = _run(server, line, tmp_path)
            assert done.returncode == (2 if refused else 0), (line, done.stdout, done.stderr)
            said[line] = done.stdout + done.stderr
    assert "held until" in said["penstock cart show K-1 --channel web"]
    shown = said["penstock order show W-7 --channel web --explain"]
    assert "Order W-7 of web: allocated" in shown
    assert "held at BATH by the cart" in " ".join(shown.split())
    assert "K-1" in said["penstock cart list --channel web --status held"]
    assert "Cart K-2 of web: released" in said["penstock cart release K-2 --channel web"]
    assert "50 % of the stock in carts" in said["penstock limit list"]
    assert any("no more can be had" in text for text in said.values())
    assert "Clean." in said["penstock audit"]


def _run(server: str, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one line of the guide in the folder."""
    words = shlex.split(line)
    environment = {**environment_of(server), "PENSTOCK_ACCOUNT": "acme"}
    if words[0] == "penstock":
        return run_penstock(words[1:], environment, folder=folder)
    return subprocess.run(
        ["/bin/bash", "-c", line],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
