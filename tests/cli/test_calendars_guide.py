"""The guide to calendars does what it says, command by command, and shows what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/calendars.md"
SH = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SHOWN = re.compile(r"```sh\n(penstock [^\n]*)\n```\n+```\n(.*?)```", re.DOTALL)


def test_every_command_of_the_guide_prints_what_the_guide_shows(penstock: Command) -> None:
    guide = GUIDE.read_text("utf-8")
    said: dict[str, str] = {}
    for block in SH.findall(guide):
        for line in block.splitlines():
            words = [
                str(ROOT / word) if word.startswith("examples/") else word
                for word in shlex.split(line)[1:]
            ]
            done = penstock(*words, PENSTOCK_ACCOUNT="acme")
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            said[line] = done.stdout
    shown = SHOWN.findall(guide)
    assert len(shown) >= 5
    for line, text in shown:
        assert _plain(said[line]) == _plain(text), line


def _plain(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines() if line.strip()]
