"""The guide to workflows does what it says, command by command."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.cli.conftest import Command, environment_of
from tests.cli.processes import run_penstock
from tests.cli.test_own_account import commands

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/workflows.md"
SH = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def test_every_step_of_the_guide_to_workflows(
    penstock: Command, server: str, tmp_path: Path
) -> None:
    for arguments in commands(0)[:7]:
        done = penstock(*arguments, PENSTOCK_ACCOUNT="acme")
        assert done.returncode == 0, (arguments, done.stderr)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    said: dict[str, list[str]] = {}
    for block in SH.findall(GUIDE.read_text("utf-8")):
        for line in block.splitlines():
            said.setdefault(line, []).append(_run(server, line, tmp_path))
    statuses = {
        ref: [text.split("\n")[0] for text in said[f"penstock order show {ref} --channel web"]]
        for ref in ("F-1", "F-2", "F-3", "F-4")
    }
    assert statuses == {
        "F-1": ["Order F-1 of web: allocated"],
        "F-2": ["Order F-2 of web: held", "Order F-2 of web: allocated"],
        "F-3": ["Order F-3 of web: held"],
        "F-4": ["Order F-4 of web: allocated"],
    }
    assert "hold large orders" in said["penstock workflow diff first.yaml flow.yaml"][0]
    assert "hold large orders" in said["penstock trace F-2 --channel web"][0]
    assert "clear_hold" in said["penstock action list F-2 --channel web"][0]
    assert "Clean." in said["penstock audit"][0]


def _run(server: str, line: str, folder: Path) -> str:
    """Run one line of the guide in the folder, and return what it said."""
    words = shlex.split(line)
    environment = {**environment_of(server), "PENSTOCK_ACCOUNT": "acme"}
    if words[0] == "penstock":
        done = run_penstock(words[1:], environment, folder=folder)
    else:
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout
